/** Checks of a puzzle set by its rules: how many answers obey them, and how many puzzles have several answers. */
import type { PuzzleSet } from "./puzzle_set.js";
import { GOAL, mazeDistances, START, WALL } from "./tasks/maze.js";
import type { SudokuSize } from "./tasks/sudoku.js";
import { sudokuSolver } from "./tasks/sudoku_solver.js";
import type { Task } from "./tasks/task.js";

/** The most candidates that the Sudoku solver tries for one puzzle, and for a whole set. */
const MOST_TRIED = { puzzle: 2_000, set: 200_000 } as const;
/** The most puzzles of a set that are checked. */
const MOST_PUZZLES = 20_000;

/** Result of a count of puzzles with several answers. */
export interface SeveralAnswers {
  /** Puzzles with more than one answer. */
  readonly several: number;
  /** Puzzles that the solver decided; fewer than all if the bound on work was reached. */
  readonly counted: number;
}

/** Counts the puzzles with several answers; null if there is no solver for the task. The work is bounded. */
export function countSeveralAnswers(set: PuzzleSet, task: Task): SeveralAnswers | null {
  const { symmetry } = task;
  const { count, length, inputs } = set;
  let [several, counted, tried] = [0, 0, 0];
  if (!symmetry || !hasRules(task)) return null;
  for (let row = 0; row < Math.min(count, MOST_PUZZLES); row++) {
    const input = inputs.subarray(row * length, (row + 1) * length);
    if (symmetry.kind === "dihedral") {
      several += Number(hasSeveralPaths(input, symmetry.side));
      counted++;
      continue;
    }
    if (tried >= MOST_TRIED.set) break;
    const found = sudokuSolver(symmetry.size as SudokuSize).search(input, 2, MOST_TRIED.puzzle);
    tried += found.tried + 1;
    if (!found.complete) continue;
    counted++;
    several += Number(found.solutions > 1);
  }
  return { several, counted };
}

/** True if the task's rules decide whether an answer is right, without a label. */
export function hasRules(task: Task): boolean {
  const blank = new Int32Array(task.length);
  return task.check(blank, blank).solved !== null;
}

/** Result of a count of answers that obey the rules. */
export interface ObeyingAnswers {
  /** Answers that break no rule. */
  readonly obeying: number;
  /** Answers that break no rule but differ from the label: the puzzle has several answers, or its label is wrong. */
  readonly differing: number;
}

/** Counts the answers, [puzzles, length], that obey the rules. They begin with the answer to puzzle `first` of the set. */
export function countObeying(set: PuzzleSet, task: Task, first: number, answers: Int32Array): ObeyingAnswers {
  const { length, inputs, labels } = set;
  let [obeying, differing] = [0, 0];
  for (let from = 0; from < answers.length; from += length) {
    const answer = answers.subarray(from, from + length);
    const start = first * length + from;
    if (task.check(inputs.subarray(start, start + length), answer).solved !== true) continue;
    obeying++;
    const label = labels.subarray(start, start + length);
    differing += Number(label.some((token, i) => token >= 0 && token !== answer[i]));
  }
  return { obeying, differing };
}

/** True if more than one path from start to goal has the fewest moves. */
function hasSeveralPaths(maze: Int32Array, side: number): boolean {
  const [start, goal] = [maze.indexOf(START), maze.indexOf(GOAL)];
  if (start < 0 || goal < 0) return false;
  const distances = mazeDistances(side, start, (cell) => maze[cell] !== WALL);
  // Walks back from the goal. If every cell has one predecessor, there is one path.
  for (let cell = goal; cell !== start;) {
    const column = cell % side;
    const before = [
      ...(cell >= side ? [cell - side] : []),
      ...(column > 0 ? [cell - 1] : []),
      ...(column < side - 1 ? [cell + 1] : []),
      ...(cell < side * (side - 1) ? [cell + side] : []),
    ].filter((other) => distances[other] === distances[cell]! - 1 && distances[other] >= 0);
    if (before.length !== 1) return before.length > 1;
    cell = before[0]!;
  }
  return false;
}
