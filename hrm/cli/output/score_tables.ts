/** The tables of `hrm eval`: scores by difficulty, by number of segments, and with early halting. */
import { earlyHalting, firstHalts, rightAfter, type Census } from "../../thinking/census.js";
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

/** Lines of a table with one row for each band. */
export function bandTable(scores: readonly BandScores[]): string {
  const rows = [
    ["difficulty", "", "puzzles", "exact [95% interval]", "segments to halt"],
    ...scores.map(({ measure, band, puzzles, exact, meanSegmentsToHalt }) => [
      measure,
      band,
      `${puzzles}`,
      formatProportion(exact, puzzles),
      meanSegmentsToHalt.toFixed(2),
    ]),
  ];
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** One line with the exact accuracy after each segment. */
export function segmentLine(census: Census): string {
  const shares = Array.from(rightAfter(census), (n, i) => `${i + 1}: ${formatPercent(n / census.puzzles)}`);
  return `exact after segment  ${shares.join("  ")}`;
}

/** What stopping at the first q_halt > 0 would give, and what it would save. */
export function haltingLine(census: Census): string {
  const { exact, meanSegments } = earlyHalting(census);
  const saved = 1 - meanSegments / census.segments;
  return (
    `stopping each puzzle once q_halt is above ${census.haltOnly === false ? "q_continue" : "0"}: exact ${formatProportion(exact, census.puzzles)}, ` +
    `${meanSegments.toFixed(2)} of ${census.segments} segments (${formatPercent(saved)} saved)`
  );
}
