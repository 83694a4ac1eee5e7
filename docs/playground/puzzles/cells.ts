/** What the cells of a task look like and how a visitor changes them. */
import { isDigit, type SudokuSize } from "../../../hrm/puzzles/tasks/sudoku.js";
import { GOAL, OPEN, PATH, START, WALL } from "../../../hrm/puzzles/tasks/maze.js";
import type { Task } from "../../../hrm/puzzles/tasks/task.js";

/** The families of tasks that the page knows how to draw and to edit. */
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

/** A way to change a cell. */
export interface Tool {
  readonly token: number;
  readonly label: string;
  /** Keys that put it into a cell. */
  readonly keys: readonly string[];
}

/** What a visitor may put into a cell; empty if the page cannot edit puzzles of this task. */
export function toolsOf(task: Task): readonly Tool[] {
  switch (familyOf(task)) {
    case "sudoku": {
      const digits = task.vocabulary()!.slice(2);
      return [
        ...digits.map((digit, i) => ({ token: i + 2, label: digit, keys: [digit, digit.toLowerCase()] })),
        { token: 1, label: "Erase", keys: ["Backspace", "Delete", "0", ".", " "] },
      ];
    }
    case "maze":
      return [
        { token: WALL, label: "Wall", keys: ["#", "w"] },
        { token: OPEN, label: "Open", keys: [" ", "Backspace", "Delete", "."] },
        { token: START, label: "Start", keys: ["s", "S"] },
        { token: GOAL, label: "Goal", keys: ["g", "G"] },
      ];
    case "grid":
      return [];
  }
}

/** A puzzle with a cell changed. A maze keeps one start and one goal. */
export function changed(task: Task, cells: Int32Array, cell: number, token: number): Int32Array {
  const next = cells.slice();
  if (familyOf(task) === "maze" && (token === START || token === GOAL)) {
    const old = next.indexOf(token);
    if (old >= 0) next[old] = OPEN;
  }
  next[cell] = token;
  return next;
}

/** A puzzle with nothing in it to begin from: a Sudoku of blanks, or an open maze from corner to corner. */
export function emptyPuzzle(task: Task): Int32Array {
  if (familyOf(task) !== "maze") return new Int32Array(task.length).fill(1);
  const cells = new Int32Array(task.length).fill(OPEN);
  cells[0] = START;
  cells[task.length - 1] = GOAL;
  return cells;
}

/** What a first touch of a cell draws with a tool: a wall on a wall opens it again. */
export const strokeToken = (cells: Int32Array, cell: number, tool: number): number =>
  tool === WALL && cells[cell] === WALL ? OPEN : tool;

/** True if a stroke with a token would wipe the start or the goal of a maze away. */
export const covers = (token: number, under: number): boolean =>
  (under === START || under === GOAL) && token !== START && token !== GOAL;

/** The boundaries of boxes: cells of a box have the same number. */
export function boxOf(task: Task, cell: number): number {
  if (familyOf(task) !== "sudoku") return 0;
  const size = task.rows;
  const boxRows = size === 4 ? 2 : size === 6 ? 2 : size === 16 ? 4 : 3;
  const boxColumns = size / boxRows;
  const [row, column] = [Math.floor(cell / size), cell % size];
  return Math.floor(row / boxRows) * boxRows + Math.floor(column / boxColumns);
}
