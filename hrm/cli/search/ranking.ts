/** Ranks the options of a search, and says how certain the ranking is. */
import { wilsonInterval } from "../../training/statistics.js";
import type { Measure } from "./config.js";

/** The results of a trial at a rung that ranking needs. */
export interface TrialScore {
  /** Number of the option, from 0. */
  readonly option: number;
  readonly seed: number;
  /** Validation puzzles scored, and how many were right in every cell. */
  readonly count: number;
  readonly exact: number;
  readonly cellAccuracy: number;
  /** Step at which the trial diverged to NaN or infinity, so that it has no scores; null if it did not. */
  readonly divergedAt: number | null;
}

/** One option at one rung. */
export interface Standing {
  readonly option: number;
  /** Trials by seed, ascending. */
  readonly trials: readonly TrialScore[];
  /** Means over the seeds, as fractions. */
  readonly exact: number;
  readonly cells: number;
  /** Standard deviation of the measure over the seeds; null for a single seed. */
  readonly deviation: number | null;
  /** Whether a seed diverged to NaN or infinity. The option then ranks last and does not go on. */
  readonly diverged: boolean;
  /** Whether the option goes on to the next rung. */
  readonly kept: boolean;
  /** Whether the best option may be better only by chance; true for the best option itself, null if unknown. */
  readonly likeBest: boolean | null;
}

/** What separates the last option that goes on from the first option that does not. */
export type Cut =
  /** Measure and cells are equal, so the order in the file decided. */
  | "order"
  /** The measure is equal, so the cell accuracy decided. */
  | "cells"
  /** The difference may be chance. */
  | "chance"
  /** The effect of chance is unknown. */
  | "unknown"
  | "clear";

export interface Ranking {
  /** Best first. */
  readonly standings: readonly Standing[];
  /** Null if every option goes on, or if only diverged options are cut. */
  readonly cut: Cut | null;
}

/** Differences above this number of standard errors count as real. */
const STANDARD_ERRORS = 2;

/** Number of options that go on if a share of `count` is kept: rounded up, at least 1. */
export const keptCount = (count: number, share: number): number =>
  Math.max(1, Math.ceil(count * share - 1e-9));

/**
 * Ranks options by the mean of the measure over their seeds. Options with equal means are ranked by cell accuracy, then by
 * their order in the file. The standard error of a mean is the larger of two: the error from its puzzles (known only for exact
 * answers), and the error from its seeds, whose variance is pooled over the options, since each option has few seeds.
 */
export function rankOptions(
  scores: readonly TrialScore[],
  { measure, keep }: { measure: Measure; keep: number },
): Ranking {
  const byOption = new Map<number, TrialScore[]>();
  for (const score of scores) byOption.set(score.option, [...(byOption.get(score.option) ?? []), score]);
  const valueOf = (trial: TrialScore): number =>
    measure === "exact" ? trial.exact / trial.count : trial.cellAccuracy;
  const found = [...byOption].map(([option, all]) => {
    const trials = [...all].sort((a, b) => a.seed - b.seed);
    const diverged = trials.some(({ divergedAt }) => divergedAt !== null);
    const values = diverged ? [] : trials.map(valueOf);
    const exact = diverged ? 0 : mean(trials.map((trial) => trial.exact / trial.count));
    const cells = diverged ? 0 : mean(trials.map((trial) => trial.cellAccuracy));
    const squares = values.reduce((sum, value) => sum + (value - mean(values)) ** 2, 0);
    const deviation = values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : null;
    return { option, trials, exact, cells, deviation, diverged, squares, freedom: values.length - 1 };
  });
  type Found = (typeof found)[number];
  const main = (one: Found): number => (measure === "exact" ? one.exact : one.cells);
  found.sort(
    (a, b) =>
      Number(a.diverged) - Number(b.diverged) ||
      main(b) - main(a) ||
      b.cells - a.cells ||
      a.option - b.option,
  );
  const sound = found.filter(({ diverged }) => !diverged);
  const freedom = sound.reduce((sum, one) => sum + one.freedom, 0);
  const pooled = freedom > 0 ? sound.reduce((sum, one) => sum + one.squares, 0) / freedom : null;
  const variance = ({ trials }: Found): number | null => {
    const ofSeeds = pooled === null ? null : pooled / trials.length;
    if (measure === "cells") return ofSeeds;
    const ofPuzzles = trials.reduce((sum, { exact, count }) => sum + puzzleVariance(exact, count), 0);
    return Math.max(ofSeeds ?? 0, ofPuzzles / trials.length ** 2);
  };
  const mayBeChance = (a: Found, b: Found): boolean | null => {
    if (main(a) === main(b)) return true;
    const [x, y] = [variance(a), variance(b)];
    if (x === null || y === null) return null;
    return Math.abs(main(a) - main(b)) <= STANDARD_ERRORS * Math.sqrt(x + y);
  };
  const goOn = Math.min(keep, sound.length);
  const [last, first] = [sound[goOn - 1], sound[goOn]];
  const cut = ((): Cut | null => {
    if (!last || !first) return null;
    if (main(last) === main(first)) return last.cells === first.cells ? "order" : "cells";
    const chance = mayBeChance(last, first);
    return chance === null ? "unknown" : chance ? "chance" : "clear";
  })();
  const standings = found.map((one, i) => {
    const { option, trials, exact, cells, deviation, diverged } = one;
    const likeBest = i === 0 ? true : diverged ? false : mayBeChance(found[0]!, one);
    return { option, trials, exact, cells, deviation, diverged, kept: i < goOn, likeBest };
  });
  return { standings, cut };
}

/** Variance of a proportion, from its 95% Wilson interval: not 0 if all or none of the puzzles are right. */
function puzzleVariance(exact: number, count: number): number {
  const { low, high } = wilsonInterval(exact, count);
  return ((high - low) / (2 * 1.96)) ** 2;
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
