/** Counter-based random numbers: a pure function of (key, stream, position), so that any run can be replayed. */
import {
  randomPermutations as randomPermutationsKernel,
  shuffledIndex as shuffledIndexKernel,
} from "../../kernels/permutation.js";
import { randomBits as randomBitsKernel } from "../../kernels/random.js";
import { UsageError } from "../errors.js";
import {
  makeTensor,
  requireDtype,
  requireShape,
  sizeOf,
  type Operation,
  type Shape,
  type Tensor,
} from "../tensor.js";
import { type TensorLike, asTensor } from "../trace.js";
import { add, cast, mul, remainder, shiftRight } from "./elementwise.js";

const randomBitsOperation: Operation<{ stream: number }> = {
  name: "randomBits",
  kind: "kernel",
  lower({ attributes: { stream }, inputs: [key], outputs, capabilities }) {
    const keys = sizeOf(key!.shape) / 2;
    return randomBitsKernel({ count: sizeOf(outputs[0]!.shape), stream, keys }, capabilities);
  },
};

/**
 * Uniform 32-bit words (Threefry-2x32, Salmon et al. 2011). `key` is u32[2], usually a seed and a step counter
 * that the program increments; `stream` distinguishes the draws of one step. A key u32[n, 2] has a key for each of the n rows
 * of `shape`, whose draws then do not depend on the other rows.
 */
export function randomBits(key: TensorLike, shape: Shape, stream: number): Tensor {
  const keys = asTensor(key).shape.length === 2 ? shape[0] : undefined;
  return makeTensor(randomBitsOperation, [keyOf("randomBits", key, keys)], { stream }, shape, "u32");
}

/** Uniform f32 in [0, 1): multiples of 2^-24. */
export function randomUniform(key: TensorLike, shape: Shape, stream: number): Tensor {
  return mul(cast(shiftRight(randomBits(key, shape, stream), 8), "f32"), 2 ** -24);
}

/** Integers (i32) in [low, high), both integers, by remainder: the bias is below (high - low) / 2^32. */
export function randomInt(key: TensorLike, shape: Shape, stream: number, low: number, high: number): Tensor {
  if (!(Number.isInteger(low) && Number.isInteger(high) && low < high))
    throw new UsageError(`randomInt: got ${low} to ${high}; expected integers, the first below the second.`);
  return add(cast(remainder(randomBits(key, shape, stream), high - low), "i32"), low);
}

const randomPermutationsOperation: Operation<{ stream: number }> = {
  name: "randomPermutations",
  kind: "kernel",
  lower({ attributes: { stream }, outputs: [y], capabilities }) {
    const [rows, items] = y!.shape as [number, number];
    return randomPermutationsKernel({ rows, items, stream }, capabilities);
  },
};

/**
 * Uniformly random permutations of 0..n-1, one per row; `key` and `stream` as in {@link randomBits}.
 * @returns i32 [rows, n]
 */
export function randomPermutations(
  key: TensorLike,
  [rows, items]: readonly [number, number],
  stream: number,
): Tensor {
  return makeTensor(
    randomPermutationsOperation,
    [keyOf("randomPermutations", key)],
    { stream },
    [rows, items],
    "i32",
  );
}

const shuffledIndexOperation: Operation<{ size: number; stream: number }> = {
  name: "shuffledIndex",
  kind: "kernel",
  lower({ attributes: { size, stream }, outputs: [y], capabilities }) {
    return shuffledIndexKernel({ count: sizeOf(y!.shape), size, stream }, capabilities);
  },
};

/**
 * Sampling without replacement from `size` items, i32 in the shape of `draws` (u32): draws number k size to
 * (k + 1) size - 1 take every item once, in an order of their own for each k. The order is a function of key[0]
 * and `stream`, so that the number of the next draw is the whole state.
 */
export function shuffledIndex(key: TensorLike, draws: TensorLike, size: number, stream: number): Tensor {
  const d = asTensor(draws);
  requireDtype("shuffledIndex draws", d, "u32");
  return makeTensor(
    shuffledIndexOperation,
    [keyOf("shuffledIndex", key), d],
    { size, stream },
    d.shape,
    "i32",
  );
}

function keyOf(name: string, key: TensorLike, keys?: number): Tensor {
  const k = asTensor(key);
  requireDtype(`${name} key`, k, "u32");
  requireShape(`${name} key`, k, keys === undefined ? [2] : [keys, 2]);
  return k;
}
