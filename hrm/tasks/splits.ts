/** Splits that no symmetry crosses: what connects puzzles stays on one side. */
import { UsageError } from "../../engine/errors.js";
import { takePuzzles, type PuzzleSet, type PuzzleSplits } from "../puzzles.js";
import { hostRandom, shuffle } from "./random.js";
import type { Task } from "./task.js";

/**
 * What may not be on two sides of a split: `solution`, equal answers; `class`, answers that the task's symmetry maps on
 * each other, for training that augments.
 */
export type SplitBy = "solution" | "class";

/** True for 4x4 Sudoku: its grids fall into two symmetry classes, so that splits by class would leave a side nothing. */
export function hasTooFewClasses({ name }: Pick<Task, "name">): boolean {
  return name === "sudoku4";
}

export interface HoldOutOptions {
  readonly by: SplitBy;
  /** Puzzles to hold out; a class that straddles the number is held out whole. */
  readonly count: number;
  /** Decides which. */
  readonly seed: number;
}

/**
 * Holds out puzzles. From a group of augmented puzzles only the first puzzle is held out (its images would be asked
 * again and again); the rest keeps its groups. Throws UsageError where nothing would be left to train on.
 */
export function holdOut(
  set: PuzzleSet,
  task: Task,
  { by, count, seed }: HoldOutOptions,
): { rest: PuzzleSet; held: PuzzleSet } {
  return divide({ set, keys: groupKeys(set, task, by) }, { by, count, seed });
}

/** Three splits of one set: `validation` and `test` puzzles held out, the rest for training. */
export function splitPuzzles(
  set: PuzzleSet,
  task: Task,
  options: { by: SplitBy; validation: number; test: number; seed: number },
): PuzzleSplits {
  const { by, seed } = options;
  // Canonical forms take their time: each once.
  const keyed = { set, keys: groupKeys(set, task, by) };
  const { rest, restKeys, held: test } = divide(keyed, { by, count: options.test, seed });
  const { rest: train, held: validation } = divide(
    { set: rest, keys: restKeys },
    { by, count: options.validation, seed },
  );
  return { train, validation, test };
}

/** The row with which each group begins, and the number of rows. */
function groupStarts({ groups, count }: PuzzleSet): number[] {
  return groups
    ? Array.from(groups.groupIndices, (puzzle) => groups.puzzleIndices[puzzle]!)
    : Array.from({ length: count + 1 }, (_, row) => row);
}

/** What each group must share with no other side of a split. */
function groupKeys(set: PuzzleSet, task: Task, by: SplitBy): string[] {
  return groupStarts(set)
    .slice(0, -1)
    .map((row) => keyOf(set, row, task, by));
}

/** Holds out groups of a set whose keys are known. */
function divide(
  { set, keys: keyOfGroup }: { set: PuzzleSet; keys: readonly string[] },
  { by, count, seed }: HoldOutOptions,
): { rest: PuzzleSet; restKeys: string[]; held: PuzzleSet } {
  const groups = keyOfGroup.length;
  const members = new Map<string, number[]>();
  keyOfGroup.forEach((key, group) => {
    const known = members.get(key);
    if (known) known.push(group);
    else members.set(key, [group]);
  });
  // Sorted, so that the draw does not depend on the order of the file.
  const keys = [...members.keys()].sort();
  shuffle(hostRandom(seed, `hold out by ${by}`), keys);
  const held: number[] = [];
  for (const key of keys) {
    if (held.length >= count) break;
    for (const group of members.get(key)!) held.push(group);
  }
  if (held.length === groups) {
    const what = by === "class" ? "symmetry classes" : "solutions";
    throw new UsageError(
      `holdOut: got ${groups} puzzles of ${members.size} ${what} and ${count} to hold out; nothing would be left to train on. ` +
        "Give more puzzles, or a test file of their own.",
    );
  }
  held.sort((a, b) => a - b);
  const dropped = new Set(held);
  return {
    rest: withoutGroups(set, dropped, groupStarts(set)),
    restKeys: keyOfGroup.filter((_, group) => !dropped.has(group)),
    held: takePuzzles(
      set,
      held.flatMap((group) => firstPuzzle(set, group)),
    ),
  };
}

/** Number of puzzles in `set` that share a solution or class with one of `other`. */
export function countShared(set: PuzzleSet, other: PuzzleSet, task: Task, by: SplitBy): number {
  const keys = (of: PuzzleSet): string[] =>
    Array.from({ length: of.count }, (_, row) => keyOf(of, row, task, by));
  const known = new Set(keys(other));
  return keys(set).filter((key) => known.has(key)).length;
}

function keyOf(set: PuzzleSet, row: number, task: Task, by: SplitBy): string {
  const range = [row * set.length, (row + 1) * set.length] as const;
  const label = set.labels.subarray(...range);
  if (by === "class" && task.symmetry) return task.classOf(set.inputs.subarray(...range), label);
  return String.fromCharCode(...label.map((token) => token & 0xffff));
}

/** Rows of a group's first puzzle. */
function firstPuzzle({ groups }: PuzzleSet, group: number): number[] {
  if (!groups) return [group];
  const puzzle = groups.groupIndices[group]!;
  const [start, end] = [groups.puzzleIndices[puzzle]!, groups.puzzleIndices[puzzle + 1]!];
  return Array.from({ length: end - start }, (_, i) => start + i);
}

function withoutGroups(set: PuzzleSet, dropped: ReadonlySet<number>, starts: readonly number[]): PuzzleSet {
  const rows: number[] = [];
  const puzzleIndices = [0];
  const groupIndices = [0];
  for (let group = 0; group + 1 < starts.length; group++) {
    if (dropped.has(group)) continue;
    for (let row = starts[group]!; row < starts[group + 1]!; row++) rows.push(row);
    if (!set.groups) continue;
    const { groupIndices: bounds, puzzleIndices: ends } = set.groups;
    for (let puzzle = bounds[group]!; puzzle < bounds[group + 1]!; puzzle++)
      puzzleIndices.push(puzzleIndices.at(-1)! + ends[puzzle + 1]! - ends[puzzle]!);
    groupIndices.push(puzzleIndices.length - 1);
  }
  return {
    ...takePuzzles(set, rows),
    ...(set.groups && {
      groups: { puzzleIndices: Int32Array.from(puzzleIndices), groupIndices: Int32Array.from(groupIndices) },
    }),
  };
}
