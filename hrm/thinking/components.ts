/** Principal components of states, how many dimensions they fill, and views of them that do not jump. All in double precision. */

/** Where the variance of points lies. */
export interface Components {
  /** Numbers of a point, D. */
  readonly width: number;
  /** Mean of the points [D]. */
  readonly mean: Float64Array;
  /** Variance along each component, descending [D]. */
  readonly variances: Float64Array;
  /** Components as rows of unit length [D, D]; the largest number of each is positive. */
  readonly directions: Float64Array;
}

/** Mean [D] and covariance [D, D] of points [n, D], as means over n. */
export function covariance(
  points: ArrayLike<number>,
  width: number,
): { mean: Float64Array; matrix: Float64Array } {
  const count = points.length / width;
  const mean = new Float64Array(width);
  for (let i = 0; i < points.length; i++) mean[i % width]! += points[i]! / count;
  const matrix = new Float64Array(width * width);
  const row = new Float64Array(width);
  for (let n = 0; n < count; n++) {
    for (let d = 0; d < width; d++) row[d] = points[n * width + d]! - mean[d]!;
    for (let a = 0; a < width; a++)
      for (let b = a; b < width; b++) matrix[a * width + b]! += row[a]! * row[b]!;
  }
  for (let a = 0; a < width; a++)
    for (let b = a; b < width; b++) matrix[b * width + a] = matrix[a * width + b]! /= count;
  return { mean, matrix };
}

/** Sweeps of rotations after which a symmetric matrix is diagonal to double precision; it needs about ten. */
const SWEEPS = 60;

/**
 * Eigenvalues, descending, and eigenvectors (rows of unit length) of a symmetric matrix [n, n], by Jacobi's rotations:
 * slow for large n, but accurate, and short.
 */
export function eigenvectors(
  symmetric: ArrayLike<number>,
  n: number,
): { values: Float64Array; vectors: Float64Array } {
  const a = Float64Array.from(symmetric);
  const v = new Float64Array(n * n);
  for (let i = 0; i < n; i++) v[i * n + i] = 1;
  const total = a.reduce((sum, x) => sum + x * x, 0);
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    let off = 0;
    for (let p = 0; p < n; p++) for (let q = p + 1; q < n; q++) off += a[p * n + q]! ** 2;
    if (off <= 1e-30 * total) break;
    for (let p = 0; p < n; p++) for (let q = p + 1; q < n; q++) rotate(a, v, n, p, q);
  }
  const order = Array.from({ length: n }, (_, i) => i).sort((i, j) => a[j * n + j]! - a[i * n + i]!);
  const vectors = new Float64Array(n * n);
  order.forEach((from, to) => vectors.set(v.subarray(from * n, (from + 1) * n), to * n));
  return { values: Float64Array.from(order, (i) => a[i * n + i]!), vectors };
}

/** The rotation in the plane of rows p and q that makes a[p, q] zero; `v` collects the rotations as rows. */
function rotate(a: Float64Array, v: Float64Array, n: number, p: number, q: number): void {
  const apq = a[p * n + q]!;
  if (apq === 0) return;
  const theta = (a[q * n + q]! - a[p * n + p]!) / (2 * apq);
  const t = (theta >= 0 ? 1 : -1) / (Math.abs(theta) + Math.hypot(theta, 1));
  const c = 1 / Math.hypot(t, 1);
  const s = t * c;
  for (let k = 0; k < n; k++) {
    const [kp, kq] = [a[k * n + p]!, a[k * n + q]!];
    a[k * n + p] = c * kp - s * kq;
    a[k * n + q] = s * kp + c * kq;
  }
  for (let k = 0; k < n; k++) {
    const [pk, qk] = [a[p * n + k]!, a[q * n + k]!];
    a[p * n + k] = c * pk - s * qk;
    a[q * n + k] = s * pk + c * qk;
    const [vp, vq] = [v[p * n + k]!, v[q * n + k]!];
    v[p * n + k] = c * vp - s * vq;
    v[q * n + k] = s * vp + c * vq;
  }
}

