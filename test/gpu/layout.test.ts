import { assert } from "chai";
import type { TypedArray } from "../../engine/tensor.js";
import { baselineCapabilities, type Capabilities } from "../../kernels/capabilities.js";
import type { Dtype } from "../../kernels/core/kernel.js";
import {
  concat,
  pad,
  stridedCopy,
  type ConcatSpec,
  type PadSpec,
  type StridedCopySpec,
} from "../../kernels/layout.js";
import { VARIANTS, assertExact, assertRefused, runPoisoned } from "../support/kernels.js";
import { random, randomIntegers } from "../support/random.js";

const product = (values: readonly number[]): number => values.reduce((a, b) => a * b, 1);
const DTYPES: readonly Dtype[] = ["f32", "i32", "u32"];

function someValues(count: number, dtype: Dtype): TypedArray {
  const integers = randomIntegers(count, -(2 ** 31), 2 ** 31);
  return dtype === "f32" ? random(count) : dtype === "i32" ? integers : new Uint32Array(integers.buffer);
}

/** Digits of a linear index over a shape, outermost first. */
function digits(shape: readonly number[], index: number): number[] {
  let rest = index;
  return [...shape]
    .reverse()
    .map((n) => [rest % n, (rest = Math.floor(rest / n))][0]!)
    .reverse();
}

type Shape<Spec> = Omit<Spec, "dtype">;

async function checkCopy(spec: StridedCopySpec, capabilities: Partial<Capabilities>): Promise<string> {
  const { shape, strides, offset, sourceElements, dtype } = spec;
  const x = someValues(sourceElements, dtype);
  const { kernel, results } = await runPoisoned(
    (c) => stridedCopy(spec, c),
    capabilities,
    { x },
    { y: product(shape) },
  );
  const expected = Array.from(
    { length: product(shape) },
    (_, i) => x[digits(shape, i).reduce((at, digit, k) => at + digit * strides[k]!, offset)]!,
  );
  assertExact(results["y"]!, expected, kernel.name);
  return kernel.code;
}

async function checkPad(spec: PadSpec, capabilities: Partial<Capabilities>): Promise<void> {
  const { shape, source, start, dtype } = spec;
  const x = someValues(product(source), dtype);
  const { kernel, results } = await runPoisoned(
    (c) => pad(spec, c),
    capabilities,
    { x },
    { y: product(shape) },
  );
  const expected = Array.from({ length: product(shape) }, (_, i) => {
    const inside = digits(shape, i).map((digit, k) => digit - start[k]!);
    if (inside.some((digit, k) => digit < 0 || digit >= source[k]!)) return 0;
    return x[inside.reduce((at, digit, k) => at * source[k]! + digit, 0)]!;
  });
  assertExact(results["y"]!, expected, kernel.name);
}

async function checkConcat(spec: ConcatSpec, capabilities: Partial<Capabilities>): Promise<void> {
  const { outer, sizes, inner, dtype } = spec;
  const inputs = sizes.map((n) => someValues(outer * n * inner, dtype));
  const total = sizes.reduce((a, b) => a + b, 0);
  const { kernel, results } = await runPoisoned(
    (c) => concat(spec, c),
    capabilities,
    Object.fromEntries(inputs.map((x, i) => [`x${i}`, x])),
    { y: outer * total * inner },
  );
  const expected = Array.from({ length: outer }, (_, o) =>
    inputs.map((x, i) => [...x.subarray(o * sizes[i]! * inner, (o + 1) * sizes[i]! * inner)]),
  ).flat(2);
  assertExact(results["y"]!, expected, kernel.name);
}

