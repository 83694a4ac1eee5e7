/**
 * Holding out examples (rows) of puzzles that stay in training. If each puzzle has its own identifier, the model learns a row
 * of the puzzle embedding for it, and cannot answer for an identifier that was never trained.
 */
import { takePuzzles, type PuzzleSet } from "./puzzle_set.js";
import { hostRandom, shuffle } from "./random.js";

/** Number of distinct identifiers in a set. */
export function identifiersInUse({ identifiers }: Pick<PuzzleSet, "identifiers">): number {
  return new Set(identifiers).size;
}

/** Number of identifiers in a set, and how many of them have no puzzle in training. */
export function untrainedIdentifiers(
  set: PuzzleSet,
  train: PuzzleSet,
): { readonly used: number; readonly untrained: number } {
  const trained = new Set(train.identifiers);
  const used = new Set(set.identifiers);
  return { used: used.size, untrained: [...used].filter((identifier) => !trained.has(identifier)).length };
}

/** Number of examples of each group's first puzzle, over all groups: the most that can be held out. */
export function countExamples(set: PuzzleSet): number {
  return examplesOf(set).length;
}

/** The rows of each example. The k-th rows of a group's puzzles are images of one example and stay on one side; the first row represents it. */
function examplesOf({ count, groups }: PuzzleSet): number[][] {
  if (!groups) return Array.from({ length: count }, (_, row) => [row]);
  const { puzzleIndices: starts, groupIndices } = groups;
  const examples: number[][] = [];
  for (let group = 0; group + 1 < groupIndices.length; group++) {
    const [first, end] = [groupIndices[group]!, groupIndices[group + 1]!];
    for (let k = 0; k < starts[first + 1]! - starts[first]!; k++) {
      const rows: number[] = [];
      for (let puzzle = first; puzzle < end; puzzle++)
        if (starts[puzzle]! + k < starts[puzzle + 1]!) rows.push(starts[puzzle]! + k);
      examples.push(rows);
    }
  }
  return examples;
}

/**
 * Holds out about `count` examples such that every puzzle and every identifier keeps a row in training. Examples with equal
 * keys stay on one side, unless no example could be held out that way. If an example has several images, the first is held
 * out and the others are dropped. Returns null if no example can be spared.
 */
export function holdOutExamples(
  set: PuzzleSet,
  keyOf: (row: number) => string | number,
  options: { readonly count: number; readonly seed: number },
): { rest: PuzzleSet; held: PuzzleSet } | null {
  return holdOutByKey(set, keyOf, options) ?? holdOutByKey(set, (row) => row, options);
}

function holdOutByKey(
  set: PuzzleSet,
  keyOf: (row: number) => string | number,
  { count, seed }: { readonly count: number; readonly seed: number },
): { rest: PuzzleSet; held: PuzzleSet } | null {
  const byKey = new Map<string | number, number[][]>();
  for (const rows of examplesOf(set)) {
    const key = keyOf(rows[0]!);
    const known = byKey.get(key);
    if (known) known.push(rows);
    else byKey.set(key, [rows]);
  }
  const ofIdentifier = new Map<number, number>();
  for (const identifier of set.identifiers)
    ofIdentifier.set(identifier, (ofIdentifier.get(identifier) ?? 0) + 1);
  const puzzles = set.groups ? puzzleOfRows(set.groups.puzzleIndices) : null;
  const ofPuzzle = new Map<number, number>();
  for (const puzzle of puzzles ?? []) ofPuzzle.set(puzzle, (ofPuzzle.get(puzzle) ?? 0) + 1);
  /** Takes a row from training (`by` 1) or gives it back (-1). True if its puzzle and its identifier keep another row. */
  const take = (row: number, by: 1 | -1): boolean => {
    const identifier = set.identifiers[row]!;
    const left = ofIdentifier.get(identifier)! - by;
    ofIdentifier.set(identifier, left);
    if (!puzzles) return left > 0;
    const rows = ofPuzzle.get(puzzles[row]!)! - by;
    ofPuzzle.set(puzzles[row]!, rows);
    return left > 0 && rows > 0;
  };
  // Keys are sorted, so that the draw does not depend on the order of the file.
  const keys = [...byKey.keys()].sort();
  shuffle(hostRandom(seed, "hold out examples"), keys);
  const held: number[] = [];
  const dropped = new Uint8Array(set.count);
  for (const key of keys) {
    if (held.length >= count) break;
    const examples = byKey.get(key)!;
    const rows = examples.flat();
    const spared = rows.map((row) => take(row, 1)).every(Boolean);
    if (!spared) {
      for (const row of rows) take(row, -1);
      continue;
    }
    for (const row of rows) dropped[row] = 1;
    held.push(...examples.map(([first]) => first!));
  }
  if (held.length === 0) return null;
  held.sort((a, b) => a - b);
  return { rest: withoutRows(set, dropped), held: takePuzzles(set, held) };
}

function puzzleOfRows(puzzleIndices: Int32Array): Int32Array {
  const puzzles = new Int32Array(puzzleIndices.at(-1)!);
  for (let puzzle = 0; puzzle + 1 < puzzleIndices.length; puzzle++)
    puzzles.fill(puzzle, puzzleIndices[puzzle], puzzleIndices[puzzle + 1]);
  return puzzles;
}

/** The set without the dropped rows. Every puzzle must keep at least one row. */
function withoutRows(set: PuzzleSet, dropped: Uint8Array): PuzzleSet {
  const rows: number[] = [];
  for (let row = 0; row < set.count; row++) if (!dropped[row]) rows.push(row);
  if (!set.groups) return takePuzzles(set, rows);
  const { puzzleIndices: starts, groupIndices } = set.groups;
  const kept = new Int32Array(set.count + 1);
  for (let row = 0; row < set.count; row++) kept[row + 1] = kept[row]! + Number(!dropped[row]);
  const puzzleIndices = starts.map((start) => kept[start]!);
  return { ...takePuzzles(set, rows), groups: { puzzleIndices, groupIndices } };
}
