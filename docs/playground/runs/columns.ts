/** Runs as columns of numbers: as CSV and JSON for other programs. */
import type { Change, Curves, LOOKS, TRAINING } from "../state/curves.js";
import { LOOKS as LOOK_COLUMNS, TRAINING as TRAINING_COLUMNS } from "../state/curves.js";
import type { RunConfig } from "../run_config.js";

/** A run that can be drawn beside others. */
export interface ShownRun {
  readonly id: string;
  readonly name: string;
  readonly run: RunConfig;
  readonly curves: Curves;
}

/** What runs are drawn over. */
export type Axis = "step" | "seconds";

type TrainingColumn = Exclude<(typeof TRAINING)[number], Axis>;
type LookColumn = Exclude<(typeof LOOKS)[number], Axis>;

/** A quantity of a run. */
export type Quantity =
  | { readonly of: "training"; readonly column: TrainingColumn }
  | { readonly of: "looks"; readonly column: LookColumn };

/** The share of the past in a smoothed point. */
const SMOOTHING = 0.85;

/** A curve with each point drawn towards those before it; numbers that are not known stay so. */
export function smoothed(values: readonly number[]): number[] {
  let mean = NaN;
  return values.map((value) => {
    if (Number.isNaN(value)) return value;
    return (mean = Number.isNaN(mean) ? value : SMOOTHING * mean + (1 - SMOOTHING) * value);
  });
}

/** Horizontal and vertical values of a quantity of one run. */
export function pointsOf({ curves }: ShownRun, { of, column }: Quantity, axis: Axis): [number[], number[]] {
  const columns = curves[of] as Readonly<Record<string, number[]>>;
  return [columns[axis]!, columns[column]!];
}

const COLUMNS = [...new Set<string>([...TRAINING_COLUMNS, ...LOOK_COLUMNS])];

/** A field of a table: quoted if it has to be. */
const field = (value: string): string => (/[",\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);

/** All points of runs as a table: a row for each report of training, and one for each look at unseen puzzles. */
export function runsAsCsv(runs: readonly ShownRun[]): string {
  const lines = [["run", "kind", ...COLUMNS].join(",")];
  for (const { name, curves } of runs)
    for (const kind of ["training", "looks"] as const) {
      const columns = curves[kind] as Readonly<Record<string, number[]>>;
      columns["step"]!.forEach((_, i) => {
        const values = COLUMNS.map((column) => {
          const value = columns[column]?.[i];
          return value === undefined || Number.isNaN(value) ? "" : String(value);
        });
        lines.push([field(name), kind, ...values].join(","));
      });
    }
  return lines.join("\n") + "\n";
}

/** Runs with their configurations, changes and points. */
export function runsAsJson(runs: readonly ShownRun[]): string {
  const rounded = (_: string, value: unknown): unknown =>
    typeof value === "number" && !Number.isFinite(value) ? null : value;
  return JSON.stringify(
    runs.map(({ name, run, curves }) => ({ name, run, ...curves })),
    rounded,
    1,
  );
}

/** A change of the run under way in words. */
export const changeText = ({ step, lr, exploration }: Change): string =>
  `after step ${step.toLocaleString("en")}: learning rate ${lr}, exploration ${exploration}`;
