/** What the variants of matmul share: the spec, the bindings and the epilogue. */
import type { Capabilities, Kernel } from "./kernel.js";
import type { ShaderBinding } from "./wgsl.js";

export type MatmulLayout = "nn" | "nt" | "tn";

export interface MatmulSpec {
  readonly layout: MatmulLayout;
  readonly M: number;
  readonly N: number;
  readonly K: number;
  /** Independent products; a, b and c then have this leading dimension. Default 1. */
  readonly batch?: number;
  /** Add bias [N] to every row of c. */
  readonly bias?: boolean;
  /** Add a tensor of c's shape. */
  readonly residual?: boolean;
  /** The operand that is a gradient: variants that round their operands to f16 scale it. Default none. */
  readonly gradient?: "a" | "b" | null;
}

/** A checked spec, as the variants take it. */
export interface Product extends Required<MatmulSpec> {
  readonly name: string;
  readonly capabilities: Capabilities;
}

/** What a variant decides. */
export interface Variant extends Pick<Kernel, "code" | "workgroups"> {
  readonly bindings: readonly ShaderBinding[];
}

/** A variant by the name that choices give it. */
export interface NamedVariant {
  readonly name: string;
  readonly build: () => Variant;
}

/** Workgroups of large tiles below which smaller tiles fill a GPU better. */
export const ENOUGH_WORKGROUPS = 128;

/** Vector width at which rows of `length` contiguous elements can be bound. */
export function widthOf(length: number): 1 | 4 {
  return length % 4 === 0 ? 4 : 1;
}

/** The bindings, with the vector width of each operand. */
export function productBindings({ bias, residual }: Product, a: 1 | 4, b: 1 | 4, c: 1 | 4): ShaderBinding[] {
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

/** What the epilogue adds to a sum that goes to `c[at]`, in column `n` (both counted in vectors). */
export function addends({ bias, residual }: Product, at: string, n: string): string {
  return `${bias ? ` + bias[${n}]` : ""}${residual ? ` + residual[${at}]` : ""}`;
}
