import { assert } from "chai";
import { baselineCapabilities, type Capabilities } from "../../kernels/capabilities.js";
import { reduce, type ReduceSpec } from "../../kernels/reduce.js";
import { EPS, VARIANTS, assertExact, assertRefused, runPoisoned } from "../support/kernels.js";
import { assertClose, random, randomIntegers } from "../support/random.js";

async function check(spec: ReduceSpec, capabilities: Partial<Capabilities>): Promise<string> {
  const { outer, size, inner, op, dtype } = spec;
  // All below zero, so that a maximum that began at 0 shows; sums of both signs, integers that wrap around.
  const x =
    dtype === "i32"
      ? randomIntegers(outer * size * inner, -(2 ** 31), op === "sum" ? 2 ** 31 : -1)
      : random(outer * size * inner, -2, op === "sum" ? 2 : -1).map((v) => (op === "min" ? -v : v));
  const exact = new Float64Array(outer * inner);
  const scale = new Float64Array(outer * inner);
  for (let i = 0; i < exact.length; i++) {
    const values = Array.from(
      { length: size },
      (_, s) => x[(Math.floor(i / inner) * size + s) * inner + (i % inner)]!,
    );
    exact[i] = op === "sum" ? values.reduce((a, b) => a + b, 0) : Math[op](...values.slice(0, 1));
    if (op !== "sum") for (const v of values) exact[i] = Math[op](exact[i]!, v);
    scale[i] = values.reduce((a, b) => a + Math.abs(b), 0);
    if (dtype === "i32" && op === "sum") exact[i] = values.reduce((a, b) => (a + b) | 0, 0);
  }
  const { kernel, results } = await runPoisoned(
    (c) => reduce(spec, c),
    capabilities,
    { x },
    { y: exact.length },
  );
  if (op === "sum" && dtype === "f32")
    assertClose(results["y"]!, exact, (i) => EPS * size * scale[i]!, kernel.name);
  else assertExact(results["y"]!, exact, kernel.name);
  return kernel.name;
}

/** Outer, size, inner: ones, primes, 4-vectors along either axis, remainders of the 4 running values, workgroup edges. */
const SHAPES = [
  [1, 1, 1],
  [3, 2, 1],
  [2, 3, 5],
  [17, 4, 1],
  [5, 5, 4],
  [16, 7, 1],
  [4, 8, 4],
  [1, 9, 8],
  [13, 12, 1],
  [3, 13, 7],
  [65, 5, 1],
  [1, 6, 63],
  [1, 1, 260],
] as const;

/** Few long outputs, each made by a workgroup of 256 lanes: sizes on both sides of the limit for that, and of the lanes. */
const LONG = {
  software: [
    [1, 16384, 1],
    [2, 16387, 1],
    [1, 16400, 3],
    [1, 16383, 1],
  ],
  gpu: [
    [1, 128, 1],
    [3, 1025, 1],
    [2, 1028, 3],
    [1, 128, 257],
  ],
} as const;

const SPECS = [
  { op: "sum", dtype: "f32" },
  { op: "max", dtype: "f32" },
  { op: "min", dtype: "f32" },
  { op: "sum", dtype: "i32" },
  { op: "max", dtype: "i32" },
  { op: "min", dtype: "i32" },
] as const;

describe("reduce", () => {
  for (const { variant, software } of VARIANTS) {
    for (const { op, dtype } of SPECS) {
      it(`${op} of ${dtype} agrees with float64, or exactly, ${variant}`, async () => {
        for (const [outer, size, inner] of SHAPES)
          await check({ outer, size, inner, op, dtype }, { software });
      });
      it(`${op} of ${dtype} agrees along long axes ${variant}`, async () => {
        const names = [];
        for (const [outer, size, inner] of LONG[software ? "software" : "gpu"])
          names.push(await check({ outer, size, inner, op, dtype }, { software }));
        assert.deepEqual(
          names.map((name) => name.split("_").at(-1)),
          ["group", "group", "group", "thread"],
        );
      });
    }
    it(`folds dispatches past the limit ${variant}`, async () => {
      const limits = { software, maxComputeWorkgroupsPerDimension: 3 };
      await check({ outer: software ? 119 : 461, size: 3, inner: 1, op: "sum", dtype: "f32" }, limits);
      const size = software ? 16384 : 1024;
      await check({ outer: 7, size, inner: 1, op: "max", dtype: "f32" }, limits);
    });
  }

  it("counts the work", () => {
    const kernel = reduce({ outer: 2, size: 5, inner: 3, op: "sum", dtype: "f32" }, baselineCapabilities);
    assert.equal(kernel.flops, 2 * 3 * 4);
    assert.equal(kernel.bytes, 4 * (2 * 5 * 3 + 2 * 3));
  });

  it("refuses an operation that it does not know", () => {
    const spec = { outer: 1, size: 1, inner: 1, op: "mean", dtype: "f32" } as unknown as ReduceSpec;
    assertRefused(() => reduce(spec, baselineCapabilities), /"mean".*sum, max or min/);
  });
});
