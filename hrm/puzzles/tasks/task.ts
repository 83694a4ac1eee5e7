/** A puzzle task as the trainer, the solver and the command line see it. */
import { EngineError } from "../../../engine/errors.js";
import type { Symmetry } from "./symmetry.js";

export { IGNORE_LABEL, type PuzzleSet, type PuzzleSplits } from "../puzzle_set.js";

/** What the rules say of an answer; the right answer is not needed for it. */
export interface Verdict {
  /** The answer is complete and no rule is broken; null if no rules are known. */
  readonly solved: boolean | null;
  /** Indices of the cells that break a rule, ascending. Empty cells break none. */
  readonly violations: readonly number[];
}

/** What a rendering tells apart. */
export interface Highlights {
  /** The puzzle that `cells` answers, [length]: its givens are told from filled cells. */
  readonly input?: ArrayLike<number>;
  /** Cells to mark (red), as `Task.check` returns them. */
  readonly violations?: readonly number[];
}

export interface RenderOptions extends Highlights {
  /** Use ANSI colours; default false: plain text. */
  readonly color?: boolean;
}

/** Rules, encoding, text and picture of a family of puzzles. `cells` is one puzzle or answer, [length], row-major. */
export interface Task {
  /** As on the command line: `sudoku4`, `maze-10x10`. `findTask` knows it by this name. */
  readonly name: string;
  readonly vocabSize: number;
  /** Cells: rows * columns. */
  readonly length: number;
  readonly rows: number;
  readonly columns: number;
  /** Rows of the puzzle embedding; 1 where puzzles are not told apart. */
  readonly numPuzzleIdentifiers: number;
  /** What tokens stand for, in the order of their numbers; null where they are mere numbers. */
  vocabulary(): readonly string[] | null;
  /** Changes that make another puzzle of the same kind: the augmentations, and what splits must not cross. */
  readonly symmetry: Symmetry | null;
  /** Reads one puzzle as a person types it; white space may be skipped. Throws PuzzleError. */
  parse(text: string): Int32Array;
  /**
   * Reads one puzzle or answer as data files have it: one character a cell. `like` is another text of the same puzzle, its
   * answer, if a task can be written with several sets of symbols. Throws PuzzleError.
   */
  decode(text: string, like?: string): Int32Array;
  /** One line that `parse` and `decode` read back. */
  format(cells: ArrayLike<number>): string;
  /** Checks an answer by the rules. Throws PuzzleError on arrays of another length. */
  check(input: ArrayLike<number>, answer: ArrayLike<number>): Verdict;
  /**
   * In words, why a puzzle can have no answer, or why this answer cannot be right; null if nothing is known. Tasks with
   * rules may have it.
   */
  problemOf?(input: ArrayLike<number>, answer?: ArrayLike<number>): string | null;
  /**
   * A quick number that is equal for puzzles that symmetry maps on each other, and nearly always different for others:
   * an integer in [0, 2^53). Large files are split by it.
   */
  invariantOf?(input: ArrayLike<number>, answer: ArrayLike<number>): number;
  /** Equal for puzzles that symmetry maps on each other (by their solutions, where those decide), else different. */
  classOf(input: ArrayLike<number>, answer: ArrayLike<number>): string;
  /** Several lines for a terminal, without a newline at the end. */
  renderText(cells: ArrayLike<number>, options?: RenderOptions): string;
  /** An SVG element; ink is `currentColor`. */
  renderPicture(cells: ArrayLike<number>, highlights?: Highlights): string;
}

/** A puzzle that is none: text that cannot be read, or cells of a wrong number. */
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
 * One token a character. `tokenOf` gives undefined for characters that stand for nothing; `expected` names those
 * that do. @throws PuzzleError
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
