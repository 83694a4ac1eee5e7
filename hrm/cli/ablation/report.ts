/** The table of an ablation: mean, spread and interval of each variant, and its difference from the first one. */
import { countParameters } from "../../model/parameters.js";
import { meanOf, wilsonInterval, type Interval, type MeanOf } from "../../training/statistics.js";
import { textTable } from "../output/text_table.js";
import type { TrialLine } from "../search/log.js";
import type { CostedSearch } from "../search/trials.js";
import type { Variant } from "./variants.js";

/** A variant with the results so far. */
export interface AblationRow {
  readonly name: string;
  readonly summary: string;
  readonly parameters: number;
  /** Operations of a step, steps of a trial, and the operations of its whole training. */
  readonly stepFlops: number;
  readonly steps: number;
  readonly flops: number;
  /** Share of validation puzzles solved, by seed; null for a trial that left the finite numbers, absent if it has not run. */
  readonly exactBySeed: Readonly<Record<string, number | null>>;
  /** Over the seeds; null without a result. One seed has the Wilson interval of its puzzles. */
  readonly exact: MeanOf | null;
  readonly cells: MeanOf | null;
  /** `exact` minus that of the first variant, over the seeds that both have; null for the first, or without such seeds. */
  readonly difference: MeanOf | null;
  /** Seeds whose training left the finite numbers. */
  readonly diverged: number;
}

/** One row for each variant, in the order of the plan. */
export function ablationRows(
  { options, sweep }: CostedSearch,
  variants: readonly Variant[],
  lines: readonly TrialLine[],
): AblationRow[] {
  const trial = (option: number, seed: number): TrialLine | undefined =>
    lines.find((line) => line.option === option && line.seed === seed);
  const share = ({ exact, count }: TrialLine): number => exact / count;
  return variants.map(({ name, summary }, option) => {
    const { flops, steps, preset } = options[option]!;
    const own = sweep.seeds.flatMap((seed) => trial(option, seed) ?? []);
    const sound = own.filter(({ divergedAt }) => divergedAt === null);
    const differences = sound.flatMap((line) => {
      const other = trial(0, line.seed);
      return option > 0 && other?.divergedAt === null ? [share(line) - share(other)] : [];
    });
    const mean = (values: readonly number[]): MeanOf | null => (values.length > 0 ? meanOf(values) : null);
    const exact = mean(sound.map(share));
    const only = sound[0];
    return {
      ...{ name, summary, parameters: countParameters(preset.model), stepFlops: flops, steps: steps[0]! },
      flops: flops * steps[0]!,
      exactBySeed: Object.fromEntries(
        own.map((line) => [line.seed, line.divergedAt === null ? share(line) : null]),
      ),
      exact:
        exact && sound.length === 1
          ? { ...exact, interval: wilsonInterval(only!.exact, only!.count) }
          : exact,
      cells: mean(sound.map(({ cellAccuracy }) => cellAccuracy)),
      difference: mean(differences),
      diverged: own.length - sound.length,
    };
  });
}

const percent = (share: number): string => (100 * share).toFixed(1);
const range = (interval: Interval | null, least: number, most: number): string =>
  interval ? ` [${percent(Math.max(least, interval.low))}, ${percent(Math.min(most, interval.high))}]` : "";
const signed = (share: number): string => `${share >= 0 ? "+" : ""}${percent(share)}`;

const HEAD = ["variant", "parameters", "GFLOP/step", "steps", "TFLOP", "exact % [95%]", "sd", "cells %"];

function cellsOf(rows: readonly AblationRow[], seeds: readonly number[]): string[][] {
  return rows.map((row, i) => [
    ...[row.name, String(row.parameters), (row.stepFlops / 1e9).toPrecision(4), String(row.steps)],
    (row.flops / 1e12).toPrecision(4),
    row.exact ? percent(row.exact.mean) + range(row.exact.interval, 0, 1) : "-",
    typeof row.exact?.deviation === "number" ? percent(row.exact.deviation) : "-",
    row.cells ? percent(row.cells.mean) : "-",
    i === 0 || !row.difference ? "-" : signed(row.difference.mean) + range(row.difference.interval, -1, 1),
    ...seeds.map((seed) => {
      const share = row.exactBySeed[seed];
      return share === undefined ? "-" : share === null ? "diverged" : percent(share);
    }),
  ]);
}

const headOf = (rows: readonly AblationRow[], seeds: readonly number[]): string[] => [
  ...HEAD,
  `against ${rows[0]!.name} [95%]`,
  ...seeds.map((seed) => `seed ${seed}`),
];

/** The table as text. */
export const ablationTable = (rows: readonly AblationRow[], seeds: readonly number[]): string =>
  textTable(headOf(rows, seeds), cellsOf(rows, seeds));

/** Sentences that say how to read the table. */
export function explainAblation(
  rows: readonly AblationRow[],
  { seeds, puzzles }: { seeds: readonly number[]; puzzles: number | null },
): string[] {
  const done = rows.reduce((sum, { exactBySeed }) => sum + Object.keys(exactBySeed).length, 0);
  const missing = rows.length * seeds.length - done;
  const scored = puzzles === null ? "all validation puzzles" : `${puzzles} validation puzzles`;
  return [
    `Every trial trains for about the same number of operations and scores ${scored} with its last weights.`,
    seeds.length > 1
      ? "Intervals are those of the mean over the seeds (Student's t); differences are paired by seed, whose puzzles both variants share."
      : "With one seed the interval is that of its puzzles (Wilson), and nothing is known of the spread between seeds.",
    "An interval of a difference that holds 0 does not tell the variant from the first one.",
    ...(missing > 0 ? [`${missing} of ${rows.length * seeds.length} trials have not run yet.`] : []),
  ];
}

/** The table as Markdown, with its explanation and what the variants are. */
export function ablationMarkdown(
  rows: readonly AblationRow[],
  { seeds, title, notes }: { seeds: readonly number[]; title: string; notes: readonly string[] },
): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  const head = headOf(rows, seeds);
  return [
    `# ${title}`,
    "",
    line(head),
    line(head.map(() => "---")),
    ...cellsOf(rows, seeds).map(line),
    "",
    ...notes.map((note) => `- ${note}`),
    "",
    ...rows.map(({ name, summary }) => `- \`${name}\`: ${summary}`),
    "",
  ].join("\n");
}
