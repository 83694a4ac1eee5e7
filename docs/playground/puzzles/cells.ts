/** How a visitor changes the cells of a puzzle. */
import { familyOf } from "../../../hrm/drawing/cells.js";
import { GOAL, OPEN, START, WALL } from "../../../hrm/puzzles/tasks/maze.js";
import type { Task } from "../../../hrm/puzzles/tasks/task.js";

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
