import { assert } from "chai";
import { baselineCapabilities, type Capabilities } from "../../kernels/capabilities.js";
import { rmsNorm, rmsNormBackward } from "../../kernels/rms_norm.js";
import { EPS, TINY, VARIANTS, assertRefused, runPoisoned } from "../support/kernels.js";
import { assertClose, random } from "../support/random.js";

const eps = 1e-5;

/** Forward with and without residual, then backward, against float64. */
async function check(
  rows: number,
  size: number,
  capabilities: Partial<Capabilities>,
  amplitude = 1,
): Promise<string> {
  const x = random(rows * size, -amplitude, amplitude);
  const residual = random(rows * size, -amplitude, amplitude);
  // A sum of squares of one sign is off by its length in roundings, its inverse root by half of that; 2 ULP of
  // inverseSqrt, and the roundings of the sum of the two inputs, the mean and the product.
  const relative = EPS * (size / 2 + 16);
  for (const add of [false, true]) {
    const r = new Float64Array(rows);
    const y = new Float64Array(x.length);
    const s = Float64Array.from(x, (v, i) => v + (add ? residual[i]! : 0));
    for (let row = 0; row < rows; row++) {
      const part = s.subarray(row * size, (row + 1) * size);
      r[row] = 1 / Math.sqrt(part.reduce((sum, v) => sum + v * v, 0) / size + eps);
      for (let i = 0; i < size; i++) y[row * size + i] = part[i]! * r[row]!;
    }
    const { kernel, results } = await runPoisoned(
      (c) => rmsNorm({ rows, size, eps, residual: add }, c),
      capabilities,
      add ? { x, residual } : { x },
      { y: x.length, inverse_rms: rows },
    );
    // x + residual is rounded once, relative to the result.
    assertClose(results["y"]!, y, (i) => relative * Math.abs(y[i]!) + TINY, kernel.name);
    assertClose(results["inverse_rms"]!, r, (i) => relative * r[i]!, kernel.name);
  }

  const dy = random(rows * size);
  const y = random(rows * size);
  const r = random(rows, 0.1, 10);
  const ds = new Float64Array(dy.length);
  const scale = new Float64Array(dy.length);
  for (let row = 0; row < rows; row++) {
    let mean = 0;
    let meanScale = 0;
    for (let i = row * size; i < (row + 1) * size; i++) {
      mean += (dy[i]! * y[i]!) / size;
      meanScale += Math.abs(dy[i]! * y[i]!) / size;
    }
    for (let i = row * size; i < (row + 1) * size; i++) {
      ds[i] = r[row]! * (dy[i]! - y[i]! * mean);
      scale[i] = r[row]! * (8 * Math.abs(dy[i]!) + (size + 8) * Math.abs(y[i]!) * meanScale);
    }
  }
  const { kernel, results } = await runPoisoned(
    (c) => rmsNormBackward({ rows, size }, c),
    capabilities,
    { dy, y, inverse_rms: r },
    { ds: dy.length },
  );
  assertClose(results["ds"]!, ds, (i) => EPS * scale[i]!, kernel.name);
  return kernel.name;
}

/**
 * Row sizes: one, primes, scalar and vector loads, both sides of the 16 loads from which a GPU gives the row a
 * workgroup, and of that group's 64 lanes.
 */
const SIZES = [1, 2, 3, 4, 7, 15, 17, 60, 63, 64, 65, 68, 252, 256, 260, 331];
/** Both sides of the workgroups of 16 and 64 threads. */
const ROWS = [1, 2, 15, 16, 17, 63, 64, 65];

describe("rms_norm", () => {
  for (const { variant, software } of VARIANTS) {
    it(`agrees with float64 for rows of any size ${variant}`, async () => {
      for (const size of SIZES) await check(3, size, { software });
    });
    it(`agrees with float64 for any number of rows ${variant}`, async () => {
      for (const rows of ROWS) await check(rows, 5, { software });
      for (const rows of [1, 17, 65]) await check(rows, 64, { software });
    });
    it(`is right for large and small rows ${variant}`, async () => {
      for (const size of [6, 64]) {
        await check(2, size, { software }, 1e15);
        await check(2, size, { software }, 1e-8);
        await check(2, size, { software }, 0);
      }
    });
    it(`folds dispatches past the limit ${variant}`, async () => {
      const limit = (workgroups: number) => ({ software, maxComputeWorkgroupsPerDimension: workgroups });
      await check(software ? 119 : 461, 3, limit(3));
      await check(23, 72, limit(5));
    });
  }

  it("gives a row to a thread or to a workgroup, by adapter and size", async () => {
    assert.match(await check(2, 64, { software: true }), /_thread$/);
    assert.match(await check(2, 60, { software: false }), /_thread$/);
    assert.match(await check(2, 64, { software: false }), /_group$/);
  });

  it("counts the bytes", () => {
    const spec = { rows: 3, size: 8, eps };
    assert.equal(rmsNorm(spec, baselineCapabilities).bytes, 4 * (24 + 24 + 3));
    assert.equal(rmsNorm({ ...spec, residual: true }, baselineCapabilities).bytes, 4 * (3 * 24 + 3));
    assert.equal(rmsNormBackward(spec, baselineCapabilities).bytes, 4 * (3 * 24 + 3));
  });

  it("refuses an eps that lets a row of zeros become NaN", () => {
    for (const bad of [0, -1e-5, NaN, Infinity])
      assertRefused(() => rmsNorm({ rows: 1, size: 4, eps: bad }, baselineCapabilities), /eps = /);
  });
});
