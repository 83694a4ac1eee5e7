/**
 * Matmul of rounded operands on subgroup matrices: emulated on every device, and on the device's own matrices if it has them.
 * The file is longer than 400 lines because both kinds of device run the same checks.
 */
import { assert } from "chai";
import {
  AdapterError,
  attention as attentionOf,
  compile,
  f32,
  grad,
  linear,
  mean,
  mul,
  plan,
  square,
  sum,
  swiglu,
  variable,
  type Device,
  type Tensor,
  type TensorLike,
  type Target,
} from "../../engine/index.js";
import {
  mixedPrecisionOn,
  SUBGROUP_MATRIX_FEATURE,
  subgroupMatrices,
  mixedPrecisionTarget,
  withMixedPrecision,
} from "../../engine/mixed_precision.js";
import { defaultTraits, Ledger, targetOf } from "../../engine/planning.js";
import { runKernel } from "../../engine/run_kernel.js";
import { attention } from "../../kernels/attention/choose.js";
import { attentionBackward } from "../../kernels/attention/choose_backward.js";
import { gpuKernels } from "../../kernels/gpu/index.js";
import {
  baselineCapabilities,
  type Capabilities,
  type AttentionVariants,
} from "../../kernels/capabilities.js";
import type { Kernel } from "../../kernels/core/kernel.js";
import { matmul, matmulVariants } from "../../kernels/matmul/choose.js";
import {
  matmulName,
  type MatmulLayout,
  type MatmulSpec,
  type GatedSpec,
  type SubgroupMatrices,
} from "../../kernels/matmul/spec.js";
import { GRADIENT_SCALE } from "../../kernels/core/kernel.js";
import { gatedProduct, matrixVariants } from "../../kernels/matmul/subgroup_matrices.js";
import { createTrainer, type StepMetrics } from "../../hrm/index.js";
import { testDevice } from "../support/device.js";
import { openTestDevice } from "../support/platform.js";
import { assertClose, largest, poisoned, random } from "../support/random.js";
import { packed, rounded, unpacked } from "../support/f16.js";
import {
  emulatedByEights as emulated,
  EMULATED_BY_EIGHTS as EMULATED,
  whereEmulated,
} from "../support/subgroup_matrices.js";
import { randomPuzzles, official, training } from "../support/tiny.js";

const LAYOUTS: MatmulLayout[] = ["nn", "nt", "tn"];

const mixed = (capabilities: Capabilities, matrices: SubgroupMatrices): Capabilities => ({
  ...capabilities,
  mixedPrecision: { name: "test", variants: (product) => matrixVariants(product, matrices) },
});

/** With as many threads as take staged rows in the order that spreads them over the banks of the memory. */
const LARGE = { ...EMULATED, subgroupSize: 8 };

/** Relative error of an operand that was rounded to either of its neighbours in f16. */
const F16_EPS = 2 ** -10;

interface CheckOptions extends Partial<Capabilities> {
  /** Changes each kernel before it runs. */
  readonly of?: (kernel: Kernel) => Kernel;
  /** Which of the variants, by their place in the list; all by default. */
  readonly variants?: readonly number[];
  /** Relative error of each operand. */
  readonly rounding?: number;
  /** Magnitude of the gradient. */
  readonly size?: number;
}

