/** The tables of `hrm eval`: scores by difficulty, and by the limit on the segments, with early halting. */
import { earlyHalting, firstHalts, rightAfter, type Census } from "../../thinking/census.js";
import { textTable } from "./text_table.js";
import type { DifficultyBand } from "../../puzzles/difficulty.js";
import { formatPercent, formatProportion, wilsonInterval } from "../../training/statistics.js";

/** Scores of the puzzles of one difficulty. */
export interface BandScores {
  readonly measure: string;
  readonly band: string;
  readonly puzzles: number;
  /** Puzzles that are right after the last segment. */
  readonly exact: number;
  readonly interval: readonly [low: number, high: number];
  /** Mean segments until the model would first stop; the number of segments that ran for puzzles that never get there. */
  readonly meanSegmentsToHalt: number;
}

/** The scores of each band. */
export function bandScores(census: Census, bands: readonly DifficultyBand[]): BandScores[] {
  const { segments, right } = census;
  const halts = firstHalts(census);
  return bands.map(({ measure, name, rows }) => {
    const sum = (of: (row: number) => number): number => rows.reduce((total, row) => total + of(row), 0);
    const exact = sum((row) => right[row * segments + segments - 1]!);
    const { low, high } = wilsonInterval(exact, rows.length);
    return {
      measure,
      band: name,
      puzzles: rows.length,
      exact,
      interval: [low, high],
      meanSegmentsToHalt: sum((row) => halts[row]!) / rows.length,
    };
  });
}

/** A table with a line for each band. */
export const bandTable = (scores: readonly BandScores[]): string =>
  textTable(
    ["difficulty", "", "puzzles", "exact [95% interval]", "segments to halt"],
    scores.map(({ measure, band, puzzles, exact, meanSegmentsToHalt }) => [
      ...[measure, band, `${puzzles}`, formatProportion(exact, puzzles), meanSegmentsToHalt.toFixed(2)],
    ]),
  );

/** The scores if no puzzle may run more than `limit` segments. */
export interface LimitRow {
  /** Segments that a puzzle may run. */
  readonly limit: number;
  /** Puzzles whose answer is right if every puzzle runs `limit` segments; null if some puzzles stopped earlier. */
  readonly exact: number | null;
  /** Puzzles that are right where they stop, at the latest at the limit. */
  readonly exactStopping: number;
  readonly meanSegments: number;
  /** Share of the segments that stopping saves. */
  readonly saved: number;
}

/** The most rows of the table of limits; of more limits powers of two are shown. */
const MOST_LIMITS = 16;

/** A row for each limit. `whole` says whether every puzzle ran all segments. */
export function limitRows(census: Census, whole: boolean): LimitRow[] {
  const { segments, puzzles } = census;
  const right = rightAfter(census);
  const limits = Array.from({ length: segments }, (_, i) => i + 1);
  const shown =
    segments <= MOST_LIMITS ? limits : limits.filter((n) => n === segments || Number.isInteger(Math.log2(n)));
  return shown.map((limit) => {
    const { exact, meanSegments } = earlyHalting(census, limit);
    return {
      ...{ limit, exact: whole ? right[limit - 1]! : null, exactStopping: exact, meanSegments },
      saved: puzzles === 0 ? 0 : 1 - meanSegments / limit,
    };
  });
}

/** When a puzzle stops, in words. */
export function stoppingRule({
  haltOnly = true,
  haltAbove = 0,
}: Pick<Census, "haltOnly" | "haltAbove">): string {
  if (haltOnly) return `q_halt is above ${haltAbove}`;
  return haltAbove === 0 ? "q_halt is above q_continue" : `q_halt minus q_continue is above ${haltAbove}`;
}

/** A table with a line for each limit on the segments. */
export function limitTable(rows: readonly LimitRow[], census: Census): string {
  const { puzzles } = census;
  const whole = rows.some(({ exact }) => exact !== null);
  const lines = rows.map(({ limit, exact, exactStopping, meanSegments, saved }) => [
    `${limit}`,
    ...(whole ? [exact === null ? "-" : formatProportion(exact, puzzles)] : []),
    formatProportion(exactStopping, puzzles),
    meanSegments.toFixed(2),
    formatPercent(saved),
  ]);
  const head = ["at most", ...(whole ? ["exact [95%]"] : []), "exact, stopping [95%]", "segments", "saved"];
  return `segments; stopping is: a puzzle ends once ${stoppingRule(census)}\n${textTable(head, lines)}`;
}
