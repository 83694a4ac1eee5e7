/**
 * Adaptive computation time (paper, section 2 "Adaptive computational time"; official hrm_act_v1.py): the
 * carry between segments, refilling of halted rows, when a row halts, and the Q target.
 */
import {
  add,
  assign,
  bitAnd,
  bitOr,
  equal,
  greater,
  greaterEqual,
  less,
  max,
  mul,
  randomInt,
  randomUniform,
  reshape,
  sigmoid,
  sizeOf,
  stopGradient,
  sub,
  variable,
  where,
  type Allocator,
  type Tensor,
  type TensorLike,
  type Variable,
} from "../../engine/index.js";
import { owning } from "../../engine/ownership.js";
import { RANDOM_STREAMS, type Batch } from "../puzzles/sampling.js";
import { derive, hasOneLatent, type HrmConfig } from "./config.js";
import { startingLatents, type Latents, type Parameters, type SegmentResult } from "./model.js";

/** The state that each row takes from one segment to the next, on the GPU. */
export interface Carry {
  /** Null for a model with one latent, which is `zL`. */
  readonly zH: Variable | null;
  /** State of the L level, f32 [B, L, D] of L positions (prefix and cells) and hidden size D. */
  readonly zL: Variable;
  /** Segments that each row has had, i32 [B]. */
  readonly steps: Variable;
  /** i32 [B]: 0 if the row goes on. Otherwise the row takes new data at the next segment, which counts as segment number `halted`. */
  readonly halted: Variable;
  /** Tokens of each row's puzzle, i32 [B, S]. */
  readonly inputs: Variable;
  /** Answers, i32 [B, S]; cells without a label hold `IGNORE_LABEL`. */
  readonly labels: Variable;
  /** Puzzle identifiers, i32 [B]. */
  readonly identifiers: Variable;
}

/** Makes a carry in which every row has halted, so that the first segment fills it. Each of `parts` micro-batches has a part. */
export function createCarry(device: Allocator, config: HrmConfig, parts = 1): Carry {
  const { batch_size: B, seq_len: S, hidden_size: D } = config;
  const { totalLength } = derive(config);
  const latent = (name: string): Variable =>
    variable(device, { shape: [B, totalLength, D], dtype: "f32" }, `carry.${name}`, parts);
  const integers = (name: string, ...shape: number[]): Variable =>
    variable(device, { shape, dtype: "i32" }, `carry.${name}`, parts);
  const carry = owning(() => ({
    zH: hasOneLatent(config) ? null : latent("z_H"),
    zL: latent("z_L"),
    steps: integers("steps", B),
    halted: integers("halted", B),
    inputs: integers("inputs", B, S),
    labels: integers("labels", B, S),
    identifiers: integers("puzzle_identifiers", B),
  }));
  resetCarry(carry);
  return carry;
}

/** Makes every row take new data at the next segment. */
export function resetCarry({ halted }: Carry): void {
  halted.write(new Int32Array(sizeOf(halted.whole.shape)).fill(1));
}

/** All variables of a carry. */
export function carryVariables(carry: Carry): Variable[] {
  return (Object.values(carry) as (Variable | null)[]).filter((v) => v !== null);
}

/**
 * Makes row b start as if it had had b mod `maxSteps` segments already, so that every later batch mixes rows at all
 * depths. Row numbers run through all micro-batches.
 */
export function staggerCarry({ halted }: Carry, maxSteps: number): void {
  halted.write(Int32Array.from({ length: sizeOf(halted.whole.shape) }, (_, row) => 1 + (row % maxSteps)));
}

/** Frees the carry. */
export function destroyCarry(carry: Carry): void {
  for (const v of carryVariables(carry)) v.destroy();
}

/** The answer that each row keeps in evaluation with `keep_best_answer`. */
export interface KeptAnswer {
  /** Logits of the cells after the segment with the highest q_halt so far, f32 [B, S, V]. */
  readonly logits: Variable;
  /** That q_halt, f32 [B]. */
  readonly qHalt: Variable;
}

/** Memory for the answers that evaluation keeps; null if the configuration answers with the last segment. */
export function createKeptAnswer(device: Allocator, config: HrmConfig): KeptAnswer | null {
  const { batch_size: B, seq_len: S, vocab_size: V } = config;
  if (!config.keep_best_answer) return null;
  return owning(() => ({
    logits: variable(device, { shape: [B, S, V], dtype: "f32" }, "kept.logits"),
    qHalt: variable(device, { shape: [B], dtype: "f32" }, "kept.q_halt"),
  }));
}

/** Frees the memory of kept answers. */
export function destroyKeptAnswer(kept: KeptAnswer | null): void {
  kept?.logits.destroy();
  kept?.qHalt.destroy();
}

/**
 * Replaces the kept answer of each row whose q_halt is higher, or whose puzzle is new, and returns what is kept now.
 * @param steps segments that each row had before this one, i32 [B]
 */