/** Runs the variants of a product on poisoned memory and compares each with float64. */
async function check(
  device: Device,
  spec: MatmulSpec,
  matrices: SubgroupMatrices,
  { of = (kernel) => kernel, variants, rounding = F16_EPS, size = 1, ...limits }: CheckOptions = {},
): Promise<void> {
  const { layout, M, N, K, batch = 1, gradient, halves = [] } = spec;
  const capabilities = mixed({ ...device.capabilities, ...limits }, matrices);
  const scaled = (data: Float32Array, is: boolean) => (is ? data.map((x) => x * size) : data);
  /** A gradient in f16 is stored multiplied. */
  const factor = (name: string) => (name === gradient && halves.includes(name) ? GRADIENT_SCALE : 1);
  const stored = (name: string, data: Float32Array) =>
    halves.includes(name) ? rounded(data.map((x) => x * factor(name))).map((x) => x / factor(name)) : data;
  const a = stored("a", scaled(random(batch * M * K), gradient === "a"));
  const b = stored("b", scaled(random(batch * K * N), gradient === "b"));
  const bias = random(N);
  const residual = stored("residual", random(batch * M * N));
  const value = new Float64Array(batch * M * N);
  const scale = new Float64Array(batch * M * N);
  for (let i = 0; i < value.length; i++) {
    const [n, m, g] = [i % N, Math.floor(i / N) % M, Math.floor(i / (N * M))];
    for (let k = 0; k < K; k++) {
      const product =
        a[g * M * K + (layout === "tn" ? k * M + m : m * K + k)]! *
        b[g * K * N + (layout === "nt" ? n * K + k : k * N + n)]!;
      value[i]! += product;
      scale[i]! += Math.abs(product);
    }
    if (spec.bias) value[i]! += bias[n]!;
    if (spec.residual) value[i]! += residual[i]!;
  }
  const added = spec.bias || spec.residual ? 1 : 0;
  const all = matmulVariants(spec, capabilities);
  const names = variants ? variants.map((v) => all.at(v)!) : all;
  assert.isNotEmpty(names);
  for (const name of names) {
    assert.match(name, /^m\d+x\d+x\d+_\dx\d_f16$/);
    const kernel = of(matmul(spec, { ...capabilities, choices: { [matmulName(spec)]: name } }));
    const data = { a, b, bias, residual, c: poisoned(batch * M * N) };
    // In chunks, an emulation binds words.
    const inF16 = kernel.bindings
      .filter(({ dtype }) => dtype === "f16" || dtype === "u32")
      .map((b) => b.name);
    if (of !== emulated) assert.sameMembers(inF16, [...halves], kernel.name);
    const bound = Object.entries(data).map(
      ([n, x]) => [n, halves.includes(n) ? x.map((v) => v * factor(n)) : x] as const,
    );
    const { c } = await runKernel(
      device,
      kernel,
      Object.fromEntries(bound.map(([n, x]) => [n, inF16.includes(n) ? packed(x) : x])),
    );
    const result = inF16.includes("c") ? unpacked(c!, value.length) : c!;
    // The operands are rounded, f32 sums products that fit f32, and the result is rounded if it is stored in f16.
    const last = inF16.includes("c") ? F16_EPS : 0;
    const allowed = (i: number) =>
      (2 * rounding + 1e-6) * scale[i]! + 1e-6 * added + last * (Math.abs(value[i]!) + 2 ** -14);
    assertClose(result, value, allowed, kernel.name);
  }
}

