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
}

/** Three sets that share no solution. */
export interface PuzzleSplits {
  readonly train: PuzzleSet;
  /** Decides when to stop. */
  readonly validation: PuzzleSet;
  /** Looked at once, after training. */
  readonly test: PuzzleSet;
}
