/** The curves of the run: what training reported, point by point, so that they can be drawn, compared and kept. */
import { signal } from "@preact/signals";
import type { StepMetrics } from "../../../hrm/training/trainer.js";

/** Quantities by step of training. */
export const TRAINING = ["step", "seconds", "loss", "lm", "q", "gradient", "actSteps"] as const;
/** Quantities by look at the validation set. */
export const LOOKS = ["step", "exact", "cells"] as const;

/** Columns of equal length. */
export interface Curves {
  readonly training: Readonly<Record<(typeof TRAINING)[number], number[]>>;
  readonly looks: Readonly<Record<(typeof LOOKS)[number], number[]>>;
}

export const emptyCurves = (): Curves => ({
  training: { step: [], seconds: [], loss: [], lm: [], q: [], gradient: [], actSteps: [] },
  looks: { step: [], exact: [], cells: [] },
});

/** The curves of the run under way. */
export const curves = { current: emptyCurves() };
/** Counts changes of the curves, for what draws them. */
export const curvesChanged = signal(0);

/** Points that a curve keeps before neighbours are dropped. */
const MOST_POINTS = 2000;

/**
 * A point for steps of training: means over them, of each puzzle for the losses, of each finished puzzle for `actSteps`.
 * @param batch puzzles in a batch, over which the metrics are sums
 */
export function addTraining(to: Curves, rows: readonly StepMetrics[], batch: number, seconds: number): void {
  if (rows.length === 0) return;
  const mean = (value: (row: StepMetrics) => number): number =>
    rows.reduce((sum, row) => sum + value(row), 0) / rows.length;
  const finished = rows.reduce((sum, row) => sum + row.count, 0);
  const lm = mean((row) => row.lm_loss) / batch;
  const q = mean((row) => row.q_halt_loss + row.q_continue_loss) / batch;
  const point = {
    step: rows.at(-1)!.step,
    ...{ seconds, lm, q, loss: lm + 0.5 * q },
    gradient: mean((row) => row.gradientNorm),
    actSteps: finished > 0 ? rows.reduce((sum, row) => sum + row.steps, 0) / finished : NaN,
  };
  for (const name of TRAINING) to.training[name].push(point[name]);
  if (to.training.step.length > MOST_POINTS)
    for (const name of TRAINING) {
      const kept = to.training[name].filter((_, i) => i % 2 === 1);
      to.training[name].splice(0, Infinity, ...kept);
    }
}

/** The curves as far as a step: what a run that goes on from a checkpoint has. */
export function curvesUntil(from: Curves, step: number): Curves {
  const result = emptyCurves();
  from.training.step.forEach((at, i) => {
    if (at <= step) for (const name of TRAINING) result.training[name].push(from.training[name][i]!);
  });
  from.looks.step.forEach((at, i) => {
    if (at <= step) for (const name of LOOKS) result.looks[name].push(from.looks[name][i]!);
  });
  return result;
}
