/** Attention weights from queries and keys that were read back: apart from the model, so that a page can draw without it. */

/** Queries and keys of every update while one puzzle is solved. */
export interface AttentionMaps {
  /** Positions of a sequence, L: those of a puzzle embedding, then the cells. */
  readonly positions: number;
  /** Positions before the first cell. */
  readonly prefix: number;
  readonly heads: number;
  /** Width of a head, d. */
  readonly headDim: number;
  /** A position attends to itself and those before it alone. */
  readonly causal: boolean;
  /** Which level each update of a segment moves. */
  readonly levels: readonly ("L" | "H")[];
  /** After rotation by position [updates, L, heads, d], updates counted over all segments. */
  readonly queries: Float32Array;
  /** The same of the keys. */
  readonly keys: Float32Array;
}

/**
 * How much a cell attends to each position in an update, head by head: softmax over j of q_i k_j / sqrt(d), in double
 * precision [heads, L]. The weights of a head sum to 1.
 */
export function attentionOf(maps: AttentionMaps, update: number, cell: number): Float64Array {
  const { positions, prefix, heads, headDim, causal, queries, keys } = maps;
  const result = new Float64Array(heads * positions);
  const own = prefix + cell;
  const at = (row: number, head: number): number => ((update * positions + row) * heads + head) * headDim;
  for (let head = 0; head < heads; head++) {
    const scores = result.subarray(head * positions, (head + 1) * positions);
    let most = -Infinity;
    for (let j = 0; j < positions; j++) {
      let dot = 0;
      for (let d = 0; d < headDim; d++) dot += queries[at(own, head) + d]! * keys[at(j, head) + d]!;
      scores[j] = causal && j > own ? -Infinity : dot / Math.sqrt(headDim);
      most = Math.max(most, scores[j]!);
    }
    let total = 0;
    for (let j = 0; j < positions; j++) total += scores[j] = Math.exp(scores[j]! - most);
    for (let j = 0; j < positions; j++) scores[j]! /= total;
  }
  return result;
}
