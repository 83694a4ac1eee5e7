/** Normally distributed numbers by counter. */
import {
  add,
  cast,
  log,
  mul,
  randomBits,
  shiftRight,
  sqrt,
  type Shape,
  type Tensor,
  type TensorLike,
} from "../index.js";
import { cos } from "./functions.js";

/**
 * Standard normal numbers, f32, by Box and Muller (1958): a function of `key` (u32 [2], or [n, 2] with a key
 * for each of the n rows of `shape`), `stream` and the place. Takes the
 * draws of the streams 2 `stream` and 2 `stream` + 1; the largest number is 5.9.
 */
export function randomNormal(key: TensorLike, shape: Shape, stream: number): Tensor {
  const uniform = (of: number): Tensor => cast(shiftRight(randomBits(key, shape, of), 8), "f32");
  // Half a step above the multiples of 2^-24, so that no logarithm is infinite.
  const radius = sqrt(mul(log(mul(add(uniform(2 * stream), 0.5), 2 ** -24)), -2));
  return mul(radius, cos(mul(uniform(2 * stream + 1), 2 * Math.PI * 2 ** -24)));
}
