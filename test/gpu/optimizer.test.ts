import { assert } from "chai";
import { baselineCapabilities, type Capabilities } from "../../kernels/capabilities.js";
import { adamAtan2, adamW, signSgd, type AdamWSpec, type SignSgdSpec } from "../../kernels/optimizer.js";
import { EPS, TINY, ULP, VARIANTS, assertExact, assertRefused, runPoisoned } from "../support/kernels.js";
import { assertClose, random, randomIntegers } from "../support/random.js";

type Rule = "adamAtan2" | "adamW";
const RULES: readonly Rule[] = ["adamAtan2", "adamW"];
interface State {
  p: Float32Array;
  m: Float32Array;
  v: Float32Array;
  g: Float32Array;
  ema: Float32Array;
}

/** One update against float64: the moments from the inputs, then the step from the moments that the GPU made. */
async function check(
  rule: Rule,
  spec: AdamWSpec,
  state: State,
  hyper: Float32Array,
  capabilities: Partial<Capabilities>,
): Promise<Record<string, Float32Array>> {
  const { p, m, v, g, ema } = state;
  const { beta1, beta2, weightDecay, epsilon } = spec;
  const { kernel, results } = await runPoisoned(
    (c) => (rule === "adamW" ? adamW(spec, c) : adamAtan2(spec, c)),
    capabilities,
    { p, m, v, g, hyper, ...(spec.ema && { ema }) },
    {},
  );
  const made = results as Record<string, Float32Array>;
  const [lr, outside, inside, decay] = hyper as unknown as [number, number, number, number];
  // x + (y - x) w: three roundings and that of w, relative to the larger of the two.
  const blend = (x: number, y: number): number => 4 * EPS * Math.max(Math.abs(x), Math.abs(y)) + TINY;
  const all = (f: (i: number) => number) => Float64Array.from(p, (_, i) => f(i));
  assertClose(
    made["m"]!,
    all((i) => m[i]! + (g[i]! - m[i]!) * (1 - beta1)),
    (i) => 2 * blend(m[i]!, g[i]!),
    `${kernel.name} m`,
  );
  assertClose(
    made["v"]!,
    all((i) => v[i]! + (g[i]! ** 2 - v[i]!) * (1 - beta2)),
    (i) => 2 * blend(v[i]!, g[i]! ** 2),
    `${kernel.name} v`,
  );

  const step = (i: number): number => {
    const root = Math.sqrt(made["v"]![i]!) * inside;
    return rule === "adamW"
      ? (made["m"]![i]! * outside) / (root + epsilon)
      : outside * Math.atan2(made["m"]![i]!, root);
  };
  // A root (5 ULP), its products, a division (2.5 ULP), the polynomial of the arc tangent (2 ULP).
  const stepAllowed = (i: number): number => 12 * ULP * Math.abs(step(i)) + TINY;
  const updated = all((i) => p[i]! * (1 - lr * weightDecay) - lr * step(i));
  const updatedAllowed = (i: number): number =>
    4 * EPS * (Math.abs(p[i]!) + lr * Math.abs(step(i))) + lr * stepAllowed(i) + TINY;
  assertClose(made["p"]!, updated, updatedAllowed, `${kernel.name} p`);
  if (spec.ema)
    assertClose(
      made["ema"]!,
      all((i) => ema[i]! + (made["p"]![i]! - ema[i]!) * (1 - decay)),
      (i) => blend(ema[i]!, made["p"]![i]!),
      `${kernel.name} ema`,
    );
  return made;
}

/** Ordinary parameters, moments of mixed signs and sizes, and the numbers of step `t`. */
function someState(count: number): State {
  const spread = (low: number, high: number) => random(count, low, high).map((e) => 10 ** e);
  const signs = () => random(count).map(Math.sign);
  const signed = (magnitudes: Float32Array, sign: Float32Array) => magnitudes.map((x, i) => x * sign[i]!);
  return {
    p: random(count),
    m: signed(spread(-8, 0), signs()),
    v: spread(-16, 0),
    g: signed(spread(-8, 1), signs()),
    ema: random(count),
  };
}
const BETAS = { beta1: 0.9, beta2: 0.95 };
const hyperOf = (t: number, lr = 1e-3): Float32Array =>
  Float32Array.from([lr, 1 / (1 - BETAS.beta1 ** t), 1 / Math.sqrt(1 - BETAS.beta2 ** t), 0.99]);
