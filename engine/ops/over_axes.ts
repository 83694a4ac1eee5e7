/** Operations over axes, made of others: softmax, norms, reductions with gradients, cumulative sums, sorting. */
import { ShapeError, UsageError } from "../errors.js";
import {
  add,
  bitAnd,
  bitOr,
  broadcastTo,
  cast,
  concat,
  constant,
  div,
  equal,
  exp,
  formatSpec,
  greater,
  inverseSqrt,
  isFinite,
  isNaN,
  less,
  log,
  maxOver,
  mean,
  mul,
  neg,
  position,
  randomUniform,
  reshape,
  scalar,
  slice,
  square,
  stopGradient,
  sub,
  sum,
  transpose,
  where,
  greaterEqual,
  type ReduceOptions,
  type Tensor,
  type TensorLike,
} from "../index.js";
import { requireDtype } from "../tensor.js";
import { asTensor } from "../trace.js";

/** An axis counted from 0. @throws ShapeError unless the tensor has it */
export function axisOf(where: string, x: Tensor, axis: number): number {
  const rank = x.shape.length;
  const from0 = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(from0) || from0 < 0 || from0 >= rank)
    throw new ShapeError(`${where}: axis ${axis} of ${formatSpec(x)}; expected -${rank} to ${rank - 1}.`);
  return from0;
}

function floats(where: string, value: TensorLike): Tensor {
  const x = asTensor(value);
  requireDtype(where, x, "f32");
  return x;
}

/** e^x / sum(e^x) over an axis (default the last), without overflow. f32 */
export function softmax(value: TensorLike, axis = -1): Tensor {
  const x = floats("softmax", value);
  const options = { axes: [axisOf("softmax", x, axis)], keepDims: true };
  const e = exp(sub(x, stopGradient(maxOver(x, options))));
  return div(e, sum(e, options));
}

/** log(softmax(x)), exact also if the softmax is too small for f32. f32 */
export function logSoftmax(value: TensorLike, axis = -1): Tensor {
  const x = floats("logSoftmax", value);
  const options = { axes: [axisOf("logSoftmax", x, axis)], keepDims: true };
  const shifted = sub(x, stopGradient(maxOver(x, options)));
  return sub(shifted, log(sum(exp(shifted), options)));
}

/**
 * (x - mean) / sqrt(variance + eps) over the last axis, times `gain` [D], plus `bias` [D] (Ba et al. 2016). f32; the
 * variance divides by D.
 */
export function layerNorm(
  value: TensorLike,
  {
    gain,
    bias,
    eps = 1e-5,
  }: { readonly gain?: TensorLike; readonly bias?: TensorLike; readonly eps?: number } = {},
): Tensor {
  const x = floats("layerNorm", value);
  const options = { axes: [axisOf("layerNorm", x, -1)], keepDims: true };
  const centred = sub(x, mean(x, options));
  let y = mul(centred, inverseSqrt(add(mean(square(centred), options), eps)));
  if (gain !== undefined) y = mul(y, gain);
  return bias === undefined ? y : add(y, bias);
}

/**
 * x with elements set to 0 with probability `rate` and the others divided by 1 - rate. What is dropped is a function of
 * `key` (u32 [2], usually a seed and a counter that the program increments), `stream` and the element's place.
 */
export function dropout(value: TensorLike, rate: number, key: TensorLike, stream: number): Tensor {
  const x = floats("dropout", value);
  if (!(rate >= 0 && rate < 1))
    throw new UsageError(`dropout: got rate ${rate}; expected 0 or more, below 1.`);
  return where(greaterEqual(randomUniform(key, x.shape, stream), rate), mul(x, 1 / (1 - rate)), 0);
}

/** Largest element over axes; NaN if an element is. f32; elements that tie share the gradient equally. */
export function reduceMax(value: TensorLike, options: ReduceOptions = {}): Tensor {
  const x = floats("reduceMax", value);
  const all = { ...options, keepDims: true };
  const y = stopGradient(maxOver(x, all));
  const ties = equal(x, y);
  const count = cast(sum(ties, all), "f32");
  // The difference is 0, and carries the gradient; of infinities it would be NaN.
  const moved = sum(where(bitAnd(ties, isFinite(x)), sub(x, y), 0), all);
  const kept = add(y, div(moved, count));
  return options.keepDims ? kept : reshape(kept, sum(x, options).shape);
}

/** Smallest element over axes; else as {@link reduceMax}. */
export const reduceMin = (value: TensorLike, options: ReduceOptions = {}): Tensor =>
  neg(reduceMax(neg(value), options));

