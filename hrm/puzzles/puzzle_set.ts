/** Puzzles as the model sees them: tokens, labels and the puzzle each belongs to. */
/** Cells labelled so take no part in loss and metrics. */
export const IGNORE_LABEL = -100;

/** Puzzles in the model's encoding, row-major; all tokens are in [0, vocabSize). */
export interface PuzzleSet {
  /** Number of puzzles. */
  readonly count: number;
  /** Cells of a puzzle: the sequence length without the puzzle-embedding prefix. */
  readonly length: number;
  /** [count, length]. */
  readonly inputs: Int32Array;
  /** [count, length]; `IGNORE_LABEL` where there is nothing to predict. */
  readonly labels: Int32Array;
  /** [count]: rows of the puzzle embedding, in [0, numPuzzleIdentifiers); 0 where the task has one only. */
  readonly identifiers: Int32Array;
  /** Which rows are variants of each other; absent where every row is a group of its own. */
  readonly groups?: PuzzleGroups;
}

/**
 * Rows in puzzles, puzzles in groups, as in the official data sets: a puzzle has one or more examples (rows), a group
 * holds the augmentations of one puzzle, and an epoch takes one puzzle from each group.
 */
export interface PuzzleGroups {
  /** First row of each puzzle, then the number of rows: [puzzles + 1], ascending from 0. */
  readonly puzzleIndices: Int32Array;
  /** First puzzle of each group, then the number of puzzles: [groups + 1], ascending from 0. */
  readonly groupIndices: Int32Array;
}

/** Three sets; which puzzles they may share depends on what was held out. */
export interface PuzzleSplits {
  /**
   * What was held out: `puzzles` (the default) share no solution with training; `examples` belong to puzzles that stay in
   * training; `nothing`: validation shows training puzzles.
   */
  readonly held?: "puzzles" | "examples" | "nothing";
  readonly train: PuzzleSet;
  /** Decides when to stop. */
  readonly validation: PuzzleSet;
  /** Looked at once, after training. */
  readonly test: PuzzleSet;
}

/** One puzzle with its answer, as generators make and text files hold it. */
export interface PuzzleRecord {
  /** Where it comes from, for people. */
  readonly source: string;
  /** Tokens, [length]. */
  readonly input: Int32Array;
  /** Tokens, [length]; `IGNORE_LABEL` where there is nothing to predict. */
  readonly label: Int32Array;
  /** A measure of difficulty; what it counts is the source's affair. */
  readonly rating: number;
  /** Row of the puzzle embedding; default 0. */
  readonly identifier?: number;
}

/** A set from records, in their order. */
export function puzzleSet(records: readonly PuzzleRecord[], length: number): PuzzleSet {
  const inputs = new Int32Array(records.length * length);
  const labels = new Int32Array(records.length * length);
  records.forEach(({ input, label }, i) => {
    inputs.set(input, i * length);
    labels.set(label, i * length);
  });
  const identifiers = Int32Array.from(records, ({ identifier = 0 }) => identifier);
  return { count: records.length, length, inputs, labels, identifiers };
}

/** The puzzles at these rows, in this order, each a group of its own. */
export function takePuzzles(set: PuzzleSet, rows: ArrayLike<number>): PuzzleSet {
  const { length } = set;
  const take = (from: Int32Array): Int32Array => {
    const to = new Int32Array(rows.length * length);
    // Neighbouring rows are copied at once.
    for (let i = 0, end = 0; i < rows.length; i = end) {
      for (end = i + 1; rows[end] === rows[end - 1]! + 1;) end++;
      to.set(from.subarray(rows[i]! * length, (rows[end - 1]! + 1) * length), i * length);
    }
    return to;
  };
  const identifiers = Int32Array.from(rows, (row) => set.identifiers[row]!);
  return { count: rows.length, length, inputs: take(set.inputs), labels: take(set.labels), identifiers };
}

/**
 * What always answering the most frequent token would score on the cells whose answer differs from the puzzle (Sudoku:
 * the blanks): the baseline for `Scores.blankAccuracy`. NaN where there are no such cells.
 */
export function majorityOfBlanks({ inputs, labels }: PuzzleSet): number {
  const counts = new Map<number, number>();
  let blanks = 0;
  labels.forEach((label, i) => {
    if (label < 0 || label === inputs[i]) return;
    blanks++;
    counts.set(label, (counts.get(label) ?? 0) + 1);
  });
  return Math.max(0, ...counts.values()) / blanks;
}
