/** How hard a puzzle is by measures that do not depend on a model, and puzzles grouped by them. */
import { isDigit, type SudokuSize } from "./tasks/sudoku.js";
import { sudokuSolver } from "./tasks/sudoku_solver.js";
import { PATH } from "./tasks/maze.js";
import type { PuzzleSet } from "./puzzle_set.js";
import type { Task } from "./tasks/task.js";

/** Candidates that the solver may try for one puzzle; a puzzle that needs more belongs to the last band. */
const MOST_TRIED = 10_000;
/** Most bands that a range of whole numbers is divided into. */
const MOST_BANDS = 6;

/** Puzzles of one difficulty. */
export interface DifficultyBand {
  /** What difficulty is measured by: `givens`, `solver` or `path length`. */
  readonly measure: string;
  /** Such as `24-25` or `hidden singles`. */
  readonly name: string;
  /** Rows of the set, ascending. */
  readonly rows: readonly number[];
}

/**
 * The bands of a set, easiest first for each measure: Sudoku by givens and by what a solver needs (naked singles, hidden
 * singles, guesses), mazes by the moves of the labelled path. Empty if no measure is known for the task.
 */
export function difficultyBands(set: PuzzleSet, task: Task): DifficultyBand[] {
  const { symmetry } = task;
  if (symmetry?.kind === "dihedral" && task.name.startsWith("maze-"))
    return rangeBands(
      "path length",
      measured(set, (_, label) => count(label, (t) => t === PATH) + 1),
    );
  if (symmetry?.kind !== "sudoku") return [];
  const size = symmetry.size as SudokuSize;
  const givens = measured(set, (input) => count(input, (t) => isDigit(t, size)));
  const bands = rangeBands("givens", givens).reverse();
  return size > 9 ? bands : [...bands, ...solverBands(set, size)];
}

function measured(set: PuzzleSet, measure: (input: Int32Array, label: Int32Array) => number): number[] {
  const { length } = set;
  return Array.from({ length: set.count }, (_, row) => {
    const [from, to] = [row * length, (row + 1) * length];
    return measure(set.inputs.subarray(from, to), set.labels.subarray(from, to));
  });
}

const count = (tokens: Int32Array, which: (token: number) => boolean): number =>
  tokens.reduce((sum, token) => sum + Number(which(token)), 0);

/** Bands of equal width over the range of the values. */
function rangeBands(measure: string, values: readonly number[]): DifficultyBand[] {
  const [low, high] = values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
  const width = Math.ceil((high - low + 1) / MOST_BANDS);
  const bands = new Map<number, number[]>();
  values.forEach((value, row) => {
    const band = Math.floor((value - low) / width);
    const rows = bands.get(band);
    if (rows) rows.push(row);
    else bands.set(band, [row]);
  });
  return [...bands]
    .sort(([a], [b]) => a - b)
    .map(([band, rows]) => {
      const [from, to] = [low + band * width, Math.min(high, low + (band + 1) * width - 1)];
      return { measure, name: from === to ? `${from}` : `${from}-${to}`, rows };
    });
}

/** Guesses that the solver takes, as bands: up to this many. */
const GUESSES = [9, 99, Infinity];
const SOLVER_BANDS = [
  "naked singles",
  "hidden singles",
  "1-9 guesses",
  "10-99 guesses",
  "100 guesses or more",
];

function solverBands(set: PuzzleSet, size: SudokuSize): DifficultyBand[] {
  const solver = sudokuSolver(size);
  const bands = measured(set, (input) => {
    if (solver.yieldsTo(input, "naked")) return 0;
    if (solver.yieldsTo(input, "naked and hidden")) return 1;
    const { guesses } = solver.search(input, 1, MOST_TRIED);
    return 2 + GUESSES.findIndex((most) => guesses <= most);
  });
  return SOLVER_BANDS.map((name, band) => ({
    measure: "solver",
    name,
    rows: bands.flatMap((of, row) => (of === band ? [row] : [])),
  })).filter(({ rows }) => rows.length > 0);
}
