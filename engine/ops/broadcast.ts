/** Broadcasting and its gradient, the sum: each is the other's gradient, so both are here. */
import type { ElementwiseName } from "../../kernels/elementwise.js";
import type { Kernel } from "../../kernels/core/kernel.js";
import { reduce as reduceKernel } from "../../kernels/reduce.js";
import { DtypeError, ShapeError } from "../errors.js";
import {
  formatSpec,
  makeTensor,
  sameShape,
  sizeOf,
  type LowerContext,
  type Operation,
  type Shape,
  type Tensor,
} from "../tensor.js";
import { asTensor, type TensorLike } from "../trace.js";
import { reshape } from "./view.js";

/** The NumPy broadcast of shapes. @throws ShapeError */
export function broadcastShapes(where: string, ...shapes: Shape[]): Shape {
  const rank = Math.max(...shapes.map((s) => s.length));
  return Array.from({ length: rank }, (_, k) => {
    let size = 1;
    for (const shape of shapes) {
      const n = shape[k - rank + shape.length] ?? 1;
      if (n !== 1 && size !== 1 && n !== size) {
        throw new ShapeError(
          `${where}: shapes ${shapes.map((s) => `[${s.join(", ")}]`).join(" and ")} do not broadcast; dimensions must be equal or 1.`,
        );
      }
      if (n !== 1) size = n;
    }
    return size;
  });
}

type Gradient = (inputs: readonly Tensor[], dy: Tensor, y: Tensor) => readonly (Tensor | null)[];

/** An elementwise operation. */
export function elementwiseOperation(name: ElementwiseName, gradient?: Gradient): Operation<null> {
  return {
    name,
    kind: "elementwise",
    apply: name,
    isGradient: () => name === "siluGradient",
    ...(gradient && {
      gradient: ({ inputs, outputs, gradients }) => gradient(inputs, gradients[0]!, outputs[0]!),
    }),
  };
}

/** A copy, also into a larger shape. */
export const identityOperation = /* @__PURE__ */ elementwiseOperation("identity", (_, dy) => [dy]);

/** x repeated to `shape`, as NumPy broadcasts. */
export function broadcastTo(x: TensorLike, shape: Shape): Tensor {
  const tensor = asTensor(x);
  if (sameShape(tensor.shape, shape)) return tensor;
  if (!sameShape(broadcastShapes("broadcastTo", tensor.shape, shape), shape)) {
    throw new ShapeError(
      `broadcastTo: got ${formatSpec(tensor)}; expected a shape that broadcasts to [${shape.join(", ")}].`,
    );
  }
  return makeTensor(identityOperation, [tensor], null, shape, tensor.dtype);
}

/** Attributes of a reduction of x [outer, size, inner] along `size`. */
export interface ReduceAttributes {
  readonly outer: number;
  readonly size: number;
  readonly inner: number;
}

/** Lowers a reduction to its kernel. */
export const lowerReduce =
  (op: "sum" | "max") =>
  ({ attributes, inputs, capabilities }: LowerContext<ReduceAttributes>): Kernel =>
    reduceKernel({ ...attributes, op, dtype: inputs[0]!.dtype === "i32" ? "i32" : "f32" }, capabilities);

const sumOperation: Operation<ReduceAttributes> = {
  name: "sum",
  kind: "kernel",
  lower: (context) => lowerReduce("sum")(context),
  // The result keeps its reduced axes as 1s, so its gradient broadcasts straight back.
  gradient: ({ inputs, gradients }) => [broadcastTo(gradients[0]!, inputs[0]!.shape)],
};

/** Which axes a reduction runs over, and whether they stay as dimensions of size 1. */
export interface ReduceOptions {
  /** Axes (negative counts from the end); default all. */
  readonly axes?: readonly number[];
  /** Keeps the reduced axes with length 1; default false. */
  readonly keepDims?: boolean;
}

/** Reduces over axes, in one node for each run of neighbouring axes. */
export function reduceOver(
  operation: Operation<ReduceAttributes>,
  value: TensorLike,
  { axes, keepDims = false }: ReduceOptions,
): Tensor {
  const x = asTensor(value);
  if (x.dtype === "u32") {
    throw new DtypeError(
      `${operation.name}: got ${formatSpec(x)}; expected f32 or i32. Convert with cast().`,
    );
  }
  const rank = x.shape.length;
  const chosen = new Set((axes ?? x.shape.map((_, k) => k)).map((k) => (k < 0 ? k + rank : k)));
  for (const k of chosen) {
    if (!Number.isInteger(k) || k < 0 || k >= rank) {
      throw new ShapeError(
        `${operation.name}: axis ${k} of ${formatSpec(x)}; expected -${rank} to ${rank - 1}.`,
      );
    }
  }
  let y = x;
  for (let first = 0; first < rank; first++) {
    if (!chosen.has(first)) continue;
    let end = first + 1;
    while (chosen.has(end)) end++;
    const size = sizeOf(y.shape.slice(first, end));
    if (size > 1) {
      const [outer, inner] = [sizeOf(y.shape.slice(0, first)), sizeOf(y.shape.slice(end))];
      const shape = y.shape.map((n, k) => (k >= first && k < end ? 1 : n));
      y = makeTensor(operation, [y], { outer, size, inner }, shape, y.dtype);
    }
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
export const sum = (x: TensorLike, options: ReduceOptions = {}): Tensor =>
  reduceOver(sumOperation, x, options);

/** Sums a broadcast gradient back to the shape that was broadcast. */
export function sumTo(gradient: Tensor, shape: Shape): Tensor {
  if (sameShape(gradient.shape, shape)) return gradient;
  const lead = gradient.shape.length - shape.length;
  const axes = gradient.shape.flatMap((n, k) => (k < lead || (shape[k - lead] === 1 && n !== 1) ? [k] : []));
  return reshape(sum(gradient, { axes, keepDims: true }), shape);
}
