import { assert } from "chai";
import { baselineCapabilities, type Capabilities } from "../../kernels/capabilities.js";
import { rope, ropeTables, type RopeSpec } from "../../kernels/rope.js";
import { EPS, VARIANTS, assertRefused, runPoisoned } from "../support/kernels.js";
import { assertClose, largest, random } from "../support/random.js";
import { turned, type Tables } from "../support/rope.js";

type Shape = Omit<RopeSpec, "inverse">;

async function turn(spec: RopeSpec, x: Float32Array, tables: Tables, capabilities: Partial<Capabilities>) {
  const { kernel, results } = await runPoisoned(
    (c) => rope(spec, c),
    capabilities,
    { x, cos_table: tables.cos, sin_table: tables.sin },
    { y: x.length },
  );
  // Two products of at most the amplitude, and their sum.
  assertClose(results["y"]!, turned(spec, x, tables), 4 * EPS * largest(x), kernel.name);
  return results["y"] as Float32Array;
}

async function check(shape: Shape, capabilities: Partial<Capabilities>): Promise<void> {
  const { batch, length, heads, headDim } = shape;
  const x = random(batch * length * 3 * heads * headDim);
  // Any tables will do. Unlike the tables of RoPE, these differ between the two halves.
  const tables = { cos: random(length * headDim), sin: random(length * headDim) };
  for (const inverse of [false, true]) await turn({ ...shape, inverse }, x, tables, capabilities);
  // With the tables of RoPE the transpose undoes the rotation, except for the rounding of cos^2 + sin^2 and of two rotations.
  const real = ropeTables({ length, headDim, theta: 10000 });
  const y = await turn({ ...shape, inverse: false }, x, real, capabilities);
  const back = await turn({ ...shape, inverse: true }, y, real, capabilities);
  assertClose(back, x, 12 * EPS * largest(x), `rope and back ${length}x${headDim}`);
}

/** B, S, H, D: ones, primes, and both sides of the 64 threads (pairs) of a workgroup. */
const SHAPES: readonly Shape[] = [
  { batch: 1, length: 1, heads: 1, headDim: 2 },
  { batch: 2, length: 3, heads: 5, headDim: 6 },
  { batch: 1, length: 21, heads: 1, headDim: 2 },
  { batch: 1, length: 11, heads: 1, headDim: 4 },
  { batch: 3, length: 7, heads: 2, headDim: 8 },
  { batch: 2, length: 17, heads: 3, headDim: 10 },
];

describe("rope", () => {
  for (const { variant, software } of VARIANTS) {
    it(`rotates as float64 does, forth and back ${variant}`, async () => {
      for (const shape of SHAPES) await check(shape, { software });
    });
    it(`folds dispatches past the limit ${variant}`, async () => {
      const shape = { batch: 2, length: 13, heads: 3, headDim: 6 };
      await check(shape, { software, maxComputeWorkgroupsPerDimension: 5 });
    });
  }

  it("has tables of the angles t theta^(-2i/D), to the f32 of the angle", () => {
    for (const [length, headDim, theta] of [
      [1, 2, 10000],
      [17, 6, 10000],
      [900, 64, 10000],
      [81, 32, 500],
    ] as const) {
      const { cos, sin } = ropeTables({ length, headDim, theta });
      const angle = (i: number) => Math.floor(i / headDim) * theta ** ((-2 * (i % (headDim / 2))) / headDim);
      // The exponent, the power, its inverse and the angle are each rounded once.
      const allowed = (i: number) => EPS * (1 + angle(i) * (Math.log(theta) + 3));
      const exact = (f: (x: number) => number) => Float64Array.from(cos, (_, i) => f(angle(i)));
      assertClose(cos, exact(Math.cos), allowed, `cos ${length}x${headDim}`);
      assertClose(sin, exact(Math.sin), allowed, `sin ${length}x${headDim}`);
    }
  });

  it("counts the work", () => {
    const kernel = rope({ batch: 2, length: 3, heads: 5, headDim: 4, inverse: false }, baselineCapabilities);
    // q and k: two products and a sum an element.
    assert.equal(kernel.flops, 3 * 2 * (2 * 3 * 5 * 4));
    assert.equal(kernel.bytes, 4 * (2 * (2 * 3 * 3 * 5 * 4) + 2 * 3 * 4));
  });

  it("refuses odd heads", () => {
    const spec = { batch: 1, length: 1, heads: 1, headDim: 3, inverse: false };
    assertRefused(() => rope(spec, baselineCapabilities), /head size 3.*even/);
  });
});
