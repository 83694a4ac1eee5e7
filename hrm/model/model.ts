/**
 * The Hierarchical Reasoning Model (Wang et al. 2025, arXiv 2506.21734), as the official code has it:
 * two recurrent transformers, a slow one (H) and a fast one (L), and one segment of their recursion with the
 * one-step gradient. It is built of operations without the gradients whose kernels inference has no use for;
 * trainable_model.ts adds those.
 */
import { attention, rmsNorm, swiglu } from "../../engine/ops/blocks.js";
import { broadcastTo, sum } from "../../engine/ops/broadcast.js";
import { add, mul, sqrt, square, sub, where } from "../../engine/ops/elementwise.js";
import { takeRows } from "../../engine/ops/lookup.js";
import { linear } from "../../engine/ops/matmul.js";
import { concat, slice, transpose } from "../../engine/ops/moves.js";
import { mean } from "../../engine/ops/reduce.js";
import { reshape, stopGradient } from "../../engine/ops/view.js";
import { constant, scalar, type Tensor } from "../../engine/tensor.js";
import type { TensorLike } from "../../engine/trace.js";
import type { Variable } from "../../engine/variable.js";
import { derive, hasOneLatent, levelUpdates, type HrmConfig } from "./config.js";
import { POSITION_EMBEDDING, TOKEN_EMBEDDING, type Weights } from "./parameters.js";
import { rotaryAngles } from "./positions.js";

/** Finds a weight by its official name. */
export type Parameters = (name: string) => TensorLike;

/** Rotary tables [S + P, head size]. */
export interface RotaryTables {
  /** Cosines of the angles, f32 [L, head size]. */
  readonly cos: TensorLike;
  /** Sines of the angles, f32 [L, head size]. */
  readonly sin: TensorLike;
}

/** A model with its weights, ready to be traced. */
export interface Model {
  /** The configuration. */
  readonly config: HrmConfig;
  /** The parameters by official name. */
  readonly parameters: Parameters;
  /** The tables of rotary positions; null if positions are not rotary. */
  readonly rotary: RotaryTables | null;
}

/** The rotary tables of a configuration as constants; null if its positions are not rotary. */
export function rotaryTables(config: HrmConfig): RotaryTables | null {
  const tables = rotaryAngles(config);
  if (!tables) return null;
  const { totalLength, headDim } = derive(config);
  const shape = [totalLength, headDim];
  return { cos: constant(tables.cos, shape), sin: constant(tables.sin, shape) };
}

/** A model that reads these weights. */
export function modelOf(config: HrmConfig, weights: Weights): Model {
  return { config, parameters: (name) => weights.get(name)!, rotary: rotaryTables(config) };
}

/** The recurrent state of the two levels, each [B, P + S, D]. */
export interface Latents {
  /** State of the H level, f32 [B, L, D] of L positions (prefix and cells). */
  readonly zH: Tensor;
  /** State of the L level, f32 [B, L, D]. */
  readonly zL: Tensor;
}

/**
 * The latents of rows that begin a segment: those stored from the segment before, or H_init and L_init where `fresh`
 * (i32 [B, 1, 1], or any shape that broadcasts) is above 0, and everywhere without `carry_latents`.
 */
export function startingLatents(
  { config, parameters }: Pick<Model, "config" | "parameters">,
  fresh: TensorLike,
  stored: { readonly zH: Tensor | Variable | null; readonly zL: Tensor | Variable },
): Latents {
  const start = (name: string, z: Tensor | Variable): Tensor => {
    const initial = parameters(`inner.${name}`);
    return config.carry_latents
      ? where(fresh, initial, z)
      : broadcastTo(reshape(initial, [1, 1, config.hidden_size]), z.shape);
  };
  const zL = start("L_init", stored.zL);
  return { zH: stored.zH ? start("H_init", stored.zH) : zL, zL };
}

/** What the network of a level reads in an update: the sum of states and embeddings, f32 [B, L, D]. */
export interface LevelInput {
  readonly name: "H_level" | "L_level";
  readonly input: Tensor;
}

/** What a segment computes from its latents. */
export interface SegmentResult extends Latents {
  /** [B, S, vocabulary] */
  readonly logits: Tensor;
  /** [B] */
  readonly qHalt: Tensor;
  /** [B] */
  readonly qContinue: Tensor;
  /** The output of every update in order, and what its network read, for tests and pictures. */
  readonly trace: {
    readonly L: readonly Tensor[];
    readonly H: readonly Tensor[];
    readonly inputs: readonly LevelInput[];
  };
}

/** Which positions a layer computes: all of them, or position 0 alone. */
type Positions = "all" | "first";

