/** What the cells of a task look like. */
import { isDigit, type SudokuSize } from "../puzzles/tasks/sudoku.js";
import { GOAL, OPEN, PATH, START, WALL } from "../puzzles/tasks/maze.js";
import type { Task } from "../puzzles/tasks/task.js";

/** The families of tasks that are drawn in their own way. */
export type Family = "sudoku" | "maze" | "grid";

export function familyOf({ name }: Task): Family {
  return /^sudoku\d/.test(name) ? "sudoku" : /^maze-/.test(name) ? "maze" : "grid";
}

/** How a cell looks: its text, and what kind of cell it is. */
export interface CellLook {
  readonly text: string;
  readonly kind: "blank" | "symbol" | "wall" | "start" | "goal" | "path";
  /** For people who hear the board. */
  readonly spoken: string;
}

const MAZE: Readonly<Record<number, CellLook>> = {
  [WALL]: { text: "", kind: "wall", spoken: "wall" },
  [OPEN]: { text: "", kind: "blank", spoken: "open" },
  [START]: { text: "S", kind: "start", spoken: "start" },
  [GOAL]: { text: "G", kind: "goal", spoken: "goal" },
  [PATH]: { text: "●", kind: "path", spoken: "path" },
};
const EMPTY: CellLook = { text: "", kind: "blank", spoken: "empty" };

/** How a token looks in a task. */
export function lookOf(task: Task, token: number): CellLook {
  switch (familyOf(task)) {
    case "sudoku":
      return isDigit(token, task.rows as SudokuSize) ? symbol(task, token) : EMPTY;
    case "maze":
      return MAZE[token] ?? EMPTY;
    case "grid":
      return token === 0 ? EMPTY : symbol(task, token);
  }
}

function symbol(task: Task, token: number): CellLook {
  const text = task.vocabulary()?.[token] ?? String(token);
  return { text, kind: "symbol", spoken: text };
}

/** True for cells of a puzzle that its answer has to keep. */
export function isGiven(task: Task, token: number): boolean {
  switch (familyOf(task)) {
    case "sudoku":
      return isDigit(token, task.rows as SudokuSize);
    case "maze":
      return token !== OPEN && token !== PATH;
    case "grid":
      return false;
  }
}

/** The boundaries of boxes: cells of a box have the same number. */
export function boxOf(task: Task, cell: number): number {
  if (familyOf(task) !== "sudoku") return 0;
  const size = task.rows;
  const boxRows = size === 4 ? 2 : size === 6 ? 2 : size === 16 ? 4 : 3;
  const boxColumns = size / boxRows;
  const [row, column] = [Math.floor(cell / size), cell % size];
  return Math.floor(row / boxRows) * boxRows + Math.floor(column / boxColumns);
}
