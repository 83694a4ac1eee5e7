/** What a family of kernels may know when it makes a kernel: the device, its kernel library, chosen variants, precision. */
import type { AttentionSpec } from "./attention/spec.js";
import type { DeviceLimits, Kernel, NamedKernel } from "./core/kernel.js";
import type { GatedSpec, MatmulSpec, NamedVariant, Product } from "./matmul/spec.js";

/**
 * Variants of kernels that were chosen by measurement, by the kernel's name without its variant:
 * `{ matmul_nt_256x96x32: "r8x8" }`. Families with variants to choose from list their names.
 */
export type KernelChoices = Readonly<Record<string, string>>;

/** How matmul and attention are computed from rounded operands. */
export interface MixedPrecision {
  /** Type of the operands and size of the matrices: `f16 16x16x16`. */
  readonly name: string;
  /** Variants that replace matmul's own; empty for a matmul that stays f32. */
  readonly variants: (product: Product) => readonly NamedVariant[];
  /** Variants that replace attention by quads on GPUs; empty for attention that stays f32. */
  readonly attention?: AttentionVariants;
  /** The backward kernel for the same specs. */
  readonly attentionBackward?: AttentionVariants;
  /** A matmul of gates and values with SwiGLU in its epilogue; null if no kernel can do both. */
  readonly gated?: (spec: GatedSpec, capabilities: Capabilities) => Kernel | null;
}

/** Variants of attention, the default first. */
export type AttentionVariants = (spec: AttentionSpec, capabilities: Capabilities) => readonly NamedKernel[];

/** Variants for GPUs. See kernels/gpu. */
export interface GpuKernels {
  /** Variants of a matmul, the default first. */
  readonly matmul: (product: Product) => readonly NamedVariant[];
  /** Number of shares into which k of a matmul is split; 1 if it is not split. */
  readonly matmulSplits: (spec: MatmulSpec) => number;
  /** Adds the shares up, with bias and residual. */
  readonly matmulSum: (spec: MatmulSpec, capabilities: Capabilities) => Kernel;
  /** Attention by quads or on matrices, for specs that `quadsApply` (attention/choose.ts) accepts. */
  readonly attention: AttentionVariants;
  /** Sums over each head of o dO, f32 [B, H, S], which the backward pass needs. Absent if only inference is loaded. */
  readonly attentionDelta?: (spec: AttentionSpec, capabilities: Capabilities) => Kernel;
  /** The gradient of qkv. Absent if only inference is loaded. */
  readonly attentionBackward?: AttentionVariants;
}

/** Variants for adapters that run shaders on the CPU. See kernels/cpu. */
export type CpuKernels = Pick<GpuKernels, "attention" | "attentionBackward">;

/** What kernels may know of the device that they are generated for, and which variants they take. */
export interface Capabilities extends DeviceLimits {
  /** Variants for GPUs, loaded when a GPU is opened; without them families take their portable variants. */
  readonly gpu?: GpuKernels;
  /** Variants for software adapters, loaded when one is opened. */
  readonly cpu?: CpuKernels;
  /** Products and attention in mixed precision instead of f32. */
  readonly mixedPrecision?: MixedPrecision;
  /** Variants that replace the families' own choices. */
  readonly choices?: KernelChoices;
}

/** The limits that the WebGPU specification guarantees, and no optional feature. */
export const baselineCapabilities: Capabilities = {
  maxComputeWorkgroupsPerDimension: 65535,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupStorageSize: 16384,
  maxStorageBufferBindingSize: 134217728,
  maxStorageBuffersPerShaderStage: 8,
  subgroups: null,
  shaderF16: false,
  software: false,
};