/** The copies, and whether 4-vectors can move them. */
const COPIES: readonly (readonly [string, Shape<StridedCopySpec>, boolean])[] = [
  ["a scalar", { shape: [], strides: [], offset: 0, sourceElements: 1 }, false],
  ["one of many", { shape: [1, 1], strides: [5, 1], offset: 7, sourceElements: 10 }, false],
  ["a whole", { shape: [5, 8], strides: [8, 1], offset: 0, sourceElements: 40 }, true],
  ["an odd whole", { shape: [7, 11], strides: [11, 1], offset: 0, sourceElements: 77 }, false],
  ["a slice of rows", { shape: [3, 8], strides: [8, 1], offset: 16, sourceElements: 40 }, true],
  ["a slice of columns", { shape: [5, 4], strides: [12, 1], offset: 4, sourceElements: 60 }, true],
  ["columns off the grid of 4", { shape: [5, 4], strides: [12, 1], offset: 3, sourceElements: 60 }, false],
  ["rows off the grid of 4", { shape: [5, 4], strides: [11, 1], offset: 4, sourceElements: 55 }, false],
  ["a transpose", { shape: [7, 5], strides: [1, 7], offset: 0, sourceElements: 35 }, false],
  [
    "a transpose in one block of 4 x 4",
    { shape: [4, 4], strides: [1, 4], offset: 0, sourceElements: 16 },
    true,
  ],
  ["a transpose in blocks", { shape: [12, 8], strides: [1, 12], offset: 0, sourceElements: 96 }, true],
  [
    "a transpose of more blocks than a workgroup",
    { shape: [20, 68], strides: [1, 20], offset: 0, sourceElements: 1360 },
    true,
  ],
  [
    "a transpose with rows off the blocks",
    { shape: [12, 9], strides: [1, 12], offset: 0, sourceElements: 108 },
    false,
  ],
  [
    "a transpose with columns off the blocks",
    { shape: [11, 8], strides: [1, 11], offset: 0, sourceElements: 88 },
    false,
  ],
  ["a transpose of a slice", { shape: [8, 4], strides: [1, 20], offset: 8, sourceElements: 80 }, true],
  [
    "a transpose of a slice off the grid of 4",
    { shape: [8, 4], strides: [1, 20], offset: 6, sourceElements: 80 },
    false,
  ],
  ["a batch of transposes", { shape: [3, 8, 12], strides: [96, 1, 8], offset: 0, sourceElements: 288 }, true],
  [
    "a rotation of dimensions",
    { shape: [4, 3, 8], strides: [1, 32, 4], offset: 0, sourceElements: 96 },
    true,
  ],
  [
    "a reversal of dimensions",
    { shape: [4, 5, 8], strides: [1, 4, 20], offset: 0, sourceElements: 160 },
    true,
  ],
  ["a transpose repeated", { shape: [2, 8, 4], strides: [0, 1, 8], offset: 0, sourceElements: 32 }, true],
  [
    "a swap of outer dimensions",
    { shape: [3, 2, 8], strides: [8, 24, 1], offset: 0, sourceElements: 48 },
    true,
  ],
  ["a broadcast of rows", { shape: [6, 4], strides: [0, 1], offset: 0, sourceElements: 4 }, true],
  ["a broadcast of columns", { shape: [4, 8], strides: [1, 0], offset: 0, sourceElements: 4 }, true],
  [
    "a broadcast of one number",
    { shape: [3, 4, 5], strides: [0, 0, 0], offset: 2, sourceElements: 3 },
    false,
  ],
  ["every third", { shape: [9], strides: [3], offset: 1, sourceElements: 26 }, false],
  ["more than a workgroup", { shape: [9, 5, 8], strides: [40, 8, 1], offset: 0, sourceElements: 360 }, true],
  ["65 threads", { shape: [5, 13], strides: [1, 5], offset: 0, sourceElements: 65 }, false],
];

const PADS: readonly Shape<PadSpec>[] = [
  { shape: [], source: [], start: [] },
  { shape: [1], source: [1], start: [0] },
  { shape: [7], source: [3], start: [0] },
  { shape: [7], source: [3], start: [4] },
  { shape: [5, 13], source: [5, 6], start: [0, 4] },
  { shape: [4, 16], source: [2, 16], start: [1, 0] },
  { shape: [3, 5, 7], source: [1, 3, 7], start: [2, 1, 0] },
  { shape: [3, 5, 7], source: [3, 5, 7], start: [0, 0, 0] },
];

const CONCATS: readonly Shape<ConcatSpec>[] = [
  { outer: 1, sizes: [1], inner: 1 },
  { outer: 1, sizes: [3, 4], inner: 1 },
  { outer: 5, sizes: [1, 2], inner: 3 },
  { outer: 3, sizes: [4, 8], inner: 1 },
  { outer: 3, sizes: [1, 3], inner: 4 },
  { outer: 13, sizes: [2, 1, 2], inner: 2 },
  { outer: 4, sizes: [1, 2, 3, 4, 5, 6, 7], inner: 4 },
];

