/** Proportions with their confidence intervals, and their text in reports. */

export interface Interval {
  /** Lower end. */
  readonly low: number;
  /** Upper end. */
  readonly high: number;
}

/** Standard normal quantile of a two-sided 95% interval. */
const Z_95 = 1.959963984540054;

/**
 * Wilson's score interval for a proportion at 95% (Wilson 1927): unlike p +- z sqrt(p(1-p)/n) it stays inside
 * [0, 1] and keeps its coverage near 0 and 1. Without trials it is [0, 1].
 * @throws RangeError unless 0 <= successes <= trials
 */
export function wilsonInterval(successes: number, trials: number): Interval {
  if (!(successes >= 0 && successes <= trials && Number.isFinite(trials))) {
    throw new RangeError(`wilsonInterval: got ${successes} of ${trials}; expected 0 <= successes <= trials.`);
  }
  if (trials === 0) return { low: 0, high: 1 };
  const p = successes / trials;
  const z2 = Z_95 ** 2;
  const center = (p + z2 / (2 * trials)) / (1 + z2 / trials);
  const half = (Z_95 / (1 + z2 / trials)) * Math.sqrt((p * (1 - p)) / trials + z2 / (4 * trials ** 2));
  return {
    low: successes === 0 ? 0 : Math.max(0, center - half),
    high: successes === trials ? 1 : Math.min(1, center + half),
  };
}

/** `97.3%`. A value below 1 is never rounded up to `100.0%`, and a value above 0 is never rounded down to `0.0%`. */
export function formatPercent(fraction: number): string {
  return `${percentDigits(fraction)}%`;
}

/** `97.3% [96.1, 98.1]`: the proportion and its 95% Wilson interval, in percent. */
export function formatProportion(successes: number, trials: number): string {
  const { low, high } = wilsonInterval(successes, trials);
  const proportion = trials === 0 ? "-" : formatPercent(successes / trials);
  return `${proportion} [${percentDigits(low)}, ${percentDigits(high)}]`;
}

function percentDigits(fraction: number): string {
  const digits = (100 * fraction).toFixed(1);
  if (digits === "100.0" && fraction < 1) return "99.9";
  return digits === "0.0" && fraction > 0 ? "0.1" : digits;
}

/** The mean of some values, their spread, and how well the mean is known. */
export interface MeanOf {
  /** Arithmetic mean of the values. */
  readonly mean: number;
  /** Sample standard deviation; null for a single value. */
  readonly deviation: number | null;
  /** 95% interval of the mean by Student's t distribution; null for a single value. */
  readonly interval: Interval | null;
}

/**
 * Mean, spread and 95% interval of values that are independent and about normal, such as the scores of runs with different
 * seeds. @throws RangeError without values
 */
export function meanOf(values: readonly number[]): MeanOf {
  const n = values.length;
  if (n === 0) throw new RangeError("meanOf: got no values; expected at least one.");
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  if (n === 1) return { mean, deviation: null, interval: null };
  const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1));
  const half = (studentQuantile(n - 1) * deviation) / Math.sqrt(n);
  return { mean, deviation, interval: { low: mean - half, high: mean + half } };
}

/** The t for which 95% of Student's distribution with this many degrees of freedom lie in [-t, t]. */
export function studentQuantile(freedom: number): number {
  let [low, high] = [0, Math.PI / 2];
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (studentShare(middle, freedom) < 0.95) low = middle;
    else high = middle;
  }
  return Math.tan(low) * Math.sqrt(freedom);
}

/** Share of Student's distribution in [-t, t] for t = tan(angle) sqrt(freedom) (Abramowitz and Stegun, 26.7.3 and 26.7.4). */
function studentShare(angle: number, freedom: number): number {
  const [sine, square] = [Math.sin(angle), Math.cos(angle) ** 2];
  const odd = freedom % 2 === 1;
  let term = odd ? Math.cos(angle) : 1;
  let sum = 0;
  for (let k = odd ? 3 : 2; k <= freedom; k += 2) {
    sum += term;
    term *= (square * (k - 1)) / k;
  }
  return odd ? (2 / Math.PI) * (angle + sine * sum) : sine * sum;
}
