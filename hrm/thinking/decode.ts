/** Logits of a read-back as tokens and their probabilities, in double precision. */
import type { HrmConfig } from "../model/config.js";

/** The best token of every cell, its probability, and how many logits are no finite numbers. */
export interface Decoded {
  readonly tokens: Int32Array;
  /** From 0 to 1. */
  readonly confidence: Float32Array;
  readonly nonFinite: number;
}

/**
 * Decodes logits [cells, vocabulary]. The probability is that of the loss that the model was trained with: softmax, or
 * stablemax with s(x) = x + 1 from 0 on and 1 / (1 - x) below (official losses.py). The first of equal logits wins.
 */
export function decodeLogits(
  logits: Float32Array,
  vocabulary: number,
  loss: HrmConfig["loss_type"],
): Decoded {
  const cells = logits.length / vocabulary;
  const tokens = new Int32Array(cells);
  const confidence = new Float32Array(cells);
  let nonFinite = 0;
  for (let cell = 0; cell < cells; cell++) {
    const from = cell * vocabulary;
    let best = 0;
    for (let v = 0; v < vocabulary; v++) {
      if (!Number.isFinite(logits[from + v]!)) nonFinite++;
      if (logits[from + v]! > logits[from + best]!) best = v;
    }
    const top = logits[from + best]!;
    const weight = (x: number): number =>
      loss === "softmax_cross_entropy" ? Math.exp(x - top) : x < 0 ? 1 / (1 - x) : x + 1;
    let total = 0;
    for (let v = 0; v < vocabulary; v++) total += weight(logits[from + v]!);
    tokens[cell] = best;
    confidence[cell] = weight(top) / total;
  }
  return { tokens, confidence, nonFinite };
}
