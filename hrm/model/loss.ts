/** The ACT loss and its metrics (official losses.py, ACTLossHead). */
import {
  add,
  bceWithLogits,
  bitAnd,
  cast,
  concat,
  crossEntropy,
  div,
  equal,
  greater,
  greaterEqual,
  max,
  mul,
  notEqual,
  reshape,
  scale,
  sum,
  where,
  type Tensor,
} from "../../engine/index.js";
import type { HrmConfig } from "./config.js";
import { IGNORE_LABEL } from "../puzzles/puzzle_set.js";

/**
 * Columns of a metrics row; each is a sum over the batch. Only rows that halted in this step and have a label count,
 * except in the losses. `accuracy` sums the share of right cells, `exact_accuracy` counts puzzles without a wrong cell.
 */
export const METRICS = [
  "lm_loss",
  "q_halt_loss",
  "q_continue_loss",
  "count",
  "accuracy",
  "exact_accuracy",
  "q_halt_accuracy",
  "steps",
] as const;

/** The name of a metric. */
export type Metric = (typeof METRICS)[number];
/** A value for each metric. */
export type MetricRow = Record<Metric, number>;

/** What the loss of a segment depends on. */
export interface LossInputs {
  /** f32 [B, S, V]. */
  readonly logits: Tensor;
  /** i32 [B, S]; cells with `IGNORE_LABEL` do not count. */
  readonly labels: Tensor;
  /** Logit of halting, f32 [B]. */
  readonly qHalt: Tensor;
  /** Logit of going on, f32 [B]. */
  readonly qContinue: Tensor;
  /** f32 [B]; null in evaluation, with halt_max_steps 1, and with halt-only ACT. */
  readonly targetContinue: Tensor | null;
  /** i32 [B]: above 0 for rows that halt with this segment. */
  readonly halted: Tensor;
  /** Segments of each row, i32 [B]. */
  readonly steps: Tensor;
}

/** The loss of a segment. */
export interface LossResult {
  /** lm + 0.5 (q_halt + q_continue), summed over the batch; scalar. */
  readonly total: Tensor;
  /** f32 [8] in the order of METRICS. */
  readonly metrics: Tensor;
  /** Predicted cells, i32 [B, S]. */
  readonly predictions: Tensor;
}

/** Loss and metrics of one segment. */
export function actLoss(
  { logits, labels, qHalt, qContinue, targetContinue, halted, steps }: LossInputs,
  config: HrmConfig,
): LossResult {
  const kind = config.loss_type === "stablemax_cross_entropy" ? "stablemax" : "softmax";
  const { loss: perCell, prediction } = crossEntropy(logits, labels, { kind, ignoreLabel: IGNORE_LABEL });
  const cells = (x: Tensor): Tensor => sum(x, { axes: [1] });
  const labelled = notEqual(labels, IGNORE_LABEL);
  const counts = cells(labelled);
  const right = cells(bitAnd(labelled, equal(prediction, labels)));
  const divisor = cast(max(counts, 1), "f32");
  const solved = equal(right, counts);

  const lm = div(cells(perCell), divisor);
  const halt = bceWithLogits(qHalt, cast(solved, "f32"));
  const carryOn = targetContinue ? bceWithLogits(qContinue, targetContinue) : scale(halt, 0);
  const total = sum(add(lm, scale(targetContinue ? add(halt, carryOn) : halt, 0.5)));

  const counted = bitAnd(halted, greater(counts, 0));
  const rows: Record<Metric, Tensor> = {
    lm_loss: lm,
    q_halt_loss: halt,
    q_continue_loss: carryOn,
    count: cast(counted, "f32"),
    accuracy: where(counted, div(cast(right, "f32"), divisor), 0),
    exact_accuracy: cast(bitAnd(counted, solved), "f32"),
    q_halt_accuracy: cast(bitAnd(counted, equal(greaterEqual(qHalt, 0), solved)), "f32"),
    steps: cast(mul(counted, steps), "f32"),
  };
  const columns = METRICS.map((metric) => reshape(rows[metric], [-1, 1]));
  const table = concat([concat(columns.slice(0, 4), 1), concat(columns.slice(4), 1)], 1);
  return { total, metrics: sum(table, { axes: [0] }), predictions: prediction };
}

/** A metrics row by name. */
export function metricRow(values: ArrayLike<number>): MetricRow {
  return Object.fromEntries(METRICS.map((name, i) => [name, values[i]!])) as MetricRow;
}
