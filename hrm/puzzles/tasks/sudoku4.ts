/**
 * 4x4 Sudoku puzzles. There are only 288 solution grids, so all of them are listed, and a set of grids is a mask of 288
 * bits. The grids that agree with a puzzle are the AND of its givens' masks; the puzzle has one solution if one bit is left.
 *
 * Relabelling digits, permuting rows within bands and columns within stacks, permuting bands and stacks, and
 * transposing put the 288 grids in two classes, of 96 and 192 grids. Splits are by grid, so a test grid never
 * occurs in training, but its symmetric images do: the test has unseen puzzles, not unseen structure.
 */
import { UsageError } from "../../../engine/errors.js";
import { hostRandom, shuffle, type HostRandom } from "../random.js";
import { BLANK, digitToken, sudokuUnits } from "./sudoku.js";
import type { PuzzleSet, PuzzleSplits } from "./task.js";

const SIZE = 4;
const CELLS = SIZE * SIZE;
const GRIDS = 288;
const MASK_WORDS = GRIDS / 32;
const FEWEST_GIVENS = 6;
const MOST_GIVENS = 10;
/** Number of grids in each of validation and test; the other 230 are for training. */
const HELD_OUT_GRIDS = 29;

/** Sizes of the three sets, and their seed. */
export interface Sudoku4SplitsOptions {
  /** Seed of the split and of the puzzles, an integer in [0, 2^53). */
  readonly seed: number;
  /** Number of training puzzles; default 32,768. */
  readonly train?: number;
  /** Number of validation puzzles; default 1,024. */
  readonly validation?: number;
  /** Number of test puzzles; default 1,024. */
  readonly test?: number;
}

/**
 * Three splits with disjoint solution grids (230 training, 29 validation, 29 test). No puzzle occurs twice in a split. The
 * number of givens is uniform in 6..10, and for each number the puzzles are uniform over the puzzles of the split's grids with
 * exactly one solution. The size of one split does not change the puzzles of another.
 * @throws UsageError if a count is not a positive integer, or larger than the number of puzzles
 */
export function sudoku4Splits({
  seed,
  train = 32768,
  validation = 1024,
  test = 1024,
}: Sudoku4SplitsOptions): PuzzleSplits {
  const grids = sudoku4Grids();
  const masks = givenMasks(grids);
  const order = grids.map((_, i) => i);
  shuffle(hostRandom(seed, "sudoku4 grids"), order);
  const draw = (split: string, count: number, from: number, to: number): PuzzleSet =>
    drawPuzzles({
      split,
      count,
      grids: order.slice(from, to).map((i) => grids[i]!),
      masks,
      random: hostRandom(seed, `sudoku4 ${split}`),
    });
  return {
    train: draw("train", train, 2 * HELD_OUT_GRIDS, GRIDS),
    validation: draw("validation", validation, HELD_OUT_GRIDS, 2 * HELD_OUT_GRIDS),
    test: draw("test", test, 0, HELD_OUT_GRIDS),
  };
}

/** All 288 solution grids, encoded, [16] each, in lexicographic order. */
export function sudoku4Grids(): Int32Array[] {
  const units = sudokuUnits(SIZE);
  const earlierPeers = Array.from({ length: CELLS }, (_, cell) => [
    ...new Set(units.filter((unit) => unit.includes(cell)).flatMap((unit) => unit.filter((c) => c < cell))),
  ]);
  const grids: Int32Array[] = [];
  const grid = new Int32Array(CELLS);
  const fill = (cell: number): void => {
    if (cell === CELLS) {
      grids.push(grid.slice());
      return;
    }
    for (let digit = 1; digit <= SIZE; digit++) {
      const token = digitToken(digit);
      if (earlierPeers[cell]!.some((peer) => grid[peer] === token)) continue;
      grid[cell] = token;
      fill(cell + 1);
    }
  };
  fill(0);
  return grids;
}

/** Masks [16 cells, 4 digits, 9 words]: bit g is set if grid g has that digit in that cell. */
function givenMasks(grids: readonly Int32Array[]): Int32Array {
  const masks = new Int32Array(CELLS * SIZE * MASK_WORDS);
  grids.forEach((grid, g) => {
    for (let cell = 0; cell < CELLS; cell++) masks[maskStart(cell, grid[cell]!) + (g >> 5)]! |= 1 << (g & 31);
  });
  return masks;
}

function maskStart(cell: number, token: number): number {
  return (cell * SIZE + token - digitToken(1)) * MASK_WORDS;
}

/** True if no other grid has the same digits as `grid` in the given cells. */
function isUnique(grid: Int32Array, givens: readonly number[], masks: Int32Array): boolean {
  let found = false;
  for (let word = 0; word < MASK_WORDS; word++) {
    let bits = -1;
    for (const cell of givens) bits &= masks[maskStart(cell, grid[cell]!) + word]!;
    if (bits === 0) continue;
    if (found || (bits & (bits - 1)) !== 0) return false;
    found = true;
  }
  return found;
}

interface DrawPlan {
  readonly split: string;
  readonly count: number;
  readonly grids: readonly Int32Array[];
  readonly masks: Int32Array;
  readonly random: HostRandom;
}

function drawPuzzles({ split, count, grids, masks, random }: DrawPlan): PuzzleSet {
  if (!Number.isInteger(count) || count < 1) {
    throw new UsageError(`sudoku4Splits: got ${split} = ${count}; expected a positive integer.`);
  }
  const inputs = new Int32Array(count * CELLS).fill(BLANK);
  const labels = new Int32Array(count * CELLS);
  const seen = new Set<number>();
  const cells = Array.from({ length: CELLS }, (_, i) => i);
  for (let puzzle = 0; puzzle < count; puzzle++) {
    const givenCount = FEWEST_GIVENS + random.below(MOST_GIVENS - FEWEST_GIVENS + 1);
    for (let attempt = 0; ; attempt++) {
      // Half of the draws with 6 givens have one solution, nearly all with 10; thousands of rejections mean that the puzzles are used up.
      if (attempt === 10000) {
        throw new UsageError(
          `sudoku4Splits: got ${split} = ${count}; ran out of distinct puzzles with ${givenCount} givens after ${puzzle}. ` +
            "Ask for fewer puzzles.",
        );
      }
      const grid = grids[random.below(grids.length)]!;
      for (let i = 0; i < givenCount; i++) {
        const j = i + random.below(CELLS - i);
        [cells[i], cells[j]] = [cells[j]!, cells[i]!];
      }
      const givens = cells.slice(0, givenCount);
      if (!isUnique(grid, givens, masks)) continue;
      // Base-5 number of the puzzle, below 5^16 < 2^53.
      const key = givens.reduce((sum, cell) => sum + (grid[cell]! - BLANK) * 5 ** cell, 0);
      if (seen.has(key)) continue;
      seen.add(key);
      labels.set(grid, puzzle * CELLS);
      for (const cell of givens) inputs[puzzle * CELLS + cell] = grid[cell]!;
      break;
    }
  }
  return { count, length: CELLS, inputs, labels, identifiers: new Int32Array(count) };
}