describe("layout", () => {
  for (const { variant, software } of VARIANTS) {
    for (const [what, shape, vector] of COPIES)
      it(`copies ${what} ${variant}`, async () => {
        for (const dtype of DTYPES) {
          const code = await checkCopy({ ...shape, dtype }, { software });
          assert.equal(/y: array<vec4</.test(code), vector, "4 at a time");
        }
      });
    it(`pads blocks with zeros ${variant}`, async () => {
      for (const shape of PADS) await checkPad({ ...shape, dtype: "f32" }, { software });
      for (const dtype of DTYPES)
        await checkPad({ shape: [6, 5], source: [4, 2], start: [1, 3], dtype }, { software });
    });
    it(`concatenates one to seven inputs ${variant}`, async () => {
      for (const shape of CONCATS) await checkConcat({ ...shape, dtype: "f32" }, { software });
      for (const dtype of DTYPES)
        await checkConcat({ outer: 2, sizes: [3, 1], inner: 5, dtype }, { software });
    });
    it(`folds dispatches past the limit ${variant}`, async () => {
      const limits = { software, maxComputeWorkgroupsPerDimension: 3 };
      await checkCopy(
        { shape: [7, 67], strides: [1, 7], offset: 0, sourceElements: 469, dtype: "f32" },
        limits,
      );
      await checkPad({ shape: [7, 67], source: [3, 50], start: [2, 9], dtype: "f32" }, limits);
      await checkConcat({ outer: 7, sizes: [60, 7], inner: 1, dtype: "f32" }, limits);
    });
  }

  const copy = { shape: [2, 3], strides: [3, 1], offset: 0, sourceElements: 6, dtype: "f32" } as const;
  const block = { shape: [4, 4], source: [2, 2], start: [1, 1], dtype: "f32" } as const;
  const join = { outer: 2, sizes: [1, 2], inner: 3, dtype: "f32" } as const;

  it("counts the bytes", () => {
    assert.equal(stridedCopy(copy, baselineCapabilities).bytes, 4 * (6 + 6));
    // A broadcast reads its source once.
    const row = { ...copy, strides: [0, 1], sourceElements: 3 };
    assert.equal(stridedCopy(row, baselineCapabilities).bytes, 4 * (3 + 6));
    assert.equal(pad(block, baselineCapabilities).bytes, 4 * (4 + 16));
    assert.equal(concat(join, baselineCapabilities).bytes, 4 * (18 + 18));
  });

  it("refuses copies that leave their source", () => {
    const refused = (changes: Partial<StridedCopySpec>, message: RegExp) =>
      assertRefused(() => stridedCopy({ ...copy, ...changes }, baselineCapabilities), message);
    refused({ offset: 1 }, /last element 6.*6 source elements/);
    refused({ strides: [4, 1] }, /last element 6/);
    refused({ offset: -1 }, /offset -1/);
    refused({ strides: [-3, 1], offset: 3 }, /strides \[-3, 1\]/);
    refused({ strides: [3, 0.5] }, /strides \[3, 0.5\]/);
    refused({ strides: [3] }, /2 strides/);
    refused({ shape: [2, 0] }, /dimension 1 = 0/);
    refused({ sourceElements: 0 }, /sourceElements = 0/);
  });

  it("refuses blocks that leave their surroundings", () => {
    const refused = (changes: Partial<PadSpec>, message: RegExp) =>
      assertRefused(() => pad({ ...block, ...changes }, baselineCapabilities), message);
    refused({ start: [1, 3] }, /block \[2, 2\] at \[1, 3\].*inside \[4, 4\]/);
    refused({ start: [-1, 0] }, /at \[-1, 0\]/);
    refused({ start: [0.5, 0] }, /at \[0.5, 0\]/);
    refused({ start: [1] }, /at \[1\]/);
    refused({ source: [2] }, /block \[2\]/);
    refused({ shape: [4, 0] }, /dimension 1 = 0/);
    refused({ source: [2, 0] }, /source dimension 1 = 0/);
  });

  it("refuses to concatenate nothing, or more than the device binds", () => {
    const refused = (changes: Partial<ConcatSpec>, message: RegExp) =>
      assertRefused(() => concat({ ...join, ...changes }, baselineCapabilities), message);
    refused({ sizes: [] }, /inputs = 0/);
    refused({ sizes: [1, 0] }, /size 1 = 0/);
    refused({ sizes: [1, 1, 1, 1, 1, 1, 1, 1] }, /8 inputs.*at most 7/);
  });
});
