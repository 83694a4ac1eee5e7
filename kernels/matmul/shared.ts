/** What the variants of matmul share: the spec, the bindings and the epilogue. */
import type { Capabilities, Kernel } from "../core/kernel.js";
import { lines, type ShaderBinding } from "../core/wgsl.js";

export type MatmulLayout = "nn" | "nt" | "tn";

export interface MatmulSpec {
  readonly layout: MatmulLayout;
  readonly M: number;
  readonly N: number;
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
   * Those of a, b, c and residual that the engine stores in f16. Variants that are made for that bind them so; for all
   * others the engine rewrites the text (core/f16_storage.ts). Default none.
   */
  readonly halves?: readonly string[];
}

/** A checked spec with its defaults, for the variants. */
export interface Product extends Required<MatmulSpec> {
  readonly name: string;
  readonly capabilities: Capabilities;
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
export function productOf(spec: MatmulSpec, capabilities: Capabilities): Product {
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
}

/** With fewer workgroups than this, smaller tiles fill a GPU better. */
export const ENOUGH_WORKGROUPS = 120;

/** A multiple of every tile's depth along k. Shares of k are multiples of it. */
const SHARE = 64;

/** Steps along k in each share. The last share may be shorter. */
export function shareOf({ K, splits }: Pick<Required<MatmulSpec>, "K" | "splits">): number {
  return splits === 1 ? K : Math.ceil(K / splits / SHARE) * SHARE;
}

/**
 * WGSL that finds a workgroup's tile of c. It defines `n0`, `m0`, `c_slice` (which [M, N] of c), `ab_slice` (which [M, K]
 * of a and [K, N] of b), and the range of k from `k0` to `k_end`.
 */
export function tilePlace(
  product: Product,
  { rows, columns }: { readonly rows: number; readonly columns: number },
): { count: number; prologue: (group: string) => string } {
  const { M, N, K, batch, splits } = product;
  const tilesM = Math.ceil(M / rows);
  const tilesN = Math.ceil(N / columns);
  const count = tilesM * tilesN * batch * splits;
  const share = shareOf(product);
  return {
    count,
    prologue: (group) =>
      lines(
        `let group = ${group};`,
        `if (group >= ${count}u) { return; }`,
        `let n0 = (group % ${tilesN}u) * ${columns}u;`,
        `let m0 = (group / ${tilesN}u % ${tilesM}u) * ${rows}u;`,
        `let c_slice = group / ${tilesN * tilesM}u;`,
        `let ab_slice = ${splits === 1 ? "c_slice" : "0u"};`,
        `var k0 = ${splits === 1 ? "0u" : `c_slice * ${share}u`};`,
        `let k_end = ${splits === 1 ? `${K}u` : `min(k0 + ${share}u, ${K}u)`};`,
      ),
  };
}

/** A statement, under a condition if one is needed. */
export const guarded = (condition: string, needed: boolean, statement: string): string =>
  needed ? `if (${condition}) { ${statement} }` : statement;

/** Vector width at which rows of `length` contiguous elements can be bound. */
export function widthOf(length: number): 1 | 4 {
  return length % 4 === 0 ? 4 : 1;
}

/** The bindings, with the vector width of each operand. */
export function productBindings(
  { bias, residual }: Pick<Product, "bias" | "residual">,
  a: 1 | 4,
  b: 1 | 4,
  c: 1 | 4,
): ShaderBinding[] {
  const read = (name: string, width: 1 | 4): ShaderBinding => ({ name, access: "read", dtype: "f32", width });
  return [
    read("a", a),
    read("b", b),
    ...(bias ? [read("bias", c)] : []),
    ...(residual ? [read("residual", c)] : []),
    { name: "c", access: "read_write", dtype: "f32", width: c },
  ];
}

/** Position `n` (a multiple of `width`) counted in vectors. */
export function inVectors(n: string, width: 1 | 4): string {
  return width === 1 ? n : `${n} / 4u`;
}

/** The terms that the epilogue adds to a sum for `c[at]` in column `n` (both counted in vectors). */
export function addends(
  { bias, residual }: Pick<Product, "bias" | "residual">,
  at: string,
  n: string,
): string {
  return `${bias ? ` + bias[${n}]` : ""}${residual ? ` + residual[${at}]` : ""}`;
}
