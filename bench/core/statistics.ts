/** Order statistics of repeated timings, and ratios of them with their uncertainty. */

/** What a report keeps of repeated timings. */
export interface Summary {
  /** Number of samples. */
  readonly n: number;
  readonly median: number;
  readonly p10: number;
  readonly p90: number;
}

/**
 * The q-quantile of the samples, linear between order statistics (Hyndman & Fan 1996, type 7).
 * @throws RangeError for no samples or q outside [0, 1]
 */
export function quantile(samples: readonly number[], q: number): number {
  if (samples.length === 0 || !(q >= 0 && q <= 1))
    throw new RangeError(
      `quantile: got ${samples.length} samples and q = ${q}; expected samples and q in [0, 1].`,
    );
  const sorted = [...samples].sort((a, b) => a - b);
  const position = q * (sorted.length - 1);
  const below = sorted[Math.floor(position)]!;
  const above = sorted[Math.ceil(position)]!;
  return below + (above - below) * (position - Math.floor(position));
}

export function summarize(samples: readonly number[]): Summary {
  return {
    n: samples.length,
    median: quantile(samples, 0.5),
    p10: quantile(samples, 0.1),
    p90: quantile(samples, 0.9),
  };
}

/** A ratio of two medians and its 95% interval. */
export interface Ratio {
  readonly ratio: number;
  readonly low: number;
  readonly high: number;
}

/** Width of p10..p90 of a normal distribution in standard deviations. */
const DECILE_RANGE = 2 * 1.2815515655446004;
/** Standard normal quantile of a two-sided 95% interval. */
const Z_95 = 1.959963984540054;

/**
 * Relative standard error of a median: sqrt(pi / 2) sigma / sqrt(n), with sigma from the decile range. Infinite
 * for fewer than 3 samples, which do not tell their spread.
 */
export function relativeError({ n, median, p10, p90 }: Summary): number {
  if (n < 3) return Infinity;
  return (Math.sqrt(Math.PI / 2) * (p90 - p10)) / DECILE_RANGE / Math.sqrt(n) / median;
}

/** a over b, with errors added in quadrature on the logarithm. */
export function ratioOf(a: Summary, b: Summary): Ratio {
  const ratio = a.median / b.median;
  const spread = Z_95 * Math.hypot(relativeError(a), relativeError(b));
  return { ratio, low: ratio * Math.exp(-spread), high: ratio * Math.exp(spread) };
}
