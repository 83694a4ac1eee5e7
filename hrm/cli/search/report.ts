/** Reports of a search: the table of each rung, and the table of the whole search. */
import type { Sweep } from "./config.js";
import type { TrialLine } from "./log.js";
import type { Ranking } from "./ranking.js";
import { differingFields, explainRanking, searchTable, type TableRow } from "./table.js";
import type { CostedSearch } from "./trials.js";

/** Each rung in words. A rung that is given in TFLOP ends at a different step for each option. */
export function rungTexts({ sweep, options: planned }: CostedSearch): string[] {
  return sweep.rungs.map((rung, i) => {
    if ("steps" in rung) return `step ${rung.steps}`;
    const steps = planned.map((option) => option.steps[i]!);
    const [low, high] = [Math.min(...steps), Math.max(...steps)];
    return `${rung.tflop} TFLOP: step ${low === high ? low : `${low} to ${high}`}`;
  });
}

/** The options of a rung as lines of a table. */
function rowsOf(
  { options: planned }: CostedSearch,
  { standings }: Ranking,
  rung: number,
  lines: readonly TrialLine[],
): TableRow[] {
  return standings.map((standing) => {
    const { option } = standing;
    const { fields, flops, steps } = planned[option]!;
    // The step of an option that diverged is the step that its first trial reached.
    const line = lines.find((one) => one.option === option && one.rung === rung);
    const step = standing.diverged ? line!.step : steps[rung]!;
    return { standing, fields, step, tflop: (step * flops) / 1e12 };
  });
}

/** Every option at the last rung that it reached, with the best option first. */
export function finalRows(
  plan: CostedSearch,
  rankings: readonly Ranking[],
  lines: readonly TrialLine[],
): TableRow[] {
  const rows: TableRow[] = [];
  for (let rung = rankings.length - 1; rung >= 0; rung--)
    for (const row of rowsOf(plan, rankings[rung]!, rung, lines))
      if (!rows.some(({ standing }) => standing.option === row.standing.option))
        // Marks compare options of one rung.
        rows.push(
          rung === rankings.length - 1 ? row : { ...row, standing: { ...row.standing, likeBest: false } },
        );
  return rows;
}

/** The table of these rows, with a column for each field that differs between options. */
export function tableOf({ sweep, options: planned }: CostedSearch, rows: readonly TableRow[]): string {
  const { seeds, measure } = sweep;
  return searchTable(rows, { columns: differingFields(planned.map(({ fields }) => fields)), seeds, measure });
}

/** Lines that report a rung whose trials are all done. */
export function rungReport(
  plan: CostedSearch,
  rankings: readonly Ranking[],
  lines: readonly TrialLine[],
): string[] {
  const rung = rankings.length - 1;
  const ranking = rankings[rung]!;
  const kept = ranking.standings.filter((standing) => standing.kept).map(({ option }) => option);
  return [
    `\nrung ${rung + 1} of ${plan.sweep.rungs.length} (${rungTexts(plan)[rung]}):`,
    tableOf(plan, rowsOf(plan, ranking, rung, lines)),
    ...explainRanking(ranking, plan.sweep),
    `${kept.length} of ${ranking.standings.length} options go on: ${kept.join(", ")}\n`,
  ];
}

/** One option as `--json` prints it. */
export function jsonRow({ standing, fields, step, tflop }: TableRow, { seeds }: Sweep): object {
  const { option, exact, cells, deviation, diverged, likeBest, trials } = standing;
  return {
    ...{ option, fields, step, tflop, diverged, exact, cells, deviation, likeBest },
    bySeed: seeds.map((seed) => {
      const trial = trials.find((one) => one.seed === seed)!;
      const { count, exact: right, cellAccuracy, divergedAt } = trial;
      return { seed, count, exact: right, cellAccuracy, divergedAt };
    }),
  };
}
