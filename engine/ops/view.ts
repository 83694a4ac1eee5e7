/** Operations that give a tensor another shape or another place in the graph without moving a byte. */
import { ShapeError } from "../errors.js";
import {
  formatSpec,
  makeTensor,
  sameShape,
  sizeOf,
  type Operation,
  type Shape,
  type Tensor,
} from "../tensor.js";
import { type TensorLike, asTensor } from "../trace.js";

const reshapeOperation: Operation<null> = {
  name: "reshape",
  kind: "view",
  gradient: ({ inputs, gradients }) => [reshape(gradients[0]!, inputs[0]!.shape)],
};

/** The same elements in row-major order under another shape; one dimension may be -1. */
export function reshape(x: TensorLike, shape: Shape): Tensor {
  const tensor = asTensor(x);
  const known = sizeOf(shape.filter((n) => n !== -1));
  const wanted = shape.map((n) => (n === -1 ? tensor.size / known : n));
  if (sizeOf(wanted) !== tensor.size || wanted.some((n) => !Number.isInteger(n))) {
    throw new ShapeError(
      `reshape: got ${formatSpec(tensor)}; expected a shape of ${tensor.size} elements, not [${shape.join(", ")}].`,
    );
  }
  if (sameShape(tensor.shape, wanted)) return tensor;
  return makeTensor(reshapeOperation, [tensor], null, wanted, tensor.dtype);
}

/** The same tensor as a tensor of its own in the graph. */
export const viewOf = (x: Tensor): Tensor => makeTensor(reshapeOperation, [x], null, x.shape, x.dtype);

/** Ends the path of gradients; {@link grad} looks for it. */
export const stopGradientOperation: Operation<null> = {
  name: "stopGradient",
  kind: "view",
  gradient: () => [null],
};

/** The same value; no gradient flows through it. */
export function stopGradient(x: TensorLike): Tensor {
  const tensor = asTensor(x);
  return makeTensor(stopGradientOperation, [tensor], null, tensor.shape, tensor.dtype);
}
