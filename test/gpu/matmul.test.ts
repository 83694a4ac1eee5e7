import { assert } from "chai";
import { runKernel } from "../../engine/run_kernel.js";
import { gpuKernels } from "../../kernels/gpu/index.js";
import { KernelError } from "../../kernels/core/kernel.js";
import { baselineCapabilities, type Capabilities } from "../../kernels/capabilities.js";
import { matmul, matmulVariants } from "../../kernels/matmul/choose.js";
import { alternativesOf } from "../../kernels/variants.js";
import { matmulName, type MatmulLayout, type MatmulSpec } from "../../kernels/matmul/spec.js";
import { matmulSplits, matmulSum } from "../../kernels/matmul/split.js";
import { add, compile, f32, grad, hostTensor, linear, mul, sum, variable } from "../../engine/index.js";
import { testDevice } from "../support/device.js";
import { openTestDevice } from "../support/platform.js";
import { assertClose, poisoned, random } from "../support/random.js";

/** A GPU with only the limits that the specification guarantees. */
const GPU: Capabilities = { ...baselineCapabilities, gpu: gpuKernels };

type Operands = Record<"a" | "b" | "bias" | "residual", Float32Array>;

/** float64 product, with the sum of |a b| that its rounding error scales with. */
function reference(spec: MatmulSpec, { a, b, bias, residual }: Operands) {
  const { layout, M, N, K, batch = 1 } = spec;
  const value = new Float64Array(batch * M * N);
  const scale = new Float64Array(batch * M * N);
  for (let i = 0; i < value.length; i++) {
    const n = i % N;
    const m = Math.floor(i / N) % M;
    const g = Math.floor(i / (N * M));
    for (let k = 0; k < K; k++) {
      const left = a[g * M * K + (layout === "tn" ? k * M + m : m * K + k)]!;
      const right = b[g * K * N + (layout === "nt" ? n * K + k : k * N + n)]!;
      value[i]! += left * right;
      scale[i]! += Math.abs(left * right);
    }
    if (spec.bias) value[i]! += bias[n]!;
    if (spec.residual) value[i]! += residual[i]!;
  }
  return { value, scale };
}

async function check(spec: MatmulSpec, capabilities: Partial<Capabilities>) {
  const device = await testDevice();
  const { M, N, K, batch = 1 } = spec;
  const kernel = matmul(spec, { ...device.capabilities, gpu: gpuKernels, ...capabilities });
  const operands: Operands = {
    a: random(batch * M * K),
    b: random(batch * K * N),
    bias: random(N),
    residual: random(batch * M * N),
  };
  const { c } = await runKernel(device, kernel, { ...operands, c: poisoned(batch * M * N) });
  const { value, scale } = reference(spec, operands);
  assertClose(c!, value, (i) => 1e-6 * (1 + scale[i]!), kernel.name);
}

type Shape = readonly [M: number, N: number, K: number, more?: Omit<Partial<MatmulSpec>, "layout">];
const ADDENDS = { bias: true, residual: true };

/**
 * M, N, K: ones, primes, and both sides of every tile edge of the variant. A batch, each addend by itself and both come with
 * some of them, of elements that go one by one and of those that go in vectors.
 */
const SHAPES: Readonly<Record<"registers" | "subgroups" | "tiles", readonly Shape[]>> = {
  registers: [
    [1, 1, 1],
    [1, 7, 5],
    [2, 32, 64],
    [6, 32, 31],
    [3, 4, 4, { residual: true, batch: 3 }],
    [7, 8, 9, ADDENDS],
    [8, 8, 8, { ...ADDENDS, batch: 2 }],
    [9, 12, 7, { bias: true }],
    [16, 2, 33, { residual: true }],
    [17, 15, 5, { bias: true, batch: 3 }],
    [31, 48, 8],
    [33, 128, 16],
    [60, 68, 20],
    [65, 63, 17],
  ],
  // Tiles of 32x16 or less, four or eight of them side by side along N.
  subgroups: [
    [1, 4, 4],
    [3, 32, 8, { bias: true }],
    [4, 4, 16],
    [16, 32, 4, { bias: true, batch: 3 }],
    [17, 36, 8, { ...ADDENDS, batch: 2 }],
    [24, 8, 12, ADDENDS],
    [32, 124, 4, { residual: true, batch: 3 }],
    [68, 28, 20],
    [100, 132, 8, { residual: true }],
  ],
  tiles: [
    [1, 1, 1],
    [2, 3, 7, { bias: true, batch: 3 }],
    [31, 33, 8, { residual: true }],
    [32, 32, 16, { ...ADDENDS, batch: 2 }],
    [33, 31, 13],
    [36, 64, 12, { residual: true, batch: 3 }],
  ],
};
const VARIANTS = [
  { variant: "registers", capabilities: { software: true, subgroups: null } },
  // Uses the device's subgroups. tn needs M in vectors of 4, and takes the variant above otherwise.
  { variant: "subgroups", capabilities: { software: true } },
  { variant: "tiles", capabilities: { software: false } },
] as const;
const LAYOUTS: MatmulLayout[] = ["nn", "nt", "tn"];

