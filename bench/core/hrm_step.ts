/** HRM's own training step as a benchmark, its first loss checked in float64. */
import type { Device } from "../../engine/index.js";
import {
  createTrainer,
  derive,
  initialState,
  levelUpdates,
  trainConfig,
  type HrmConfig,
  type StateDict,
  type StepMetrics,
  type TrainConfig,
  type Trainer,
} from "../../hrm/index.js";
import { POSITION_EMBEDDING, TOKEN_EMBEDDING } from "../../hrm/model/parameters.js";
import type { Symmetry } from "../../hrm/puzzles/tasks/symmetry.js";
import { rotaryAngles } from "../../hrm/model/positions.js";
import { crossEntropy64, layer64, linear64, type LayerWeights } from "./float64.js";
import { WrongResultError } from "./kernel_case.js";
import { randomSource } from "./random.js";

/** Operations of a step's matmuls and attentions: a forward pass, the backward pass of the last updates, and the second forward pass without what its Q target does not need. */
export function hrmFlops(config: HrmConfig): number {
  const { arch, L_cycles: L, L_layers, hidden_size: D, batch_size: B, bp_steps } = config;
  const { innerSize: I, totalLength: S } = derive(config);
  const layer = 2 * B * S * (4 * D * D + 3 * I * D) + 4 * B * S * S * D;
  // The layers of each update, counted back from the end: every (L + 1)-th update is one of H, the last one first.
  const layers = Array.from({ length: levelUpdates(config) }, (_, i) =>
    i % (L + 1) === 0 && arch === "hrm" ? config.H_layers : L_layers,
  );
  const total = (updates: readonly number[]): number => updates.reduce((sum, n) => sum + n, 0) * layer;
  const forward = total(layers);
  const backward = 2 * total(layers.slice(0, bp_steps));
  const hasSecond = config.halt_max_steps > 1 && !config.halt_only && config.carry_latents;
  // The second forward's last layer computes o_proj and the SwiGLU for the first position alone.
  const second = hasSecond ? forward - 2 * B * (S - 1) * (D * D + 3 * I * D) : 0;
  return forward + backward + second;
}

/** Training options with the full learning rate from the first step, so that the first update is large enough to compare. */
export const HRM_TRAINING = trainConfig({ total_steps: 100_000, lr: 1e-4, lr_warmup_steps: 0 });

/** Makes a step on puzzles of random tokens. Training on them teaches nothing, but takes as long. */
export async function createHrmStep(
  device: Device,
  config: HrmConfig,
  {
    puzzles,
    seed,
    train = HRM_TRAINING,
    symmetry = null,
  }: { puzzles: number; seed: number; train?: TrainConfig; symmetry?: Symmetry | null },
): Promise<{ trainer: Trainer; state: StateDict }> {
  const random = randomSource(seed);
  const cells = puzzles * config.seq_len;
  const state = initialState(config, seed);
  const trainer = await createTrainer({
    device,
    config,
    ...{ train, symmetry },
    data: {
      count: puzzles,
      length: config.seq_len,
      inputs: random.integers(cells, 1, config.vocab_size),
      labels: random.integers(cells, 1, config.vocab_size),
      identifiers: new Int32Array(puzzles),
    },
    seed,
    state,
  });
  for (const [program] of trainer.sequence) await program.finishCompiling();
  return { trainer, state };
}

/** Covers f32 roundings through every layer of a segment, up to one loss. */
export const HRM_TOLERANCE = 1e-4;

/** Inputs and results of a first step. */
export interface FirstStep {
  readonly metrics: StepMetrics;
  /** [B, S] */
  readonly inputs: Int32Array;
  readonly labels: Int32Array;
  /** Relative error of the language-model loss. */
  readonly error: number;
}

/**
 * Runs the first step and compares its language-model loss with float64.
 * @throws WrongResultError
 */
export async function checkHrmStep(
  trainer: Trainer,
  state: StateDict,
  config: HrmConfig,
  tolerance = HRM_TOLERANCE,
): Promise<FirstStep> {
  await trainer.run(1);
  const metrics = (await trainer.metrics())[0]!;
  const { carry } = trainer.memory;
  const inputs = (await carry.inputs.read()) as Int32Array;
  const labels = (await carry.labels.read()) as Int32Array;
  const { batch_size: B, seq_len: S } = config;
  // Equal rows have equal losses.
  const known = new Map<string, number>();
  let expected = 0;
  for (let b = 0; b < B; b++) {
    const row = Array.from(inputs.subarray(b * S, (b + 1) * S));
    const answer = Array.from(labels.subarray(b * S, (b + 1) * S));
    const key = row.join();
    if (!known.has(key)) known.set(key, loss64(config, state, row, answer));
    expected += known.get(key)!;
  }
  const error = Math.abs(metrics.lm_loss - expected) / Math.abs(expected);
  if (!(error <= tolerance))
    throw new WrongResultError(
      `training step: the first loss is ${metrics.lm_loss}; expected ${expected} within ${tolerance * 100}%.`,
    );
  return { metrics, inputs, labels, error };
}

