/** Training, validation and test sets from the puzzles of a file. */
import { countExamples, identifiersInUse } from "./examples.js";
import { takePuzzles, type PuzzleSet, type PuzzleSplits } from "./puzzle_set.js";
import { holdOut, splitPuzzles, type HeldUnit, type SplitBy } from "./splits.js";
import type { Task } from "./tasks/task.js";

/** The largest share of a file that is held out for validation, and for a test set without its own file. */
const HELD_OUT_SHARE = 0.1;
/** The most puzzles that are held out. */
const HELD_OUT_MOST = 512;

/** How the puzzles of a file are split. */
export interface SplitPlan {
  readonly task: Task;
  readonly by: SplitBy;
  readonly seed: number;
  /** What is held out; `none`: validation shows training puzzles. Default: see {@link holdOut}. */
  readonly validation?: HeldUnit | "none" | undefined;
}

/**
 * Makes the three sets. Without a test set of its own, a tenth of the file is held out twice.
 * @throws UsageError if nothing would be left to train on
 */
export function splitFile(
  set: PuzzleSet,
  testSet: PuzzleSet | null,
  { task, by, seed, validation }: SplitPlan,
): PuzzleSplits {
  // Groups are held out, so that the test does not repeat the images of one puzzle.
  const groups = set.groups ? set.groups.groupIndices.length - 1 : set.count;
  if (validation === "none") {
    const rows = Array.from({ length: Math.min(HELD_OUT_MOST, set.count) }, (_, row) => row);
    const looked = takePuzzles(set, rows);
    return { train: set, validation: looked, test: testSet ?? looked, held: "nothing" };
  }
  const units =
    validation === "examples" || identifiersInUse(set) > 1 || groups < 3 ? countExamples(set) : groups;
  const count = Math.max(1, Math.min(HELD_OUT_MOST, Math.floor(HELD_OUT_SHARE * units)));
  const options = { by, seed, unit: validation };
  if (!testSet) return splitPuzzles(set, task, { ...options, validation: count, test: count });
  const { rest, held, unit } = holdOut(set, task, { ...options, count });
  return { train: rest, validation: held, test: testSet, held: unit };
}