describe("matmul", () => {
  for (const { variant, capabilities } of VARIANTS) {
    for (const layout of LAYOUTS) {
      // Tiles take a software adapter a second to compile.
      const slow = variant === "tiles" ? " @slow" : "";
      it(`${layout} agrees with float64, also with a batch, a bias and a residual (${variant})${slow}`, async () => {
        for (const [M, N, K, more] of SHAPES[variant])
          await check({ layout, M, N, K, ...more }, capabilities);
      });
      it(`${layout} folds dispatches past the limit (${variant})`, async () => {
        await check(
          { layout, M: 40, N: 44, K: 4, batch: 8 },
          { ...capabilities, maxComputeWorkgroupsPerDimension: 11 },
        );
      });
    }
  }

  /** Every variant that these products have on the test device. Each variant gets one of the products that have it, round robin. */
  async function checkVariants(kind: "r" | "t", specs: readonly MatmulSpec[]): Promise<void> {
    const device = await testDevice();
    const capabilities = { ...device.capabilities, software: kind === "r", gpu: gpuKernels };
    const named = specs.map((spec) => matmulVariants(spec, capabilities).filter((v) => v.startsWith(kind)));
    const products = [...new Set(named.flat())].map((name, i) => {
      const having = specs.filter((_, s) => named[s]!.includes(name));
      const spec = having[i % having.length]!;
      return { spec, capabilities: { ...capabilities, choices: { [matmulName(spec)]: name } } };
    });
    assert.isAtLeast(products.length, 5);
    // Compiled side by side; the checks then find them in the cache.
    await Promise.all(
      products.map(({ spec, capabilities }) => device.pipeline(matmul(spec, capabilities), "")),
    );
    for (const { spec, capabilities } of products) await check(spec, capabilities);
  }
  // Past an edge of the largest tiles of either kind. Loads differ between layouts, and between tiles.
  for (const [edge, M, N, K, residual] of [
    // A residual would take a software adapter a third longer to compile here.
    ["aligned", 516, 260, 72, false],
    ["odd", 37, 67, 13, true],
  ] as const)
    it(`agrees with float64 in every variant to choose from (registers, ${edge} shapes) @slow`, () =>
      checkVariants(
        "r",
        LAYOUTS.map((layout) => ({ layout, M, N, K, residual })),
      ));
  // Tiles load both operands in the same way. Here one operand has vectors and the other does not (or the result, if both lie along k).
  it("agrees with float64 in every variant to choose from (tiles) @slow", () =>
    checkVariants(
      "t",
      LAYOUTS.flatMap((layout) => [
        { layout, M: 132, N: 129, K: 20, batch: 2, residual: true },
        { layout, M: 131, N: 136, K: 17, batch: 2, residual: true },
      ]),
    ));

  it("takes the variant that a choice names, and says that it was chosen", () => {
    const spec = { layout: "nt", M: 256, N: 96, K: 32, bias: true } as const;
    for (const software of [false, true]) {
      const capabilities = { ...GPU, software };
      const byDefault = matmul(spec, capabilities);
      const [first, second] = matmulVariants(spec, capabilities) as [string, string];
      assert.equal(byDefault.name, `matmul_nt_bias_256x96x32_${first}`);
      assert.notProperty(byDefault, "choice");
      const key = "matmul_nt_bias_256x96x32";
      const chosen = matmul(spec, { ...capabilities, choices: { [key]: second, matmul_nt_1x1x1: "r9x9" } });
      assert.equal(chosen.name, `${key}_${second}`);
      assert.deepEqual(chosen.choice, [key, second]);
      assert.notEqual(chosen.code, byDefault.code);
      assert.deepEqual([chosen.flops, chosen.bytes], [byDefault.flops, byDefault.bytes]);
      for (const impossible of ["r9x9", "r16x8_4N", "toString", ""])
        assert.throws(
          () => matmul(spec, { ...capabilities, choices: { [key]: impossible } }),
          KernelError,
          new RegExp(`variant ${impossible}; expected one of ${first}, ${second}`),
        );
    }
  });

  it("offers tiles that the device has the memory and the threads for", () => {
    const spec = { layout: "nn", M: 512, N: 512, K: 64 } as const;
    const offered = (limits: Partial<Capabilities>) => matmulVariants(spec, { ...GPU, ...limits });
    assert.include(offered({ maxComputeWorkgroupStorageSize: 24576 }), "t64x128x32_r8x8");
    assert.notInclude(offered({ maxComputeWorkgroupStorageSize: 24575 }), "t64x128x32_r8x8");
    assert.include(offered({}), "t128x64x8_r8x4");
    assert.notInclude(offered({ maxComputeInvocationsPerWorkgroup: 128 }), "t128x64x8_r8x4");
  });

  it("carries its spec, and lists its variants", () => {
    const spec = { layout: "nt", M: 25, N: 96, K: 7, bias: true } as const;
    const kernel = matmul(spec, GPU);
    assert.deepEqual(kernel.source, { family: "matmul", spec });
    const { key, variants, make } = alternativesOf(kernel, GPU)!;
    assert.equal(key, matmulName(spec));
    assert.deepEqual(variants, matmulVariants(spec, GPU));
    assert.equal(make(variants[0]!).code, kernel.code);
    assert.equal(make(variants[1]!).name, `${key}_${variants[1]}`);
  });

  it("uses larger tiles if there are enough of them, and the largest only on GPUs like the measured one", async () => {
    const device = await testDevice();
    const tested = { ...device.capabilities, software: false, gpu: gpuKernels };
    const measured = { subgroups: { min: 32, max: 32 }, maxComputeWorkgroupStorageSize: 49152 };
    for (const [spec, portable, large] of [
      [{ layout: "nn", M: 65, N: 35, K: 9, batch: 64 }, "t64x64x16_r4x4", "t64x64x16_r8x8"],
      [{ layout: "nt", M: 68, N: 68, K: 7, batch: 128 }, "t64x64x16_r4x4", "t128x128x8_r8x8"],
      [{ layout: "tn", M: 36, N: 68, K: 12, batch: 128 }, "t64x64x16_r4x4", "t64x128x32_r8x8"],
      [{ layout: "nt", M: 31, N: 33, K: 8 }, "t32x32x16_r4x4", "t32x32x16_r4x4"],
    ] as const) {
      assert.equal(matmul(spec, GPU).name, `${matmulName(spec)}_${portable}`);
      const { name } = matmul(spec, { ...GPU, ...measured });
      assert.equal(name, `${matmulName(spec)}_${large}`);
      assert.include(matmulVariants(spec, tested), large, "is checked above, as one to choose from");
    }
  });

  describe("split along k", () => {
    it("splits only long sums of few elements, into shares that are not empty", () => {
      const splits = (M: number, N: number, K: number, more: Partial<MatmulSpec> = {}) =>
        matmulSplits({ layout: "tn", M, N, K, ...more });
      assert.equal(splits(1536, 512, 31488), 5);
      assert.equal(splits(4096, 4096, 4096), 1);
      assert.equal(splits(32, 32, 2047), 1);
      assert.equal(splits(32, 32, 2048), 2);
      assert.equal(splits(32, 32, 1e6), 32);
      assert.equal(splits(32, 32, 1e6, { batch: 2 }), 1);
      // Every number of splits that is given is taken.
      for (let K = 1000; K < 40000; K += 997) {
        const spec = { layout: "tn", M: 32, N: 32, K, splits: splits(32, 32, K) } as const;
        assert.doesNotThrow(() => matmul(spec, GPU));
      }
      assert.throws(
        () => matmul({ layout: "tn", M: 8, N: 8, K: 65, splits: 3 }, GPU),
        KernelError,
        /3 splits/,
      );
      assert.throws(
        () => matmul({ layout: "tn", M: 8, N: 8, K: 128, splits: 2, bias: true }, GPU),
        KernelError,
      );
    });

    it("is used for the gradient of a weight over many rows", async () => {
      const device = await openTestDevice();
      try {
        const target = { capabilities: { ...device.capabilities, software: false, gpu: gpuKernels } };
        const [rows, outputs, inputs] = [2050, 5, 8];
        const [x, dy] = [random(rows * inputs), random(rows * outputs)];
        const w = variable(device, hostTensor(random(outputs * inputs), [outputs, inputs]), "w");
        const specs = { x: f32(rows, inputs), dy: f32(rows, outputs), r: f32(outputs, inputs) };
        // The residual is added with the shares.
        const program = await compile(
          device,
          specs,
          (given) => ({ dW: add(grad(sum(mul(linear(given.x, w), given.dy)), w), given.r) }),
          { target },
        );
        const kernels = program.plan.dispatches.map(({ kernel }) => kernel.name).join(" ");
        assert.match(kernels, /matmul_tn_split2_5x8x2050.* matmul_sum_residual_2x5x8/);
        const residual = random(outputs * inputs);
        await program.run({ x, dy, r: residual });
        const spec = { layout: "tn", M: outputs, N: inputs, K: rows, residual: true } as const;
        const { value, scale } = reference(spec, { a: dy, b: x, bias: residual, residual });
        assertClose(await program.read("dW"), value, (i) => 1e-6 * (1 + scale[i]!), "dW");
      } finally {
        device.destroy();
      }
    });

    // The products that are split are gradients of weights: with and without vectors.
    const SPLIT = {
      nn: [[33, 31, 129, 3]],
      nt: [[36, 40, 200, 4]],
      tn: [
        [36, 40, 200, 4],
        [33, 31, 129, 3],
      ],
    } as const;
    for (const layout of LAYOUTS)
      it(`${layout} gives the sum of each share of k, and the shares add up with bias and residual${layout === "tn" ? "" : " @slow"}`, async () => {
        const device = await testDevice();
        for (const [M, N, K, splits] of SPLIT[layout]) {
          const spec = { layout, M, N, K } as const;
          const capabilities = { ...device.capabilities, software: false, gpu: gpuKernels };
          const operands = { a: random(M * K), b: random(K * N), bias: random(N), residual: random(M * N) };
          const shares = matmul({ ...spec, splits }, capabilities);
          const { c: parts } = await runKernel(device, shares, { ...operands, c: poisoned(splits * M * N) });
          const sum = matmulSum({ ...spec, splits, bias: true, residual: true }, capabilities);
          const { c } = await runKernel(device, sum, { ...operands, parts: parts!, c: poisoned(M * N) });
          const { value, scale } = reference({ ...spec, bias: true, residual: true }, operands);
          assertClose(c!, value, (i) => 1e-6 * (1 + scale[i]!), shares.name);
        }
      });
  });

  it("shares loads only within subgroups of one size", () => {
    const named = (subgroups: Capabilities["subgroups"]) =>
      matmul({ layout: "nt", M: 256, N: 96, K: 32 }, { ...GPU, software: true, subgroups }).name;
    assert.match(named({ min: 4, max: 4 }), /_4N$/);
    assert.match(named({ min: 8, max: 8 }), /_8N$/);
    assert.notMatch(named({ min: 4, max: 8 }), /N$/);
    assert.notMatch(named(null), /N$/);
  });

  it("counts the work", () => {
    const spec = { layout: "nt", M: 5, N: 3, K: 7, batch: 2, bias: true } as const;
    const kernel = matmul(spec, GPU);
    assert.equal(kernel.flops, 2 * 5 * 3 * (2 * 7 + 1));
    assert.equal(kernel.bytes, 4 * (2 * (35 + 21 + 15) + 3));
    const added = matmul({ ...spec, residual: true }, GPU);
    assert.equal(added.flops, kernel.flops + 30);
    assert.equal(added.bytes, kernel.bytes + 4 * 30);
  });

  it("refuses bad sizes, and buffers or dispatches that exceed the device", () => {
    const spec = { layout: "nn", M: 64, N: 64, K: 64 } as const;
    assert.throws(() => matmul({ ...spec, M: 0 }, GPU), KernelError, /M = 0/);
    assert.throws(() => matmul({ ...spec, K: 1.5 }, GPU), KernelError, /K = 1.5/);
    assert.throws(() => matmul(spec, { ...GPU, maxStorageBufferBindingSize: 64 }), KernelError, /bytes/);
    assert.throws(
      () => matmul({ ...spec, batch: 3 }, { ...GPU, maxComputeWorkgroupsPerDimension: 2 }),
      KernelError,
      /workgroups/,
    );
  });
});
