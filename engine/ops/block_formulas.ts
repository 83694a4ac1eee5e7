/**
 * Formulas of the kernels of transformer blocks, made of operations that have gradients of any order. Gradients of gradients
 * and of rotary tables use them. The formulas store tensors that the kernels avoid, such as S x S matrices.
 */
import type { Tensor } from "../tensor.js";
import type { AttentionAttributes } from "./blocks.js";
import { sum } from "./broadcast.js";
import { add, div, exp, lessEqual, mul, position, silu, sub, where } from "./elementwise.js";
import { concat, slice, transpose } from "./layout.js";
import { matmul } from "./matmul.js";
import { maxOver } from "./reduce.js";
import { reshape, stopGradient } from "./view.js";

const LAST = { axes: [-1], keepDims: true };

/** `count` elements along an axis, from `start` on. */
function part(x: Tensor, axis: number, start: number, count: number): Tensor {
  return slice(
    x,
    x.shape.map((_, k) => (k === axis ? start : 0)),
    x.shape.map((n, k) => (k === axis ? count : n)),
  );
}

/** silu(gate) up of gate and up side by side. */
export function swigluFormula(gateUp: Tensor): Tensor {
  const axis = gateUp.shape.length - 1;
  const half = gateUp.shape[axis]! / 2;
  return mul(silu(part(gateUp, axis, 0, half)), part(gateUp, axis, half, half));
}

/** Queries and keys of packed qkv [B, S, 3, H, D], rotated by tables [S, D] as kernels/rope.ts says. */
export function ropeFormula(
  qkv: Tensor,
  cos: Tensor,
  sin: Tensor,
  {
    batch,
    length,
    heads,
    headDim,
    inverse = false,
  }: Omit<AttentionAttributes, "causal"> & { readonly inverse?: boolean },
): Tensor {
  const x = reshape(qkv, [batch, length, 3, heads, headDim]);
  const half = headDim / 2;
  const turned = part(x, 2, 0, 2);
  const [first, second] = [part(turned, 4, 0, half), part(turned, 4, half, half)];
  const table = (t: Tensor, start: number): Tensor => reshape(part(t, 1, start, half), [length, 1, 1, half]);
  const [c1, c2, s1, s2] = [table(cos, 0), table(cos, half), table(sin, 0), table(sin, half)];
  const [one, two] = inverse
    ? [add(mul(first, c1), mul(second, s2)), sub(mul(second, c2), mul(first, s1))]
    : [sub(mul(first, c1), mul(second, s1)), add(mul(second, c2), mul(first, s2))];
  return reshape(concat([concat([one, two], 4), part(x, 2, 2, 1)], 2), qkv.shape);
}

/** softmax(q k^T / sqrt(D)) v of packed qkv, rotated first if there are tables. [B, S, H D] */
export function attentionFormula(
  qkv: Tensor,
  tables: readonly Tensor[],
  attributes: AttentionAttributes,
): Tensor {
  const { batch, length, heads, headDim, causal } = attributes;
  const [cos, sin] = tables;
  const x = reshape(cos && sin ? ropeFormula(qkv, cos, sin, attributes) : qkv, [
    ...[batch, length, 3, heads, headDim],
  ]);
  const byHead = transpose(x, [2, 0, 3, 1, 4]);
  const [q, k, v] = [0, 1, 2].map((third) =>
    reshape(part(byHead, 0, third, 1), [batch * heads, length, headDim]),
  ) as [Tensor, Tensor, Tensor];
  let scores = mul(matmul(q, k, { transposeB: true }), 1 / Math.sqrt(headDim));
  if (causal) {
    const place = position([length, 1]);
    scores = where(lessEqual(reshape(place, [1, length]), place), scores, -1e30);
  }
  const e = exp(sub(scores, stopGradient(maxOver(scores, LAST))));
  const o = matmul(div(e, sum(e, LAST)), v);
  const byPosition = transpose(reshape(o, [batch, heads, length, headDim]), [0, 2, 1, 3]);
  return reshape(byPosition, [batch, length, heads * headDim]);
}
