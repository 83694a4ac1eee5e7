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
