/** WGSL compute kernels as pure functions of a static spec. */
export { attentionBackward, attentionDelta, attentionVariants } from "./attention/choose_backward.js";
export {
  attention,
  attentionName,
  type AttentionFamily,
  type AttentionSource,
  type AttentionSpec,
} from "./attention/choose.js";
export * from "./cross_entropy.js";
export * from "./elementwise.js";
export * from "./embedding.js";
export * from "./gather.js";
export * from "./capabilities.js";
export * from "./core/kernel.js";
export * from "./layout.js";
export * from "./matmul/choose.js";
export * from "./optimizer.js";
export * from "./permutation.js";
export * from "./random.js";
export * from "./reduce.js";
export * from "./rms_norm.js";
export * from "./rope.js";
export * from "./sum_squares.js";
export * from "./swiglu.js";
export * from "./variants.js";
