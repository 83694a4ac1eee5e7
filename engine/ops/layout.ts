/** Operations that move elements, with their gradients. moves.ts has what inference needs of them. */
import { pad as padKernel } from "../../kernels/layout.js";
import {
  giveGradient,
  makeTensor,
  type GradientRule,
  type Operation,
  type Shape,
  type Tensor,
} from "../tensor.js";
import type { TensorLike } from "../trace.js";
import * as moves from "./moves.js";
import { concatOperation, sliceOperation } from "./moves.js";

export { transpose } from "./moves.js";

const padOperation: Operation<{ start: readonly number[] }> = {
  name: "pad",
  kind: "kernel",
  lower({ attributes: { start }, inputs: [x], outputs: [y], capabilities }) {
    return padKernel(
      { shape: [...y!.shape], source: [...x!.shape], start: [...start], dtype: x!.dtype },
      capabilities,
    );
  },
  gradient: ({ attributes: { start }, inputs: [x], gradients: [dy] }) => [slice(dy!, start, x!.shape)],
};

export const sliceRule: GradientRule<{ start: readonly number[] }> = ({
  attributes,
  inputs: [x],
  gradients: [dy],
}) => [makeTensor(padOperation, [dy!], attributes, x!.shape, dy!.dtype)];

/** The block of `shape` that begins at `start`. */
export function slice(x: TensorLike, start: readonly number[], shape: Shape): Tensor {
  giveGradient(sliceOperation, sliceRule);
  return moves.slice(x, start, shape);
}

export const concatRule: GradientRule<{ axis: number }> = ({
  attributes: { axis },
  inputs,
  gradients: [dy],
}) => {
  let offset = 0;
  return inputs.map((x) => {
    const start = x.shape.map((_, k) => (k === axis ? offset : 0));
    offset += x.shape[axis]!;
    return slice(dy!, start, x.shape);
  });
};

/** Tensors one after the other along an axis; at most 7. */
export function concat(values: readonly TensorLike[], axis: number): Tensor {
  giveGradient(concatOperation, concatRule);
  return moves.concat(values, axis);
}
