/** Attention in float64. */
import { turned } from "./rope.js";
import type { AttentionSpec } from "../../kernels/attention/spec.js";
import { EPS } from "./kernels.js";

/** float64 attention, forward and backward, with the magnitudes that f32 rounding errors scale with. */
export function attentionReference(spec: AttentionSpec, qkv: Float32Array | Float64Array, dO: Float32Array) {
  const { batch: B, length: S, heads: H, headDim: D, causal = false } = spec;
  const o = new Float64Array(B * S * H * D);
  const oScale = new Float64Array(o.length);
  const lse = new Float64Array(B * H * S);
  const delta = new Float64Array(B * H * S);
  const deltaScale = new Float64Array(B * H * S);
  const d = new Float64Array(B * S * 3 * H * D);
  const dScale = new Float64Array(d.length);
  // Largest sum of |q k| / sqrt(D) and spread of scores: what errors of the scores scale with.
  let scoreScale = 0;
  let spread = 0;
  const at = (b: number, i: number, third: number, h: number) => (((b * S + i) * 3 + third) * H + h) * D;
  for (let b = 0; b < B; b++)
    for (let h = 0; h < H; h++)
      for (let i = 0; i < S; i++) {
        const sees = causal ? i + 1 : S;
        const row = (b * H + h) * S + i;
        const out = ((b * S + i) * H + h) * D;
        const q = at(b, i, 0, h);
        const scores = Array.from({ length: sees }, (_, j) => {
          let sum = 0;
          let scale = 0;
          for (let e = 0; e < D; e++) {
            const term = qkv[q + e]! * qkv[at(b, j, 1, h) + e]!;
            sum += term;
            scale += Math.abs(term);
          }
          scoreScale = Math.max(scoreScale, scale / Math.sqrt(D));
          return sum / Math.sqrt(D);
        });
        const top = Math.max(...scores);
        spread = Math.max(spread, top - Math.min(...scores));
        const total = scores.reduce((sum, s) => sum + Math.exp(s - top), 0);
        lse[row] = top + Math.log(total);
        const p = scores.map((s) => Math.exp(s - lse[row]!));
        for (let j = 0; j < sees; j++)
          for (let e = 0; e < D; e++) {
            const v = qkv[at(b, j, 2, h) + e]!;
            o[out + e]! += p[j]! * v;
            oScale[out + e]! += p[j]! * Math.abs(v);
          }
        for (let e = 0; e < D; e++) {
          delta[row]! += o[out + e]! * dO[out + e]!;
          deltaScale[row]! += oScale[out + e]! * Math.abs(dO[out + e]!);
        }
        for (let j = 0; j < sees; j++) {
          let slope = 0;
          let slopeScale = 0;
          for (let e = 0; e < D; e++) {
            const term = dO[out + e]! * qkv[at(b, j, 2, h) + e]!;
            slope += term;
            slopeScale += Math.abs(term);
          }
          const ds = (p[j]! * (slope - delta[row]!)) / Math.sqrt(D);
          const dsScale = (p[j]! * (slopeScale + deltaScale[row]!)) / Math.sqrt(D);
          const [k, v] = [at(b, j, 1, h), at(b, j, 2, h)];
          for (let e = 0; e < D; e++) {
            d[q + e]! += ds * qkv[k + e]!;
            dScale[q + e]! += dsScale * Math.abs(qkv[k + e]!);
            d[k + e]! += ds * qkv[q + e]!;
            dScale[k + e]! += dsScale * Math.abs(qkv[q + e]!);
            d[v + e]! += p[j]! * dO[out + e]!;
            dScale[v + e]! += p[j]! * Math.abs(dO[out + e]!);
          }
        }
      }
  // A probability: score (a chain of D), exp, sum (a chain of S); then another chain of S or D.
  const roundings = 2 * S + 2 * D + 2 * (D + 4) * scoreScale + 4 * spread + 24;
  return { o, oScale, lse, delta, deltaScale, d, dScale, scoreScale, allowed: EPS * roundings };
}

/** The same with queries and keys turned by tables [S, D] first, and their gradients turned back. */
export function turnedReference(
  spec: AttentionSpec,
  qkv: Float32Array,
  dO: Float32Array,
  tables: { readonly cos: Float32Array; readonly sin: Float32Array },
): ReturnType<typeof attentionReference> {
  if (!spec.rope) return attentionReference(spec, qkv, dO);
  const { headDim } = spec;
  const exact = attentionReference(spec, turned({ ...spec, inverse: false }, qkv, tables), dO);
  const half = (i: number) => (i % headDim < headDim / 2 ? headDim / 2 : -headDim / 2);
  exact.d = turned({ ...spec, inverse: true }, exact.d, tables);
  exact.dScale = Float64Array.from(exact.dScale, (scale, i) => scale + exact.dScale[i + half(i)]!);
  return exact;
}
