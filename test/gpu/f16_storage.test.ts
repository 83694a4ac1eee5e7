/** Kernels that load and store f16. */
import { assert } from "chai";
import type { Device } from "../../engine/index.js";
import { runKernel } from "../../engine/run_kernel.js";
import type { TypedArray } from "../../engine/tensor.js";
import * as kernels from "../../kernels/index.js";
import { matmulSum } from "../../kernels/matmul/split.js";
import { gpuKernels } from "../../kernels/gpu/index.js";
import { baselineCapabilities, type Capabilities } from "../../kernels/capabilities.js";
import { GRADIENT_SCALE, type Kernel } from "../../kernels/core/kernel.js";
import { testDevice } from "../support/device.js";
import { packed, rounded, unpacked, withoutF16 } from "../support/f16.js";
import { assertRefused, VARIANTS } from "../support/kernels.js";
import { assertClose, poisoned, random } from "../support/random.js";

/** A kernel, which of its bindings become f16, and the elements of each binding. */
interface Case {
  readonly make: (capabilities: Capabilities, halves?: readonly string[]) => Kernel;
  readonly halves: readonly string[];
  readonly sizes: Readonly<Record<string, number>>;
}

const norm = (rows: number, size: number, residual: boolean): Case => ({
  make: (c, halves = []) => kernels.rmsNorm({ rows, size, eps: 1e-5, residual, halves }, c),
  halves: residual ? ["x", "residual", "y"] : ["x", "y"],
  sizes: { x: rows * size, residual: rows * size, y: rows * size, inverse_rms: rows },
});
const normBackward = (rows: number, size: number): Case => ({
  make: (c, halves = []) => kernels.rmsNormBackward({ rows, size, halves }, c),
  halves: ["y"],
  sizes: { dy: rows * size, y: rows * size, inverse_rms: rows, ds: rows * size },
});
const gated = (rows: number, inner: number): Case[] => [
  {
    make: (c, halves = []) => kernels.swiglu({ rows, inner, halves }, c),
    halves: ["gate_up", "y"],
    sizes: { gate_up: 2 * rows * inner, y: rows * inner },
  },
  {
    make: (c, halves = []) => kernels.swigluBackward({ rows, inner, halves }, c),
    halves: ["gate_up"],
    sizes: { gate_up: 2 * rows * inner, dy: rows * inner, d_gate_up: 2 * rows * inner },
  },
];
const attend = (spec: kernels.AttentionSpec): Case[] => {
  const rows = spec.batch * spec.length * spec.heads;
  const table = spec.length * spec.headDim;
  const sizes = {
    ...{ qkv: 3 * rows * spec.headDim, d_qkv: 3 * rows * spec.headDim, lse: rows, delta: rows },
    ...{ o: rows * spec.headDim, d_o: rows * spec.headDim, cos_table: table, sin_table: table },
  };
  return [
    { make: (c, halves = []) => kernels.attention({ ...spec, halves }, c), halves: ["qkv", "o"], sizes },
    { make: (c, halves = []) => kernels.attentionDelta({ ...spec, halves }, c), halves: ["o"], sizes },
    { make: (c, halves = []) => kernels.attentionBackward({ ...spec, halves }, c), halves: ["qkv"], sizes },
  ];
};
/** y = -(x + s), z = x s, of a row s that broadcasts and a number that does. */
const elementwise = (rows: number, size: number): Case => ({
  make: (c, halves = []) =>
    kernels.elementwise(
      {
        halves,
        shape: [rows, size],
        inputs: [[rows, size], [size], [1]].map((shape) => ({ shape, dtype: "f32" })),
        statements: [
          { operation: "add", operands: [{ input: 0 }, { input: 1 }], dtype: "f32" },
          { operation: "neg", operands: [{ value: 0 }], dtype: "f32" },
          { operation: "mul", operands: [{ input: 0 }, { input: 2 }], dtype: "f32" },
        ],
        outputs: [{ value: 1 }, { value: 2 }],
      },
      c,
    ),
  halves: ["in0", "in1", "in2", "out1"],
  sizes: { in0: rows * size, in1: size, in2: 1, out0: rows * size, out1: rows * size },
});

const turned: Case = {
  make: (c, halves = []) =>
    kernels.rope({ batch: 2, length: 5, heads: 3, headDim: 10, inverse: false, halves }, c),
  halves: ["x", "y"],
  sizes: { x: 900, y: 900, cos_table: 50, sin_table: 50 },
};
const shares: Case = {
  make: (c, halves = []) =>
    matmulSum({ layout: "tn", M: 5, N: 12, K: 2048, splits: 3, bias: true, residual: true, halves }, c),
  halves: ["residual", "c"],
  sizes: { parts: 180, bias: 12, residual: 60, c: 60 },
};

const ROWS: readonly Case[] = [
  ...[norm(3, 63, true), norm(17, 64, false), norm(2, 260, true), normBackward(3, 63), normBackward(17, 64)],
  ...[...gated(7, 9), ...gated(13, 20), elementwise(5, 7), elementwise(9, 12), turned, shares],
];
const rowCases = VARIANTS.flatMap(({ software }) => ROWS.map((c) => ({ ...c, software })));
const attentionCases = [
  ...attend({ batch: 1, length: 7, heads: 2, headDim: 8, causal: true }).map((c) => ({
    ...c,
    software: true,
  })),
  ...attend({ batch: 2, length: 21, heads: 2, headDim: 32, rope: true }).map((c) => ({
    ...c,
    software: false,
  })),
];

