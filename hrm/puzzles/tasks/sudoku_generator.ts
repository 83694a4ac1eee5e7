/** Seeded Sudoku puzzles with exactly one solution, of a wanted number of givens and difficulty. */
import { UsageError } from "../../../engine/errors.js";
import type { PuzzleRecord } from "../puzzle_set.js";
import { hostRandom, shuffle, type HostRandom } from "../random.js";
import { BLANK, type SudokuSize } from "./sudoku.js";
import { sudokuSolver, type SudokuSolver } from "./sudoku_solver.js";

/**
 * What solving takes: `easy` naked singles, `medium` hidden singles too, `hard` guesses. `any` asks for one
 * solution only.
 */
export type SudokuDifficulty = "easy" | "medium" | "hard" | "any";
/** The difficulties that the generator knows. */
export const SUDOKU_DIFFICULTIES: readonly SudokuDifficulty[] = ["easy", "medium", "hard", "any"];

/** Which puzzles to make. */
export interface SudokuGeneratorOptions {
  /** 4, 6 or 9: larger grids are read, not generated. */
  readonly size: SudokuSize;
  /** Number of puzzles. */
  readonly count: number;
  /** An integer in [0, 2^53). */
  readonly seed: number;
  /** Default `easy`. */
  readonly difficulty?: SudokuDifficulty;
  /** Fewest and most givens; the number is drawn uniformly. Default: a range in which puzzles are quickly found. */
  readonly givens?: readonly [fewest: number, most: number];
}

/** Ranges in which a few tries find a puzzle. */
const DEFAULT_GIVENS: Readonly<
  Partial<Record<SudokuSize, Readonly<Record<SudokuDifficulty, [number, number]>>>>
> = {
  4: { easy: [5, 10], medium: [4, 5], hard: [4, 5], any: [5, 10] },
  6: { easy: [14, 24], medium: [10, 14], hard: [9, 11], any: [12, 24] },
  9: { easy: [30, 37], medium: [26, 31], hard: [23, 27], any: [26, 37] },
};

/** Grids to try before a request counts as one that cannot be met. */
const TRIES = 3000;

/**
 * Distinct puzzles. Each starts from a random full grid; cells are cleared in random order while the puzzle stays
 * solvable as the difficulty asks, until the drawn number of givens is left. The rating is the number of guesses
 * that the solver takes. Throws UsageError on options that no puzzle meets.
 */
export function generateSudoku(options: SudokuGeneratorOptions): PuzzleRecord[] {
  const { size, count, seed, difficulty = "easy" } = options;
  const ranges = DEFAULT_GIVENS[size];
  if (!ranges)
    throw new UsageError(
      `generateSudoku: got size ${size}; expected 4, 6 or 9. Larger puzzles come from files.`,
    );
  const [fewest, most] = options.givens ?? ranges[difficulty];
  if (!Number.isInteger(count) || count < 1)
    throw new UsageError(`generateSudoku: got count ${count}; expected a positive integer.`);
  if (
    !Number.isInteger(fewest) ||
    !Number.isInteger(most) ||
    fewest < 1 ||
    most < fewest ||
    most > size * size
  )
    throw new UsageError(
      `generateSudoku: got givens from ${fewest} to ${most}; expected integers with 1 <= fewest <= most <= ${size * size}.`,
    );
  const random = hostRandom(seed, `sudoku${size} ${difficulty} ${fewest}-${most}`);
  const solver = sudokuSolver(size);
  const seen = new Set<string>();
  const source = `generated-sudoku${size}-${difficulty}`;
  return Array.from({ length: count }, (_, made) => {
    const wanted = fewest + random.below(most - fewest + 1);
    for (let attempt = 0; attempt < TRIES; attempt++) {
      const label = solver.complete(new Int32Array(size * size).fill(BLANK), (n) => random.below(n))!;
      const input = clear(label, wanted, difficulty, solver, random);
      if (!input) continue;
      const key = String.fromCharCode(...input);
      if (seen.has(key)) continue;
      seen.add(key);
      return { source, input, label, rating: solver.search(input, 1).guesses };
    }
    throw new UsageError(
      `generateSudoku: got difficulty ${difficulty} with ${wanted} givens; found no ${made === 0 ? "such" : "further"} puzzle of ${size}x${size} ` +
        `in ${TRIES} grids after ${made}. Allow more givens, another difficulty, or ask for fewer puzzles.`,
    );
  });
}

/** The grid with `wanted` givens left, or null if clearing cells in this order does not reach that number. */
function clear(
  grid: Int32Array,
  wanted: number,
  difficulty: SudokuDifficulty,
  solver: SudokuSolver,
  random: HostRandom,
): Int32Array | null {
  const puzzle = grid.slice();
  const order = Array.from(grid, (_, cell) => cell);
  shuffle(random, order);
  let givens = grid.length;
  for (const cell of order) {
    if (givens === wanted) break;
    puzzle[cell] = BLANK;
    const stays =
      difficulty === "easy"
        ? solver.fills(puzzle, cell, "naked")
        : difficulty === "medium"
          ? solver.fills(puzzle, cell, "naked and hidden")
          : solver.search(puzzle).solutions === 1;
    if (stays) givens--;
    else puzzle[cell] = grid[cell]!;
  }
  if (givens !== wanted) return null;
  if (difficulty === "medium" && solver.yieldsTo(puzzle, "naked")) return null;
  if (difficulty === "hard" && solver.yieldsTo(puzzle, "naked and hidden")) return null;
  return puzzle;
}