/** The principal components of points [n, D]. */
export function principalComponents(points: ArrayLike<number>, width: number): Components {
  const { mean, matrix } = covariance(points, width);
  const { values, vectors } = eigenvectors(matrix, width);
  for (let row = 0; row < width; row++) {
    const own = vectors.subarray(row * width, (row + 1) * width);
    const largest = own.reduce((best, x) => (Math.abs(x) > Math.abs(best) ? x : best), 0);
    if (largest < 0) own.forEach((x, d) => (own[d] = -x));
  }
  // What is left of rounding below zero is no variance.
  return { width, mean, variances: values.map((x) => Math.max(0, x)), directions: vectors };
}

/** The coordinates [n, count] of points [n, D] along the first components. */
export function project(
  points: ArrayLike<number>,
  { width, mean, directions }: Components,
  count: number,
): Float64Array {
  const n = points.length / width;
  const result = new Float64Array(n * count);
  for (let i = 0; i < n; i++)
    for (let c = 0; c < count; c++) {
      let sum = 0;
      for (let d = 0; d < width; d++) sum += (points[i * width + d]! - mean[d]!) * directions[c * width + d]!;
      result[i * count + c] = sum;
    }
  return result;
}

/**
 * How many dimensions points fill: (sum of the variances)^2 / sum of their squares, from 1 (a line) to D (alike in all
 * directions); NaN if nothing varies. The participation ratio of the paper's figure 8.
 */
export function participationRatio(variances: ArrayLike<number>): number {
  let [sum, squares] = [0, 0];
  for (let i = 0; i < variances.length; i++) {
    sum += variances[i]!;
    squares += variances[i]! ** 2;
  }
  return sum ** 2 / squares;
}

/**
 * Turns (and mirrors, if need be) points [n, k] so that they lie as near as possible to earlier ones of the same meaning:
 * the orthogonal Procrustes problem (Schoenemann 1966). Distances between points stay as they are.
 */
export function alignTo(earlier: ArrayLike<number>, points: Float64Array, k: number): Float64Array {
  const cross = new Float64Array(k * k);
  for (let i = 0; i < points.length; i += k)
    for (let a = 0; a < k; a++)
      for (let b = 0; b < k; b++) cross[a * k + b]! += points[i + a]! * earlier[i + b]!;
  const turn = nearestOrthogonal(cross, k);
  const result = new Float64Array(points.length);
  for (let i = 0; i < points.length; i += k)
    for (let b = 0; b < k; b++)
      for (let a = 0; a < k; a++) result[i + b]! += points[i + a]! * turn[a * k + b]!;
  return result;
}

/** U V^T of the singular value decomposition U S V^T of a matrix [k, k]: the orthogonal matrix nearest to it. */
function nearestOrthogonal(matrix: Float64Array, k: number): Float64Array {
  const at = (i: number, j: number): number => matrix[i * k + j]!;
  const squared = new Float64Array(k * k);
  for (let i = 0; i < k; i++)
    for (let j = 0; j < k; j++) for (let m = 0; m < k; m++) squared[i * k + j]! += at(m, i) * at(m, j);
  const { values, vectors: right } = eigenvectors(squared, k);
  const left: number[][] = [];
  for (let c = 0; c < k; c++) {
    let u = Array.from({ length: k }, (_, i) => {
      let sum = 0;
      for (let j = 0; j < k; j++) sum += at(i, j) * right[c * k + j]!;
      return sum;
    });
    // A direction in which nothing lies may turn as it likes: any that is orthogonal to the others.
    if (values[c]! <= 1e-24 * values[0]! || values[c] === 0) u = orthogonalTo(left, k);
    const length = Math.hypot(...u);
    left.push(u.map((x) => x / length));
  }
  const result = new Float64Array(k * k);
  for (let i = 0; i < k; i++)
    for (let j = 0; j < k; j++)
      for (let c = 0; c < k; c++) result[i * k + j]! += left[c]![i]! * right[c * k + j]!;
  return result;
}

/** The axis that is farthest from the given unit vectors, with their part in it taken away. */
function orthogonalTo(vectors: readonly (readonly number[])[], k: number): number[] {
  const residues = Array.from({ length: k }, (_, axis) => {
    const u = Array.from({ length: k }, (_, i) => (i === axis ? 1 : 0));
    for (const v of vectors) {
      const along = v[axis]!;
      v.forEach((x, i) => (u[i]! -= along * x));
    }
    return u;
  });
  return residues.reduce((best, u) => (Math.hypot(...u) > Math.hypot(...best) ? u : best));
}
