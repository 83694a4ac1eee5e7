/**
 * A kernel is a value. Every family in this folder is a pure function
 * `family(spec, capabilities) -> Kernel`; nothing here knows of a GPU object.
 */
import { EngineError } from "./errors.js";
import type { AttentionSpec } from "../attention/spec.js";
import type { GatedSpec } from "../matmul/subgroup_matrices.js";
import type { MatmulSpec, NamedVariant, Product } from "../matmul/shared.js";

/** Element types of storage buffers. Booleans are `i32` 0 or 1. */
export type Dtype = "f32" | "i32" | "u32";

/** How a buffer stores numbers: in their dtype, or f32 rounded to f16. */
export type StorageType = Dtype | "f16";

/** One storage-buffer binding; its index is its place in `Kernel.bindings` (all in group 0). */
export interface Binding {
  readonly name: string;
  readonly access: "read" | "read_write";
  readonly dtype: StorageType;
}

/** A compute kernel with static shapes, which are constants of its text. */
export interface Kernel {
  /** A stable, readable name of family, variant and shape: `matmul_nt_256x96x32_r8x8`. */
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
  /** The entry of `Capabilities.choices` that decided the variant, if there was one. */
  readonly choice?: readonly [key: string, variant: string];
}

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
  /** Kernels that replace attention by quads on GPUs; null for attention that stays f32. */
  readonly attention?: MixedAttention;
  readonly attentionBackward?: MixedAttention;
  /** A matmul of gates and values with SwiGLU in its epilogue; null if no kernel can do both. */
  readonly gated?: (spec: GatedSpec, capabilities: Capabilities) => Kernel | null;
}

export type MixedAttention = (spec: AttentionSpec, capabilities: Capabilities) => Kernel | null;

/** Variants for GPUs. See kernels/gpu. */
export interface GpuKernels {
  /** Variants of a matmul, the default first. */
  readonly matmul: (product: Product) => readonly NamedVariant[];
  /** Number of shares into which k of a matmul is split; 1 if it is not split. */
  readonly matmulSplits: (spec: MatmulSpec) => number;
  /** Adds the shares up, with bias and residual. */
  readonly matmulSum: (spec: MatmulSpec, capabilities: Capabilities) => Kernel;
  /** Attention by quads, for specs that `quadsApply` (attention/spec.ts) accepts. */
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
  /** Range of subgroup sizes if the device has the `subgroups` feature, else null. */
  readonly subgroups: { readonly min: number; readonly max: number } | null;
  readonly shaderF16: boolean;
  /**
   * True on adapters that run shaders on the CPU. They have few threads, and slow barriers and workgroup memory. Families
   * choose variants with one thread per row.
   */
  readonly software: boolean;
  /** Variants for GPUs. `openDevice` loads them for GPUs only; without them families use their portable variants. */
  readonly gpu?: GpuKernels;
  /** Variants for software adapters, loaded for these only. */
  readonly cpu?: CpuKernels;
  /** Mixed precision instead of f32, if the device was told to use it. */
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

/** Bytes of one element; the three dtypes are 32 bits wide. */
export const BYTES_PER_ELEMENT = 4;

/** A spec that cannot become a kernel: what was given, what was expected, what to do. */
export class KernelError extends EngineError {
  override readonly name = "KernelError";
  constructor(
    readonly kernel: string,
    readonly got: string,
    readonly expected: string,
    readonly hint = "",
  ) {
    super("kernel", `${kernel}: got ${got}; expected ${expected}.${hint ? ` ${hint}` : ""}`);
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
