import { assert } from "chai";
import { crossEntropy, crossEntropyBackward, type CrossEntropySpec } from "../../kernels/cross_entropy.js";
import { baselineCapabilities, type Capabilities } from "../../kernels/capabilities.js";
import {
  EPS,
  TINY,
  VARIANTS,
  assertExact,
  assertRefused,
  expError,
  logError,
  runPoisoned,
} from "../support/kernels.js";
import { assertClose, random, randomIntegers } from "../support/random.js";

const IGNORE = -100;
type Kind = CrossEntropySpec["kind"];
const KINDS: readonly Kind[] = ["stablemax", "softmax"];

const stable = (x: number): number => (x >= 0 ? x + 1 : 1 / (1 - x));
/** d s / d x and d log s / d x of the stablemax numerator. */
const slope = (x: number): number => (x >= 0 ? 1 : 1 / (1 - x) ** 2);
const logSlope = (x: number): number => 1 / (1 + Math.abs(x));

/** One row in float64: loss, gradient for dLoss = 1, and the tolerance of each. */
function reference(kind: Kind, x: Float32Array, label: number) {
  const C = x.length;
  const top = Math.max(...x);
  const s = Array.from(x, (v) => (kind === "softmax" ? Math.exp(v - top) : stable(v)));
  const total = s.reduce((a, b) => a + b, 0);
  const counts = label !== IGNORE && label >= 0 && label < C;
  // Relative error of the sum, weighted by its terms' own: exp's, or a sum and a division.
  const terms = s.map((v, j) => v * (kind === "softmax" ? expError(x[j]! - top) + 2 * EPS : 8 * EPS));
  const relative = terms.reduce((a, b) => a + b, 0) / total + C * EPS;
  const y = x[label] ?? 0;
  const logY = kind === "softmax" ? y - top : Math.sign(y) * Math.log(Math.abs(y) + 1);
  const loss = counts ? Math.log(total) - logY : 0;
  const lossAllowed = counts
    ? relative + logError(Math.log(total)) + logError(logY) + 4 * EPS * (Math.abs(loss) + Math.abs(logY))
    : 0;
  const gradient = Float64Array.from(x, (v, j) => {
    if (!counts) return 0;
    const hit = j === label ? 1 : 0;
    return kind === "softmax" ? s[j]! / total - hit : slope(v) / total - hit * logSlope(v);
  });
  const gradientAllowed = Float64Array.from(x, (v, j) => {
    if (!counts) return 0;
    const hit = j === label ? 1 : 0;
    return kind === "softmax"
      ? (s[j]! / total) * (relative + expError(v - top) + 8 * EPS) + hit * 4 * EPS + TINY
      : (slope(v) / total) * (relative + 16 * EPS) + hit * logSlope(v) * 16 * EPS + TINY;
  });
  return { loss, lossAllowed, gradient, gradientAllowed, prediction: x.indexOf(top) };
}

async function check(
  kind: Kind,
  logits: Float32Array,
  labels: Int32Array,
  capabilities: Partial<Capabilities>,
): Promise<void> {
  const rows = labels.length;
  const classes = logits.length / rows;
  const spec = { rows, classes, kind, ignoreLabel: IGNORE };
  const exact = Array.from(labels, (label, row) =>
    reference(kind, logits.subarray(row * classes, (row + 1) * classes), label),
  );
  const { kernel, results } = await runPoisoned(
    (c) => crossEntropy(spec, c),
    capabilities,
    { logits, labels },
    { loss: rows, prediction: rows },
  );
  const losses = exact.map((row) => row.loss);
  assertClose(results["loss"]!, losses, (row) => exact[row]!.lossAllowed, `${kernel.name} loss`);
  assertExact(
    results["prediction"]!,
    exact.map((row) => row.prediction),
    `${kernel.name} prediction`,
  );

  const dLoss = random(rows, -2, 2);
  const backward = await runPoisoned(
    (c) => crossEntropyBackward(spec, c),
    capabilities,
    { logits, labels, d_loss: dLoss },
    { d_logits: logits.length },
  );
  const at = (i: number) => [Math.floor(i / classes), i % classes] as const;
  const gradients = Float64Array.from(
    logits,
    (_, i) => dLoss[at(i)[0]]! * exact[at(i)[0]]!.gradient[at(i)[1]]!,
  );
  assertClose(
    backward.results["d_logits"]!,
    gradients,
    (i) =>
      Math.abs(dLoss[at(i)[0]]!) * exact[at(i)[0]]!.gradientAllowed[at(i)[1]]! +
      EPS * Math.abs(gradients[i]!) +
      TINY,
    backward.kernel.name,
  );
}

