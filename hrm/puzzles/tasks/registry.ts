/** Tasks by name, so that a checkpoint or a command line finds its own. */
import { gridTask } from "./grid.js";
import { MAZE_SIDES, mazeTask } from "./maze.js";
import { SUDOKU_SIZES, sudokuTask } from "./sudoku.js";
import type { Task } from "./task.js";

/** The names of tasks, for messages. */
export const TASK_NAMES = `sudoku4, sudoku6, sudoku9, sudoku12, sudoku16, maze-NxN (N from ${MAZE_SIDES.min} to ${MAZE_SIDES.max}), grid-RxC-vV`;

/** The task of this name; undefined if no task has it. */
export function findTask(name: string): Task | undefined {
  const sudoku = SUDOKU_SIZES.find((size) => name === `sudoku${size}`);
  if (sudoku) return sudokuTask(sudoku);
  const maze = /^maze-(\d{1,3})x\1$/.exec(name);
  if (maze) {
    const side = Number(maze[1]);
    return side >= MAZE_SIDES.min && side <= MAZE_SIDES.max ? mazeTask(side) : undefined;
  }
  const grid = /^grid-(\d{1,5})x(\d{1,5})-v(\d{1,5})$/.exec(name);
  if (!grid) return undefined;
  const [rows, columns, vocabSize] = grid.slice(1).map(Number) as [number, number, number];
  return rows > 0 && columns > 0 && vocabSize > 0 ? gridTask({ rows, columns, vocabSize }) : undefined;
}

/**
 * The task that data of this shape may belong to; a task without rules if no task has the shape. Other data may have the same
 * shape, so the caller must check rows by the rules.
 */
export function taskOfShape(length: number, vocabSize: number): Task {
  const side = Math.round(Math.sqrt(length));
  const square = side * side === length;
  const sudoku = SUDOKU_SIZES.find((size) => size === side && vocabSize === size + 2);
  if (square && sudoku) return sudokuTask(sudoku);
  if (square && side >= MAZE_SIDES.min && side <= MAZE_SIDES.max && vocabSize === 6) return mazeTask(side);
  return gridOfShape(length, vocabSize);
}

/** A task without rules. Its grid is a square if the length is a square number, else one row. */
export function gridOfShape(length: number, vocabSize: number): Task {
  const side = Math.round(Math.sqrt(length));
  const square = side * side === length;
  return gridTask({ rows: square ? side : 1, columns: square ? side : length, vocabSize });
}
