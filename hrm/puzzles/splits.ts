/** Splits that no symmetry crosses: puzzles that a symmetry connects stay on one side. */
import { UsageError } from "../../engine/errors.js";
import { takePuzzles, type PuzzleSet, type PuzzleSplits } from "./puzzle_set.js";
import { holdOutExamples, identifiersInUse } from "./examples.js";
import { hostRandom, shuffle } from "./random.js";
import { cellsHash } from "./tasks/symmetry.js";
import type { Task } from "./tasks/task.js";

/**
 * Above this number of groups, hashes replace solutions, and `Task.invariantOf` replaces canonical forms (a millisecond each
 * for 9x9 Sudoku). Classes with equal hashes stay together, so that no symmetry crosses a split; a side may be slightly larger.
 */
const MANY_GROUPS = 10_000;

/**
 * Which puzzles must be on one side of a split. `solution`: puzzles with equal answers. `class`: puzzles whose answers the
 * task's symmetry maps on each other, for training with augmentation.
 */
export type SplitBy = "solution" | "class";

/** True for 4x4 Sudoku: its grids fall into two symmetry classes, so that one side of a split by class would be empty. */
export function hasTooFewClasses({ name }: Pick<Task, "name">): boolean {
  return name === "sudoku4";
}

/** What is held out of a set, and how much of it. */
export interface HoldOutOptions {
  /** What the two parts never share. */
  readonly by: SplitBy;
  /** Number of puzzles to hold out. The last class is held out whole, so that the number may be exceeded. */
  readonly count: number;
  /** Seed of the draw. */
  readonly seed: number;
  /** `puzzles` holds out whole groups, `examples` holds out rows of puzzles that stay; default: see `holdOut`. */
  readonly unit?: HeldUnit | undefined;
}

/** What is held out. */
export type HeldUnit = "puzzles" | "examples";

/**
 * Holds out whole puzzles, or examples of puzzles. Examples are held out by default if identifiers distinguish puzzles (a
 * held-out identifier would never be trained) or if there is a single group, provided that an example can be spared. Only the
 * first puzzle of a held-out group is kept, since the others are its images. The rest keeps its groups.
 * @throws UsageError if nothing would be left to train on
 */
export function holdOut(
  set: PuzzleSet,
  task: Task,
  { by, count, seed, unit }: HoldOutOptions,
): { rest: PuzzleSet; held: PuzzleSet; unit: HeldUnit } {
  if (holdsExamples(set, unit, 2)) {
    const found = holdOutExamples(set, keysOf(set, task, by), { count, seed });
    if (found) return { ...found, unit: "examples" };
    if (unit === "examples") throw nothingToSpare(set);
  }
  const classes = classesOfGroups(set, task, by);
  const all = Int32Array.from(classes, (_, group) => group);
  const { rest, held } = divide(all, classes, { by, count, seed });
  return { rest: takeGroups(set, rest), held: takeFirstPuzzles(set, held), unit: "puzzles" };
}

/** Splits one set in three: about `validation` and `test` puzzles are held out, the rest is for training. */
export function splitPuzzles(
  set: PuzzleSet,
  task: Task,
  options: { by: SplitBy; validation: number; test: number; seed: number; unit?: HeldUnit | undefined },
): PuzzleSplits {
  const { by, seed, unit } = options;
  if (holdsExamples(set, unit, 3)) {
    const hold = (from: PuzzleSet, count: number) =>
      holdOutExamples(from, keysOf(from, task, by), { count, seed });
    const tested = hold(set, options.test);
    const validated = tested && hold(tested.rest, options.validation);
    if (validated)
      return { train: validated.rest, validation: validated.held, test: tested.held, held: "examples" };
    if (unit === "examples") throw nothingToSpare(set);
  }
  const classes = classesOfGroups(set, task, by);
  const all = Int32Array.from(classes, (_, group) => group);
  const first = divide(all, classes, { by, count: options.test, seed });
  const { held: validation, rest } = divide(first.rest, classes, { by, count: options.validation, seed });
  return {
    train: takeGroups(set, rest),
    validation: takeFirstPuzzles(set, validation),
    test: takeFirstPuzzles(set, first.held),
  };
}

/** True if examples are held out instead of puzzles. `sides` is the number of sets that the groups have to fill. */
function holdsExamples(set: PuzzleSet, unit: HeldUnit | undefined, sides: number): boolean {
  if (unit !== undefined) return unit === "examples";
  const groups = set.groups ? set.groups.groupIndices.length - 1 : set.count;
  return groups < sides || identifiersInUse(set) > 1;
}

/** A function from a row to its key. Examples with equal keys must be on one side of a split. */
function keysOf(set: PuzzleSet, task: Task, by: SplitBy): (row: number) => string | number {
  return set.count > MANY_GROUPS ? (row) => hashOf(set, row, task, by) : (row) => keyOf(set, row, task, by);
}

function nothingToSpare({ count }: PuzzleSet): UsageError {
  return new UsageError(
    `holdOut: got ${count} examples, of which none can be held out; expected a puzzle with at least two, as every puzzle and identifier keeps one in training.`,
  );
}

/** The first row of each group, and then the number of rows. */
function groupStarts({ groups, count }: PuzzleSet): Int32Array {
  return groups
    ? groups.groupIndices.map((puzzle) => groups.puzzleIndices[puzzle]!)
    : Int32Array.from({ length: count + 1 }, (_, row) => row);
}

/**
 * The class of each group. Groups of one class must be on one side of a split. Classes are numbered in the order of their
 * keys, so that a draw does not depend on the order of the file.
 */
