/** The curves of the run: what training reported, point by point, so that they can be drawn, compared and kept. */
import { signal } from "@preact/signals";
import type { StepMetrics } from "../../../hrm/training/trainer.js";

/** Quantities by step of training. */
export const TRAINING = ["step", "seconds", "loss", "lm", "q", "gradient", "lr", "actSteps"] as const;
/** Quantities by look at the validation set. */
export const LOOKS = ["step", "seconds", "exact", "cells"] as const;

/** What the visitor changed while the run went on; it applies to the steps after `step`. */
export interface Change {
  readonly step: number;
  /** Peak learning rate. */
  readonly lr: number;
  /** Share of puzzles that explore. */
  readonly exploration: number;
}

/** Columns of equal length. */
export interface Curves {
  readonly training: Readonly<Record<(typeof TRAINING)[number], number[]>>;
  readonly looks: Readonly<Record<(typeof LOOKS)[number], number[]>>;
  readonly changes: Change[];
}

export const emptyCurves = (): Curves => ({
  training: { step: [], seconds: [], loss: [], lm: [], q: [], gradient: [], lr: [], actSteps: [] },
  looks: { step: [], seconds: [], exact: [], cells: [] },
  changes: [],
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
 * @param at seconds of training so far, and the learning rate of the last step
 */
export function addTraining(
  to: Curves,
  rows: readonly StepMetrics[],
  batch: number,
  { seconds, lr }: { readonly seconds: number; readonly lr: number },
): void {
  if (rows.length === 0) return;
  const mean = (value: (row: StepMetrics) => number): number =>
    rows.reduce((sum, row) => sum + value(row), 0) / rows.length;
  const finished = rows.reduce((sum, row) => sum + row.count, 0);
  const lm = mean((row) => row.lm_loss) / batch;
  const q = mean((row) => row.q_halt_loss + row.q_continue_loss) / batch;
  const point = {
    step: rows.at(-1)!.step,
    ...{ seconds, lm, q, lr, loss: lm + 0.5 * q },
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

/** Notes a change by the visitor. Of several changes between two steps the last one counts. */
export function addChange({ changes }: Curves, change: Change): void {
  if (changes.at(-1)?.step === change.step) changes.pop();
  changes.push(change);
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
  result.changes.push(...from.changes.filter((change) => change.step <= step));
  return result;
}

/** Curves of any age with all columns; what was not recorded then is NaN. */
export function completeCurves({ training, looks, changes }: Partial<Curves>): Curves {
  const columns = <N extends string>(names: readonly N[], from: Partial<Record<N, number[]>>) => {
    const length = (from["step" as N] ?? []).length;
    return Object.fromEntries(
      names.map((name) => [name, from[name] ?? Array<number>(length).fill(NaN)]),
    ) as Record<N, number[]>;
  };
  return {
    training: columns(TRAINING, training ?? {}),
    looks: columns(LOOKS, looks ?? {}),
    changes: changes ?? [],
  };
}
