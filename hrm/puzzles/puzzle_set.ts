/** Puzzles as the model sees them: tokens, labels, and the identifier of each puzzle. */

/** Label of cells that loss and metrics leave out. */
export const IGNORE_LABEL = -100;

/** Puzzles in the model's encoding, row-major; all tokens are in [0, vocabSize). */
export interface PuzzleSet {
  /** Number of puzzles. */
  readonly count: number;
  /** Cells of a puzzle: the sequence length without the puzzle-embedding prefix. */
  readonly length: number;
  /** [count, length]. */
  readonly inputs: Int32Array;
  /** [count, length]; `IGNORE_LABEL` for cells without an answer. */
  readonly labels: Int32Array;
  /** Rows of the puzzle embedding, [count], in [0, numPuzzleIdentifiers); all 0 if the task has one identifier. */
  readonly identifiers: Int32Array;
  /** Which rows belong together; absent if every row is its own group. */
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

/** Three sets. Which puzzles they may share depends on what was held out. */
export interface PuzzleSplits {
  /**
   * What was held out. `puzzles` (default): held-out puzzles share no solution with training. `examples`: held-out examples
   * belong to puzzles that stay in training. `nothing`: validation and test are training puzzles.
   */
  readonly held?: "puzzles" | "examples" | "nothing";
  /** What the model learns from. */
  readonly train: PuzzleSet;
  /** Decides when to stop. */
  readonly validation: PuzzleSet;
  /** Scored once, after training. */
  readonly test: PuzzleSet;
}

/** One puzzle with its answer, from a generator or a text file. */
export interface PuzzleRecord {
  /** Where the puzzle comes from, in words. */
  readonly source: string;
  /** Tokens, [length]. */
  readonly input: Int32Array;
  /** Tokens, [length]; `IGNORE_LABEL` for cells without an answer. */
  readonly label: Int32Array;
  /** A measure of difficulty, whose unit depends on the source. */
  readonly rating: number;
  /** Row of the puzzle embedding; default 0. */
  readonly identifier?: number;
}

/** Makes a set from records, in their order. */
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

/** The puzzles at these rows, in this order. Each becomes its own group. */
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
 * The baseline for `Scores.blankAccuracy`: the score of always answering the most frequent token, over the cells whose
 * answer differs from the puzzle (Sudoku: the blanks). NaN if there are no such cells.
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