/** x with `axis` moved to the end, as [rows, n], and what puts results [rows, m] back. */
function asRows(
  where: string,
  x: Tensor,
  axis: number,
): { rows: Tensor; n: number; back: (y: Tensor) => Tensor } {
  const at = axisOf(where, x, axis);
  const order = x.shape.map((_, k) => k).filter((k) => k !== at);
  const moved = at === x.shape.length - 1 ? x : transpose(x, [...order, at]);
  const n = x.shape[at]!;
  const lead = order.map((k) => x.shape[k]!);
  return {
    rows: reshape(moved, [-1, n]),
    n,
    back(y) {
      const whole = reshape(y, [...lead, y.shape[1]!]);
      if (at === x.shape.length - 1) return whole;
      const places = x.shape.map((_, k) => (k === at ? order.length : order.indexOf(k)));
      return transpose(whole, places);
    },
  };
}

/** Product over an axis (default the last), which goes. f32; the gradient is right also beside zeros. */
export function reduceProd(value: TensorLike, axis = -1): Tensor {
  const x = floats("reduceProd", value);
  const { rows, back } = asRows("reduceProd", x, axis);
  let y = rows;
  while (y.shape[1]! > 1) {
    const [count, n] = y.shape as readonly [number, number];
    const half = Math.floor(n / 2);
    const products = mul(slice(y, [0, 0], [count, half]), slice(y, [0, half], [count, half]));
    y = n % 2 === 0 ? products : concat([products, slice(y, [0, n - 1], [count, 1])], 1);
  }
  const at = axisOf("reduceProd", x, axis);
  return reshape(
    back(y),
    x.shape.filter((_, k) => k !== at),
  );
}

/** Sums of the elements up to each along an axis (default the last). f32, in log2(n) steps. */
export function cumsum(value: TensorLike, axis = -1): Tensor {
  const x = floats("cumsum", value);
  const { rows, n, back } = asRows("cumsum", x, axis);
  const count = rows.shape[0]!;
  let y = rows;
  for (let step = 1; step < n; step *= 2) {
    const zeros = broadcastTo(scalar(0), [count, step]);
    y = add(y, concat([zeros, slice(y, [0, 0], [count, n - step])], 1));
  }
  return back(y);
}

/** Index of the first largest element along an axis (default the last), which goes; of the first NaN if there is one. i32 */
export function argmax(value: TensorLike, axis = -1): Tensor {
  const x = floats("argmax", value);
  const at = axisOf("argmax", x, axis);
  const n = x.shape[at]!;
  const along = reshape(
    position([n]),
    x.shape.map((_, k) => (k === at ? n : 1)),
  );
  const options = { axes: [at], keepDims: true };
  const chosen = bitOr(equal(x, maxOver(x, options)), isNaN(x));
  return sub(n - 1, maxOver(where(chosen, sub(n - 1, along), -1), { axes: [at] }));
}

/** 1 at each index and else 0, f32 [..., classes]; `indices` [...] i32. All 0 for an index outside. */
export function oneHot(indices: TensorLike, classes: number): Tensor {
  const i = asTensor(indices);
  requireDtype("oneHot indices", i, "i32");
  return cast(equal(reshape(i, [...i.shape, 1]), position([classes])), "f32");
}

/** Rows in order, and where each element stood. */
export interface Sorted {
  /** f32 */
  readonly values: Tensor;
  /** i32 */
  readonly indices: Tensor;
}

/**
 * Elements along an axis (default the last) in ascending order, equal ones as they stood; the gradient goes back to where
 * each stood. f32 without NaN. Compares every pair: it needs n times the memory of x.
 */
export function sort(
  value: TensorLike,
  { axis = -1, descending = false }: { readonly axis?: number; readonly descending?: boolean } = {},
): Sorted {
  const x = floats("sort", value);
  const { rows, n, back } = asRows("sort", x, axis);
  const count = rows.shape[0]!;
  const here = reshape(rows, [count, n, 1]);
  const other = reshape(rows, [count, 1, n]);
  const before = constant(
    Int32Array.from({ length: n * n }, (_, i) => (i % n < Math.floor(i / n) ? 1 : 0)),
    [n, n],
  );
  const beats = descending ? greater(other, here) : less(other, here);
  // How many elements come before each.
  const rank = sum(bitOr(beats, bitAnd(equal(other, here), before)), { axes: [2] });
  const chosen = equal(reshape(rank, [count, 1, n]), reshape(position([n]), [n, 1]));
  const pick = (from: Tensor): Tensor => sum(where(chosen, from, 0), { axes: [2] });
  const places = broadcastTo(position([n]), [count, n, n]);
  return { values: back(pick(broadcastTo(other, [count, n, n]))), indices: back(pick(places)) };
}

/** The k largest elements along the last axis in descending order; else as {@link sort}. */
export function topk(value: TensorLike, k: number): Sorted {
  const x = floats("topk", value);
  const n = x.shape.at(-1) ?? 0;
  if (!(Number.isInteger(k) && k >= 1 && k <= n))
    throw new ShapeError(`topk: got k = ${k} of ${formatSpec(x)}; expected an integer from 1 to ${n}.`);
  const first = (t: Tensor): Tensor =>
    slice(
      t,
      t.shape.map(() => 0),
      [...t.shape.slice(0, -1), k],
    );
  const { values, indices } = sort(x, { descending: true });
  return { values: first(values), indices: first(indices) };
}
