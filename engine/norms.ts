/** Norms over many tensors, such as all gradients of a model. */
export { sumOfSquares } from "./ops/norm.js";