/** The positions of h [B, L, D] that a layer computes: [B, L, D], or [B, 1, D]. */
function atPositions(h: Tensor, positions: Positions): Tensor {
  const [batch, length, width] = h.shape as readonly [number, number, number];
  return positions === "all" || length === 1 ? h : slice(h, [0, 0, 0], [batch, 1, width]);
}

/** A post-norm layer: h = rms(h + mix(h)); h = rms(h + swiglu(h)). It mixes positions by attention, or by a SwiGLU along them. */
function layer(model: Model, prefix: string, h: Tensor, positions: Positions): Tensor {
  const { config, parameters } = model;
  const { rms_norm_eps: eps } = config;
  const mixed = config.mlp_t
    ? atPositions(mixByMlp(model, prefix, h), positions)
    : mixByAttention(model, prefix, h, positions);
  const activated = swiglu(linear(mixed, parameters(`${prefix}.mlp.gate_up_proj.weight`)));
  return rmsNorm(linear(activated, parameters(`${prefix}.mlp.down_proj.weight`)), { residual: mixed, eps });
}

/** rms(h + attn(h)) for h [B, P + S, D], whose positions all attend to all. */
function mixByAttention(
  { config, parameters, rotary }: Model,
  prefix: string,
  h: Tensor,
  positions: Positions,
): Tensor {
  const { num_heads: heads, rms_norm_eps: eps, causal } = config;
  const qkv = linear(h, parameters(`${prefix}.self_attn.qkv_proj.weight`));
  const attended = linear(
    atPositions(attention(qkv, { heads, causal, rope: rotary }), positions),
    parameters(`${prefix}.self_attn.o_proj.weight`),
  );
  return rmsNorm(attended, { residual: atPositions(h, positions), eps });
}

/**
 * TRM's mixer in place of attention (arXiv 2510.04871, section 4.5; official trm.py, `mlp_t`): the transpose of
 * rms(u + swiglu(u)) for u = h^T [B, D, P + S]. The norm's mean is over the positions of a channel, prefix included.
 */
function mixByMlp({ config, parameters }: Model, prefix: string, h: Tensor): Tensor {
  const u = transpose(h);
  const activated = swiglu(linear(u, parameters(`${prefix}.mlp_t.gate_up_proj.weight`)));
  const mixed = linear(activated, parameters(`${prefix}.mlp_t.down_proj.weight`));
  return transpose(rmsNorm(mixed, { residual: u, eps: config.rms_norm_eps }));
}

/**
 * A level: its layers one after another, on the sum of a state and the injected input. TRM's levels share the network
 * `L_level`. The last layer may compute its first position alone.
 */
function level(
  model: Model,
  name: "H_level" | "L_level",
  input: Tensor,
  positions: Positions = "all",
): Tensor {
  const names = layerNames(model, name);
  return names.reduce(
    (h, prefix, i) => layer(model, prefix, h, i === names.length - 1 ? positions : "all"),
    input,
  );
}

/** The layers of a level's network by official name. */
function layerNames({ config }: Model, name: "H_level" | "L_level"): string[] {
  const { arch, H_layers, L_layers } = config;
  const network = arch === "hrm" ? name : "L_level";
  const count = network === "H_level" ? H_layers : L_layers;
  return Array.from({ length: count }, (_, i) => `inner.${network}.layers.${i}`);
}

/**
 * Queries, keys and values of the last layer of a level's network in an update, before positions rotate them:
 * f32 [B, L, 3 D]. The model must mix positions by attention (no `mlp_t`).
 */
export function lastQkv(model: Model, { name, input }: LevelInput): Tensor {
  const names = layerNames(model, name);
  const h = names.slice(0, -1).reduce((x, prefix) => layer(model, prefix, x, "all"), input);
  return linear(h, model.parameters(`${names.at(-1)!}.self_attn.qkv_proj.weight`));
}

/**
 * Input embeddings [B, P + S, D]: puzzle prefix and tokens, learned positions if configured, times sqrt(D).
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
 * One segment (paper, section 2 and eq. 1-4): H_cycles of L_cycles updates of z_L and one of z_H. The last `bp_steps`
 * updates carry the gradient; memory grows with them and not with the cycles. A model with one latent (TRM's
 * `trm_singlez`) updates z = net(z + x), and z = net(z) at the end of a cycle. `l_only` adds x at the end of a cycle,
 * too. `transformer` computes z = net(x) once.
 */
export function segment(model: Model, latents: Latents, x: Tensor): SegmentResult {
  return recursion(model, latents, x, "all");
}

/**
 * The Q values of a segment, without gradient: what the Q target needs of the next one (paper, eq. 5-6). The heads read
 * position 0 of z_H alone, so the last layer of the last update computes nothing after its attention for other positions.
 */
