/** Kernels made for GPUs, in a module of their own, which devices that compute on the CPU never load. */
import type { GpuKernels } from "../capabilities.js";
import { attentionDeltaQuads, quadBackwardVariants } from "../attention/quads_backward.js";
import { gpuInference, onMatricesOr } from "./inference.js";

/** The kernels that GPUs have besides the shared ones. */
export const gpuKernels: GpuKernels = {
  ...gpuInference,
  attentionDelta: attentionDeltaQuads,
  attentionBackward: onMatricesOr("attentionBackward", quadBackwardVariants),
};
