/** Reductions over axes, summed in a fixed order. */
import { reduce as reduceKernel } from "../../kernels/reduce.js";
import { ShapeError } from "../errors.js";
import {
  formatSpec,
  makeTensor,
  sameShape,
  sizeOf,
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

const reduceOperation: Operation<ReduceAttributes> = {
  name: "reduce",
  lower({ attributes: { kind, outer, size, inner }, inputs, capabilities }) {
    const dtype = inputs[0]!.dtype === "i32" ? "i32" : "f32";
    const kernel = reduceKernel({ outer, size, inner, op: kind, dtype }, capabilities);
    return { dispatches: [{ kernel, bind: [{ input: 0 }, { output: 0 }] }] };
  },
  // The result keeps its reduced axes as 1s, so its gradient broadcasts straight back.
  gradient: ({ attributes: { kind }, inputs, gradients }) => [
    kind === "sum" ? broadcastTo(gradients[0]!, inputs[0]!.shape) : null,
  ],
};

/** Reduces the contiguous axes from `first` to before `end`; they become 1s. */
function reduceAxes(kind: "sum" | "max", x: Tensor, first: number, end: number): Tensor {
  const outer = sizeOf(x.shape.slice(0, first));
  const size = sizeOf(x.shape.slice(first, end));
  const inner = sizeOf(x.shape.slice(end));
  const shape = x.shape.map((n, k) => (k >= first && k < end ? 1 : n));
  if (size === 1) return x;
  return makeTensor(reduceOperation, [x], { kind, outer, size, inner }, shape, x.dtype);
}

/** Which axes a reduction runs over, and whether they stay as 1s. */
export interface ReduceOptions {
  /** Axes (negative counts from the end); default all. */
  readonly axes?: readonly number[];
  readonly keepDims?: boolean;
}

function reduce(kind: "sum" | "max", value: TensorLike, { axes, keepDims = false }: ReduceOptions): Tensor {
  const x = asTensor(value);
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

/** Sum over axes. x f32 or i32. */
export const sum = (x: TensorLike, options: ReduceOptions = {}): Tensor => reduce("sum", x, options);

/** Largest element over axes; has no gradient. */
export const maxOver = (x: TensorLike, options: ReduceOptions = {}): Tensor => reduce("max", x, options);

/** Mean over axes. */
export function mean(value: TensorLike, options: ReduceOptions = {}): Tensor {
  const x = asTensor(value);
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