const zeros = (count: number): Float32Array => new Float32Array(count);

/** Ones, primes, scalar and vector counts, and both sides of the 64 threads of a workgroup. */
const COUNTS = [1, 3, 4, 61, 64, 65, 252, 256, 260, 1001];

describe("optimizer", () => {
  for (const { variant, software } of VARIANTS) {
    for (const rule of RULES) {
      it(`${rule} agrees with float64, with and without an average of the weights, ${variant}`, async () => {
        for (const [i, count] of COUNTS.entries()) {
          const spec = { count, ...BETAS, weightDecay: 0.1, epsilon: 1e-8, ema: i % 2 === 0 };
          await check(rule, spec, someState(count), hyperOf(1 + 3 * i), { software });
        }
        const spec = { count: 12, beta1: 0.9, beta2: 0.999, weightDecay: 0, epsilon: 1e-6, ema: true };
        await check(rule, spec, someState(12), hyperOf(2, 0.5), { software });
      });
      it(`${rule} only decays a parameter without gradient, ${variant}`, async () => {
        for (const count of [3, 4]) {
          const state = { ...someState(count), m: zeros(count), v: zeros(count), g: zeros(count) };
          const spec = { count, ...BETAS, weightDecay: 0, epsilon: 1e-8 };
          const made = await check(rule, spec, state, hyperOf(1), { software });
          assertExact(made["p"]!, state.p, "p");
          await check(rule, { ...spec, weightDecay: 0.5 }, state, hyperOf(1, 0.25), { software });
        }
      });
      it(`${rule} folds dispatches past the limit ${variant}`, async () => {
        const spec = { count: 461, ...BETAS, weightDecay: 0.1, epsilon: 1e-8, ema: true };
        const limits = { software, maxComputeWorkgroupsPerDimension: 3 };
        await check(rule, spec, someState(461), hyperOf(5), limits);
      });
    }

    it(`adamAtan2 has the angle right in every octant and at its edges ${variant}`, async () => {
      // With beta1 = 0 and zero moments, m = g and v = g^2 (1 - beta2): only hyper turns the angle.
      const g = Float32Array.from([1, -1, 3e-4, -7, 1e4, -1e-6, 0, 2]);
      for (const inside of [
        1e-6, 0.1, 0.3, 0.6, 0.82, 0.83, 1, 1.99, 2, 2.01, 3, 4.82, 4.83, 7, 15, 47, 1e6,
      ]) {
        const spec = { count: 8, beta1: 0, beta2: 0.75, weightDecay: 0, epsilon: 1 };
        const state = { p: zeros(8), m: zeros(8), v: zeros(8), g, ema: zeros(8) };
        const hyper = Float32Array.from([1, 1, inside, 0]);
        const { p } = await check("adamAtan2", spec, state, hyper, { software });
        assert.equal(Math.abs(p![6]!), 0, "atan2(0, 0) = 0");
      }
    });

    it(`adamAtan2 stays bounded and on the right side for tiny gradients ${variant}`, async () => {
      // Squares below 1e-38 may be flushed to zero: the angle is then a right one, never more and never NaN.
      const g = Float32Array.from([1e-18, -1e-18, 1e-19, -1e-20, 1e-24, -1e-30, 1e-36, -1e-36]);
      const hyper = hyperOf(1, 1);
      const { results } = await runPoisoned(
        (c) => adamAtan2({ count: 8, ...BETAS, weightDecay: 0 }, c),
        { software },
        { p: zeros(8), m: zeros(8), v: zeros(8), g, hyper },
        {},
      );
      results["p"]!.forEach((p, i) => {
        assert.equal(Math.sign(p), -Math.sign(g[i]!), `sign of the step of ${g[i]}`);
        assert.isAtMost(Math.abs(p), hyper[1]! * (Math.PI / 2) * (1 + 4 * ULP), `step of ${g[i]}`);
      });
    });

    it(`signSgd adds duplicates in order and ignores ids out of range ${variant}`, async () => {
      for (const [tableRows, size, batch] of [
        [1, 1, 1],
        [5, 3, 7],
        [4, 4, 16],
        [17, 8, 13],
        [3, 5, 40],
        [70, 1, 65],
      ] as const)
        await checkSignSgd({ tableRows, size, batch, weightDecay: 0.1 }, { software });
    });
    it(`signSgd folds dispatches past the limit ${variant}`, async () => {
      const limits = { software, maxComputeWorkgroupsPerDimension: 3 };
      await checkSignSgd({ tableRows: 50, size: 7, batch: 61, weightDecay: 0.1 }, limits);
    });
  }

  it("signSgd only decays weights whose gradients cancel", async () => {
    const { results } = await runPoisoned(
      (c) => signSgd({ tableRows: 2, size: 1, batch: 3, weightDecay: 0.5 }, c),
      {},
      {
        weights: Float32Array.from([1, 2]),
        ids: Int32Array.from([1, 1, 1]),
        g: Float32Array.from([0.5, 0.25, -0.75]),
        hyper: Float32Array.from([0.5, 0, 0, 0]),
      },
      {},
    );
    assertExact(results["weights"]!, [1, 1.5], "weights");
  });

  it("counts the bytes", () => {
    const spec = { count: 10, ...BETAS, weightDecay: 0, epsilon: 1e-8 };
    // p, m and v both ways, g once, hyper; the average both ways.
    assert.equal(adamAtan2(spec, baselineCapabilities).bytes, 4 * (7 * 10 + 4));
    assert.equal(adamW({ ...spec, ema: true }, baselineCapabilities).bytes, 4 * (9 * 10 + 4));
    const sign = { tableRows: 9, size: 5, batch: 3, weightDecay: 0 };
    assert.equal(signSgd(sign, baselineCapabilities).bytes, 4 * (3 + 15 + 2 * 15 + 1));
  });

  it("refuses constants out of range", () => {
    const spec = { count: 4, ...BETAS, weightDecay: 0, epsilon: 1e-8 };
    for (const bad of [-0.1, 1, NaN]) {
      assertRefused(() => adamAtan2({ ...spec, beta1: bad }, baselineCapabilities), /beta1 = /);
      assertRefused(() => adamW({ ...spec, beta2: bad }, baselineCapabilities), /beta2 = /);
    }
    for (const bad of [-1, NaN, Infinity]) {
      assertRefused(() => adamAtan2({ ...spec, weightDecay: bad }, baselineCapabilities), /weightDecay = /);
      assertRefused(() => adamW({ ...spec, epsilon: bad }, baselineCapabilities), /epsilon = /);
      const sign = { tableRows: 1, size: 1, batch: 1, weightDecay: bad };
      assertRefused(() => signSgd(sign, baselineCapabilities), /weightDecay = /);
    }
    // A parameter that never had a gradient would become 0 / 0.
    assertRefused(() => adamW({ ...spec, epsilon: 0 }, baselineCapabilities), /epsilon = 0/);
  });
});