function classesOfGroups(set: PuzzleSet, task: Task, by: SplitBy): Int32Array {
  const rows = groupStarts(set).subarray(0, -1);
  if (rows.length > MANY_GROUPS) {
    const hashes = Float64Array.from(rows, (row) => hashOf(set, row, task, by));
    const sorted = hashes.slice().sort();
    const different = sorted.filter((hash, i) => i === 0 || hash !== sorted[i - 1]);
    return Int32Array.from(hashes, (hash) => placeOf(different, hash));
  }
  const keys = Array.from(rows, (row) => keyOf(set, row, task, by));
  const numbers = new Map([...new Set(keys)].sort().map((key, i) => [key, i]));
  return Int32Array.from(keys, (key) => numbers.get(key)!);
}

/** Index of a number in a sorted list; -1 if the list does not have it. */
function placeOf(sorted: Float64Array, value: number): number {
  let [low, high] = [0, sorted.length - 1];
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] === value) return middle;
    if (sorted[middle]! < value) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}

/** Holds out some of `groups`. `classes` has the class of every group of the set. */
function divide(
  groups: Int32Array,
  classes: Int32Array,
  { by, count, seed }: HoldOutOptions,
): { rest: Int32Array; held: Int32Array } {
  const sizes = new Int32Array(classes.reduce((most, group) => Math.max(most, group), 0) + 1);
  for (const group of groups) sizes[classes[group]!]!++;
  const present = Array.from(sizes.keys()).filter((index) => sizes[index]! > 0);
  const order = [...present];
  shuffle(hostRandom(seed, `hold out by ${by}`), order);
  const dropped = new Uint8Array(sizes.length);
  let taken = 0;
  for (const index of order) {
    if (taken >= count) break;
    dropped[index] = 1;
    taken += sizes[index]!;
  }
  if (taken === groups.length) {
    const what = by === "class" ? "symmetry classes" : "solutions";
    throw new UsageError(
      `holdOut: got ${groups.length} puzzles of ${present.length} ${what} and ${count} to hold out; nothing would be left to train on. ` +
        "Give more puzzles, or a test file of their own.",
    );
  }
  return {
    rest: groups.filter((group) => dropped[classes[group]!] === 0),
    held: groups.filter((group) => dropped[classes[group]!] === 1),
  };
}

/** Number of puzzles in `set` that share a solution or class with one of `other`. */
export function countShared(set: PuzzleSet, other: PuzzleSet, task: Task, by: SplitBy): number {
  if (set.count + other.count > MANY_GROUPS) {
    const hashes = (of: PuzzleSet): Float64Array =>
      Float64Array.from({ length: of.count }, (_, row) => hashOf(of, row, task, by));
    const sorted = hashes(other).sort();
    return hashes(set).reduce((shared, hash) => shared + Number(placeOf(sorted, hash) >= 0), 0);
  }
  const keys = (of: PuzzleSet): string[] =>
    Array.from({ length: of.count }, (_, row) => keyOf(of, row, task, by));
  const known = new Set(keys(other));
  return keys(set).filter((key) => known.has(key)).length;
}

/** A hash of `keyOf` as an integer in [0, 2^53), which is quick to compute and to compare. */
function hashOf(set: PuzzleSet, row: number, task: Task, by: SplitBy): number {
  const [from, to] = [row * set.length, (row + 1) * set.length];
  if (by === "solution" || !task.symmetry) return cellsHash(set.labels, from, to);
  const [input, label] = [set.inputs.subarray(from, to), set.labels.subarray(from, to)];
  if (task.invariantOf) return task.invariantOf(input, label);
  const key = task.classOf(input, label);
  return cellsHash(
    Array.from(key, (character) => character.charCodeAt(0)),
    0,
    key.length,
  );
}

function keyOf(set: PuzzleSet, row: number, task: Task, by: SplitBy): string {
  const range = [row * set.length, (row + 1) * set.length] as const;
  const label = set.labels.subarray(...range);
  if (by === "class" && task.symmetry) return task.classOf(set.inputs.subarray(...range), label);
  return String.fromCharCode(...label.map((token) => token & 0xffff));
}

/** The first puzzle of each of these groups, with all of its rows. */
function takeFirstPuzzles(set: PuzzleSet, chosen: Int32Array): PuzzleSet {
  const { groups } = set;
  if (!groups) return takePuzzles(set, chosen);
  const rows: number[] = [];
  for (const group of chosen) {
    const puzzle = groups.groupIndices[group]!;
    for (let row = groups.puzzleIndices[puzzle]!; row < groups.puzzleIndices[puzzle + 1]!; row++)
      rows.push(row);
  }
  return takePuzzles(set, rows);
}

/** The set of these groups, each with all its puzzles. */
function takeGroups(set: PuzzleSet, chosen: Int32Array): PuzzleSet {
  if (!set.groups) return takePuzzles(set, chosen);
  const { groupIndices: bounds, puzzleIndices: ends } = set.groups;
  const rows: number[] = [];
  const puzzleIndices = [0];
  const groupIndices = [0];
  for (const group of chosen) {
    for (let puzzle = bounds[group]!; puzzle < bounds[group + 1]!; puzzle++) {
      for (let row = ends[puzzle]!; row < ends[puzzle + 1]!; row++) rows.push(row);
      puzzleIndices.push(rows.length);
    }
    groupIndices.push(puzzleIndices.length - 1);
  }
  return {
    ...takePuzzles(set, rows),
    groups: { puzzleIndices: Int32Array.from(puzzleIndices), groupIndices: Int32Array.from(groupIndices) },
  };
}
