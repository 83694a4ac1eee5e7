/** Operations for drawing batches on the GPU: orders without replacement, permutations, and packed integer tables. */
export { takePacked, type PackedBits } from "./ops/gather.js";
export { randomPermutations, shuffledIndex } from "./ops/random.js";
