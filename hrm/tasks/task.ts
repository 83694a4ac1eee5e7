/** A puzzle task as the trainer, the solver and the command line see it. */
import { EngineError } from "../../engine/errors.js";

export { IGNORE_LABEL, type PuzzleSet, type PuzzleSplits } from "../puzzles.js";

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