/** Weights by official name, in any precision. */
export type Weights64 = ReadonlyMap<string, { readonly data: ArrayLike<number> }>;

/**
 * Mean cross entropy of one puzzle after the first segment, from the initial states.
 * @param early weights of the updates before the last `bp_steps`, for which they are constants
 */
export function loss64(
  config: HrmConfig,
  state: Weights64,
  inputs: readonly number[],
  labels: readonly number[],
  early = state,
): number {
  const { hidden_size: width, num_heads: heads, rms_norm_eps: eps, L_cycles, bp_steps } = config;
  const { totalLength, puzzleLength } = derive(config);
  const rotary = rotaryAngles(config);
  const size = totalLength * width;
  const embedded = (weights: Weights64): Float64Array => {
    const x = new Float64Array(size);
    const tokens = weights.get(TOKEN_EMBEDDING)!.data;
    // The puzzle embedding starts at zero.
    inputs.forEach((token, i) => {
      for (let d = 0; d < width; d++) x[(puzzleLength + i) * width + d] = tokens[token * width + d]!;
    });
    if (config.pos_encodings === "learned") {
      const positions = weights.get(POSITION_EMBEDDING)!.data;
      x.forEach((value, i) => (x[i] = (value + positions[i]!) * 0.707106781));
    }
    return x.map((value) => value * Math.sqrt(width));
  };
  const level = (weights: Weights64, name: "H_level" | "L_level", z: Float64Array): Float64Array => {
    const network = config.arch === "hrm" ? name : "L_level";
    const at = (part: string): ArrayLike<number> =>
      weights.get(`inner.${network}.layers.${part}.weight`)!.data;
    let h = z;
    for (let i = 0; i < (network === "H_level" ? config.H_layers : config.L_layers); i++) {
      const ofLayer: LayerWeights = {
        qkv: at(`${i}.self_attn.qkv_proj`),
        o: at(`${i}.self_attn.o_proj`),
        gateUp: at(`${i}.mlp.gate_up_proj`),
        down: at(`${i}.mlp.down_proj`),
      };
      h = layer64(h, ofLayer, { heads, width, eps, rotary });
    }
    return h;
  };
  const initial = (name: string): Float64Array =>
    Float64Array.from({ length: size }, (_, i) => state.get(`inner.${name}`)!.data[i % width]!);
  const plus = (...terms: readonly Float64Array[]): Float64Array =>
    terms[0]!.map((_, i) => terms.reduce((sum, term) => sum + term[i]!, 0));
  const [x, earlyX] = [embedded(state), embedded(early)];
  const updates = levelUpdates(config);
  const two = config.arch === "hrm" || config.arch === "trm";
  let zL = initial("L_init");
  let zH = two ? initial("H_init") : zL;
  for (let i = 0; i < updates; i++) {
    const learns = i >= updates - bp_steps;
    const weights = learns ? state : early;
    const injected = learns ? x : earlyX;
    const ofL = i % (L_cycles + 1) < L_cycles;
    if (config.arch === "transformer") zH = level(weights, "L_level", x);
    else if (config.arch === "l_only") zH = zL = level(weights, "L_level", plus(zL, injected));
    else if (config.arch === "trm_singlez")
      zH = zL = level(weights, "L_level", ofL ? plus(zL, injected) : zL);
    else if (ofL) zL = level(weights, "L_level", plus(zL, zH, injected));
    else zH = level(weights, "H_level", plus(zH, zL));
  }
  const head = state.get("inner.lm_head.weight")!.data;
  const logits = linear64(zH.subarray(puzzleLength * width), head, width);
  const kind = config.loss_type === "softmax_cross_entropy" ? "softmax" : "stablemax";
  const rows = crossEntropy64(logits, labels, { classes: config.vocab_size, kind });
  return rows.reduce((a, b) => a + b, 0) / labels.filter((y) => y >= 0).length;
}
