/** One training step and one evaluation segment, as traces over state that lives on the GPU. */
import {
  add,
  assign,
  cast,
  equal,
  grad,
  isFinite,
  mul,
  position,
  remainder,
  reshape,
  scale,
  slice,
  sqrt,
  sub,
  sum,
  takeRows,
  type Tensor,
  type TensorLike,
  type Variable,
} from "../../engine/index.js";
import { sumOfSquares } from "../../engine/norms.js";
import { adamAtan2Step, signSgdRowsStep, type AdamState } from "../../engine/optimizers.js";
import {
  continueTarget,
  decideHalting,
  keepBestAnswer,
  minimumHaltSteps,
  refill,
  storeCarry,
  type Carry,
  type Exploration,
  type Halting,
  type KeptAnswer,
  type Refilled,
} from "../model/act.js";
import type { Batch } from "../puzzles/sampling.js";
import type { TrainConfig } from "../model/config.js";
import { actLoss, type LossResult } from "../model/loss.js";
import { embed, segment, segmentQ, type Model, type SegmentResult } from "../model/model.js";
import { PUZZLE_EMBEDDING } from "../model/parameters.js";

/** Everything that a training step reads and updates. */
export interface TrainingState {
  /** The model that is trained. */
  readonly model: Model;
  /** What each row takes from one segment to the next. */
  readonly carry: Carry;
  /** Weights under Adam-atan2, by name. */
  readonly adam: ReadonlyMap<string, AdamState>;
  /** The puzzle embedding table; null if the model has no puzzle embedding. */
  readonly puzzleTable: Variable | null;
  /** The moving average of the puzzle embedding; null if no average is kept. */
  readonly puzzleEma: Variable | null;
  /** u32 [2]: seed and number of finished steps. */
  readonly counter: Variable;
  /** Schedule tables [rows, 4]: step t reads row t, or row t modulo rows if there are fewer rows than steps. */
  readonly schedule: { readonly weights: Tensor | Variable; readonly puzzle: TensorLike };
  /** The configuration of training. */
  readonly train: TrainConfig;
  /** `halt_exploration_prob` as f32 [1], if it may change between steps; default: the value of the configuration. */
  readonly explorationProbability?: TensorLike;
}

/** Everything that a training step computes. The program decides which of these tensors are outputs. */
export interface StepResult extends LossResult {
  /** The state from which the segment started. */
  readonly start: Refilled;
  /** What the model answered. */
  readonly segment: SegmentResult;
  /** Which rows halt. */
  readonly halting: Halting;
  /** Target of q_continue, f32 [B]; null if it is not learned. */
  readonly targetContinue: Tensor | null;
  /** q_halt and q_continue of the next segment, from the second forward pass; null if there is no Q target. */
  readonly next: Pick<SegmentResult, "qHalt" | "qContinue"> | null;
  /** What the networks read of the puzzle, f32 [B, L, D]. */
  readonly inputEmbeddings: Tensor;
  /** d (total / batch) / d parameter, by name. The gradient of the puzzle embedding is [B, puzzle_emb_ndim]. */
  readonly gradients: ReadonlyMap<string, Tensor>;
  /** Number of logits that are NaN or infinite, i32 scalar. The loss may be finite all the same. */
  readonly lostLogits: Tensor;
}

/** Name of the gradient of a batch's puzzle embedding rows. */
export const PUZZLE_LOCAL = "inner.puzzle_emb.local_weights";

/**
 * One optimizer step on one segment (paper, fig. 4 "deep supervision"): refill, segment, halting, Q target,
 * loss, one-step gradient, update. `batch` and `exploration` may be drawn on the GPU or be inputs of the program.
 */
export function trainStep(state: TrainingState, batch: Batch, exploration: Exploration): StepResult {
  const result = learn(state, batch, exploration);
  update(state, result.gradients, result.start.identifiers);
  return result;
}

/**
 * A step without its update: computes the gradients, and assigns the carry. `batch` has the batch_size of the model's
 * configuration.
 * @param batchSize rows of the whole batch, over which the gradient is a mean
 */
export function learn(
  { model, carry, adam, puzzleTable, explorationProbability }: TrainingState,
  batch: Batch,
  exploration: Exploration,
  batchSize = model.config.batch_size,
): StepResult {
  const { config } = model;
  const start = refill(carry, batch, model.parameters, config);
  const puzzle = puzzleTable ? takeRows(puzzleTable, start.identifiers) : null;
  const inputEmbeddings = embed(model, start.inputs, puzzle);
  const result = segment(model, start, inputEmbeddings);

  const { u, randint } = exploration;
  const minHaltSteps = minimumHaltSteps(u, randint, config, explorationProbability);
  const halting = decideHalting(start.steps, result, minHaltSteps, config);
  // The second forward pass starts from the new carry and the same data; only its Q values are used. Without
  // carried latents the next segment computes what this one did.
  const needsTarget = config.halt_max_steps > 1 && !config.halt_only;
  const next = !needsTarget ? null : config.carry_latents ? segmentQ(model, result, inputEmbeddings) : result;
  const targetContinue = next ? continueTarget(halting.last, next) : null;

  const loss = actLoss(
    { ...result, labels: start.labels, targetContinue, halted: halting.halted, steps: halting.steps },
    config,
  );
  const names = [...adam.keys()];
  const wrt = [...names.map((name) => adam.get(name)!.parameter), ...(puzzle ? [puzzle] : [])];
  const all = grad(scale(loss.total, 1 / batchSize), wrt);
  const gradients = new Map(names.map((name, i) => [name, all[i]!]));
  if (puzzle) gradients.set(PUZZLE_LOCAL, all.at(-1)!);
  storeCarry(carry, start, result, halting);
  const lostOfQ = sum(add(nonFinite(result.qHalt), nonFinite(result.qContinue)));
  const lostLogits = add(countNonFinite(result.logits), lostOfQ);
  return {
    ...loss,
    start,
    segment: result,
    halting,
    targetContinue,
    next,
    inputEmbeddings,
    gradients,
    lostLogits,
  };
}

