/** Attention from separate queries, keys and values, made of matmul and softmax; products over batches that broadcast. */
import { ShapeError } from "../errors.js";
import {
  add,
  broadcastTo,
  constant,
  formatSpec,
  matmul,
  mul,
  where,
  type MatmulOptions,
  type Shape,
  type Tensor,
  type TensorLike,
} from "../index.js";
import { asTensor } from "../trace.js";
import { broadcastShapes } from "./broadcast.js";
import { softmax } from "./over_axes.js";

/** {@link matmul} of operands whose leading dimensions broadcast: [5, 1, M, K] times [3, K, N] gives [5, 3, M, N]. */
export function batchedMatmul(a: TensorLike, b: TensorLike, options: MatmulOptions = {}): Tensor {
  const [x, y] = [asTensor(a), asTensor(b)];
  if (x.shape.length < 2 || y.shape.length < 2)
    throw new ShapeError(
      `batchedMatmul: got ${formatSpec(x)} and ${formatSpec(y)}; expected at least two dimensions each.`,
    );
  const lead = broadcastShapes("batchedMatmul", x.shape.slice(0, -2), y.shape.slice(0, -2));
  const spread = (t: Tensor): Tensor => broadcastTo(t, [...lead, ...t.shape.slice(-2)]);
  // One matrix for all of the batch is multiplied as one tall product.
  return matmul(spread(x), y.shape.length === 2 ? y : spread(y), options);
}

/** How {@link scaledDotProductAttention} weighs keys. */
export interface AttentionMask {
  /** i32, 0 where a query may not look; or f32, added to the scores. Broadcasts to [..., S, T]. */
  readonly mask?: TensorLike;
  /** Queries look at keys up to their own place. */
  readonly causal?: boolean;
  /** Default 1 / sqrt(D). */
  readonly scale?: number;
}

/** What a score is where a query may not look: its weight is 0 as long as the query may look anywhere. */
const HIDDEN = -1e30;

/**
 * softmax(q k^T scale + mask) v (Vaswani et al. 2017, eq. 1), f32: q [..., S, D], k [..., T, D], v [..., T, E] give
 * [..., S, E]. It stores the S x T weights; `attention` of packed qkv stores none.
 */
export function scaledDotProductAttention(
  query: TensorLike,
  key: TensorLike,
  value: TensorLike,
  { mask, causal = false, scale }: AttentionMask = {},
): Tensor {
  const [q, k, v] = [asTensor(query), asTensor(key), asTensor(value)];
  const D = q.shape.at(-1) ?? 0;
  const fits =
    [q, k, v].every((t) => t.shape.length >= 2) && k.shape.at(-1) === D && k.shape.at(-2) === v.shape.at(-2);
  if (!fits)
    throw new ShapeError(
      `scaledDotProductAttention: got ${[q, k, v].map(formatSpec).join(", ")}; expected [..., S, D], [..., T, D] and [..., T, E].`,
    );
  let scores = mul(batchedMatmul(q, k, { transposeB: true }), scale ?? 1 / Math.sqrt(D));
  if (mask !== undefined) {
    const m = asTensor(mask);
    scores = m.dtype === "i32" ? where(m, scores, HIDDEN) : add(scores, m);
  }
  if (causal) scores = where(triangle(scores.shape.slice(-2)), scores, HIDDEN);
  return batchedMatmul(softmax(scores), v);
}

/** 1 where the column is at most the row. */
function triangle(shape: Shape): Tensor {
  const [S, T] = shape as readonly [number, number];
  return constant(
    Int32Array.from({ length: S * T }, (_, i) => (i % T <= Math.floor(i / T) ? 1 : 0)),
    [S, T],
  );
}
