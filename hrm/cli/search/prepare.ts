/** A search that is ready to run: its options are checked and costed, and the puzzles of its seeds can be made. */
import { findPreset, presetNames, type Preset } from "../../training/presets.js";
import type { PuzzleSplits } from "../../puzzles/puzzle_set.js";
import { formatValue } from "../../format_value.js";
import { ArgumentError, nearestName } from "../../terminal/arguments.js";
import { splitsOf, withFiles } from "../inputs/puzzle_files.js";
import { parseSweep, type Fields, type Sweep } from "./config.js";
import type { PlannedTrials } from "./log.js";
import { costSearch, type CostedSearch } from "./trials.js";

/** The fields of a search as they were given. */
export interface Source {
  readonly fields: Fields;
  /** First words of error messages: the option or file. */
  readonly where: string;
}

/** A search whose options were checked, with the puzzles of its seeds. */
export interface Prepared {
  readonly plan: CostedSearch;
  readonly splits: (seed: number) => PuzzleSplits;
}

/** Checks a search and costs its options. @throws ArgumentError */
export async function prepare({ fields, where }: Source): Promise<Prepared> {
  const sweep = parseSweep(fields, where);
  const preset = await presetOf(sweep, where);
  const made = new Map<number, PuzzleSplits>();
  const splits = (seed: number): PuzzleSplits => {
    const found = made.get(seed) ?? splitsOf(preset, seed);
    made.set(seed, found);
    return found;
  };
  const first = await located(where, () => Promise.resolve().then(() => splits(sweep.seeds[0]!)));
  const { count } = first.validation;
  if (sweep.puzzles !== null && sweep.puzzles > count)
    throw new ArgumentError(
      `${where}: puzzles: got ${sweep.puzzles}; expected at most ${count}, as many as there are to validate on.`,
    );
  return { plan: costSearch(sweep, { preset, splits: first, where }), splits };
}

async function presetOf({ preset: name, data, test }: Sweep, where: string): Promise<Preset> {
  const preset = findPreset(name);
  if (!preset) {
    const near = nearestName(name, presetNames);
    throw new ArgumentError(
      `${where}: preset: got ${formatValue(name)}; expected one of ${presetNames.join(", ")}.${near ? ` Did you mean ${near}?` : ""}`,
    );
  }
  return data === null ? preset : located(where, () => withFiles(preset, { data, test: test ?? undefined }));
}

/** Runs `work`, and puts `where` in front of the message of an ArgumentError. */
async function located<T>(where: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof ArgumentError)) throw error;
    throw new ArgumentError(`${where}: ${error.message}`);
  }
}

/** What every line of the search's record must agree with. */
export const plannedTrials = ({ sweep, options: planned }: CostedSearch): PlannedTrials => ({
  options: planned,
  seeds: sweep.seeds,
  steps: planned.map(({ steps }) => steps),
});
