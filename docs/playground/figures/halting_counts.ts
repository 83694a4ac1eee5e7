/** What a census says of halting: where puzzles would stop, and what more segments bring. */
import type { Census } from "../../../hrm/thinking/census.js";
import { wantsToStop } from "../state/thinking.js";

/** The puzzles that would stop after one number of segments. */
export interface Stop {
  /** Rows of the census, ascending. */
  readonly right: readonly number[];
  readonly wrong: readonly number[];
}

/**
 * Puzzles by the segment after which the model first wants to stop, within the `limit` segments of its training; the last
 * entry has also those that never want to, as the limit stops them.
 */
export function stopsOf(census: Census, limit: number, haltOnly: boolean): Stop[] {
  const { puzzles, segments, qHalt, qContinue, right } = census;
  const stops = Array.from({ length: Math.min(limit, segments) }, () => ({
    right: [] as number[],
    wrong: [] as number[],
  }));
  for (let puzzle = 0; puzzle < puzzles; puzzle++) {
    const row = puzzle * segments;
    let at = stops.findIndex((_, s) => wantsToStop(qHalt[row + s]!, qContinue[row + s]!, haltOnly));
    if (at < 0) at = stops.length - 1;
    stops[at]![right[row + at] ? "right" : "wrong"].push(puzzle);
  }
  return stops;
}

/** The share of puzzles that are right after 1, 2, ... segments, whatever the model wants. */
export function accuracyBySegments({ puzzles, segments, right }: Census): number[] {
  return Array.from({ length: segments }, (_, s) => {
    let count = 0;
    for (let puzzle = 0; puzzle < puzzles; puzzle++) count += right[puzzle * segments + s]!;
    return count / puzzles;
  });
}
