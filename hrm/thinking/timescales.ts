/** How long each unit of a level remembers: its autocorrelation time over the updates. */

/** Series of the units of a level. */
export interface UnitSeries {
  /** [updates, series, units] */
  readonly values: ArrayLike<number>;
  /** Series of each unit: puzzles. */
  readonly series: number;
  readonly units: number;
}

/**
 * The integrated autocorrelation time of each unit in updates, 1 + 2 sum of rho(k), up to the first lag whose rho is not
 * positive. rho(k) is taken over all series together, each around its own mean. 1 if a unit forgets from one update to the
 * next; NaN if it never moves. Computed in double precision [units].
 */
export function autocorrelationTimes({ values, series, units }: UnitSeries): Float64Array {
  const stride = series * units;
  const updates = values.length / stride;
  const means = new Float64Array(stride);
  for (let i = 0; i < values.length; i++) means[i % stride]! += values[i]! / updates;
  const product = (unit: number, lag: number): number => {
    let sum = 0;
    for (let t = 0; t + lag < updates; t++)
      for (let s = 0; s < series; s++) {
        const at = s * units + unit;
        sum += (values[t * stride + at]! - means[at]!) * (values[(t + lag) * stride + at]! - means[at]!);
      }
    return sum;
  };
  return Float64Array.from({ length: units }, (_, unit) => {
    const variance = product(unit, 0);
    let squares = 0;
    for (let i = unit; i < values.length; i += units) squares += values[i]! ** 2;
    // What rounding leaves of a unit that rests is no variance.
    if (!(variance > 1e-24 * squares)) return NaN;
    let time = 1;
    for (let lag = 1; lag < updates; lag++) {
      const rho = product(unit, lag) / variance;
      if (rho <= 0) break;
      time += 2 * rho;
    }
    return time;
  });
}

/** Times in ascending order; units that never move are left out. */
export const sortedTimes = (times: Float64Array): Float64Array =>
  times.filter((t) => !Number.isNaN(t)).sort();
