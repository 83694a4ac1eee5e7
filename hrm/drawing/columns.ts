/** Curves as the columns of a chart. */

/**
 * Curves over one horizontal axis: its values in order, then a column for each curve, null where it has no point.
 * Charts take data of this form.
 */
export function aligned(
  curves: readonly (readonly [x: readonly number[], y: readonly number[]])[],
): [number[], ...(number | null)[][]] {
  const xs = [...new Set(curves.flatMap(([x]) => x.filter(Number.isFinite)))].sort((a, b) => a - b);
  const place = new Map(xs.map((x, i) => [x, i]));
  const columns = curves.map(([x, y]) => {
    const column = Array<number | null>(xs.length).fill(null);
    x.forEach((at, i) => {
      const value = y[i]!;
      if (Number.isFinite(at) && Number.isFinite(value)) column[place.get(at)!] = value;
    });
    return column;
  });
  return [xs, ...columns];
}
