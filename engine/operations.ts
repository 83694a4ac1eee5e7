/** Operations beyond the core of `hrm-webgpu/engine`, which only those who use them load. docs/operations.md lists all. */
export { concatenate, flip, gather, pad, scatterAdd, split, stack, tile } from "./ops/arrange.js";
export { batchedMatmul, scaledDotProductAttention, type AttentionMask } from "./ops/attend.js";
export { avgPool2d, conv1d, conv2d, maxPool2d, type WindowOptions } from "./ops/convolution.js";
export { einsum } from "./ops/einsum.js";
export { ceil, clamp, cos, erf, gelu, pow, relu, round, sin, tanh } from "./ops/functions.js";
export { randomNormal } from "./ops/normal.js";
export {
  argmax,
  cumsum,
  dropout,
  layerNorm,
  logSoftmax,
  oneHot,
  reduceMax,
  reduceMin,
  reduceProd,
  softmax,
  sort,
  topk,
  type Sorted,
} from "./ops/over_axes.js";
