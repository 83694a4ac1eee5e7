/** Reductions over axes, summed in a fixed order. */
import type { Kernel } from "../../kernels/core/kernel.js";
import { reduce as reduceKernel } from "../../kernels/reduce.js";
import { DtypeError, ShapeError } from "../errors.js";
import {
  formatSpec,
  makeTensor,
  requireDtype,
  sameShape,
  sizeOf,
  type LowerContext,
  type Operation,
  type Shape,
  type Tensor,
  type TensorLike,
} from "../tensor.js";
import { asTensor } from "../trace.js";
import { broadcastTo, mul } from "./elementwise.js";
import { reshape } from "./view.js";

interface ReduceAttributes {
  readonly kind: "sum" | "max";
  readonly outer: number;
  readonly size: number;
  readonly inner: number;
}

const sumOperation: Operation<ReduceAttributes> = {
  name: "sum",
  lower: lowerReduce,
  // The result keeps its reduced axes as 1s, so its gradient broadcasts straight back.
  gradient: ({ inputs, gradients }) => [broadcastTo(gradients[0]!, inputs[0]!.shape)],
};

const maxOperation: Operation<ReduceAttributes> = { name: "maxOver", lower: lowerReduce };

const OPERATIONS = { sum: sumOperation, max: maxOperation };

function lowerReduce({
  attributes: { kind, outer, size, inner },
  inputs,
  capabilities,
}: LowerContext<ReduceAttributes>): Kernel {
  const dtype = inputs[0]!.dtype === "i32" ? "i32" : "f32";
  return reduceKernel({ outer, size, inner, op: kind, dtype }, capabilities);
}

/** Reduces the contiguous axes from `first` to before `end`; they become 1s. */
function reduceAxes(kind: "sum" | "max", x: Tensor, first: number, end: number): Tensor {
  const outer = sizeOf(x.shape.slice(0, first));
  const size = sizeOf(x.shape.slice(first, end));
  const inner = sizeOf(x.shape.slice(end));
  const shape = x.shape.map((n, k) => (k >= first && k < end ? 1 : n));
  if (size === 1) return x;
  return makeTensor(OPERATIONS[kind], [x], { kind, outer, size, inner }, shape, x.dtype);
}

/** Which axes a reduction runs over, and whether they stay as dimensions of size 1. */
export interface ReduceOptions {
  /** Axes (negative counts from the end); default all. */
  readonly axes?: readonly number[];
  readonly keepDims?: boolean;
}

function reduce(kind: "sum" | "max", value: TensorLike, { axes, keepDims = false }: ReduceOptions): Tensor {
  const x = asTensor(value);
  if (x.dtype === "u32") {
    throw new DtypeError(`${kind}: got ${formatSpec(x)}; expected f32 or i32. Convert with cast().`);
  }
  const rank = x.shape.length;
  const chosen = new Set((axes ?? x.shape.map((_, k) => k)).map((k) => (k < 0 ? k + rank : k)));
  for (const k of chosen) {
    if (!Number.isInteger(k) || k < 0 || k >= rank) {
      throw new ShapeError(`${kind}: axis ${k} of ${formatSpec(x)}; expected -${rank} to ${rank - 1}.`);
    }
  }
  let y = x;
  for (let first = 0; first < rank; first++) {
    if (!chosen.has(first)) continue;
    let end = first + 1;
    while (chosen.has(end)) end++;
    y = reduceAxes(kind, y, first, end);
    first = end;
  }
  return keepDims
    ? y
    : reshape(
        y,
        x.shape.filter((_, k) => !chosen.has(k)),
      );
}

/** Sum over axes. x f32 or i32; an f32 sum beyond 3.4e38 is infinite. */
export const sum = (x: TensorLike, options: ReduceOptions = {}): Tensor => reduce("sum", x, options);

/** Largest element over axes; NaN if an element is NaN. x f32 or i32. It has no gradient. */
export const maxOver = (x: TensorLike, options: ReduceOptions = {}): Tensor => reduce("max", x, options);

/** Mean over axes. x f32. */
export function mean(value: TensorLike, options: ReduceOptions = {}): Tensor {
  const x = asTensor(value);
  requireDtype("mean", x, "f32");
  const total = sum(x, options);
  return mul(total, total.size / x.size);
}

/** Sums a broadcast gradient back to the shape that was broadcast. */
export function sumTo(gradient: Tensor, shape: Shape): Tensor {
  if (sameShape(gradient.shape, shape)) return gradient;
  const lead = gradient.shape.length - shape.length;
  const axes = gradient.shape.flatMap((n, k) => (k < lead || (shape[k - lead] === 1 && n !== 1) ? [k] : []));
  return reshape(sum(gradient, { axes, keepDims: true }), shape);
}