describe("mixed precision", () => {
  describe("on emulated subgroup matrices", () => {
    before(whereEmulated);
    /** The smallest tile, which compiles fastest. */
    const smallest = [0];
    LAYOUTS.forEach((layout) => {
      const others = layout === "nt" ? "" : " @slow";
      it(`${layout} agrees with float64 past a tile edge${others}`, async () => {
        const device = await testDevice();
        await check(device, { layout, M: 20, N: 36, K: 24 }, EMULATED, { of: emulated, variants: smallest });
        await check(device, { layout, M: 19, N: 17, K: 10 }, EMULATED, { of: emulated, variants: smallest });
      });
      it(`${layout} takes operands, residual and result in f16${others}`, async () => {
        const device = await testDevice();
        const options = { of: emulated, variants: smallest };
        const all = { residual: true, halves: ["a", "b", "residual", "c"] };
        await check(device, { layout, M: 32, N: 48, K: 40, halves: ["a", "b"] }, EMULATED, options);
        await check(device, { layout, M: 24, N: 40, K: 24, ...all }, EMULATED, options);
        const gradient = { gradient: "a", halves: ["a", "b"], residual: true } as const;
        await check(device, { layout, M: 24, N: 40, K: 24, ...gradient }, EMULATED, options);
        await check(device, { layout, M: 11, N: 9, K: 10, bias: true, ...all }, EMULATED, options);
      });
    });
    it("nt stores whole tiles as matrices @slow", async () => {
      const device = await testDevice();
      const options = { of: emulated, variants: smallest };
      await check(device, { layout: "nt", M: 32, N: 48, K: 40 }, EMULATED, options);
      const added = { residual: true, gradient: "b" } as const;
      await check(device, { layout: "nt", M: 16, N: 32, K: 9, batch: 2, ...added }, EMULATED, options);
    });
    it("tn begins at another k in each of many tiles @slow", async () => {
      const device = await testDevice();
      const options = { of: emulated, variants: smallest };
      await check(device, { layout: "tn", M: 16, N: 136, K: 48 }, EMULATED, options);
      await check(device, { layout: "tn", M: 24, N: 144, K: 16, halves: ["a", "b"] }, EMULATED, options);
    });
    it("nn takes a batch, a bias, a residual and a gradient @slow", async () => {
      const device = await testDevice();
      const options = { of: emulated, variants: smallest, maxComputeWorkgroupsPerDimension: 5 };
      const added = { bias: true, residual: true };
      await check(device, { layout: "nn", M: 17, N: 36, K: 8, batch: 2, ...added }, EMULATED, options);
      await check(device, { layout: "nn", M: 20, N: 9, K: 13, bias: true, gradient: "a" }, EMULATED, options);
      await check(
        device,
        { layout: "nn", M: 9, N: 19, K: 10, residual: true, gradient: "b" },
        EMULATED,
        options,
      );
    });
    // Larger tiles differ in nothing but counts, and are more than a software adapter compiles.
    it("agrees with float64 if a subgroup has several matrices @slow", async () => {
      const device = await testDevice();
      await check(device, { layout: "nn", M: 36, N: 44, K: 40 }, LARGE, { of: emulated, variants: [-1] });
    });
  });

  describe("a product with SwiGLU after it", () => {
    const agrees = async (
      device: Device,
      spec: GatedSpec,
      matrices: SubgroupMatrices,
      of: (kernel: Kernel) => Kernel = (kernel) => kernel,
    ): Promise<void> => {
      const { rows, inner, K, halves } = spec;
      const kernel = of(gatedProduct(spec, device.capabilities, matrices)!);
      const stored = (name: string, data: Float32Array) => (halves.includes(name) ? rounded(data) : data);
      const [a, b] = [stored("a", random(rows * K)), stored("b", random(2 * inner * K))];
      const inF16 = kernel.bindings
        .filter(({ dtype }) => dtype === "f16" || dtype === "u32")
        .map((x) => x.name);
      const data = Object.entries({ a, b, c: poisoned(rows * inner) });
      const bound = data.map(([n, x]) => [n, inF16.includes(n) ? packed(x) : x] as const);
      const { c } = await runKernel(device, kernel, Object.fromEntries(bound));
      const sums = (m: number, n: number): { value: number; scale: number } => {
        const products = Array.from({ length: K }, (_, k) => a[m * K + k]! * b[n * K + k]!);
        const total = (values: number[]) => values.reduce((x, y) => x + y, 0);
        return { value: total(products), scale: total(products.map(Math.abs)) };
      };
      const expected = new Float64Array(rows * inner);
      const allowed = new Float64Array(rows * inner);
      for (let i = 0; i < expected.length; i++) {
        const gate = sums(Math.floor(i / inner), i % inner);
        const up = sums(Math.floor(i / inner), inner + (i % inner));
        const silu = gate.value / (1 + Math.exp(-gate.value));
        expected[i] = silu * up.value;
        // The derivative of silu is below 1.1; each sum is off by two rounded operands a product.
        const off = 2 * F16_EPS + 1e-6;
        const [offGate, offUp] = [1.1 * off * gate.scale, off * up.scale];
        allowed[i] = Math.abs(silu) * offUp + Math.abs(up.value) * offGate + offGate * offUp + 1e-6;
        if (inF16.includes("c")) allowed[i]! += F16_EPS * Math.abs(expected[i]!) + 2 ** -24;
      }
      const result = inF16.includes("c") ? unpacked(c!, expected.length) : c!;
      assertClose(result, expected, (i) => allowed[i]!, kernel.name);
    };

    it("agrees with float64 on emulated matrices @slow", async function () {
      whereEmulated.call(this);
      const device = await testDevice();
      await agrees(device, { rows: 37, inner: 32, K: 40, halves: ["a", "b", "c"] }, LARGE, emulated);
    });

    it("agrees with float64 on the device's matrices @slow", async function () {
      this.timeout(600_000);
      const device = await openTestDevice();
      try {
        if (!device.adapter.features.includes(SUBGROUP_MATRIX_FEATURE)) {
          console.log(`      skipped: ${device.adapter.name} has no ${SUBGROUP_MATRIX_FEATURE}`);
          this.skip();
        }
        const matrices = subgroupMatrices(device);
        for (const halves of [["b"], ["a", "b", "c"]])
          await agrees(device, { rows: 5 * matrices.M + 3, inner: 8 * matrices.N, K: 72, halves }, matrices);
      } finally {
        device.destroy();
      }
    });

    it("replaces both kernels in programs if nothing else reads the product", () => {
      const target = withMixedPrecision(targetOf(defaultTraits), EMULATED);
      const device = new Ledger(target);
      const w = variable(device, { shape: [256, 64], dtype: "f32" }, "w");
      const v = variable(device, { shape: [64, 128], dtype: "f32" }, "v");
      const names = (body: (x: Tensor) => Readonly<Record<string, TensorLike>>): string =>
        plan(target, { x: f32(4, 32, 64) }, ({ x }) => body(x))
          .dispatches.map(({ kernel }) => kernel.name.replace(/_\d.*$/, ""))
          .join(" ");
      assert.equal(
        names((x) => ({ y: mean(linear(swiglu(linear(x, w)), v)) })),
        "matmul_gated_half_c matmul_nt_half_a reduce_sum_f32 elementwise_mul_scalar",
      );
      const product = "matmul_nt_half_c swiglu";
      assert.include(
        names((x) => ({ g: grad(mean(square(swiglu(linear(x, w)))), w) })),
        product,
      );
      const both = names((x) => {
        const y = linear(x, w);
        return { y: mean(swiglu(y)), z: mean(y) };
      });
      assert.match(both, /^matmul_nt /);
      assert.include(both, " swiglu");
    });

    it("stays two kernels if no tile holds gates with their values", () => {
      const spec = { rows: 64, inner: 12, K: 64, halves: [] };
      assert.isNull(gatedProduct(spec, baselineCapabilities, EMULATED));
    });
  });

  it("leaves products that are smaller than one matrix in f32", () => {
    const capabilities = mixed(baselineCapabilities, { ...EMULATED, M: 16, N: 16, K: 16 });
    for (const size of [{ M: 15 }, { N: 15 }, { K: 15 }]) {
      const spec = { layout: "nt", M: 64, N: 64, K: 64, ...size } as const;
      assert.deepEqual(matmul(spec, capabilities), matmul(spec, baselineCapabilities));
    }
  });

  it("computes attention on a GPU's matrices if they divide head vectors, else by quads", () => {
    const tensorCores = { M: 16, N: 16, K: 16, component: "f16", subgroupSize: 32 } as const;
    const f32 = { ...baselineCapabilities, gpu: gpuKernels, subgroups: { min: 32, max: 32 } };
    const capabilities = { ...f32, mixedPrecision: mixedPrecisionOn(tensorCores) };
    const spec = { batch: 2, length: 82, heads: 4, headDim: 64 };
    for (const family of [attention, attentionBackward]) {
      assert.match(family(spec, capabilities).name, /_m\d+x\d+$/);
      assert.match(family({ ...spec, rope: true }, capabilities).name, /_rope_.*_m\d+x\d+$/);
      const wide = { ...spec, headDim: 144 };
      assert.deepEqual(family(wide, capabilities), family(wide, f32));
      assert.deepEqual(
        family(spec, { ...capabilities, software: true }),
        family(spec, { ...f32, software: true }),
      );
    }
  });

  it("offers tiles that the device has the memory and the threads for", () => {
    const spec = { layout: "nn", M: 4096, N: 4096, K: 64, halves: ["a", "b"] } as const;
    const tensorCores = { M: 16, N: 16, K: 16, component: "f16", subgroupSize: 32 } as const;
    const offered = (limits: Partial<Capabilities>) =>
      matmulVariants(spec, mixed({ ...baselineCapabilities, ...limits }, tensorCores));
    assert.equal(offered({ maxComputeWorkgroupStorageSize: 49152 })[0], "m128x128x32_2x2_f16");
    assert.notInclude(offered({}), "m128x128x32_2x2_f16", "needs more than 16 KB");
    assert.notInclude(offered({ maxComputeInvocationsPerWorkgroup: 128 }), "m128x256x32_2x4_f16");
  });

  it("says what an unsuitable device lacks", async () => {
    const device = await testDevice();
    const without = { ...device, gpu: device.gpu, adapter: { ...device.adapter, features: [] } };
    await mixedPrecisionTarget(without as unknown as Device).then(
      () => assert.fail("no error"),
      (error: unknown) => {
        assert.instanceOf(error, AdapterError);
        assert.include((error as Error).message, `lacks ${SUBGROUP_MATRIX_FEATURE}`);
      },
    );
    assert.notProperty(device.capabilities, "mixedPrecision");
  });

  describe("on the device's subgroup matrices", () => {
    let device: Device;
    let matrices: SubgroupMatrices;
    let mixedTarget: Target;
    before(async function () {
      device = await openTestDevice();
      if (device.adapter.features.includes(SUBGROUP_MATRIX_FEATURE)) {
        matrices = subgroupMatrices(device);
        mixedTarget = await mixedPrecisionTarget(device);
      } else {
        console.log(`      skipped: ${device.adapter.name} has no ${SUBGROUP_MATRIX_FEATURE}`);
        this.skip();
      }
    });
    after(() => device.destroy());

    for (const layout of LAYOUTS)
      it(`${layout} agrees with float64 within the rounding errors @slow`, async function () {
        this.timeout(600_000);
        const { M, N, K } = matrices;
        // A CPU takes minutes to compile the larger tiles.
        const options = { ...(device.capabilities.software && { variants: [0] }) };
        for (const spec of [
          { layout, M: 2 * M, N: 2 * N, K: 2 * K, residual: true },
          { layout, M: 4 * M + 3, N: 4 * N + 5, K: 2 * K + 7, bias: true, residual: true },
          { layout, M: 2 * M, N: 2 * N, K: 2 * K, halves: ["a", "b", "c"] },
          {
            layout,
            M: 4 * M + 4,
            N: 4 * N + 4,
            K: 2 * K + 4,
            residual: true,
            halves: ["b", "residual", "c"],
          },
        ])
          await check(device, spec, matrices, options);
        const gradient = { layout, M: M + 4, N: N + 4, K: 64, gradient: "a" } as const;
        // Without the scale, f16 keeps 3 bits of numbers around 2^-21.
        await check(device, gradient, matrices, { ...options, size: 2 ** -21 });
        assert.isBelow(2 ** -21 * 8, 2 ** -14, "such numbers are subnormal in f16");
        assert.isAbove(2 ** -21 * GRADIENT_SCALE, 2 ** -14, "and scaled they are not");
      });

    it("attends as f32 does up to rounding, forward and backward, in programs @slow", async function () {
      this.timeout(600_000);
      const data = {
        x: random(2 * 9 * 192),
        dO: random(2 * 9 * 64),
        cos: random(9 * 32),
        sin: random(9 * 32),
      };
      const attend = async (on: Device, of: Partial<Capabilities>) => {
        const target = { ...(on === device ? mixedTarget : on.target) };
        const capabilities = { ...target.capabilities, ...of };
        const program = await compile(
          on,
          { x: f32(2, 9, 192), dO: f32(2, 9, 64), cos: f32(9, 32), sin: f32(9, 32) },
          ({ x, dO, cos, sin }) => {
            const o = attentionOf(x, { heads: 2, rope: { cos, sin } });
            return { o, d: grad(sum(mul(o, dO)), x) };
          },
          { target: { ...target, capabilities } },
        );
        await program.run(data);
        const results = { o: await program.read("o"), d: await program.read("d") };
        const names = program.plan.dispatches.map(({ kernel }) => kernel.name);
        program.destroy();
        return { names, results };
      };
      // As on a GPU, but with tiles that a CPU compiles in time.
      const { variants, name } = mixedTarget.capabilities.mixedPrecision!;
      const { attention, attentionBackward } = mixedPrecisionOn(matrices);
      const small =
        (family: AttentionVariants): AttentionVariants =>
        (spec, capabilities) =>
          family(spec, { ...capabilities, software: device.capabilities.software });
      const own = {
        name,
        variants,
        attention: small(attention),
        attentionBackward: small(attentionBackward),
      };
      const rounded = await attend(device, { software: false, gpu: gpuKernels, mixedPrecision: own });
      const exact = await attend(await testDevice(), {});
      assert.lengthOf(
        rounded.names.filter((kernel) => /^attention.*_rope_.*_m\d+x\d+$/.test(kernel)),
        2,
      );
      for (const result of ["o", "d"] as const)
        assertClose(
          rounded.results[result],
          exact.results[result],
          16 * F16_EPS * largest(exact.results[result]),
          result,
        );
    });

    it("gives a training step's losses and gradient norm up to rounding @slow", async function () {
      this.timeout(600_000);
      const config = { ...official, hidden_size: 4 * matrices.K, num_heads: 2, batch_size: 2 * matrices.M };
      const data = randomPuzzles(64, config, 3);
      const steps = async (on: Device): Promise<StepMetrics[]> => {
        const trainer = await createTrainer({ device: on, config, train: training, data, seed: 5 });
        try {
          await trainer.run(3);
          return await trainer.metrics();
        } finally {
          trainer.destroy();
        }
      };
      const rounded = await steps(device);
      const exact = await steps(await testDevice());
      rounded.forEach((step, i) => {
        assert.approximately(step.lm_loss, exact[i]!.lm_loss, 0.02 * exact[i]!.lm_loss);
        assert.approximately(step.gradientNorm, exact[i]!.gradientNorm, 0.05 * exact[i]!.gradientNorm);
      });
    });
  });
});
