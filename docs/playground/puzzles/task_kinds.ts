/** Which puzzles the page can make, apart from what makes them, which only the worker loads. */
import type { SudokuSize } from "../../../hrm/puzzles/tasks/sudoku.js";
import type { Task } from "../../../hrm/puzzles/tasks/task.js";

/** The side of a maze, or the size of a Sudoku that can be made here; null for other tasks. */
export function kindOf(task: Task): { readonly maze: number } | { readonly sudoku: SudokuSize } | null {
  const maze = /^maze-(\d+)x/.exec(task.name);
  if (maze) return { maze: Number(maze[1]) };
  const sudoku = /^sudoku([469])$/.exec(task.name);
  return sudoku ? { sudoku: Number(sudoku[1]) as SudokuSize } : null;
}

/** Whether puzzles of a task can be made here. */
export const canMake = (task: Task): boolean => kindOf(task) !== null;
