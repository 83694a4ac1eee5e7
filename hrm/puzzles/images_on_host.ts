/** Symmetric images of puzzles made on the host, for data sets that are augmented beforehand as the official builders do. */
import { UsageError } from "../../engine/errors.js";
import type { PuzzleSet } from "./puzzle_set.js";
import { hostRandom, shuffle, type HostRandom } from "./random.js";
import { BLANK, digitToken } from "./tasks/sudoku.js";
import { dihedralSources, type SudokuSymmetry, type Symmetry } from "./tasks/symmetry.js";

/** An image: the cell that each cell takes, and what each token becomes. */
export interface Image {
  /** The cell of the puzzle that each cell takes, [S]. */
  readonly source: ArrayLike<number>;
  /** What each token becomes, [V]; null if tokens do not change. */
  readonly tokens: ArrayLike<number> | null;
}

/**
 * The set with `count` random images after each puzzle; a puzzle and its images form a group. A square has 7 images besides
 * itself, of which each puzzle gets the first `count`.
 * @throws UsageError if the puzzles are in groups already
 */
export function withImages(set: PuzzleSet, symmetry: Symmetry, count: number, seed: number): PuzzleSet {
  if (set.groups)
    throw new UsageError(
      "withImages: got puzzles in groups; expected puzzles without images, one in each row.",
    );
  const { length } = set;
  const sources = symmetry.kind === "dihedral" ? dihedralSources(symmetry.side) : null;
  const own = sources ? Math.min(count, sources.length - 1) : count;
  const [each, random] = [own + 1, hostRandom(seed, "images")];
  const rows = set.count * each;
  const [inputs, labels] = [new Int32Array(rows * length), new Int32Array(rows * length)];
  const identifiers = new Int32Array(rows);
  for (let puzzle = 0; puzzle < set.count; puzzle++) {
    const from = puzzle * length;
    for (let k = 0; k < each; k++) {
      const row = puzzle * each + k;
      identifiers[row] = set.identifiers[puzzle]!;
      const image: Image | null =
        k === 0
          ? null
          : sources
            ? { source: sources[k]!, tokens: null }
            : sudokuImage(symmetry as SudokuSymmetry, random);
      for (const [before, after] of [
        [set.inputs, inputs],
        [set.labels, labels],
      ] as const)
        for (let cell = 0; cell < length; cell++) {
          const value = before[from + (image?.source[cell] ?? cell)]!;
          after[row * length + cell] = value < 0 ? value : (image?.tokens?.[value] ?? value);
        }
    }
  }
  const groupIndices = Int32Array.from({ length: set.count + 1 }, (_, group) => group * each);
  const puzzleIndices = Int32Array.from({ length: rows + 1 }, (_, row) => row);
  return {
    count: rows,
    length,
    inputs,
    labels,
    identifiers,
    ...(own > 0 && { groups: { puzzleIndices, groupIndices } }),
  };
}

const permutation = (random: HostRandom, count: number): number[] => {
  const order = Array.from({ length: count }, (_, i) => i);
  shuffle(random, order);
  return order;
};

/** Official build_sudoku_dataset.py, shuffle_sudoku: digits, bands and their rows, stacks and their columns, transpose. */
export function sudokuImage({ size, boxRows, boxColumns }: SudokuSymmetry, random: HostRandom): Image {
  const lines = (block: number): number[] =>
    permutation(random, size / block).flatMap((band) =>
      permutation(random, block).map((line) => band * block + line),
    );
  const [rows, columns, digits] = [lines(boxRows), lines(boxColumns), permutation(random, size)];
  const turned = boxRows === boxColumns && permutation(random, 2)[0] === 1;
  const source = rows.flatMap((row) =>
    columns.map((column) => (turned ? column * size + row : row * size + column)),
  );
  const tokens = Array.from({ length: size + 2 }, (_, token) =>
    token <= BLANK ? token : digitToken(1 + digits[token - digitToken(1)]!),
  );
  return { source, tokens };
}