/** Labels in range but for an ignored one and some outside, as many as there are rows for. */
function someLabels(rows: number, classes: number): Int32Array {
  const labels = randomIntegers(rows, 0, classes);
  [IGNORE, classes, -1, 2 ** 31 - 1, -(2 ** 31)].forEach((label, i) => {
    if (2 * i + 1 < rows) labels[2 * i + 1] = label;
  });
  return labels;
}

/** Rows and classes: ones, primes, and both sides of the workgroups of 16 and 64 threads. */
const SHAPES = [
  [1, 1],
  [1, 2],
  [15, 11],
  [16, 3],
  [17, 12],
  [63, 5],
  [64, 4],
  [65, 7],
  [2, 257],
] as const;

describe("cross_entropy", () => {
  for (const { variant, software } of VARIANTS)
    for (const kind of KINDS) {
      it(`${kind} agrees with float64, with labels ignored and out of range, ${variant}`, async () => {
        for (const [rows, classes] of SHAPES)
          await check(kind, random(rows * classes, -6, 6), someLabels(rows, classes), { software });
      });
      it(`${kind} is right for logits of any size ${variant}`, async () => {
        for (const amplitude of [100, 1e4, 1e18, 1e37])
          await check(kind, random(13 * 5, -amplitude, amplitude), randomIntegers(13, 0, 5), { software });
        await check(kind, new Float32Array(12).fill(0), randomIntegers(3, 0, 4), { software });
        const masked = Float32Array.from([-3e38, 2, -1e30, -3e38, -3e38, 0]);
        await check(kind, masked, Int32Array.from([1, 2]), { software });
      });
      it(`${kind} predicts the first of the largest logits ${variant}`, async () => {
        // Few values in many classes: nearly every row has ties.
        const logits = Float32Array.from(randomIntegers(40 * 9, -2, 2));
        await check(kind, logits, randomIntegers(40, 0, 9), { software });
      });
      it(`${kind} folds dispatches past the limit ${variant}`, async () => {
        const rows = software ? 119 : 461;
        const limits = { software, maxComputeWorkgroupsPerDimension: 3 };
        await check(kind, random(rows * 3), someLabels(rows, 3), limits);
      });
    }

  it("ignores label 2 if it is the ignored label", async () => {
    const spec = { rows: 2, classes: 3, kind: "softmax", ignoreLabel: 2 } as const;
    const { results } = await runPoisoned(
      (c) => crossEntropy(spec, c),
      {},
      { logits: random(6), labels: Int32Array.from([2, 1]) },
      { loss: 2, prediction: 2 },
    );
    assert.equal(results["loss"]![0], 0);
    assert.isAbove(results["loss"]![1]!, 0);
  });

  it("counts the bytes", () => {
    const spec = { rows: 3, classes: 5, kind: "softmax", ignoreLabel: IGNORE } as const;
    assert.equal(crossEntropy(spec, baselineCapabilities).bytes, 4 * (15 + 3 + 3 + 3));
    assert.equal(crossEntropyBackward(spec, baselineCapabilities).bytes, 4 * (15 + 3 + 3 + 15));
  });

  it("refuses an ignored label that no i32 equals", () => {
    for (const ignoreLabel of [0.5, NaN, 2 ** 31]) {
      const spec = { rows: 1, classes: 2, kind: "softmax", ignoreLabel } as const;
      assertRefused(() => crossEntropy(spec, baselineCapabilities), /ignoreLabel/);
      assertRefused(() => crossEntropyBackward(spec, baselineCapabilities), /ignoreLabel/);
    }
  });
});
