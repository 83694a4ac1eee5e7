/** HRM's own training step as a benchmark, its first loss checked in float64. */
import type { Device } from "../../engine/index.js";
import {
  createTrainer,
  derive,
  initialState,
  trainConfig,
  type HrmConfig,
  type StateDict,
  type StepMetrics,
  type Trainer,
} from "../../hrm/index.js";
import { rotaryAngles } from "../../hrm/positions.js";
import { crossEntropy64, layer64, linear64, type LayerWeights } from "./float64.js";
import { WrongResultError } from "./kernel_case.js";
import { randomSource } from "./random.js";

/** Operations of a step's matmuls and attentions: a forward, the one-step backward, and the second forward. */
export function hrmFlops(config: HrmConfig): number {
  const { H_cycles: H, L_cycles: L, H_layers, L_layers, hidden_size: D, batch_size: B } = config;
  const { innerSize: I, totalLength: S } = derive(config);
  const layer = 2 * B * S * (4 * D * D + 3 * I * D) + 4 * B * S * S * D;
  const forward = (H * L * L_layers + H * H_layers) * layer;
  const backward = 2 * (L_layers + H_layers) * layer;
  const second = config.halt_max_steps > 1 && !config.halt_only ? forward : 0;
  return forward + backward + second;
}

/** At its full learning rate from the first step, whose update is then large enough to be compared. */
export const HRM_TRAINING = trainConfig({ total_steps: 100_000, lr: 1e-4, lr_warmup_steps: 0 });

/** Puzzles of random tokens; training on them teaches nothing, which takes as long. */
export async function createHrmStep(
  device: Device,
  config: HrmConfig,
  { puzzles, seed }: { puzzles: number; seed: number },
): Promise<{ trainer: Trainer; state: StateDict }> {
  const random = randomSource(seed);
  const cells = puzzles * config.seq_len;
  const state = initialState(config, seed);
  const trainer = await createTrainer({
    device,
    config,
    train: HRM_TRAINING,
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
  return { trainer, state };
}

/** f32 through every layer of a segment, one loss out. */
export const HRM_TOLERANCE = 1e-4;

/** What a first step computed, and from what. */
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

/** Mean cross entropy of one puzzle after the first segment, from the initial states. */
function loss64(config: HrmConfig, state: StateDict, inputs: number[], labels: number[]): number {
  const { hidden_size: width, num_heads: heads, rms_norm_eps: eps, H_cycles, L_cycles } = config;
  const { totalLength, puzzleLength } = derive(config);
  const at = (name: string): ArrayLike<number> => state.get(`inner.${name}`)!.data;
  const rotary = rotaryAngles(config);
  const size = totalLength * width;
  const x = new Float64Array(size);
  const tokens = at("embed_tokens.embedding_weight");
  // The puzzle embedding starts at zero.
  inputs.forEach((token, i) => {
    for (let d = 0; d < width; d++) x[(puzzleLength + i) * width + d] = tokens[token * width + d]!;
  });
  if (config.pos_encodings === "learned") {
    const positions = at("embed_pos.embedding_weight");
    x.forEach((value, i) => (x[i] = (value + positions[i]!) * 0.707106781));
  }
  x.forEach((value, i) => (x[i] = value * Math.sqrt(width)));
  const level = (name: "H_level" | "L_level", z: Float64Array, injected: Float64Array): Float64Array => {
    let h: Float64Array = z.map((value, i) => value + injected[i]!);
    for (let i = 0; i < (name === "H_level" ? config.H_layers : config.L_layers); i++) {
      const weights: LayerWeights = {
        qkv: at(`${name}.layers.${i}.self_attn.qkv_proj.weight`),
        o: at(`${name}.layers.${i}.self_attn.o_proj.weight`),
        gateUp: at(`${name}.layers.${i}.mlp.gate_up_proj.weight`),
        down: at(`${name}.layers.${i}.mlp.down_proj.weight`),
      };
      h = layer64(h, weights, { heads, width, eps, rotary });
    }
    return h;
  };
  const repeated = (name: string): Float64Array =>
    Float64Array.from({ length: size }, (_, i) => at(name)[i % width]!);
  let [zH, zL] = [repeated("H_init"), repeated("L_init")];
  for (let h = 0; h < H_cycles; h++) {
    for (let l = 0; l < L_cycles; l++)
      zL = level(
        "L_level",
        zL,
        zH.map((value, i) => value + x[i]!),
      );
    zH = level("H_level", zH, zL);
  }
  const logits = linear64(zH.subarray(puzzleLength * width), at("lm_head.weight"), width);
  const kind = config.loss_type === "softmax_cross_entropy" ? "softmax" : "stablemax";
  const rows = crossEntropy64(logits, labels, { classes: config.vocab_size, kind });
  return rows.reduce((a, b) => a + b, 0) / labels.filter((y) => y >= 0).length;
}
