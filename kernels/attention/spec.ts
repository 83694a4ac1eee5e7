/** The spec of attention and its amount of work, which all variants share. */
import { requireBindable, requirePositive, type DeviceLimits, type F16Buffers } from "../core/kernel.js";

/** `halves` may name qkv and o, `scaled` d_qkv; each kernel takes those that it binds. */
export interface AttentionSpec extends F16Buffers {
  /** B: sequences. */
  readonly batch: number;
  /** S: positions. */
  readonly length: number;
  /** H: heads. */
  readonly heads: number;
  /** D: width of a head. */
  readonly headDim: number;
  /** True if position i sees only the positions up to i. */
  readonly causal?: boolean;
  /** True if queries and keys are rotated as in rope.ts when they are read, and their gradients are rotated back when they are written. */
  readonly rope?: boolean;
}

/** Refuses specs that cannot become a kernel, before any text is made of them. */
export function requireAttention(spec: AttentionSpec, capabilities: DeviceLimits): void {
  const { batch, length, heads, headDim } = spec;
  const name = `attention_b${batch}_s${length}_h${heads}_d${headDim}`;
  requirePositive(name, { batch, length, heads, headDim });
  requireBindable(name, { qkv: 3 * rows(spec) * headDim }, capabilities);
}

/** Positions of all heads. */
export const rows = ({ batch, heads, length }: AttentionSpec): number => batch * heads * length;

/** Pairs of a query and a key that the query sees. */
const pairs = (spec: AttentionSpec): number =>
  (rows(spec) * (spec.causal ? spec.length + 1 : 2 * spec.length)) / 2;

interface Work {
  readonly flops: number;
  readonly bytes: number;
}

/** Work of rotating two vectors of every position, and elements of the tables. */
const turns = (spec: AttentionSpec): { flops: number; elements: number } =>
  spec.rope
    ? { flops: 6 * rows(spec) * spec.headDim, elements: 2 * spec.length * spec.headDim }
    : { flops: 0, elements: 0 };

/** Work of forward, from qkv to o and the log-sum-exp: scores, and sums of values. */
export const forwardWork = (spec: AttentionSpec): Work => ({
  flops: 4 * pairs(spec) * spec.headDim + turns(spec).flops,
  bytes: 4 * (4 * rows(spec) * spec.headDim + rows(spec) + turns(spec).elements),
});

export const deltaWork = (spec: AttentionSpec): Work => ({
  flops: 2 * rows(spec) * spec.headDim,
  bytes: 4 * rows(spec) * (2 * spec.headDim + 1),
});

/** Work of backward: scores, slopes (d_o v) and three gradients, which are five products of D multiply-adds per pair. */
export const backwardWork = (spec: AttentionSpec): Work => ({
  flops: 10 * pairs(spec) * spec.headDim + 2 * turns(spec).flops,
  bytes: 4 * (7 * rows(spec) * spec.headDim + 2 * rows(spec) + turns(spec).elements),
});

/** `attention_backward_causal_b2_s19_h3_d8` */
export const nameOf = (
  family: string,
  { batch, length, heads, headDim, causal = false, rope = false }: AttentionSpec,
): string =>
  `${family}${causal ? "_causal" : ""}${rope ? "_rope" : ""}_b${batch}_s${length}_h${heads}_d${headDim}`;