export function segmentQ(
  model: Model,
  latents: Latents,
  x: Tensor,
): Pick<SegmentResult, "qHalt" | "qContinue"> {
  const { qHalt, qContinue } = recursion(model, latents, x, "first");
  return { qHalt: stopGradient(qHalt), qContinue: stopGradient(qContinue) };
}

/** A segment. `last` are the positions that the last update computes; if they are the first alone, its z_H is [B, 1, D]. */
function recursion(model: Model, latents: Latents, x: Tensor, last: Positions): SegmentResult {
  const { config } = model;
  const { arch, H_cycles, L_cycles } = config;
  if (arch === "transformer") {
    const z = level(model, "L_level", x, last);
    const trace = { L: [], H: [z], inputs: [{ name: "L_level", input: x }] } as const;
    return { zH: stopGradient(z), zL: stopGradient(z), ...readOut(model, z), trace };
  }
  const oneLatent = hasOneLatent(config);
  const all = levelUpdates(config);
  const constants = all - config.bp_steps;
  let updates = 0;
  const trace = { L: [] as Tensor[], H: [] as Tensor[], inputs: [] as LevelInput[] };
  const update = (name: "H_level" | "L_level", input: Tensor): Tensor => {
    trace.inputs.push({ name, input });
    const next = level(model, name, input, updates + 1 === all ? last : "all");
    return updates++ < constants ? stopGradient(next) : next;
  };
  let { zH, zL } = latents;
  const injected = (): Tensor => (updates < constants ? stopGradient(x) : x);
  for (let h = 1; h <= H_cycles; h++) {
    for (let l = 1; l <= L_cycles; l++) {
      zL = update("L_level", add(zL, oneLatent ? injected() : add(zH, injected())));
      trace.L.push(zL);
    }
    const ofH = arch === "l_only" ? injected() : zH;
    zH = update("H_level", arch === "trm_singlez" ? zL : add(ofH, zL));
    trace.H.push(zH);
    if (oneLatent) zL = zH;
  }
  return { zH: stopGradient(zH), zL: stopGradient(zL), ...readOut(model, zH), trace };
}

/** The outputs of the two heads for a slow state: z_H [B, P + S, D] of the end of a segment, or of any update. */
export function readOut(
  { config, parameters }: Model,
  zH: Tensor,
): Pick<SegmentResult, "logits" | "qHalt" | "qContinue"> {
  const { puzzleLength, totalLength } = derive(config);
  const [batch, D] = [zH.shape[0]!, config.hidden_size];
  // Of a z_H that is its first position alone, the answer means nothing and is not read.
  const whole = zH.shape[1] === totalLength;
  const answer = puzzleLength > 0 && whole ? slice(zH, [0, puzzleLength, 0], [batch, config.seq_len, D]) : zH;
  const logits = linear(answer, parameters("inner.lm_head.weight"));
  const q = linear(
    reshape(atPositions(zH, "first"), [batch, D]),
    parameters("inner.q_head.weight"),
    parameters("inner.q_head.bias"),
  );
  return {
    logits,
    qHalt: reshape(slice(q, [0, 0], [batch, 1]), [batch]),
    qContinue: reshape(slice(q, [0, 1], [batch, 1]), [batch]),
  };
}

/**
 * The slow state that an update of H would make right now (paper, section 5 and fig. 7: the "preliminary forward pass
 * through the H-module"), without any effect on the recursion. `l_only` and `transformer` have no H: their heads read the
 * state as it is.
 */
export function foresee(model: Model, { zH, zL }: Latents): Tensor {
  const { arch } = model.config;
  if (arch === "l_only" || arch === "transformer") return zL;
  return level(model, "H_level", arch === "trm_singlez" ? zL : add(zH, zL));
}

/**
 * How far each update of a segment moves its state (paper, fig. 3): the L2 norm over D of the change, as a mean
 * over positions. f32 [B, H_cycles (L_cycles + 1)] in the order of the updates: L_cycles of z_L, one of z_H, again.
 */
export function forwardResiduals(start: Latents, { trace }: SegmentResult): Tensor {
  const moved = (from: Tensor, to: Tensor): Tensor =>
    mean(sqrt(sum(square(sub(to, from)), { axes: [2] })), { axes: [1] });
  const cycles = trace.L.length / trace.H.length;
  const oneLatent = start.zH === start.zL;
  let { zH, zL } = start;
  const columns = trace.H.flatMap((nextH, h) => {
    const moves = trace.L.slice(h * cycles, (h + 1) * cycles).map((nextL) => {
      const move = moved(zL, nextL);
      zL = nextL;
      return move;
    });
    moves.push(moved(oneLatent ? zL : zH, nextH));
    zH = nextH;
    if (oneLatent) zL = nextH;
    return moves;
  });
  return columns.map((c) => reshape(c, [c.size, 1])).reduce((a, b) => concat([a, b], 1));
}
