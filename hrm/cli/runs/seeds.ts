/** `hrm train --seeds N`: several seeds in turn, with the mean and the spread of their scores. */
import { join } from "node:path";
import { formatValue } from "../../format_value.js";
import { ArgumentError } from "../../terminal/arguments.js";
import { formatPercent, formatProportion, meanOf, type MeanOf } from "../../training/statistics.js";
import { fileExists } from "../disk/file_exists.js";
import { codeOf, nodeFileSystem, readWhole } from "../disk/file_system.js";
import { say, show } from "../output/console.js";
import { textTable } from "../output/text_table.js";
import { readRunConfig, RUN_CONFIG_FILE } from "./config.js";
import type { TrainingJob } from "./job.js";
import { METRICS_FILE, metricsOf } from "./log.js";

/** The look at the test set of a seed's run. */
export interface SeedScores {
  readonly seed: number;
  readonly folder: string;
  readonly step: number;
  readonly count: number;
  readonly exactAccuracy: number;
  readonly cellAccuracy: number;
}

/** The JSON object that `--json` prints after training several seeds. */
export interface SeedsReport {
  readonly seeds: readonly SeedScores[];
  /** Over the seeds, each a share of the test puzzles; null before the first. */
  readonly exact: MeanOf | null;
  readonly cells: MeanOf | null;
}

/** The folder of a seed's run, whose name never gets a number. */
export const seedFolder = (parent: string, { run }: Pick<TrainingJob, "run">): string =>
  join(parent, `${run.preset}-seed${run.seed}`);

/**
 * What is there of a seed's run: nothing, a run that can go on, or one that was tested. @throws ArgumentError if the folder is
 * that of a run with another plan
 */
export async function foundRun(
  folder: string,
  { run }: Pick<TrainingJob, "run">,
): Promise<"nothing" | "begun" | SeedScores> {
  if (!(await fileExists(join(folder, RUN_CONFIG_FILE)))) {
    if (await fileExists(folder))
      throw new ArgumentError(
        `--seeds: ${folder} is there without a ${RUN_CONFIG_FILE}; expected the run of seed ${run.seed}, or nothing. Give another --out, or remove it.`,
      );
    return "nothing";
  }
  const { adapter: _adapter, ...found } = await readRunConfig(folder, "--seeds");
  requireSamePlan(folder, found, run);
  return (await testedScores(folder, run.seed)) ?? "begun";
}

/** @throws ArgumentError that names the first field that differs */
function requireSamePlan(folder: string, found: TrainingJob["run"], wanted: TrainingJob["run"]): void {
  const flat = ({ model, train, ...rest }: TrainingJob["run"]): Record<string, unknown> => ({
    ...rest,
    ...model,
    ...train,
  });
  const [before, now] = [flat(found), flat(wanted)];
  for (const field of Object.keys(now))
    if (JSON.stringify(before[field]) !== JSON.stringify(now[field]))
      throw new ArgumentError(
        `--seeds: ${folder} was trained with ${field} ${formatValue(before[field])}, and this command says ${formatValue(now[field])}; expected the same, so that its seeds can be compared. Give another --out.`,
      );
}

/** The last look at the test set in a run's history; null if there was none. */
export async function testedScores(folder: string, seed: number): Promise<SeedScores | null> {
  const bytes = await readWhole(nodeFileSystem, join(folder, METRICS_FILE)).catch((error: unknown) => {
    if (codeOf(error) === "ENOENT") return null;
    throw error;
  });
  const line =
    bytes &&
    metricsOf(bytes)
      .filter(({ kind }) => kind === "test")
      .at(-1);
  if (!line || line.kind !== "test") return null;
  const { step, count, exactAccuracy, cellAccuracy } = line;
  return { seed, folder, step, count, exactAccuracy, cellAccuracy };
}

/** Mean and spread over the seeds. */
export function seedsReport(seeds: readonly SeedScores[]): SeedsReport {
  const mean = (of: (scores: SeedScores) => number): MeanOf | null =>
    seeds.length > 0 ? meanOf(seeds.map(of)) : null;
  return {
    seeds,
    exact: mean(({ exactAccuracy }) => exactAccuracy),
    cells: mean(({ cellAccuracy }) => cellAccuracy),
  };
}

/** Mean, standard deviation and 95% interval of the mean in words. */
export function describeMean({ mean, deviation, interval }: MeanOf): string {
  if (deviation === null || interval === null)
    return `${formatPercent(mean)}; one seed tells nothing of the spread`;
  const percent = (share: number): string => (100 * Math.min(1, Math.max(0, share))).toFixed(1);
  return `${formatPercent(mean)}, standard deviation ${percent(deviation)}, 95% interval of the mean [${percent(interval.low)}, ${percent(interval.high)}]`;
}

/** Prints a line for each seed, and the means. */
export function showSeeds(
  { seeds, exact, cells }: SeedsReport,
  planned: number,
  { json }: { readonly json: boolean },
): void {
  if (seeds.length === 0) return;
  const rows = seeds.map(({ seed, step, exactAccuracy, cellAccuracy, count }) => [
    ...[
      `${seed}`,
      `${step}`,
      formatProportion(Math.round(exactAccuracy * count), count),
      formatPercent(cellAccuracy),
    ],
  ]);
  show(`\n${textTable(["seed", "step", "test exact [95%]", "cells"], rows)}`, { json });
  show(`exact over ${seeds.length} ${seeds.length === 1 ? "seed" : "seeds"}: ${describeMean(exact!)}`, {
    json,
  });
  show(`cells over ${seeds.length} ${seeds.length === 1 ? "seed" : "seeds"}: ${describeMean(cells!)}`, {
    json,
  });
  if (seeds.length < planned)
    say(`seeds     ${planned - seeds.length} of ${planned} are not done; the same command goes on with them`);
}
