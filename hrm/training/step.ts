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
  minimumHaltSteps,
  refill,
  storeCarry,
  type Carry,
  type Exploration,
  type Halting,
  type Refilled,
} from "../model/act.js";
import type { Batch } from "../puzzles/sampling.js";
import type { TrainConfig } from "../model/config.js";
import { actLoss, type LossResult } from "../model/loss.js";
import { embed, segment, type Model, type SegmentResult } from "../model/model.js";
import { PUZZLE_EMBEDDING } from "../model/parameters.js";

/** Everything that a training step updates. */
export interface TrainingState {
  readonly model: Model;
  readonly carry: Carry;
  /** Weights under Adam-atan2, by name. */
  readonly adam: ReadonlyMap<string, AdamState>;
  /** The puzzle embedding table, where there is one. */
  readonly puzzleTable: Variable | null;
  /** Its moving average, where one is kept. */
  readonly puzzleEma: Variable | null;
  /** u32 [2]: seed and number of finished steps. */
  readonly counter: Variable;
  /** Schedule tables [rows, 4]: step t reads row t, or t modulo rows if there are fewer than steps. */
  readonly schedule: { readonly weights: Tensor | Variable; readonly puzzle: TensorLike };
  readonly train: TrainConfig;
}

/** What a training step computes; the program decides what to keep. */
export interface StepResult extends LossResult {
  /** What the segment started from. */
  readonly start: Refilled;
  readonly segment: SegmentResult;
  readonly halting: Halting;
  readonly targetContinue: Tensor | null;
  /** q_halt and q_continue of the second forward. */
  readonly next: SegmentResult | null;
  readonly inputEmbeddings: Tensor;
  /** d (total / batch) / d parameter, by name; the puzzle embedding's as [B, puzzle_emb_ndim]. */
  readonly gradients: ReadonlyMap<string, Tensor>;
  /** Numbers among the logits that are NaN or infinite, i32 scalar: a loss of them can be finite. */
  readonly lostLogits: Tensor;
}

/** Name under which the gradient of a batch's puzzle embedding rows is found. */
export const PUZZLE_LOCAL = "inner.puzzle_emb.local_weights";

/**
 * One optimizer step on one segment (paper, fig. 4 "deep supervision"): refill, segment, halting, Q target,
 * loss, one-step gradient, update. `batch` and `exploration` come from the GPU's own data and draws or from
 * outside; the step is the same.
 */
export function trainStep(state: TrainingState, batch: Batch, exploration: Exploration): StepResult {
  const result = learn(state, batch, exploration);
  update(state, result.gradients, result.start.identifiers);
  return result;
}

/**
 * A step without its update: the gradients, and the carry of the rows of `batch`, as many as the model's configuration
 * says.
 * @param batchSize rows of the whole batch, over which the gradient is a mean
 */
export function learn(
  { model, carry, adam, puzzleTable }: TrainingState,
  batch: Batch,
  exploration: Exploration,
  batchSize = model.config.batch_size,
): StepResult {
  const { config } = model;
  const start = refill(carry, batch, model.parameters, config);
  const puzzle = puzzleTable ? takeRows(puzzleTable, start.identifiers) : null;
  const inputEmbeddings = embed(model, start.inputs, puzzle);
  const result = segment(model, start, inputEmbeddings);

  const minHaltSteps = minimumHaltSteps(exploration.u, exploration.randint, config);
  const halting = decideHalting(start.steps, result, minHaltSteps, config);
  // The second forward starts from the new carry and the same data; only its Q values are used.
  const needsTarget = config.halt_max_steps > 1 && !config.halt_only;
  const next = needsTarget ? segment(model, result, inputEmbeddings) : null;
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

/** Updates every weight, and counts the step. `identifiers` i32 [B] are those of the puzzle embedding's gradient. */
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

/** 1 where x (f32) is NaN or an infinity, else 0 (i32); tests bits, since shaders may assume that there is neither. */
export const nonFinite = (x: Tensor): Tensor => equal(isFinite(x), 0);

/** How many numbers of the tensors (f32) are NaN or infinite, i32 scalar. */
export function countNonFinite(...tensors: readonly Tensor[]): Tensor {
  return tensors.map((x) => sum(nonFinite(x))).reduce((a, b) => add(a, b));
}

/** What an evaluation segment computes. */
export interface EvaluationResult extends LossResult {
  /** What the segment started from. */
  readonly start: Refilled;
  readonly segment: SegmentResult;
  readonly halting: Halting;
}

/** One segment without learning: every row runs `segments` of them, then takes new data. */
export function evaluationSegment(
  model: Model,
  carry: Carry,
  batch: Batch,
  segments: number,
): EvaluationResult {
  const { config, parameters } = model;
  const start = refill(carry, batch, parameters, config);
  const puzzle =
    config.puzzle_emb_ndim > 0 ? takeRows(parameters(PUZZLE_EMBEDDING), start.identifiers) : null;
  const result = segment(model, start, embed(model, start.inputs, puzzle));
  const halting = decideHalting(start.steps, result, null, config, segments);
  const loss = actLoss(
    { ...result, labels: start.labels, targetContinue: null, halted: halting.halted, steps: halting.steps },
    config,
  );
  storeCarry(carry, start, result, halting);
  return { ...loss, start, segment: result, halting };
}
