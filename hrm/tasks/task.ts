/** A puzzle task as the trainer, the solver and the command line see it. */
import { EngineError } from "../../engine/errors.js";

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

/** What the rules say of an answer; the right answer is not needed for it. */
export interface Verdict {
  /** Every cell is filled and no rule is broken. */
  readonly solved: boolean;
  /** Indices of the cells that break a rule, ascending. Empty cells break none. */
  readonly violations: readonly number[];
}

export interface RenderOptions {
  /** The puzzle that `cells` answers, [length]: its givens are told from filled cells (bold). */
  readonly input?: ArrayLike<number>;
  /** Cells to mark (red), as `Task.check` returns them. */
  readonly violations?: readonly number[];
  /** Use ANSI colours; default false: plain text. */
  readonly color?: boolean;
}

/** Rules, encoding and text form of a family of puzzles. `cells` is one puzzle or answer, [length]. */
export interface Task {
  /** As on the command line: `sudoku4`. */
  readonly name: string;
  readonly vocabSize: number;
  readonly length: number;
  /** Rows of the puzzle embedding; 1 where puzzles are not told apart. */
  readonly numPuzzleIdentifiers: number;
  /** Reads one puzzle. Throws PuzzleError. */
  parse(text: string): Int32Array;
  /** One line that `parse` reads back. */
  format(cells: ArrayLike<number>): string;
  /** Checks an answer by the rules. Throws PuzzleError on arrays of another length. */
  check(input: ArrayLike<number>, answer: ArrayLike<number>): Verdict;
  /** Several lines for a terminal, without a newline at the end. */
  renderText(cells: ArrayLike<number>, options?: RenderOptions): string;
}

/** A puzzle that is none: text that cannot be read, or cells of a wrong number. */
export class PuzzleError extends EngineError {
  override readonly name = "PuzzleError";
  constructor(message: string) {
    super("puzzle", message);
  }
}
