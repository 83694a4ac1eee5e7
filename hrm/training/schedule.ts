/** Learning rates and other scalars of each step, computed on the host ahead of training. */
import { hostTensor, variable, type Allocator, type HostTensor, type Variable } from "../../engine/index.js";
import type { TrainConfig } from "../model/config.js";

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

/** Decay of the weights' moving average at update t: ema_decay, after a warm-up by (1 + t) / (10 + t) if `ema_warmup` is set. */
export function emaDecay(config: TrainConfig, t: number): number {
  if (!config.ema_warmup) return config.ema_decay;
  return Math.min(config.ema_decay, (1 + t) / (10 + t));
}

/** Rows of optimizer scalars, [rows, 4]: step t reads row t, or row t modulo rows if the schedule has more steps. */
export interface ScheduleTables {
  /** Columns: lr, 1 / (1 - beta1^t), 1 / sqrt(1 - beta2^t), EMA decay. */
  readonly weights: HostTensor;
  /** Columns: lr of the puzzle embedding, then zeros. */
  readonly puzzle: HostTensor;
}

/**
 * Computes the tables from which the training step reads its scalars.
 * @param first the first step in the tables, a multiple of `rows`
 * @param rows number of steps in the tables; default: all steps of the schedule
 */
export function scheduleTables(
  config: TrainConfig,
  first = 0,
  rows = config.total_steps + 1,
): ScheduleTables {
  const weights = new Float32Array(4 * rows);
  const puzzle = new Float32Array(4 * rows);
  for (let t = Math.max(1, first); t < Math.min(first + rows, config.total_steps + 1); t++) {
    const corrections = [1 / (1 - config.beta1 ** t), 1 / Math.sqrt(1 - config.beta2 ** t)];
    const at = 4 * (t - first);
    weights.set([learningRate(config, config.lr, t), ...corrections, emaDecay(config, t)], at);
    puzzle[at] = learningRate(config, config.puzzle_emb_lr, t);
  }
  return { weights: hostTensor(weights, [rows, 4]), puzzle: hostTensor(puzzle, [rows, 4]) };
}

/** The tables of a run on the GPU. They hold all steps, or a window of steps that moves on with training. */
export interface Schedule {
  readonly weights: Variable;
  readonly puzzle: Variable;
  /** Uploads the window of a step if the GPU has another window. Returns how many steps may be submitted from this step on. */
  prepare(step: number): number;
  /** Takes the values of another configuration with as many steps, from the next call of `prepare` on. */
  change(train: TrainConfig): void;
}

/** Steps whose rows are on the GPU at a time. */
const WINDOW = 4096;

/** Uploads the tables of the first steps. */
export function createSchedule(device: Allocator, train: TrainConfig, window = WINDOW): Schedule {
  const rows = Math.min(train.total_steps + 1, window);
  const tables = scheduleTables(train, 0, rows);
  const weights = variable(device, tables.weights, "schedule");
  const puzzle = variable(device, tables.puzzle, "schedule.puzzle");
  let first = 0;
  let current = train;
  return {
    weights,
    puzzle,
    prepare(step) {
      const wanted = step - (step % rows);
      if (wanted !== first) {
        // The queue writes this after the steps submitted so far, which read the old rows.
        const next = scheduleTables(current, wanted, rows);
        weights.write(next.weights.data);
        puzzle.write(next.puzzle.data);
        first = wanted;
      }
      return first + rows - step;
    },
    change(next) {
      current = next;
      first = -1;
    },
  };
}
