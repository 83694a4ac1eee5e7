/** Makes a new puzzle of the kind on the board, or a harder one. The worker runs this, as a hard puzzle can take a second. */
import { UsageError } from "../../../engine/errors.js";
import { isGiven } from "../../../hrm/drawing/cells.js";
import type { PuzzleRecord } from "../../../hrm/puzzles/puzzle_set.js";
import { GOAL, mazeDistances, START, WALL } from "../../../hrm/puzzles/tasks/maze.js";
import { generateMazes } from "../../../hrm/puzzles/tasks/maze_generator.js";
import type { SudokuSize } from "../../../hrm/puzzles/tasks/sudoku.js";
import { generateSudoku, type SudokuDifficulty } from "../../../hrm/puzzles/tasks/sudoku_generator.js";
import { kindOf } from "./task_kinds.js";
import type { Task } from "../../../hrm/puzzles/tasks/task.js";

/** A new puzzle with its only answer. */
export interface NewPuzzle {
  readonly inputs: Int32Array;
  readonly label: Int32Array;
  /** Givens of a Sudoku, or moves of a maze's path. */
  readonly amount: number;
  /** Whether it is harder than the puzzle before. */
  readonly harder: boolean;
}

/** A wish for a new puzzle: the one that it resembles, and how. */
export interface Wish {
  /** The puzzle before, whose number of givens or of moves counts. */
  readonly inputs: Int32Array;
  readonly harder: boolean;
  /** An integer in [0, 2^53). */
  readonly seed: number;
}

/**
 * Numbers of givens by side: the fewest that are quickly found, those of puzzles that naked singles solve (which the presets
 * for larger grids train on), and the most.
 */
const GIVENS: Readonly<Record<number, { fewest: number; easy: number; most: number }>> = {
  4: { fewest: 4, easy: Infinity, most: 10 },
  6: { fewest: 9, easy: 14, most: 24 },
  9: { fewest: 25, easy: 30, most: 37 },
};

/**
 * A puzzle with exactly one answer: with as many givens, or with a path at least as long, as the puzzle before; if it is to be
 * harder, with fewer givens, or a longer path, unless none is found. Null for a task whose puzzles cannot be made here.
 */
export function newPuzzle(task: Task, wish: Wish): NewPuzzle | null {
  const kind = kindOf(task);
  if (!kind) return null;
  return "maze" in kind ? newMaze(kind.maze, wish) : newSudoku(task, kind.sudoku, wish);
}

function newSudoku(task: Task, size: SudokuSize, { inputs, harder, seed }: Wish): NewPuzzle {
  const { fewest, easy, most } = GIVENS[size]!;
  const before = inputs.reduce((count, token) => count + (isGiven(task, token) ? 1 : 0), 0);
  const wanted = Math.min(most, Math.max(fewest, harder ? before - 1 : before));
  const difficulty: SudokuDifficulty = wanted >= easy ? "easy" : "any";
  const [record] = generateSudoku({ size, count: 1, seed, difficulty, givens: [wanted, wanted] });
  return { ...asPuzzle(record!), amount: wanted, harder: wanted < before };
}

function newMaze(side: number, { inputs, harder, seed }: Wish): NewPuzzle {
  const before = mazeDistances(side, inputs.indexOf(START), (cell) => inputs[cell] !== WALL)[
    inputs.indexOf(GOAL)
  ]!;
  // Where no longer path is found, as long a one is made; where the visitor drew an endless one, a usual one.
  const lengths = [...(harder ? [before + 1] : []), before, side].filter((moves) => moves > 0);
  for (const [i, minLength] of lengths.entries())
    try {
      const [record] = generateMazes({ side, count: 1, seed, minLength });
      return { ...asPuzzle(record!), amount: record!.rating, harder: record!.rating > before };
    } catch (error) {
      if (!(error instanceof UsageError) || i === lengths.length - 1) throw error;
    }
  throw new UsageError(`newPuzzle: no maze of side ${side} was found.`);
}

const asPuzzle = ({ input, label }: PuzzleRecord): Pick<NewPuzzle, "inputs" | "label"> => ({
  inputs: input,
  label,
});

/** Describes a new puzzle in a sentence for the visitor. */
export function textOfNew(
  task: Task,
  { amount, harder }: Pick<NewPuzzle, "amount" | "harder">,
  wanted: boolean,
): string {
  const isMaze = /^maze-/.test(task.name);
  const what = isMaze
    ? `its shortest path has ${amount} moves, and there is no other of that length`
    : `it has ${amount} givens and exactly one solution`;
  const missed =
    wanted && !harder ? ` No puzzle ${isMaze ? "with a longer path" : "with fewer givens"} was found.` : "";
  return `This puzzle was made just now: ${what}.${missed}`;
}
