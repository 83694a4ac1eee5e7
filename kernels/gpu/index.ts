/** Kernels made for GPUs, in a module of their own, which devices that compute on the CPU never load. */
import type { GpuKernels } from "../capabilities.js";
import { attentionBackwardQuads, attentionDeltaQuads, attentionQuads } from "../attention/quads.js";
import { matmulSplits, matmulSum } from "../matmul/split.js";
import { tileVariants } from "../matmul/tiles.js";

export const gpuKernels: GpuKernels = {
  matmul: tileVariants,
  matmulSplits,
  matmulSum,
  attention: (spec, capabilities) =>
    capabilities.mixedPrecision?.attention?.(spec, capabilities) ?? attentionQuads(spec, capabilities),
  attentionDelta: attentionDeltaQuads,
  attentionBackward: (spec, capabilities) =>
    capabilities.mixedPrecision?.attentionBackward?.(spec, capabilities) ??
    attentionBackwardQuads(spec, capabilities),
};