/** Updates every weight, and counts the step. `identifiers` i32 [B] are the rows of the puzzle embedding that have a gradient. */
export function update(
  { adam, puzzleTable, puzzleEma, counter, schedule, train }: TrainingState,
  gradients: StepResult["gradients"],
  identifiers: TensorLike,
): void {
  const step = add(slice(counter, [1], [1]), 1);
  const rows = schedule.weights.shape[0]!;
  const row = cast(step, "i32");
  const index = rows > train.total_steps ? row : remainder(row, rows);
  const hyper = reshape(takeRows(schedule.weights, index), [4]);
  const ofWeights = [...adam.keys()].map((name) => gradients.get(name)!);
  adamAtan2Step([...adam.values()], ofWeights, hyper, { ...train, weightDecay: train.weight_decay });
  if (puzzleTable) {
    const puzzleHyper = reshape(takeRows(schedule.puzzle, index), [4]);
    signSgdRowsStep(
      puzzleTable,
      identifiers,
      gradients.get(PUZZLE_LOCAL)!,
      puzzleHyper,
      train.puzzle_emb_weight_decay,
    );
    if (puzzleEma) {
      const decay = slice(hyper, [3], [1]);
      assign(puzzleEma, add(puzzleEma, mul(sub(puzzleTable, puzzleEma), sub(1, decay))));
    }
  }
  // (seed, t) becomes (seed, t + 1).
  assign(counter, add(counter, position([2], "u32")));
}

/** L2 norm over the gradients of the weights (not the puzzle embedding), before the update. */
export function gradientNorm(gradients: ReadonlyMap<string, Tensor>): Tensor {
  return sqrt(sumOfSquares([...gradients].filter(([name]) => name !== PUZZLE_LOCAL).map(([, g]) => g)));
}

/** 1 if an element of x (f32) is NaN or infinite, else 0 (i32). Tests bits, since shaders may assume finite numbers. */
export const nonFinite = (x: Tensor): Tensor => equal(isFinite(x), 0);

/** Number of elements of the tensors (f32) that are NaN or infinite, i32 scalar. */
export function countNonFinite(...tensors: readonly Tensor[]): Tensor {
  return tensors.map((x) => sum(nonFinite(x))).reduce((a, b) => add(a, b));
}

/** How many logits of each row, of cells and of q, are no finite numbers: i32 [B]. */
export function nonFiniteLogits({ logits, qHalt, qContinue }: SegmentResult): Tensor {
  const [rows] = logits.shape as readonly [number];
  const each = reshape(nonFinite(logits), [rows, logits.shape[1]! * logits.shape[2]!]);
  return add(sum(each, { axes: [1] }), add(nonFinite(qHalt), nonFinite(qContinue)));
}

/** What an evaluation segment computes. */
export interface EvaluationResult extends LossResult {
  /** The state from which the segment started. */
  readonly start: Refilled;
  /** What the model answered. */
  readonly segment: SegmentResult;
  /** Which rows halt. */
  readonly halting: Halting;
}

/**
 * One segment without learning. Every row runs `segments` segments, then takes new data. If answers are kept, predictions
 * and metrics are those of each row's best segment so far, and `segment` holds what the model says after this one.
 */
export function evaluationSegment(
  model: Model,
  carry: Carry,
  batch: Batch,
  segments: number,
  kept: KeptAnswer | null = null,
): EvaluationResult {
  const { config, parameters } = model;
  const start = refill(carry, batch, parameters, config);
  const puzzle =
    config.puzzle_emb_ndim > 0 ? takeRows(parameters(PUZZLE_EMBEDDING), start.identifiers) : null;
  const result = segment(model, start, embed(model, start.inputs, puzzle));
  const halting = decideHalting(start.steps, result, null, config, segments);
  const answer = kept ? { ...result, ...keepBestAnswer(kept, start.steps, result) } : result;
  const loss = actLoss(
    { ...answer, labels: start.labels, targetContinue: null, halted: halting.halted, steps: halting.steps },
    config,
  );
  storeCarry(carry, start, result, halting);
  return { ...loss, start, segment: result, halting };
}
