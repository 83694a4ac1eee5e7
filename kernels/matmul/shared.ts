/** What the variants of matmul share: the bindings, the place of a tile and the epilogue. */
import { lines, type Buffers, type ShaderBinding } from "../core/wgsl.js";
import type { MatmulSpec, Product } from "./spec.js";

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

/** Loads of buffers of f32. */
const IN_F32: Pick<Buffers, "load"> = { load: (name, at) => `${name}[${at}]` };

/** The terms that the epilogue adds to a sum for `c[at]` in column `n` (both counted in vectors). */
export function addends(
  { bias, residual }: Pick<Product, "bias" | "residual">,
  at: string,
  n: string,
  { load }: Pick<Buffers, "load"> = IN_F32,
): string {
  return `${bias ? ` + ${load("bias", n)}` : ""}${residual ? ` + ${load("residual", at)}` : ""}`;
}
