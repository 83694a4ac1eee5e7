/** What a matrix product is, and how a variant of it is described. */
import type { DeviceLimits, Kernel } from "../core/kernel.js";
import type { ShaderBinding } from "../core/wgsl.js";

/** Which operand is stored transposed: none (`nn`), b (`nt`: b is [N, K]) or a (`tn`: a is [K, M]). */
export type MatmulLayout = "nn" | "nt" | "tn";

/** A product c = a b: [M, N] = [M, K] [K, N]. */
export interface MatmulSpec {
  /** How a and b are stored. */
  readonly layout: MatmulLayout;
  /** Rows of c. */
  readonly M: number;
  /** Columns of c. */
  readonly N: number;
  /** Length of the sums. */
  readonly K: number;
  /** Number of independent products; a, b and c then have this leading dimension. Default 1. */
  readonly batch?: number;
  /** Adds bias [N] to every row of c. */
  readonly bias?: boolean;
  /** Adds a tensor of c's shape. */
  readonly residual?: boolean;
  /**
   * Number of shares of k that are summed separately (split-K), for results of few elements and long sums. c then has this
   * leading dimension, and {@link matmulSum} adds the shares. Not allowed with a batch, a bias or a residual. Default 1.
   */
  readonly splits?: number;
  /** The operand that is a gradient, or null (the default). Variants that round their operands to f16 scale it. */
  readonly gradient?: "a" | "b" | null;
  /**
   * Those of a, b, c and residual that are stored in f16, which takes mixed precision. Default none.
   */
  readonly halves?: readonly string[];
}

/** A checked spec with its defaults, for the variants. */
export interface Product extends Required<MatmulSpec> {
  readonly name: string;
  readonly capabilities: DeviceLimits;
}

/** Name of a matmul without its variant: the key of `Capabilities.choices`. */
export function matmulName(spec: MatmulSpec): string {
  const { layout, M, N, K, batch = 1, splits = 1, bias, residual, halves = [] } = spec;
  const split = splits > 1 && `split${splits}`;
  const stored = halves.length > 0 && `half_${halves.join("_")}`;
  const size = `${batch > 1 ? `${batch}x` : ""}${M}x${N}x${K}`;
  const parts = ["matmul", layout, bias && "bias", residual && "residual", split, stored, size];
  return parts.filter(Boolean).join("_");
}

/** Checks a spec and fills in its defaults. */
export function productOf(spec: MatmulSpec, capabilities: DeviceLimits): Product {
  return {
    batch: 1,
    splits: 1,
    bias: false,
    residual: false,
    gradient: null,
    halves: [],
    ...spec,
    name: matmulName(spec),
    capabilities,
  };
}

/** The part of a kernel that differs between variants. */
export interface Variant extends Pick<Kernel, "code" | "workgroups"> {
  readonly bindings: readonly ShaderBinding[];
}

/** A variant with the name that choices use. */
export interface NamedVariant {
  readonly name: string;
  readonly build: () => Variant;
  /** A variant that compiles much faster, if this one takes long. */
  readonly quick?: NamedVariant;
}

/** silu(x W_gate^T) (x W_value^T). W [2 inner, K] has the rows of W_gate, then the rows of W_value. */
export interface GatedSpec {
  readonly rows: number;
  readonly inner: number;
  readonly K: number;
  /** Which of the bindings a (x), b (W) and c are stored in f16. */
  readonly halves: readonly string[];
}

/** Shapes that a device multiplies: left M x K and right K x N of `component`, result M x N in f32. */
export interface SubgroupMatrices {
  /** Rows of a result. */
  readonly M: number;
  /** Columns of a result. */
  readonly N: number;
  /** Length of the sums. */
  readonly K: number;
  /** Type of the operands. */
  readonly component: "f16";
  /** Threads of every subgroup. */
  readonly subgroupSize: number;
}
