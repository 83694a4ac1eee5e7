/** What is said of a puzzle while a visitor edits it: whether it can be solved, and in how many ways. */
import { GOAL, mazeDistances, START, WALL } from "../../../hrm/puzzles/tasks/maze.js";
import { sudokuSolver } from "../../../hrm/puzzles/tasks/sudoku_solver.js";
import type { SudokuSize } from "../../../hrm/puzzles/tasks/sudoku.js";
import type { Task } from "../../../hrm/puzzles/tasks/task.js";
import { familyOf, isGiven } from "../../../hrm/drawing/cells.js";

/** A judgement in words. */
export interface Judgement {
  /** The puzzle has exactly one solution. */
  readonly proper: boolean;
  /** There is at least one solution, so that a model can be asked. */
  readonly solvable: boolean;
  readonly text: string;
}

/** Solutions that are counted at most, and candidates that are tried for it at most. */
const MOST_SOLUTIONS = 100;
const MOST_TRIES = 3000;

export function judge(task: Task, cells: Int32Array): Judgement {
  switch (familyOf(task)) {
    case "sudoku":
      return judgeSudoku(task, cells);
    case "maze":
      return judgeMaze(task.rows, cells);
    case "grid":
      return { proper: false, solvable: true, text: "No rules are known for this puzzle." };
  }
}

const none = (text: string): Judgement => ({ proper: false, solvable: false, text });

function judgeSudoku(task: Task, cells: Int32Array): Judgement {
  const problem = task.problemOf?.(cells) ?? null;
  if (problem) return none(`This breaks a rule: ${problem}.`);
  const solver = sudokuSolver(task.rows as SudokuSize);
  const { solutions, complete } = solver.search(cells, MOST_SOLUTIONS, MOST_TRIES);
  if (solutions === 0)
    return complete
      ? none("This puzzle has no solution.")
      : none("No solution was found so far; this puzzle is too open to search it all.");
  if (solutions === 1 && complete) return { proper: true, solvable: true, text: "Exactly one solution." };
  const many = !complete || solutions >= MOST_SOLUTIONS ? `At least ${solutions}` : String(solutions);
  return { proper: false, solvable: true, text: `${many} solutions; a proper puzzle has one.` };
}

function judgeMaze(side: number, cells: Int32Array): Judgement {
  const [start, goal] = [cells.indexOf(START), cells.indexOf(GOAL)];
  if (start < 0 || goal < 0) return none(`This maze has no ${start < 0 ? "start" : "goal"}.`);
  const open = (cell: number): boolean => cells[cell] !== WALL;
  const distances = mazeDistances(side, start, open);
  const moves = distances[goal]!;
  if (moves < 0) return none("No way leads from the start to the goal.");
  const ways = shortestPaths(side, distances, goal);
  const text = `The shortest path has ${moves} ${moves === 1 ? "move" : "moves"}`;
  if (ways === 1) return { proper: true, solvable: true, text: `${text}; there is exactly one.` };
  return { proper: false, solvable: true, text: `${text}; there are ${ways} of that length.` };
}

/** How many shortest paths lead to a cell. */
function shortestPaths(side: number, distances: Int32Array, goal: number): number {
  const ways = new Float64Array(side * side);
  const cells = Array.from(distances.keys()).filter((cell) => distances[cell]! >= 0);
  cells.sort((a, b) => distances[a]! - distances[b]!);
  for (const cell of cells) {
    if (distances[cell] === 0) {
      ways[cell] = 1;
      continue;
    }
    const column = cell % side;
    const neighbours = [
      ...(cell >= side ? [cell - side] : []),
      ...(column > 0 ? [cell - 1] : []),
      ...(column < side - 1 ? [cell + 1] : []),
      ...(cell < side * (side - 1) ? [cell + side] : []),
    ];
    for (const next of neighbours) if (distances[next] === distances[cell]! - 1) ways[cell]! += ways[next]!;
  }
  return ways[goal]!;
}

/** How hard a puzzle is among others of its task: its blanks, or the moves of its path; more is harder. */
export function hardness(task: Task, inputs: Int32Array, label: Int32Array): number {
  if (familyOf(task) === "sudoku") return inputs.reduce((n, token) => n + (isGiven(task, token) ? 0 : 1), 0);
  return inputs.reduce((n, token, cell) => n + (token === label[cell] ? 0 : 1), 0);
}
