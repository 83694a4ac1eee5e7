/** Puzzles for a model of a file: those that its seed held out of training where that is quickly found, else new ones. */
import { puzzleSet, type PuzzleSet } from "../../../hrm/puzzles/puzzle_set.js";
import { generateMazes } from "../../../hrm/puzzles/tasks/maze_generator.js";
import { sudoku4Splits } from "../../../hrm/puzzles/tasks/sudoku4.js";
import type { SudokuSize } from "../../../hrm/puzzles/tasks/sudoku.js";
import { generateSudoku } from "../../../hrm/puzzles/tasks/sudoku_generator.js";
import type { Task } from "../../../hrm/puzzles/tasks/task.js";

/** As many as a census takes. */
const COUNT = 100;
/** A seed that no run has, as theirs end before. */
const OTHER_SEED = 2 ** 33;
/** Fewest moves of the held-out mazes of a preset. */
const MAZE_MOVES: Readonly<Record<string, number>> = { maze7: 9, maze10: 21 };

/** Null for a task whose puzzles nobody can make here. */
export function heldOut(
  preset: string,
  task: Task,
  seed: number | null,
): { readonly set: PuzzleSet; readonly unseen: boolean } | null {
  if (task.name === "sudoku4") {
    const unseen = seed !== null && preset.startsWith("sudoku4");
    const { validation } = sudoku4Splits({ seed: seed ?? OTHER_SEED, train: 1, validation: COUNT, test: 1 });
    return { set: validation, unseen };
  }
  const maze = /^maze-(\d+)x/.exec(task.name);
  if (maze) {
    const side = Number(maze[1]);
    const minLength = MAZE_MOVES[preset] ?? Math.min(2 * side - 5, 21);
    // A preset makes its held-out mazes first, one after the other, so that its first ones are these.
    const unseen = seed !== null && preset in MAZE_MOVES;
    const records = generateMazes({ side, count: COUNT, seed: unseen ? seed : OTHER_SEED, minLength });
    return { set: puzzleSet(records, task.length), unseen };
  }
  const sudoku = /^sudoku([69])$/.exec(task.name);
  if (sudoku) {
    const size = Number(sudoku[1]) as SudokuSize;
    const records = generateSudoku({ size, count: COUNT, seed: OTHER_SEED, difficulty: "easy" });
    return { set: puzzleSet(records, task.length), unseen: false };
  }
  return null;
}
