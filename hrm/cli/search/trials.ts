/** The trials of a search: which trials each rung has, what they cost, and which of them are left. */
import { runFlops } from "../../training/memory_estimate.js";
import type { Preset } from "../../training/presets.js";
import type { PuzzleSplits } from "../../puzzles/puzzle_set.js";
import { presetsOf, rungSteps, type Fields, type Sweep } from "./config.js";
import type { TrialLine } from "./log.js";
import { keptCount, rankOptions, type Ranking } from "./ranking.js";

/** An option of a search, with its preset and costs. */
export interface PlannedOption {
  readonly fields: Fields;
  /** The preset with the fields of the search's base and of the option. */
  readonly preset: Preset;
  /** Floating-point operations of a training step. */
  readonly flops: number;
  /** Step of each rung. */
  readonly steps: readonly number[];
}

/** A search whose options were all checked. */
export interface CostedSearch {
  readonly sweep: Sweep;
  readonly options: readonly PlannedOption[];
}

/** Checks and costs all options of a search. `where` is the start of every error message. @throws ArgumentError */
export function costSearch(
  sweep: Sweep,
  { preset, splits, where }: { preset: Preset; splits: PuzzleSplits; where: string },
): CostedSearch {
  const counted = new Map<string, number>();
  const options: PlannedOption[] = [];
  for (const [i, own] of presetsOf(sweep, preset, where).entries()) {
    const { fields } = sweep.options[i]!;
    const { model, train, task } = own;
    const key = JSON.stringify([model, train.augment, train.ema_decay > 0]);
    let flops = counted.get(key);
    if (flops === undefined) {
      const { train: data, validation } = splits;
      flops = runFlops({ config: model, train, data, validation, symmetry: task.symmetry }).step;
      counted.set(key, flops);
    }
    const steps = rungSteps(sweep, { flops, totalSteps: train.total_steps, fields }, where);
    options.push({ fields, preset: own, flops, steps });
  }
  return { sweep, options };
}

/** The state of a search after some trials. */
export interface SearchState {
  /** The rung that is not complete yet; the number of rungs if all are. */
  readonly rung: number;
  /** Rankings of the complete rungs. */
  readonly rankings: readonly Ranking[];
  /** Missing trials of that rung, in the order in which they run. */
  readonly missing: readonly { readonly option: number; readonly seed: number }[];
}

/** Computes the state from the lines of finished trials alone, so that a killed search continues as if it had not stopped. */
export function stateOf({ sweep, options }: CostedSearch, lines: readonly TrialLine[]): SearchState {
  const { rungs, seeds, measure } = sweep;
  const rankings: Ranking[] = [];
  let alive = options.map((_, option) => option);
  for (let rung = 0; rung < rungs.length && alive.length > 0; rung++) {
    const found = lines.filter((line) => line.rung === rung && alive.includes(line.option));
    const has = (option: number, seed: number): boolean =>
      found.some((line) => line.option === option && line.seed === seed);
    const missing = alive.flatMap((option) =>
      seeds.filter((seed) => !has(option, seed)).map((seed) => ({ option, seed })),
    );
    if (missing.length > 0) return { rung, rankings, missing };
    const last = rung === rungs.length - 1;
    const keep = last ? alive.length : keptCount(alive.length, sweep.keep);
    const ranking = rankOptions(found, { measure, keep });
    rankings.push(ranking);
    alive = ranking.standings
      .filter(({ kept }) => kept)
      .map(({ option }) => option)
      .sort((a, b) => a - b);
  }
  return { rung: rungs.length, rankings, missing: [] };
}

/** Remaining operations of training: exact for the current rung, and estimated by the mean option for later rungs. */
export function flopsLeft({ sweep, options }: CostedSearch, state: SearchState): number {
  const { rungs, seeds, keep } = sweep;
  const costOf = (option: number, rung: number): number => {
    const { flops, steps } = options[option]!;
    return flops * (steps[rung]! - (rung > 0 ? steps[rung - 1]! : 0));
  };
  let left = state.missing.reduce((sum, { option }) => sum + costOf(option, state.rung), 0);
  const last = state.rankings.at(-1);
  const alive = last
    ? last.standings.filter(({ kept }) => kept).map(({ option }) => option)
    : options.map((_, option) => option);
  let count = alive.length;
  for (let rung = state.rung + 1; rung < rungs.length; rung++) {
    count = keptCount(count, keep);
    const mean = alive.reduce((sum, option) => sum + costOf(option, rung), 0) / alive.length;
    left += count * seeds.length * mean;
  }
  return left;
}
