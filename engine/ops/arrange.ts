/** Operations that arrange elements anew, made of others: stacking, padding, tiling, flipping, gathering, scattering. */
import { ShapeError } from "../errors.js";
import {
  add,
  broadcastTo,
  concat,
  constant,
  formatSpec,
  mul,
  reshape,
  scalar,
  sizeOf,
  slice,
  takeRows,
  transpose,
  type Dtype,
  type Shape,
  type Tensor,
  type TensorLike,
} from "../index.js";
import { requireDtype } from "../tensor.js";
import { asTensor } from "../trace.js";
import { axisOf } from "./over_axes.js";
import { scatterAddRows } from "./embedding.js";

/** Any number of tensors one after the other along an axis. */
export function concatenate(values: readonly TensorLike[], axis: number): Tensor {
  if (values.length <= 7) return concat(values, axis);
  const groups = Array.from({ length: Math.ceil(values.length / 7) }, (_, i) =>
    values.slice(7 * i, 7 * i + 7),
  );
  return concatenate(
    groups.map((group) => concat(group, axis)),
    axis,
  );
}

/** Tensors of one shape side by side along a new axis. */
export function stack(values: readonly TensorLike[], axis = 0): Tensor {
  const tensors = values.map((v) => asTensor(v));
  const rank = (tensors[0]?.shape.length ?? 0) + 1;
  const at = axis < 0 ? axis + rank : axis;
  if (tensors.length === 0 || !Number.isInteger(at) || at < 0 || at >= rank)
    throw new ShapeError(
      `stack: got ${tensors.length} tensors and axis ${axis}; expected -${rank} to ${rank - 1}.`,
    );
  const wider = tensors.map((t) => reshape(t, [...t.shape.slice(0, at), 1, ...t.shape.slice(at)]));
  return concatenate(wider, at);
}

/** The parts of x along an axis, of these sizes or so many equal ones. */
export function split(value: TensorLike, sizes: number | readonly number[], axis = 0): Tensor[] {
  const x = asTensor(value);
  const at = axisOf("split", x, axis);
  const n = x.shape[at]!;
  const parts = typeof sizes === "number" ? new Array<number>(sizes).fill(n / sizes) : sizes;
  if (parts.some((p) => !Number.isInteger(p) || p < 1) || parts.reduce((a, b) => a + b, 0) !== n)
    throw new ShapeError(
      `split: got sizes ${parts.slice(0, 8).join(", ")} for ${n} along axis ${at} of ${formatSpec(x)}; expected positive integers that add up to it.`,
    );
  let first = 0;
  return parts.map((size) => {
    const start = x.shape.map((_, k) => (k === at ? first : 0));
    first += size;
    return slice(
      x,
      start,
      x.shape.map((m, k) => (k === at ? size : m)),
    );
  });
}

/** x with `before` and `after` elements of `value` added on each side of each axis. */
export function pad(
  x: TensorLike,
  sides: readonly (readonly [before: number, after: number])[],
  value = 0,
): Tensor {
  let y = asTensor(x);
  if (sides.length !== y.shape.length || sides.flat().some((n) => !Number.isInteger(n) || n < 0))
    throw new ShapeError(
      `pad: got ${sides.length} pairs for ${formatSpec(y)}; expected a pair of integers from 0 for each axis.`,
    );
  const filled = (shape: Shape, dtype: Dtype): Tensor => broadcastTo(scalar(value, dtype), shape);
  sides.forEach(([before, after], axis) => {
    const wide = (n: number): Tensor =>
      filled(
        y.shape.map((m, k) => (k === axis ? n : m)),
        y.dtype,
      );
    const parts = [...(before > 0 ? [wide(before)] : []), y, ...(after > 0 ? [wide(after)] : [])];
    y = concat(parts, axis);
  });
  return y;
}

