/**
 * The Hierarchical Reasoning Model (Wang et al. 2025, arXiv 2506.21734), as the official code has it:
 * two recurrent transformers, a slow one (H) and a fast one (L), and one segment of their recursion with the
 * one-step gradient.
 */
import {
  add,
  attention,
  broadcastTo,
  concat,
  mean,
  linear,
  mul,
  reshape,
  rmsNorm,
  scalar,
  slice,
  sqrt,
  square,
  stopGradient,
  sub,
  sum,
  swiglu,
  takeRows,
  type Tensor,
  type TensorLike,
} from "../engine/index.js";
import { derive, type HrmConfig } from "./config.js";
import { POSITION_EMBEDDING, TOKEN_EMBEDDING } from "./parameters.js";

/** Weights as the model reads them: by official name. */
export type Parameters = (name: string) => TensorLike;

/** Rotary tables [S + P, head size], where positions are rotary. */
export interface RotaryTables {
  readonly cos: TensorLike;
  readonly sin: TensorLike;
}

/** What the model is made of, ready to be traced. */
export interface Model {
  readonly config: HrmConfig;
  readonly parameters: Parameters;
  readonly rotary: RotaryTables | null;
}

/** The recurrent state of the two levels, each [B, P + S, D]. */
export interface Latents {
  readonly zH: Tensor;
  readonly zL: Tensor;
}

/** What a segment computes from its latents. */
export interface SegmentResult extends Latents {
  /** [B, S, vocabulary] */
  readonly logits: Tensor;
  /** [B] */
  readonly qHalt: Tensor;
  /** [B] */
  readonly qContinue: Tensor;
  /** Every level output in order, for tests and pictures. */
  readonly trace: { readonly L: readonly Tensor[]; readonly H: readonly Tensor[] };
}

/** A post-norm transformer layer: h = rms(h + attn(h)); h = rms(h + swiglu(h)). */
function layer(model: Model, prefix: string, h: Tensor): Tensor {
  const { config, parameters, rotary } = model;
  const { num_heads: heads, rms_norm_eps: eps, causal } = config;
  const qkv = linear(h, parameters(`${prefix}.self_attn.qkv_proj.weight`));
  const attended = linear(
    attention(qkv, { heads, causal, rope: rotary }),
    parameters(`${prefix}.self_attn.o_proj.weight`),
  );
  const mixed = rmsNorm(attended, { residual: h, eps });
  const activated = swiglu(linear(mixed, parameters(`${prefix}.mlp.gate_up_proj.weight`)));
  return rmsNorm(linear(activated, parameters(`${prefix}.mlp.down_proj.weight`)), { residual: mixed, eps });
}

/** A level: its layers in turn, on its state plus what is injected. */
function level(model: Model, name: "H_level" | "L_level", state: Tensor, injection: Tensor): Tensor {
  const layers = name === "H_level" ? model.config.H_layers : model.config.L_layers;
  let h = add(state, injection);
  for (let i = 0; i < layers; i++) h = layer(model, `inner.${name}.layers.${i}`, h);
  return h;
}

/**
 * Input embeddings [B, P + S, D]: puzzle prefix and tokens, learned positions where configured, times sqrt(D).
 * @param inputs i32 [B, S]
 * @param puzzle rows of the puzzle embedding [B, puzzle_emb_ndim], or null
 */
export function embed(model: Model, inputs: Tensor, puzzle: Tensor | null): Tensor {
  const { config, parameters } = model;
  const { hidden_size: D, puzzle_emb_ndim: width } = config;
  const { puzzleLength } = derive(config);
  const batch = inputs.shape[0]!;
  let x = takeRows(parameters(TOKEN_EMBEDDING), inputs);
  if (puzzle) {
    const padding = puzzleLength * D - width;
    const padded = padding > 0 ? concat([puzzle, broadcastTo(scalar(0), [batch, padding])], 1) : puzzle;
    x = concat([reshape(padded, [batch, puzzleLength, D]), x], 1);
  }
  // 0.707106781 = 1/sqrt(2) keeps the variance of the sum, to the digits of the official code.
  if (config.pos_encodings === "learned") x = mul(add(x, parameters(POSITION_EMBEDDING)), 0.707106781);
  return mul(x, Math.sqrt(D));
}

/**
 * One segment (paper, section 2 and eq. 1-4): H_cycles x L_cycles updates; the gradient runs through the last
 * L update and the last H update only, so that memory does not grow with the cycles.
 */
export function segment(model: Model, latents: Latents, x: Tensor): SegmentResult {
  const { config, parameters } = model;
  const { H_cycles, L_cycles } = config;
  let { zH, zL } = latents;
  const trace = { L: [] as Tensor[], H: [] as Tensor[] };
  for (let h = 1; h <= H_cycles; h++) {
    for (let l = 1; l <= L_cycles; l++) {
      const last = h === H_cycles && l === L_cycles;
      zL = level(model, "L_level", zL, add(zH, last ? x : stopGradient(x)));
      trace.L.push(zL);
      if (!last) zL = stopGradient(zL);
    }
    zH = level(model, "H_level", zH, zL);
    trace.H.push(zH);
    if (h < H_cycles) zH = stopGradient(zH);
  }
  const { puzzleLength, totalLength } = derive(config);
  const [batch, D] = [zH.shape[0]!, config.hidden_size];
  const answer = puzzleLength > 0 ? slice(zH, [0, puzzleLength, 0], [batch, config.seq_len, D]) : zH;
  const logits = linear(answer, parameters("inner.lm_head.weight"));
  const first = totalLength > 1 ? slice(zH, [0, 0, 0], [batch, 1, D]) : zH;
  const q = linear(
    reshape(first, [batch, D]),
    parameters("inner.q_head.weight"),
    parameters("inner.q_head.bias"),
  );
  return {
    zH: stopGradient(zH),
    zL: stopGradient(zL),
    logits,
    qHalt: reshape(slice(q, [0, 0], [batch, 1]), [batch]),
    qContinue: reshape(slice(q, [0, 1], [batch, 1]), [batch]),
    trace,
  };
}

/**
 * How far each update of a segment moves its state (paper, fig. 3): the L2 norm over D of the change, as a mean
 * over positions. f32 [B, H_cycles (L_cycles + 1)] in the order of the updates: L_cycles of z_L, one of z_H, again.
 */
export function forwardResiduals(start: Latents, { trace }: SegmentResult): Tensor {
  const moved = (from: Tensor, to: Tensor): Tensor =>
    mean(sqrt(sum(square(sub(to, from)), { axes: [2] })), { axes: [1] });
  const cycles = trace.L.length / trace.H.length;
  const columns = trace.H.flatMap((zH, h) => [
    ...trace.L.slice(h * cycles, (h + 1) * cycles).map((zL, l) =>
      moved(trace.L[h * cycles + l - 1] ?? start.zL, zL),
    ),
    moved(trace.H[h - 1] ?? start.zH, zH),
  ]);
  return columns.map((c) => reshape(c, [c.size, 1])).reduce((a, b) => concat([a, b], 1));
}
