/**
 * Random symmetric images of puzzles, as the official builders make them, but drawn anew for every batch. An image says
 * which cell of the puzzle each of its cells takes, and what each token becomes.
 */
import {
  add,
  cast,
  constant,
  equal,
  less,
  mul,
  position,
  randomInt,
  remainder,
  reshape,
  sub,
  takeRows,
  where,
  type Tensor,
  type TensorLike,
} from "../../engine/index.js";
import { randomPermutations, takePacked } from "../../engine/sampling.js";
import { BLANK, digitToken } from "./tasks/sudoku.js";
import {
  dihedralSources,
  type DihedralSymmetry,
  type SudokuSymmetry,
  type Symmetry,
} from "./tasks/symmetry.js";

/** One image for each row of a batch. */
export interface Images {
  /** i32 [B, S]: the cell of the puzzle that each cell of the image takes. */
  readonly source: Tensor;
  /** i32 [B, V]: what each token becomes; null if tokens do not change. */
  readonly tokens: Tensor | null;
}

/** y[b, i] = map[b, x[b, i]] for i32 map [B, V] and x [B, S]. The result has no meaning for x outside 0..V-1. */
export function mapTokens(map: Tensor, x: Tensor): Tensor {
  const [B, V] = map.shape as [number, number];
  const indices = add(mul(position([B, 1]), V), x);
  return takePacked(reshape(cast(map, "u32"), [B * V]), indices, { elements: B * V, bits: 32 });
}

/** Number of streams of random numbers that {@link randomImages} uses, from `firstStream` on. */
export const IMAGE_STREAMS = 6;

/** Uniformly random images for `rows` puzzles, from `key` (u32 [2]: seed and step). */
export function randomImages(symmetry: Symmetry, key: TensorLike, rows: number, firstStream: number): Images {
  return symmetry.kind === "sudoku"
    ? sudokuImages(symmetry, key, rows, firstStream)
    : dihedralImages(symmetry, key, rows, firstStream);
}

/**
 * Official build_sudoku_dataset.py, shuffle_sudoku: cell (r, c) takes cell (rows[r], columns[c]) of the grid or of its
 * transpose, then digits are relabelled; bands and rows within bands, stacks and columns within stacks are permuted.
 */
function sudokuImages(
  { size, boxRows, boxColumns }: SudokuSymmetry,
  key: TensorLike,
  B: number,
  stream: number,
): Images {
  const lines = (block: number, first: number): Tensor => {
    const blocks = size / block;
    const order = reshape(randomPermutations(key, [B, blocks], first), [B, blocks, 1]);
    const within = reshape(randomPermutations(key, [B * blocks, block], first + 1), [B, blocks, block]);
    return add(mul(order, block), within);
  };
  const rows = reshape(lines(boxRows, stream), [B, size, 1]);
  const columns = reshape(lines(boxColumns, stream + 2), [B, 1, size]);
  const upright = add(mul(rows, size), columns);
  const flip = equal(reshape(randomInt(key, [B], stream + 4, 0, 2), [B, 1, 1]), 1);
  // A transposed grid keeps its boxes only if they are square.
  const source = boxRows === boxColumns ? where(flip, add(mul(columns, size), rows), upright) : upright;
  const digits = randomPermutations(key, [B, size], stream + 5);
  const token = remainder(position([B, size + 2]), size + 2);
  const relabelled = add(mapTokens(digits, sub(token, digitToken(1))), digitToken(1));
  return {
    source: reshape(source, [B, size * size]),
    tokens: where(less(token, BLANK + 1), token, relabelled),
  };
}

/** Official build_maze_dataset.py with `--aug`: one of the 8 rotations and reflections. */
function dihedralImages({ side }: DihedralSymmetry, key: TensorLike, B: number, stream: number): Images {
  const table = new Int32Array(8 * side * side);
  dihedralSources(side).forEach((source, k) => table.set(source, k * side * side));
  return {
    source: takeRows(constant(table, [8, side * side]), randomInt(key, [B], stream, 0, 8)),
    tokens: null,
  };
}
