/** Puzzle sets on the GPU, and the two ways to draw a batch from them. */
import {
  add,
  greaterEqual,
  hostTensor,
  less,
  position,
  randomInt,
  randomUniform,
  reshape,
  takeRows,
  variable,
  where,
  type Device,
  type Tensor,
  type TensorLike,
  type Variable,
} from "../engine/index.js";
import type { Batch } from "./act.js";
import type { HrmConfig } from "./config.js";
import { IGNORE_LABEL, type PuzzleSet } from "./puzzles.js";
import type { Exploration } from "./step.js";

/** A puzzle set whose rows the GPU gathers. */
export interface GpuPuzzles {
  readonly count: number;
  readonly inputs: Variable;
  readonly labels: Variable;
  readonly identifiers: Variable;
}

/** Uploads a puzzle set. */
export function uploadPuzzles(device: Device, set: PuzzleSet, name: string): GpuPuzzles {
  const { count, length } = set;
  return {
    count,
    inputs: variable(device, hostTensor(set.inputs, [count, length]), `${name}.inputs`),
    labels: variable(device, hostTensor(set.labels, [count, length]), `${name}.labels`),
    identifiers: variable(device, hostTensor(set.identifiers, [count, 1]), `${name}.puzzle_identifiers`),
  };
}

/** Frees an uploaded set. */
export function destroyPuzzles({ inputs, labels, identifiers }: GpuPuzzles): void {
  for (const v of [inputs, labels, identifiers]) v.destroy();
}

function gather(data: GpuPuzzles, rows: Tensor): Batch {
  return {
    inputs: takeRows(data.inputs, rows),
    labels: takeRows(data.labels, rows),
    identifiers: reshape(takeRows(data.identifiers, rows), [rows.size]),
  };
}

/** Streams of the random numbers of one training step. */
const STREAMS = { rows: 0, explore: 1, minimum: 2 } as const;

/** A batch of random rows (with replacement), drawn on the GPU from the training counter. */
export function randomBatch(data: GpuPuzzles, counter: TensorLike, config: HrmConfig): Batch {
  return gather(data, randomInt(counter, [config.batch_size], STREAMS.rows, 0, data.count));
}

/** Exploration draws of one step, from the training counter. */
export function randomExploration(counter: TensorLike, config: HrmConfig): Exploration {
  const { batch_size: B, halt_max_steps: max } = config;
  return {
    u: randomUniform(counter, [B], STREAMS.explore),
    randint: randomInt(counter, [B], STREAMS.minimum, 2, Math.max(3, max + 1)),
  };
}

/**
 * The batch of rows from `first` (i32 [1]) on, in order. Rows at or past `limit` (i32 [1]) have no labels, so they
 * count in no metric.
 */
export function consecutiveBatch(
  data: GpuPuzzles,
  first: Tensor,
  limit: TensorLike,
  config: HrmConfig,
): Batch {
  const rows = add(position([config.batch_size]), first);
  const inside = less(rows, limit);
  const batch = gather(data, where(greaterEqual(rows, data.count), 0, rows));
  return { ...batch, labels: where(reshape(inside, [config.batch_size, 1]), batch.labels, IGNORE_LABEL) };
}