export function keepBestAnswer(
  kept: KeptAnswer,
  steps: Tensor,
  { logits, qHalt }: SegmentResult,
): Pick<SegmentResult, "logits" | "qHalt"> {
  const better = bitOr(equal(steps, 0), greater(qHalt, kept.qHalt));
  const now = {
    logits: where(reshape(better, [-1, 1, 1]), logits, kept.logits),
    qHalt: where(better, qHalt, kept.qHalt),
  };
  assign(kept.logits, now.logits);
  assign(kept.qHalt, now.qHalt);
  return now;
}

/** The state from which a segment starts. */
export interface Refilled extends Latents, Batch {
  /** Segments that each row has had, i32 [B]; 0 for rows that took new data. */
  readonly steps: Tensor;
}

/**
 * Starts halted rows over: their latents come from H_init and L_init, their data from the new batch, and their steps are 0
 * (more after a staggered start). The other rows go on (without `carry_latents`, with their data alone); the new batch's
 * rows at their places are dropped.
 */
export function refill(carry: Carry, batch: Batch, parameters: Parameters, config: HrmConfig): Refilled {
  const { batch_size: B } = config;
  const halted = carry.halted.tensor;
  const rows = reshape(halted, [B, 1]);
  return {
    ...startingLatents({ config, parameters }, reshape(halted, [B, 1, 1]), carry),
    steps: where(halted, sub(halted, 1), carry.steps),
    inputs: where(rows, batch.inputs, carry.inputs),
    labels: where(rows, batch.labels, carry.labels),
    identifiers: where(halted, batch.identifiers, carry.identifiers),
  };
}

/** The rows that halt after a segment. */
export interface Halting {
  /** i32 [B], this segment included. */
  readonly steps: Tensor;
  /** i32 [B]: 1 for rows that have reached halt_max_steps. */
  readonly last: Tensor;
  /** i32 [B]: 1 for rows that halt. */
  readonly halted: Tensor;
}

/**
 * Decides which rows halt. In training a row halts at halt_max_steps, or if q_halt > q_continue (halt-only: q_halt > 0),
 * but not before the minimum that exploration drew. In evaluation (`minHaltSteps` null) every row runs `maxSteps` segments.
 */
export function decideHalting(
  steps: Tensor,
  q: SegmentResult,
  minHaltSteps: Tensor | null,
  config: HrmConfig,
  maxSteps = config.halt_max_steps,
): Halting {
  const counted = add(steps, 1);
  const last = greaterEqual(counted, maxSteps);
  if (!minHaltSteps || config.halt_max_steps <= 1) return { steps: counted, last, halted: last };
  const wants = greater(q.qHalt, config.halt_only ? 0 : q.qContinue);
  return { steps: counted, last, halted: bitAnd(bitOr(last, wants), greaterEqual(counted, minHaltSteps)) };
}

/** Random draws that decide how long rows explore. */
export interface Exploration {
  /** Uniform f32 [B] in [0, 1). */
  readonly u: Tensor;
  /** i32 [B] from 2..halt_max_steps. */
  readonly randint: Tensor;
}

/** The exploration draws of one step, which follow from the training counter (u32 [2]: seed and finished steps). */
export function randomExploration(counter: TensorLike, config: HrmConfig): Exploration {
  const { batch_size: B, halt_max_steps: max } = config;
  return {
    u: randomUniform(counter, [B], RANDOM_STREAMS.explore),
    randint: randomInt(counter, [B], RANDOM_STREAMS.minimum, 2, Math.max(3, max + 1)),
  };
}

/** The fewest segments of each row, i32 [B]: `randint` (drawn from 2..max) with probability `halt_exploration_prob`, else 0. */
export function minimumHaltSteps(
  u: Tensor,
  randint: Tensor,
  config: HrmConfig,
  probability: TensorLike | number = config.halt_exploration_prob,
): Tensor {
  return mul(less(u, probability), randint);
}

/** Target of q_continue: sigmoid of the best that the next segment offers (paper, eq. 5-6). */
export function continueTarget(last: Tensor, next: Pick<SegmentResult, "qHalt" | "qContinue">): Tensor {
  return stopGradient(sigmoid(where(last, next.qHalt, max(next.qHalt, next.qContinue))));
}

/** Assigns the state after a segment to the carry. */
export function storeCarry(
  carry: Carry,
  start: Refilled,
  { zH, zL }: Latents,
  { steps, halted }: Halting,
): void {
  if (carry.zH) assign(carry.zH, zH);
  assign(carry.zL, zL);
  assign(carry.steps, steps);
  assign(carry.halted, halted);
  assign(carry.inputs, start.inputs);
  assign(carry.labels, start.labels);
  assign(carry.identifiers, start.identifiers);
}