async function checkSignSgd(spec: SignSgdSpec, capabilities: Partial<Capabilities>): Promise<void> {
  const { tableRows, size, batch, weightDecay } = spec;
  const weights = random(tableRows * size);
  const ids = randomIntegers(batch, 0, tableRows);
  [-1, tableRows, -(2 ** 31)].forEach((id, i) => {
    if (4 * i + 3 < batch) ids[4 * i + 3] = id;
  });
  const g = random(batch * size);
  const lr = 0.01;
  const { kernel, results } = await runPoisoned(
    (c) => signSgd(spec, c),
    capabilities,
    { weights, ids, g, hyper: Float32Array.from([lr, 0, 0, 0]) },
    {},
  );
  // Sums in f32 in batch order, so that signs are exact.
  const sums = new Float32Array(tableRows * size);
  const touched = new Set(ids);
  ids.forEach((id, b) => {
    if (id < 0 || id >= tableRows) return;
    for (let c = 0; c < size; c++) sums[id * size + c]! += g[b * size + c]!;
  });
  const expected = Float64Array.from(weights, (w, i) =>
    touched.has(Math.floor(i / size)) ? w * (1 - lr * weightDecay) - lr * Math.sign(sums[i]!) : w,
  );
  const allowed = (i: number) =>
    touched.has(Math.floor(i / size)) ? 4 * EPS * (Math.abs(weights[i]!) + lr) : 0;
  assertClose(results["weights"]!, expected, allowed, kernel.name);
}
