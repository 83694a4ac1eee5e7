/** The interface of a puzzle task for the trainer, the solver and the command line. */
import { EngineError } from "../../../engine/errors.js";
import type { Symmetry } from "./symmetry.js";

export { IGNORE_LABEL, type PuzzleSet, type PuzzleSplits } from "../puzzle_set.js";

/** What the rules say about an answer, without knowing the right answer. */
export interface Verdict {
  /** Whether the answer is complete and breaks no rule; null if no rules are known. */
  readonly solved: boolean | null;
  /** Indices of the cells that break a rule, ascending. Empty cells break none. */
  readonly violations: readonly number[];
}

/** Options of a rendering. */
export interface Highlights {
  /** The puzzle that `cells` answers, [length]. Its givens are drawn differently from filled cells. */
  readonly input?: ArrayLike<number>;
  /** Cells to mark (red), as `Task.check` returns them. */
  readonly violations?: readonly number[];
}

/** How a puzzle is printed. */
export interface RenderOptions extends Highlights {
  /** Whether to use ANSI colours; default false. */
  readonly color?: boolean;
}

/** Rules, encoding, text and picture of a family of puzzles. `cells` is one puzzle or answer, [length], row-major. */
export interface Task {
  /** Name on the command line and for `findTask`: `sudoku4`, `maze-10x10`. */
  readonly name: string;
  /** Number of tokens, V; token 0 is padding. */
  readonly vocabSize: number;
  /** Number of cells, rows * columns. */
  readonly length: number;
  /** Rows of the grid. */
  readonly rows: number;
  /** Columns of the grid. */
  readonly columns: number;
  /** Rows of the puzzle embedding; 1 if all puzzles share one row. */
  readonly numPuzzleIdentifiers: number;
  /** Characters of the tokens in the order of their numbers; null if tokens have no characters. */
  vocabulary(): readonly string[] | null;
  /** Changes that turn a puzzle into another valid puzzle, for augmentation and for splits; null if there are none. */
  readonly symmetry: Symmetry | null;
  /** Reads one puzzle as a person types it; white space may be skipped. @throws PuzzleError */
  parse(text: string): Int32Array;
  /**
   * Reads one puzzle or answer from a data file, with one character per cell. `like` is another text of the same puzzle (its
   * answer), which decides the set of symbols if the task has several. @throws PuzzleError
   */
  decode(text: string, like?: string): Int32Array;
  /** One line that `parse` and `decode` read back. */
  format(cells: ArrayLike<number>): string;
  /** Checks an answer by the rules. @throws PuzzleError if an array has another length */
  check(input: ArrayLike<number>, answer: ArrayLike<number>): Verdict;
  /**
   * The reason why a puzzle can have no answer, or why this answer cannot be right; null if no reason is known. Only tasks
   * with rules may have this function.
   */
  problemOf?(input: ArrayLike<number>, answer?: ArrayLike<number>): string | null;
  /**
   * An integer in [0, 2^53) that is quick to compute: equal for puzzles that the symmetry maps on each other, and nearly
   * always different for other puzzles. Large files are split by this number.
   */
  invariantOf?(input: ArrayLike<number>, answer: ArrayLike<number>): number;
  /** A text that is equal exactly for puzzles that the symmetry maps on each other (by their solutions, if these decide). */
  classOf(input: ArrayLike<number>, answer: ArrayLike<number>): string;
  /** Renders several lines for a terminal, without a newline at the end. */
  renderText(cells: ArrayLike<number>, options?: RenderOptions): string;
  /** Renders an SVG element that is drawn in `currentColor`. */
  renderPicture(cells: ArrayLike<number>, highlights?: Highlights): string;
}

/** A puzzle is invalid: its text cannot be read, or it has a wrong number of cells. */
export class PuzzleError extends EngineError {
  override readonly name = "PuzzleError";
  constructor(message: string) {
    super("puzzle", message);
  }
}

/** Returns `cells` if there are `length` of them. @throws PuzzleError */
export function requireLength<T extends ArrayLike<number>>(
  task: string,
  cells: T,
  length: number,
  what: string,
): T {
  if (cells.length === length) return cells;
  throw new PuzzleError(`${task}: got ${what} of ${cells.length} cells; expected ${length}.`);
}

/**
 * Decodes one token per character. `tokenOf` returns undefined for invalid characters; `expected` names the valid ones.
 * @throws PuzzleError
 */
export function decodeCells(
  task: string,
  text: string,
  length: number,
  tokenOf: (character: string) => number | undefined,
  expected: string,
): Int32Array {
  if (text.length !== length)
    throw new PuzzleError(
      `${task}: got ${text.length} characters; expected ${length}, one a cell, row by row.`,
    );
  const cells = new Int32Array(length);
  for (let i = 0; i < length; i++) {
    const token = tokenOf(text[i]!);
    if (token === undefined)
      throw new PuzzleError(
        `${task}: got ${JSON.stringify(text[i])} as character ${i + 1}; expected ${expected}.`,
      );
    cells[i] = token;
  }
  return cells;
}
