import { assert } from "chai";
import { baselineCapabilities, type Capabilities } from "../../kernels/capabilities.js";
import { swiglu, swigluBackward, type SwigluSpec } from "../../kernels/swiglu.js";
import { EPS, TINY, VARIANTS, expError, runPoisoned } from "../support/kernels.js";
import { assertClose, random } from "../support/random.js";

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** Forward and backward against float64; `gates` replaces the first gates. */
async function check(
  { rows, inner }: SwigluSpec,
  capabilities: Partial<Capabilities>,
  gates: readonly number[] = [],
): Promise<void> {
  const gateUp = random(2 * rows * inner, -3, 3);
  const dy = random(rows * inner);
  gateUp.set(gates);
  const y = new Float64Array(rows * inner);
  const d = new Float64Array(2 * rows * inner);
  const allowedY = new Float64Array(y.length);
  const allowedD = new Float64Array(d.length);
  for (let i = 0; i < y.length; i++) {
    const at = Math.floor(i / inner) * 2 * inner + (i % inner);
    const g = gateUp[at]!;
    const up = gateUp[at + inner]!;
    const s = sigmoid(g);
    // The sigmoid: exp, one sum, one division of 2.5 ULP; the rest is a handful of roundings.
    const relative = expError(g) + 12 * EPS;
    // A sigmoid below the smallest normal number may become 0, and so may its products.
    const flushed = TINY * (1 + Math.abs(g));
    y[i] = g * s * up;
    allowedY[i] = relative * Math.abs(y[i]!) + flushed * Math.abs(g * up);
    d[at] = dy[i]! * up * s * (1 + g * (1 - s));
    d[at + inner] = dy[i]! * g * s;
    allowedD[at] =
      relative * Math.abs(dy[i]! * up * s) * (1 + 2 * Math.abs(g)) + flushed * Math.abs(dy[i]! * up);
    allowedD[at + inner] = relative * Math.abs(d[at + inner]!) + flushed * Math.abs(dy[i]! * g);
  }
  const spec = { rows, inner };
  const forward = await runPoisoned(
    (c) => swiglu(spec, c),
    capabilities,
    { gate_up: gateUp },
    { y: y.length },
  );
  assertClose(forward.results["y"]!, y, (i) => allowedY[i]!, forward.kernel.name);
  const backward = await runPoisoned(
    (c) => swigluBackward(spec, c),
    capabilities,
    { gate_up: gateUp, dy },
    { d_gate_up: d.length },
  );
  assertClose(backward.results["d_gate_up"]!, d, (i) => allowedD[i]!, backward.kernel.name);
}

/** Ones, primes, scalar and vector rows, and both sides of the 64 threads of a workgroup. */
const SHAPES = [
  [1, 1],
  [1, 4],
  [7, 9],
  [63, 1],
  [32, 2],
  [13, 5],
  [63, 4],
  [16, 16],
  [13, 20],
  [3, 128],
] as const;

describe("swiglu", () => {
  for (const { variant, software } of VARIANTS) {
    it(`agrees with float64, forward and backward, ${variant}`, async () => {
      for (const [rows, inner] of SHAPES) await check({ rows, inner }, { software });
    });
    it(`is right for gates of any size ${variant}`, async () => {
      for (const inner of [13, 16])
        await check({ rows: 1, inner }, { software }, [0, 20, -20, 88, -88, 89, -89, 1e3, -1e3, 1e30, -1e30]);
    });
    it(`folds dispatches past the limit ${variant}`, async () => {
      await check({ rows: 47, inner: 9 }, { software, maxComputeWorkgroupsPerDimension: 3 });
    });
  }

  it("counts the bytes", () => {
    const spec = { rows: 3, inner: 8 };
    assert.equal(swiglu(spec, baselineCapabilities).bytes, 4 * 3 * (16 + 8));
    assert.equal(swigluBackward(spec, baselineCapabilities).bytes, 4 * 3 * (16 + 8 + 16));
  });
});
