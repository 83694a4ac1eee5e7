/** Kernels made for GPUs, in a module of their own, which devices that compute on the CPU never load. */
import type { AttentionVariants, GpuKernels } from "../capabilities.js";
import { quadBackwardVariants } from "../attention/quads_backward.js";
import { attentionDeltaQuads, quadVariants } from "../attention/quads_forward.js";
import { matmulSplits, matmulSum } from "../matmul/split.js";
import { tileVariants } from "../matmul/tiles.js";

/** On matrices in mixed precision, if they divide head vectors; else by quads. */
function onMatricesOr(
  family: "attention" | "attentionBackward",
  quads: AttentionVariants,
): AttentionVariants {
  return (spec, capabilities) => {
    const onMatrices = capabilities.mixedPrecision?.[family]?.(spec, capabilities) ?? [];
    return onMatrices.length > 0 ? onMatrices : quads(spec, capabilities);
  };
}

/** The kernels that GPUs have besides the shared ones. */
export const gpuKernels: GpuKernels = {
  matmul: tileVariants,
  matmulSplits,
  matmulSum,
  attention: onMatricesOr("attention", quadVariants),
  attentionDelta: attentionDeltaQuads,
  attentionBackward: onMatricesOr("attentionBackward", quadBackwardVariants),
};
