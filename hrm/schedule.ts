/** Everything that changes from step to step but not with the data, computed on the host before training. */
import { hostTensor, type HostTensor } from "../engine/index.js";
import type { TrainConfig } from "./config.js";

/**
 * Learning rate of step t (1 is the first): linear warm-up, then cosine to lr_min_ratio (official
 * `cosine_schedule_with_warmup_lr_lambda`), or constant until `lr_decay_start` and linear after it.
 */
export function learningRate(config: TrainConfig, base: number, t: number): number {
  const { lr_warmup_steps: warmup, total_steps: total, lr_min_ratio: ratio } = config;
  if (t < warmup) return (base * t) / Math.max(1, warmup);
  if (config.lr_schedule === "linear") {
    const start = Math.max(warmup, config.lr_decay_start * total);
    const progress = Math.min(1, Math.max(0, (t - start) / Math.max(1, total - start)));
    return base * (1 - (1 - ratio) * progress);
  }
  const progress = (t - warmup) / Math.max(1, total - warmup);
  return base * (ratio + Math.max(0, (1 - ratio) * 0.5 * (1 + Math.cos(Math.PI * progress))));
}

/** Decay of the weights' moving average at update t: ema_decay, after a warm-up by (1 + t) / (10 + t) unless that is off. */
export function emaDecay(config: TrainConfig, t: number): number {
  if (!config.ema_warmup) return config.ema_decay;
  return Math.min(config.ema_decay, (1 + t) / (10 + t));
}

/** Rows of optimizer scalars by step, [total_steps + 1, 4]: row t is read by step t. */
export interface ScheduleTables {
  /** lr, 1 / (1 - beta1^t), 1 / sqrt(1 - beta2^t), EMA decay */
  readonly weights: HostTensor;
  /** lr of the puzzle embedding, and zeros */
  readonly puzzle: HostTensor;
}

/** The tables that the training step reads its scalars from. */
export function scheduleTables(config: TrainConfig): ScheduleTables {
  const rows = config.total_steps + 1;
  const weights = new Float32Array(4 * rows);
  const puzzle = new Float32Array(4 * rows);
  for (let t = 1; t < rows; t++) {
    const corrections = [1 / (1 - config.beta1 ** t), 1 / Math.sqrt(1 - config.beta2 ** t)];
    weights.set([learningRate(config, config.lr, t), ...corrections, emaDecay(config, t)], 4 * t);
    puzzle[4 * t] = learningRate(config, config.puzzle_emb_lr, t);
  }
  return { weights: hostTensor(weights, [rows, 4]), puzzle: hostTensor(puzzle, [rows, 4]) };
}
