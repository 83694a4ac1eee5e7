/** Compares a replay with the reference, with one row per quantity. */

/** One line of the table. */
export interface CheckRow {
  readonly fixture: string;
  readonly quantity: string;
  /** Largest error, in the unit of `allowed`. */
  readonly error: number;
  readonly allowed: number;
  readonly passed: boolean;
  /** A note, for example about accepted ties. */
  readonly note: string;
}

/** Collects rows of one fixture. */
export interface Checker {
  readonly rows: CheckRow[];
  /** |actual - expected| <= allowed for every element; the error is the largest difference. */
  close(quantity: string, actual: ArrayLike<number>, expected: ArrayLike<number>, allowed: number): void;
  /** The same with `allowed` relative to the largest |expected| (with an absolute floor of 1e-6). */
  relative(quantity: string, actual: ArrayLike<number>, expected: ArrayLike<number>, allowed: number): void;
  /** Integers must be equal, except at up to `ties` positions for which `isTie` is true. */
  exact(
    quantity: string,
    actual: ArrayLike<number>,
    expected: ArrayLike<number>,
    isTie?: (index: number) => boolean,
  ): void;
  /** A number must not exceed its bound. */
  bound(quantity: string, error: number, allowed: number, note?: string): void;
}

/** The largest |x|; 0 for an empty list. */
export function largest(values: ArrayLike<number>): number {
  let max = 0;
  for (let i = 0; i < values.length; i++) max = Math.max(max, Math.abs(values[i]!));
  return max;
}

/** The largest |a - b|; infinity if the lengths differ or a number is NaN. */
export function maxDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Infinity;
  let max = 0;
  for (let i = 0; i < a.length; i++) {
    const d = Math.abs(a[i]! - b[i]!);
    if (!(d <= max)) max = Number.isNaN(d) ? Infinity : d;
  }
  return max;
}

/** A checker for one fixture. */
export function createChecker(fixture: string): Checker {
  const rows: CheckRow[] = [];
  const bound: Checker["bound"] = (quantity, error, allowed, note = "") => {
    rows.push({ fixture, quantity, error, allowed, passed: error <= allowed, note });
  };
  return {
    rows,
    bound,
    close: (quantity, actual, expected, allowed) => bound(quantity, maxDifference(actual, expected), allowed),
    relative: (quantity, actual, expected, allowed) =>
      bound(quantity, maxDifference(actual, expected), Math.max(allowed * largest(expected), 1e-6)),
    exact(quantity, actual, expected, isTie = () => false) {
      let wrong = actual.length === expected.length ? 0 : Infinity;
      const ties: number[] = [];
      for (let i = 0; i < Math.min(actual.length, expected.length); i++) {
        if (actual[i] === expected[i]) continue;
        if (isTie(i)) ties.push(i);
        else wrong++;
      }
      bound(quantity, wrong, 0, ties.length > 0 ? `tied alternative accepted at ${ties.join(", ")}` : "");
    },
  };
}
