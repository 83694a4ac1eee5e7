/** Counter-based random numbers: a pure function of (key, stream, position), so any run can be replayed. */
import { randomBits as randomBitsKernel } from "../../kernels/random.js";
import {
  makeTensor,
  requireDtype,
  requireShape,
  sizeOf,
  type Operation,
  type Shape,
  type Tensor,
  type TensorLike,
} from "../tensor.js";
import { asTensor } from "../trace.js";
import { add, cast, mul, remainder, shiftRight } from "./elementwise.js";

const randomBitsOperation: Operation<{ stream: number }> = {
  name: "randomBits",
  lower({ attributes: { stream }, outputs, capabilities }) {
    const kernel = randomBitsKernel({ count: sizeOf(outputs[0]!.shape), stream }, capabilities);
    return { dispatches: [{ kernel, bind: [{ input: 0 }, { output: 0 }] }] };
  },
};

/**
 * Uniform 32-bit words (Threefry-2x32, Salmon et al. 2011). `key` is u32[2], usually a seed and a step counter
 * that the program increments; `stream` tells apart the draws of one step.
 */
export function randomBits(key: TensorLike, shape: Shape, stream: number): Tensor {
  const k = asTensor(key);
  requireDtype("randomBits key", k, "u32");
  requireShape("randomBits key", k, [2]);
  return makeTensor(randomBitsOperation, [k], { stream }, shape, "u32");
}

/** Uniform f32 in [0, 1): multiples of 2^-24. */
export function randomUniform(key: TensorLike, shape: Shape, stream: number): Tensor {
  return mul(cast(shiftRight(randomBits(key, shape, stream), 8), "f32"), 2 ** -24);
}

/** Integers (i32) in [low, high), by remainder: the bias is below (high - low) / 2^32. */
export function randomInt(key: TensorLike, shape: Shape, stream: number, low: number, high: number): Tensor {
  return add(cast(remainder(randomBits(key, shape, stream), high - low), "i32"), low);
}
