/**
 * What a kernel is: a value. Every family in this folder is a pure function
 * `family(spec, capabilities) -> Kernel`; nothing here knows of a GPU object.
 */
import type { AttentionSpec } from "../attention/spec.js";
import type { GatedSpec } from "../matmul/subgroup_matrices.js";
import type { MatmulSpec, NamedVariant, Product } from "../matmul/shared.js";

/** Element types of storage buffers. Booleans are `i32` 0 or 1. */
export type Dtype = "f32" | "i32" | "u32";

/** How a buffer holds numbers: as their dtype, or f32 rounded to f16. */
export type StorageType = Dtype | "f16";

/** One storage-buffer binding; its index is its place in `Kernel.bindings` (all in group 0). */
export interface Binding {
  readonly name: string;
  readonly access: "read" | "read_write";
  readonly dtype: StorageType;
}

/** A compiled-in-text compute kernel with static shapes. */
export interface Kernel {
  /** Stable and readable; names family, variant and shape: `matmul_nt_256x96x32_r8x8`. */
  readonly name: string;
  /** The whole WGSL module; its entry point is `main`. */
  readonly code: string;
  readonly bindings: readonly Binding[];
  /** Dispatch size, each dimension within the device's limit. */
  readonly workgroups: readonly [number, number, number];
  /** Fewest floating-point operations that the work needs (a multiply-add counts 2). */
  readonly flops: number;
  /** Fewest bytes that the work moves: each input read once, each output written once. */
  readonly bytes: number;
  /** Where `Capabilities.choices` decided the variant: its entry. */
  readonly choice?: readonly [key: string, variant: string];
}

/**
 * Variants of kernels that were chosen by measurement, by the kernel's name without its variant:
 * `{ matmul_nt_256x96x32: "r8x8" }`. Families with variants to choose from list their names.
 */
export type KernelChoices = Readonly<Record<string, string>>;

/** How products, and attention, are computed where their operands are rounded. */
export interface MixedPrecision {
  /** What to, and on what: `f16 16x16x16`. */
  readonly name: string;
  /** Takes the place of matmul's own variants; empty for a product that stays f32. */
  readonly variants: (product: Product) => readonly NamedVariant[];
  /** Take the place of attention's quads on GPUs; null for what stays f32. */
  readonly attention?: MixedAttention;
  readonly attentionBackward?: MixedAttention;
  /** A product of gates and values with SwiGLU after it; null where they cannot be one. */
  readonly gated?: (spec: GatedSpec, capabilities: Capabilities) => Kernel | null;
}

export type MixedAttention = (spec: AttentionSpec, capabilities: Capabilities) => Kernel | null;

/** Variants for GPUs. See kernels/gpu. */
export interface GpuKernels {
  /** Of a matrix product, the default first. */
  readonly matmul: (product: Product) => readonly NamedVariant[];
  /** Shares into which k of a product is split; 1 for none. */
  readonly matmulSplits: (spec: MatmulSpec) => number;
  /** Adds the shares up, with bias and residual. */
  readonly matmulSum: (spec: MatmulSpec, capabilities: Capabilities) => Kernel;
  /** Where `quadsApply` (attention/spec.ts) says so. */
  readonly attention: (spec: AttentionSpec, capabilities: Capabilities) => Kernel;
  readonly attentionDelta: (spec: AttentionSpec, capabilities: Capabilities) => Kernel;
  readonly attentionBackward: (spec: AttentionSpec, capabilities: Capabilities) => Kernel;
}

/** Families' variants for adapters that run shaders on the CPU; see kernels/cpu. */
export type CpuKernels = Pick<GpuKernels, "attention" | "attentionBackward">;

/** What kernels may know of the device that they are generated for. */
export interface Capabilities {
  readonly maxComputeWorkgroupsPerDimension: number;
  readonly maxComputeInvocationsPerWorkgroup: number;
  readonly maxComputeWorkgroupStorageSize: number;
  readonly maxStorageBufferBindingSize: number;
  readonly maxStorageBuffersPerShaderStage: number;
  /** Subgroup size range where the device has the `subgroups` feature, else null. */
  readonly subgroups: { readonly min: number; readonly max: number } | null;
  readonly shaderF16: boolean;
  /**
   * True on adapters that run shaders on the CPU. Barriers and workgroup memory are slow there and
   * threads are few: families choose one-thread-does-a-row variants.
   */
  readonly software: boolean;
  /** Present on GPUs, for which they are loaded as a device is opened; else families make do with what they have. */
  readonly gpu?: GpuKernels;
  /** Present on software adapters, likewise. */
  readonly cpu?: CpuKernels;
  /** Products in mixed precision instead of f32, where the device was told to. */
  readonly mixedPrecision?: MixedPrecision;
  /** Variants to take instead of those that families choose by themselves. */
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

/** Bytes of one element; the three dtypes are 32 bits wide. */
export const BYTES_PER_ELEMENT = 4;

/** A spec that cannot become a kernel: what was given, what was expected, what to do. */
export class KernelError extends Error {
  override readonly name = "KernelError";
  constructor(
    readonly kernel: string,
    readonly got: string,
    readonly expected: string,
    readonly hint = "",
  ) {
    super(`${kernel}: got ${got}; expected ${expected}.${hint ? ` ${hint}` : ""}`);
  }
}

/** Throws unless every named size is a positive integer. */
export function requirePositive(kernel: string, sizes: Record<string, number>): void {
  for (const [name, value] of Object.entries(sizes)) {
    if (!Number.isInteger(value) || value < 1) {
      throw new KernelError(kernel, `${name} = ${value}`, `a positive integer ${name}`);
    }
  }
}

/** Throws unless every named buffer (in elements) can be bound whole on this device. */
export function requireBindable(
  kernel: string,
  elements: Record<string, number>,
  capabilities: Capabilities,
): void {
  for (const [name, count] of Object.entries(elements)) {
    const bytes = count * BYTES_PER_ELEMENT;
    if (bytes > capabilities.maxStorageBufferBindingSize) {
      throw new KernelError(
        kernel,
        `${name} of ${bytes} bytes`,
        `at most ${capabilities.maxStorageBufferBindingSize} bytes per storage-buffer binding on this device`,
        "Use a smaller (micro-)batch, or open the device with a higher maxStorageBufferBindingSize.",
      );
    }
  }
}
