/**
 * Adaptive computation time (paper, section 2 "Adaptive computational time"; official hrm_act_v1.py): the
 * carry between segments, refilling of halted rows, when a row halts, and the Q target.
 */
import {
  add,
  assign,
  bitAnd,
  bitOr,
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
  type Device,
  type Tensor,
  type TensorLike,
  type Variable,
} from "../../engine/index.js";
import { owning } from "../../engine/ownership.js";
import { RANDOM_STREAMS, type Batch } from "../puzzles/sampling.js";
import { derive, type HrmConfig } from "./config.js";
import type { Latents, Parameters, SegmentResult } from "./model.js";

/** What survives from one segment to the next, on the GPU. */
export interface Carry {
  /** Null for a model with one latent, which is `zL`. */
  readonly zH: Variable | null;
  readonly zL: Variable;
  /** Segments that each row has had, i32 [B]. */
  readonly steps: Variable;
  /** i32 [B]: 0 if the row goes on, else it takes new data at the next segment, which counts as its `halted`-th. */
  readonly halted: Variable;
  readonly inputs: Variable;
  readonly labels: Variable;
  readonly identifiers: Variable;
}

/** An initial carry: every row halted, so that the first segment fills it. Micro-batches have a part each. */
export function createCarry(device: Device, config: HrmConfig, parts = 1): Carry {
  const { batch_size: B, seq_len: S, hidden_size: D } = config;
  const { totalLength } = derive(config);
  const latent = (name: string): Variable =>
    variable(device, { shape: [B, totalLength, D], dtype: "f32" }, `carry.${name}`, parts);
  const integers = (name: string, ...shape: number[]): Variable =>
    variable(device, { shape, dtype: "i32" }, `carry.${name}`, parts);
  const carry = owning(() => ({
    zH: config.arch === "trm_singlez" ? null : latent("z_H"),
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

/** The variables of a carry. */
export function carryVariables(carry: Carry): Variable[] {
  return (Object.values(carry) as (Variable | null)[]).filter((v) => v !== null);
}

/**
 * Makes row b take new data that counts as having had b mod `maxSteps` segments already, so that every later batch mixes
 * rows at all depths. Micro-batches share the numbering.
 */
export function staggerCarry({ halted }: Carry, maxSteps: number): void {
  halted.write(Int32Array.from({ length: sizeOf(halted.whole.shape) }, (_, row) => 1 + (row % maxSteps)));
}

/** Frees the carry. */
export function destroyCarry(carry: Carry): void {
  for (const v of carryVariables(carry)) v.destroy();
}

/** A segment's starting point. */
export interface Refilled extends Latents, Batch {
  readonly steps: Tensor;
}

/**
 * Halted rows start over: latents from H_init and L_init, no steps (or those that a staggered start counts), the new batch's data. The other rows go on,
 * and the new batch's rows at their places are dropped.
 */
export function refill(carry: Carry, batch: Batch, parameters: Parameters, config: HrmConfig): Refilled {
  const { batch_size: B } = config;
  const halted = carry.halted.tensor;
  const rows = reshape(halted, [B, 1]);
  const latents = reshape(halted, [B, 1, 1]);
  const zL = where(latents, parameters("inner.L_init"), carry.zL);
  return {
    zH: carry.zH ? where(latents, parameters("inner.H_init"), carry.zH) : zL,
    zL,
    steps: where(halted, sub(halted, 1), carry.steps),
    inputs: where(rows, batch.inputs, carry.inputs),
    labels: where(rows, batch.labels, carry.labels),
    identifiers: where(halted, batch.identifiers, carry.identifiers),
  };
}

/** Which rows halt after a segment. */
export interface Halting {
  /** i32 [B], this segment counted. */
  readonly steps: Tensor;
  /** 1 where halt_max_steps is reached. */
  readonly last: Tensor;
  readonly halted: Tensor;
}

/**
 * Training: halt at halt_max_steps, or where q_halt > q_continue (halt-only: q_halt > 0), but not before the
 * minimum that exploration drew. Evaluation (`minHaltSteps` null): every row runs halt_max_steps segments.
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

/** Draws that decide how long rows explore. */
export interface Exploration {
  /** Uniform f32 [B] in [0, 1). */
  readonly u: Tensor;
  /** i32 [B] from 2..halt_max_steps. */
  readonly randint: Tensor;
}

/** Exploration draws of one step, from the training counter. */
export function randomExploration(counter: TensorLike, config: HrmConfig): Exploration {
  const { batch_size: B, halt_max_steps: max } = config;
  return {
    u: randomUniform(counter, [B], RANDOM_STREAMS.explore),
    randint: randomInt(counter, [B], RANDOM_STREAMS.minimum, 2, Math.max(3, max + 1)),
  };
}

/** Exploration: with probability `halt_exploration_prob` a row must run `randint` segments (drawn from 2..max), else 0. */
export function minimumHaltSteps(u: Tensor, randint: Tensor, config: HrmConfig): Tensor {
  return mul(less(u, config.halt_exploration_prob), randint);
}

/** Target of q_continue: sigmoid of the best that the next segment offers (paper, eq. 5-6). */
export function continueTarget(last: Tensor, next: Pick<SegmentResult, "qHalt" | "qContinue">): Tensor {
  return stopGradient(sigmoid(where(last, next.qHalt, max(next.qHalt, next.qContinue))));
}

/** Records the carry after a segment. */
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
