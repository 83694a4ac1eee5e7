/** Reductions over axes besides the sum, which is in broadcast.ts. Each adds up in an order that the shape fixes. */
import { requireDtype, type Operation, type Tensor } from "../tensor.js";
import { asTensor, type TensorLike } from "../trace.js";
import { lowerReduce, reduceOver, sum, type ReduceAttributes, type ReduceOptions } from "./broadcast.js";
import { mul } from "./elementwise.js";

const maxOperation: Operation<ReduceAttributes> = {
  name: "maxOver",
  kind: "kernel",
  lower: lowerReduce("max"),
};

/** Largest element over axes; NaN if an element is NaN. x f32 or i32. It has no gradient. */
export const maxOver = (x: TensorLike, options: ReduceOptions = {}): Tensor =>
  reduceOver(maxOperation, x, options);

/** Mean over axes. x f32. */
export function mean(value: TensorLike, options: ReduceOptions = {}): Tensor {
  const x = asTensor(value);
  requireDtype("mean", x, "f32");
  const total = sum(x, options);
  return mul(total, total.size / x.size);
}