/** x repeated so many times along each axis. */
export function tile(value: TensorLike, times: readonly number[]): Tensor {
  const x = asTensor(value);
  if (times.length !== x.shape.length || times.some((n) => !Number.isInteger(n) || n < 1))
    throw new ShapeError(
      `tile: got ${times.length} numbers for ${formatSpec(x)}; expected a positive integer for each axis.`,
    );
  const spread = reshape(
    x,
    x.shape.flatMap((n) => [1, n]),
  );
  const repeated = broadcastTo(
    spread,
    x.shape.flatMap((n, k) => [times[k]!, n]),
  );
  return reshape(
    repeated,
    x.shape.map((n, k) => n * times[k]!),
  );
}

/** x with an axis moved to the front, as [n, rest], and what puts results of that shape back. */
function toFront(where: string, x: Tensor, axis: number): { table: Tensor; back: (y: Tensor) => Tensor } {
  const at = axisOf(where, x, axis);
  const order = [at, ...x.shape.map((_, k) => k).filter((k) => k !== at)];
  const moved = at === 0 ? x : transpose(x, order);
  return {
    table: reshape(moved, [x.shape[at]!, -1]),
    back: (y) => {
      const whole = reshape(y, [y.shape[0]!, ...moved.shape.slice(1)]);
      return at === 0
        ? whole
        : transpose(
            whole,
            order.map((_, k) => order.indexOf(k)),
          );
    },
  };
}

/** x in the opposite order along an axis. */
export function flip(value: TensorLike, axis = -1): Tensor {
  const { table, back } = toFront("flip", asTensor(value), axis);
  const n = table.shape[0]!;
  return back(takeRows(table, constant(Int32Array.from({ length: n }, (_, i) => n - 1 - i))));
}

/** Where the elements that `indices` name along an axis are in x [..., n, ...], counted in row-major order; -1 outside. */
function flatIndices(where: string, shape: Shape, indices: Tensor, axis: number): Tensor {
  requireDtype(`${where} indices`, indices, "i32");
  const fits =
    indices.shape.length === shape.length && shape.every((n, k) => k === axis || n === indices.shape[k]);
  if (!fits)
    throw new ShapeError(
      `${where}: got indices ${formatSpec(indices)} along axis ${axis} of [${shape.join(", ")}]; expected equal shapes but for that axis.`,
    );
  const inner = sizeOf(shape.slice(axis + 1));
  const outerStride = inner * shape[axis]!;
  // The place of the element's row, without the axis itself: a constant.
  const [m, size] = [indices.shape[axis]!, indices.size];
  const base = Int32Array.from(
    { length: size },
    (_, i) => Math.floor(i / (inner * m)) * outerStride + (i % inner),
  );
  return add(constant(base, indices.shape), mul(indices, inner));
}

/**
 * y[i][j][k] = x[indices[i][j][k]][j][k] for axis 0, and likewise for others: `indices` (i32) has the shape of x but for
 * the axis. Indices must lie in 0..n-1.
 */
export function gather(value: TensorLike, indices: TensorLike, axis = 0): Tensor {
  const [x, i] = [asTensor(value), asTensor(indices)];
  const at = axisOf("gather", x, axis);
  const flat = flatIndices("gather", x.shape, i, at);
  return reshape(takeRows(reshape(x, [x.size, 1]), reshape(flat, [-1])), i.shape);
}

/**
 * `target` plus `updates` at the places that `indices` (i32, of the shape of `updates`) name along an axis: the opposite of
 * {@link gather}. Updates of one place are added in a fixed order. Indices must lie in 0..n-1. f32
 */
export function scatterAdd(target: TensorLike, indices: TensorLike, updates: TensorLike, axis = 0): Tensor {
  const [x, i, u] = [asTensor(target), asTensor(indices), asTensor(updates)];
  const at = axisOf("scatterAdd", x, axis);
  const flat = flatIndices("scatterAdd", x.shape, i, at);
  if (u.shape.join() !== i.shape.join())
    throw new ShapeError(
      `scatterAdd: got updates ${formatSpec(u)} for indices ${formatSpec(i)}; expected one shape.`,
    );
  const added = scatterAddRows(reshape(u, [-1, 1]), reshape(flat, [-1]), [x.size, 1]);
  return add(x, reshape(added, x.shape));
}
