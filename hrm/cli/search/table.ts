/** The tables of a search, and sentences about their certainty. */
import { formatValue } from "../../format_value.js";
import { formatPercent, formatProportion } from "../../training/statistics.js";
import { textTable } from "../output/text_table.js";
import type { Fields, Measure } from "./config.js";
import type { Cut, Ranking, Standing } from "./ranking.js";

/** One line of a table: an option, at the last rung that it reached. */
export interface TableRow {
  readonly standing: Standing;
  readonly fields: Fields;
  /** Step and cost of each of its trials at that rung. */
  readonly step: number;
  readonly tflop: number;
}

/** The fields in which options differ, in the order in which they first appear. */
export function differingFields(options: readonly Fields[]): string[] {
  const names = [...new Set(options.flatMap((fields) => Object.keys(fields)))];
  return names.filter((name) => new Set(options.map((fields) => JSON.stringify(fields[name]))).size > 1);
}

/** The table as text, with one line for each option and the best option first. */
export function searchTable(
  rows: readonly TableRow[],
  { columns, seeds, measure }: { columns: readonly string[]; seeds: readonly number[]; measure: Measure },
): string {
  const measured = measure === "exact" ? "exact" : "cells";
  const head = [
    ...["option", ...columns, "step", "TFLOP", "exact [95% of puzzles]", "cells"],
    ...["", ...seeds.map((seed) => `${measured}, seed ${seed}`)],
  ];
  const body = rows.map(({ standing, fields, step, tflop }, row) => {
    const { option, trials, diverged, likeBest } = standing;
    const total = (pick: (trial: (typeof trials)[number]) => number): number =>
      trials.reduce((sum, trial) => sum + pick(trial), 0);
    const bySeed = seeds.map((seed) => {
      const trial = trials.find((one) => one.seed === seed);
      if (!trial) return "-";
      if (trial.divergedAt !== null) return `diverged at ${trial.divergedAt}`;
      return formatPercent(measure === "exact" ? trial.exact / trial.count : trial.cellAccuracy);
    });
    return [
      String(option),
      ...columns.map((name) => (Object.hasOwn(fields, name) ? formatValue(fields[name]) : "preset's")),
      ...[String(step), tflop.toPrecision(3)],
      diverged
        ? "-"
        : formatProportion(
            total(({ exact }) => exact),
            total(({ count }) => count),
          ),
      ...[
        diverged ? "-" : formatPercent(standing.cells),
        row === 0 || likeBest === false ? "" : likeBest ? "~" : "?",
      ],
      ...bySeed,
    ];
  });
  return textTable(head, body);
}

/** Sentences that explain the marks of a table and its order, one per line. */
export function explainRanking(
  { standings, cut }: Ranking,
  { measure, seeds }: { measure: Measure; seeds: readonly number[] },
): string[] {
  const sound = standings.filter(({ diverged }) => !diverged);
  const lines: string[] = [];
  const best = sound[0];
  if (!best) return ["Every option left the finite numbers: a lower lr usually helps."];
  const { count } = best.trials[0]!;
  const deviations =
    best.deviation === null
      ? ""
      : `; standard deviation over the seeds of the best option: ${points(best.deviation)}`;
  lines.push(`Each trial scored ${count} validation puzzles${deviations}.`);
  const like = sound.slice(1).filter(({ likeBest }) => likeBest === true).length;
  if (like > 0)
    lines.push(
      `~ marks options within two standard errors of the best (${like} besides the best): their order may be chance.`,
    );
  if (sound.some(({ likeBest }) => likeBest === null))
    lines.push("? marks options that cannot be told from the best: one seed of cells has no known error.");
  if (seeds.length === 1 && sound.length > 1)
    lines.push(
      "There is one seed, so that differences between seeds are unknown and count for nothing here.",
    );
  if (cut !== null && cut !== "clear") lines.push(CUT[cut](measure));
  const lost = standings.length - sound.length;
  if (lost > 0)
    lines.push(`${lost} ${lost === 1 ? "option" : "options"} left the finite numbers and goes no further.`);
  return lines;
}

const points = (deviation: number): string => `${(100 * deviation).toFixed(1)} points`;

const CUT: Readonly<Record<Exclude<Cut, "clear">, (measure: Measure) => string>> = {
  order: (measure) =>
    `The last option that goes on and the first that does not have the same ${measure} and cells: the order in the file decided.`,
  cells: () =>
    "The last option that goes on and the first that does not are equal in exact puzzles: cells decided.",
  chance: () =>
    "The last option that goes on and the first that does not are within two standard errors: the cut may be chance.",
  unknown: () =>
    "Nothing tells whether the last option that goes on is better than the first that does not: more seeds would.",
};
