/**
 * A kernel is a value. Every family of kernels is a pure function `family(spec, capabilities) -> Kernel`. Nothing
 * here imports a family or knows of a GPU object.
 */
import { EngineError } from "./errors.js";

/** Element types of storage buffers. Booleans are `i32` 0 or 1. */
export type Dtype = "f32" | "i32" | "u32";

/** How a buffer stores numbers: in their dtype, or f32 rounded to f16. */
export type StorageType = Dtype | "f16";

/** Which f32 buffers of a kernel are stored in f16: what is loaded is f32 at once, and what is stored is rounded last. */
export interface F16Buffers {
  /** Bindings that are stored in f16. */
  readonly halves?: readonly string[];
  /** Gradients that are written in f16, multiplied by {@link GRADIENT_SCALE}. */
  readonly scaled?: readonly string[];
}

/**
 * Gradients of a mean over many tokens are small. f16 keeps fewer digits of numbers below 2^-14, and rounds numbers below
 * 2^-25 to 0. A gradient is therefore multiplied by this number as it is rounded, and a sum of its products is divided by it.
 * Gradients above 65504 / 2^12 become infinite, and so does the result.
 */
export const GRADIENT_SCALE = 2 ** 12;

/** One storage-buffer binding; its index is its place in `Kernel.bindings` (all in group 0). */
export interface Binding {
  /** Its name in the WGSL text. */
  readonly name: string;
  /** Whether the kernel writes it. */
  readonly access: "read" | "read_write";
  /** Type of the elements in the buffer. */
  readonly dtype: StorageType;
}

/** What a kernel was made from: a family, and the spec that the family was given. */
export interface KernelSource<Family extends string = string, Spec = unknown> {
  /** Name of the family. */
  readonly family: Family;
  /** The spec, as the family was given it. */
  readonly spec: Spec;
}

/** A variant, with the name that choices use. */
export interface NamedKernel {
  /** The variant's name. */
  readonly name: string;
  /** Makes the kernel. @throws KernelError if the device cannot run it */
  readonly make: () => Kernel;
}

/** A compute kernel with static shapes, which are constants of its text. */
export interface Kernel<Source extends KernelSource = KernelSource> {
  /** A stable, readable name of family, variant and shape: `matmul_nt_256x96x32_r8x8`. */
  readonly name: string;
  /** The whole WGSL module; its entry point is `main`. */
  readonly code: string;
  /** The buffers to bind, in the order of their numbers in group 0. */
  readonly bindings: readonly Binding[];
  /** Dispatch size, each dimension within the device's limit. */
  readonly workgroups: readonly [number, number, number];
  /** Fewest floating-point operations that the work needs (a multiply-add counts 2). */
  readonly flops: number;
  /** Fewest bytes that the work moves: each input read once, each output written once. */
  readonly bytes: number;
  /** The entry of `Capabilities.choices` that decided the variant, if one did. */
  readonly choice?: readonly [key: string, variant: string];
  /** What it was made from, if its family has variants to choose from: see `alternativesOf` (variants.ts). */
  readonly source?: Source;
  /**
   * The same work in a form that compiles in a fraction of the time and runs slower. It has the same bindings, and its
   * results are equal to the bit. Absent if this kernel compiles quickly itself.
   */
  readonly quick?: () => Kernel;
}

/** Limits and features of the device that a kernel is generated for. */
export interface DeviceLimits {
  /** Workgroups of a dispatch in each dimension. */
  readonly maxComputeWorkgroupsPerDimension: number;
  /** Threads of a workgroup. */
  readonly maxComputeInvocationsPerWorkgroup: number;
  /** Bytes of workgroup memory. */
  readonly maxComputeWorkgroupStorageSize: number;
  /** Bytes of a bound storage buffer. */
  readonly maxStorageBufferBindingSize: number;
  /** Storage buffers that a kernel may bind. */
  readonly maxStorageBuffersPerShaderStage: number;
  /** Range of subgroup sizes if the device has the `subgroups` feature, else null. */
  readonly subgroups: { readonly min: number; readonly max: number } | null;
  /** True if shaders may compute in f16. */
  readonly shaderF16: boolean;
  /**
   * True on adapters that run shaders on the CPU. They have few threads, and slow barriers and workgroup memory. Families
   * choose variants with one thread per row.
   */
  readonly software: boolean;
}

/** Bytes of one element; the three dtypes are 32 bits wide. */
export const BYTES_PER_ELEMENT = 4;

/** A spec that cannot become a kernel: what was given, what was expected, what to do. */
export class KernelError extends EngineError {
  override readonly name = "KernelError";
  constructor(
    /** The family that refused the spec. */
    readonly kernel: string,
    /** What was given, in words. */
    readonly got: string,
    /** What it can do, in words. */
    readonly expected: string,
    /** What to do, in a sentence; may be empty. */
    readonly hint = "",
  ) {
    super("kernel", `${kernel}: got ${got}; expected ${expected}.${hint ? ` ${hint}` : ""}`);
  }
}

/** The variant that `choices` name for this kernel, or the first. @throws KernelError if there is no such variant */
export function chosenVariant<V extends { readonly name: string }>(
  kernel: string,
  variants: readonly V[],
  choices: Readonly<Record<string, string>> = {},
): { readonly variant: V; readonly choice?: readonly [key: string, variant: string] } {
  const wanted = choices[kernel];
  if (wanted === undefined) return { variant: variants[0]! };
  const variant = variants.find(({ name }) => name === wanted);
  if (!variant)
    throw new KernelError(
      kernel,
      `the variant ${wanted}`,
      `one of ${variants.map(({ name }) => name).join(", ")}`,
      "Measure again: choices are valid for one device and version.",
    );
  return { variant, choice: [kernel, wanted] };
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
  capabilities: Pick<DeviceLimits, "maxStorageBufferBindingSize">,
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