/** The kernel's outputs for these inputs. Outputs start as poison. */
async function run(device: Device, kernel: Kernel, inputs: Readonly<Record<string, Float32Array>>) {
  const inF16 = new Set(kernel.bindings.filter((b) => b.dtype === "f16").map((b) => b.name));
  const data = kernel.bindings.map(({ name, access }): [string, TypedArray] => {
    const values = access === "read" ? inputs[name]! : poisoned(inputs[name]!.length);
    return [name, inF16.has(name) ? packed(values) : values];
  });
  const results = await runKernel(device, kernel, Object.fromEntries(data));
  return Object.fromEntries(
    Object.entries(results).map(([name, x]) => [
      name,
      inF16.has(name) ? unpacked(x, inputs[name]!.length) : x,
    ]),
  );
}

const inputsOf = ({ sizes, halves }: Case): Record<string, Float32Array> =>
  Object.fromEntries(
    Object.entries(sizes).map(([name, n]) => {
      const values = name === "inverse_rms" || name === "lse" ? random(n, 1, 2) : random(n);
      return [name, halves.includes(name) ? rounded(values) : values];
    }),
  );

const capabilitiesOf = (device: Device, software: boolean): Capabilities => ({
  ...device.capabilities,
  software,
  ...(!software && { gpu: gpuKernels }),
});

describe("buffers in f16", () => {
  for (const [what, cases] of [
    ["norms, gates, elementwise kernels and others", rowCases],
    ["attention @slow", attentionCases],
  ] as const)
    it(`are loaded and stored in place of f32 by ${what}`, async () => {
      const device = await testDevice();
      for (const c of cases) {
        const kernel = c.make(capabilitiesOf(device, c.software));
        const inputs = inputsOf(c);
        const expected = await run(device, kernel, inputs);
        const half = c.make(capabilitiesOf(device, c.software), c.halves);
        const inF16 = half.bindings.filter((b) => b.dtype === "f16").map((b) => b.name);
        assert.sameMembers(inF16, [...c.halves], kernel.name);
        const results = await run(device, withoutF16(half), inputs);
        for (const [name, values] of Object.entries(expected))
          assert.deepEqual([...results[name]!], [...values], `${kernel.name} ${name}`);
      }
    });

  it("are rounded once, as they are stored @slow", async function () {
    const device = await testDevice();
    if (!device.capabilities.shaderF16) {
      console.log(`      skipped: ${device.adapter.name} has no shader-f16`);
      this.skip();
    }
    for (const c of [...rowCases, ...attentionCases]) {
      const kernel = c.make(capabilitiesOf(device, c.software));
      const inputs = inputsOf(c);
      const expected = await run(device, kernel, inputs);
      const results = await run(device, c.make(capabilitiesOf(device, c.software), c.halves), inputs);
      for (const [name, values] of Object.entries(expected)) {
        // WGSL may round to either neighbour; compilers contract what they see, and conversions part it.
        const eps = c.halves.includes(name) ? 2 ** -10 : 2 ** -20;
        const scale = Math.max(...Array.from(values, Math.abs));
        assertClose(
          results[name]!,
          values,
          (i) => eps * Math.abs(values[i]!) + 2 ** -20 * scale + (c.halves.includes(name) ? 2 ** -24 : 0),
          `${kernel.name} ${name}`,
        );
      }
    }
  });

  it("hold gradients multiplied by the scale, which is refused for what is only read", async () => {
    const device = await testDevice();
    for (const software of [false, true]) {
      const capabilities = capabilitiesOf(device, software);
      const spec = { rows: 3, inner: 8 };
      const inputs = { gate_up: random(48), dy: random(24), d_gate_up: new Float32Array(48) };
      const plain = kernels.swigluBackward(spec, capabilities);
      const scaled = kernels.swigluBackward({ ...spec, scaled: ["d_gate_up"] }, capabilities);
      assert.deepEqual(
        scaled.bindings.map(({ dtype }) => dtype),
        ["f32", "f32", "f16"],
      );
      assert.equal(plain.bytes - scaled.bytes, 2 * 48);
      const [expected, found] = [
        await run(device, plain, inputs),
        await run(device, withoutF16(scaled), inputs),
      ];
      assert.deepEqual(
        [...found["d_gate_up"]!],
        [...expected["d_gate_up"]!].map((x) => x * GRADIENT_SCALE),
      );
      assertRefused(
        () => kernels.swigluBackward({ ...spec, scaled: ["dy"] }, capabilities),
        /dy in f16; expected a buffer of f32, and one that it writes/,
      );
    }
  });

  it("are refused under names of no f32 buffer", () => {
    const spec = { rows: 2, size: 4, eps: 1e-5 };
    assertRefused(
      () => kernels.rmsNorm({ ...spec, halves: ["z"] }, baselineCapabilities),
      /z in f16; expected a buffer of f32/,
    );
    assertRefused(
      () => kernels.matmul({ layout: "nn", M: 4, N: 4, K: 4, halves: ["a"] }, baselineCapabilities),
      /a in f16; expected f32/,
    );
  });
});
