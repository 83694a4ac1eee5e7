/** Kernels made for GPUs, those of gradients left out. */
import type { AttentionVariants, GpuKernels } from "../capabilities.js";
import { quadVariants } from "../attention/quads_forward.js";
import { matmulSplits, matmulSum } from "../matmul/split.js";
import { tileVariants } from "../matmul/tiles.js";

/** On matrices in mixed precision, if they divide head vectors; else by quads. */
export function onMatricesOr(
  family: "attention" | "attentionBackward",
  quads: AttentionVariants,
): AttentionVariants {
  return (spec, capabilities) => {
    const onMatrices = capabilities.mixedPrecision?.[family]?.(spec, capabilities) ?? [];
    return onMatrices.length > 0 ? onMatrices : quads(spec, capabilities);
  };
}

/** The kernels that inference on GPUs has besides the shared ones. */
export const gpuInference: GpuKernels = {
  matmul: tileVariants,
  matmulSplits,
  matmulSum,
  attention: (spec, capabilities) => onMatricesOr("attention", quadVariants)(spec, capabilities),
};
