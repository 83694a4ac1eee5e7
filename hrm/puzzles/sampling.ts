/** Puzzle sets on the GPU, and the two ways to draw a batch from them. */
import {
  add,
  bitXor,
  cast,
  div,
  greaterEqual,
  hostTensor,
  less,
  mul,
  position,
  remainder,
  reshape,
  shiftRight,
  slice,
  takeRows,
  variable,
  where,
  type Allocator,
  type Tensor,
  type TensorLike,
  type Variable,
} from "../../engine/index.js";
import { owning } from "../../engine/ownership.js";
import { shuffledIndex, takePacked, type PackedBits } from "../../engine/sampling.js";
import { mapTokens, randomImages, type Images } from "./augmentation.js";
import { IGNORE_LABEL, type PuzzleGroups, type PuzzleSet } from "./puzzle_set.js";
import type { Symmetry } from "./tasks/symmetry.js";

/** Puzzles of a batch. */
export interface Batch {
  /** i32 [B, S] */
  readonly inputs: Tensor;
  /** i32 [B, S]; -100 is ignored. */
  readonly labels: Tensor;
  /** i32 [B] */
  readonly identifiers: Tensor;
}

type BatchSize = { readonly batch_size: number };

/** Integers packed into words. Each takes 8, 16 or 32 bits, the fewest that hold all values. */
interface PackedTable {
  readonly table: Variable;
  readonly bits: PackedBits;
}

/** A puzzle set in GPU memory, from which the GPU gathers batches. */
export interface GpuPuzzles {
  /** Number of puzzles. */
  readonly count: number;
  /** Cells of a puzzle, S. */
  readonly length: number;
  /** Tokens of the puzzles, packed, [count, S]. */
  readonly inputs: PackedTable;
  /** Tokens of the answers, packed, [count, S]. */
  readonly labels: PackedTable;
  /** Puzzle identifiers, i32 [count]. */
  readonly identifiers: Variable;
  /** Draws in an epoch. */
  readonly epoch: number;
  /** Groups and puzzles; null if every row is its own group. */
  readonly structure: {
    /** i32 [epoch, 3]: first puzzle and number of puzzles of a draw's group, and the index of the row to take in a puzzle. */
    readonly draws: Variable;
    /** i32 [puzzles, 2]: first row and number of rows of each puzzle. */
    readonly puzzles: Variable;
  } | null;
  /** Symmetry from which gathering draws random images; null for no images. */
  readonly symmetry: Symmetry | null;
}

/** Uploads a puzzle set. If `symmetry` is given, random batches are images under it. */
export function uploadPuzzles(
  device: Allocator,
  set: PuzzleSet,
  name: string,
  symmetry: Symmetry | null = null,
): GpuPuzzles {
  const { count, length, groups } = set;
  return owning(() => ({
    count,
    length,
    inputs: uploadPacked(device, set.inputs, `${name}.inputs`),
    labels: uploadPacked(device, set.labels, `${name}.labels`),
    identifiers: variable(device, hostTensor(set.identifiers, [count, 1]), `${name}.puzzle_identifiers`),
    epoch: count,
    structure: null,
    symmetry,
    ...(groups && uploadGroups(device, groups, name)),
  }));
}

function uploadPacked(device: Allocator, values: Int32Array, name: string): PackedTable {
  let [low, high] = [0, 0];
  for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  const bits = [8, 16, 32].find((b) => low >= -(2 ** (b - 1)) && high < 2 ** (b - 1)) as PackedBits;
  const words = new Uint32Array(Math.ceil((values.length * bits) / 32));
  // WebGPU runs on little-endian machines only: the first element is in the lowest bits.
  ({
    8: () => new Int8Array(words.buffer),
    16: () => new Int16Array(words.buffer),
    32: () => new Int32Array(words.buffer),
  })
    [bits]()
    .set(values);
  return { table: variable(device, hostTensor(words, [words.length]), name), bits };
}

/**
 * An epoch takes one puzzle from each group with all its rows. If the puzzles of a group differ in their number of rows, an
 * epoch has as many draws as the largest puzzle has rows, and rows of smaller puzzles are repeated.
 */
function uploadGroups(
  device: Allocator,
  { puzzleIndices, groupIndices }: PuzzleGroups,
  name: string,
): Pick<GpuPuzzles, "epoch" | "structure"> {
  const draws: number[] = [];
  for (let group = 0; group + 1 < groupIndices.length; group++) {
    const [first, end] = [groupIndices[group]!, groupIndices[group + 1]!];
    let rows = 0;
    for (let p = first; p < end; p++) rows = Math.max(rows, puzzleIndices[p + 1]! - puzzleIndices[p]!);
    for (let row = 0; row < rows; row++) draws.push(first, end - first, row);
  }
  const puzzles = Int32Array.from({ length: 2 * (puzzleIndices.length - 1) }, (_, i) =>
    i % 2 === 0 ? puzzleIndices[i / 2]! : puzzleIndices[(i + 1) / 2]! - puzzleIndices[(i - 1) / 2]!,
  );
  const table = (values: Int32Array, columns: number, what: string): Variable =>
    variable(device, hostTensor(values, [values.length / columns, columns]), `${name}.${what}`);
  return {
    epoch: draws.length / 3,
    structure: {
      draws: table(Int32Array.from(draws), 3, "draws"),
      puzzles: table(puzzles, 2, "puzzles"),
    },
  };
}

/** Frees an uploaded set. */
export function destroyPuzzles({ inputs, labels, identifiers, structure }: GpuPuzzles): void {
  for (const v of [inputs.table, labels.table, identifiers]) v.destroy();
  structure?.draws.destroy();
  structure?.puzzles.destroy();
}

function gather(data: GpuPuzzles, rows: Tensor, images: Images | null): Batch {
  const { count, length } = data;
  const source = images?.source ?? remainder(position([rows.size, length]), length);
  const indices = add(mul(reshape(rows, [rows.size, 1]), length), source);
  const take = ({ table, bits }: PackedTable): Tensor =>
    takePacked(table, indices, { elements: count * length, bits });
  const [inputs, labels] = [take(data.inputs), take(data.labels)];
  const { tokens } = images ?? { tokens: null };
  return {
    inputs: tokens ? mapTokens(tokens, inputs) : inputs,
    labels: tokens ? where(less(labels, 0), labels, mapTokens(tokens, labels)) : labels,
    identifiers: reshape(takeRows(data.identifiers, rows), [rows.size]),
  };
}

/** Streams of random numbers in one training step. Images use all streams from `images` on. */
export const RANDOM_STREAMS = { rows: 0, explore: 1, minimum: 2, images: 3 } as const;

/**
 * The batch of a step, which follows from the training counter (u32 [2]: seed and number of finished steps) alone. Rows are
 * drawn without replacement, and each epoch has its own order. An epoch takes one puzzle from each group. If the set has a
 * symmetry, rows are random images. After 2^32 draws the orders repeat.
 */
export function randomBatch(data: GpuPuzzles, counter: TensorLike, config: BatchSize): Batch {
  const { batch_size: B } = config;
  const draws = add(mul(slice(counter, [1], [1]), B), position([B], "u32"));
  const order = shuffledIndex(counter, draws, data.epoch, RANDOM_STREAMS.rows);
  const rows = data.structure ? rowsOfGroups(data.structure, order, draws, counter, data.epoch) : order;
  const images = data.symmetry && randomImages(data.symmetry, counter, B, RANDOM_STREAMS.images);
  return gather(data, rows, images);
}

/** The rows of these draws. All draws of an epoch from one group take the same puzzle. */
function rowsOfGroups(
  { draws: table, puzzles }: NonNullable<GpuPuzzles["structure"]>,
  order: Tensor,
  draws: Tensor,
  counter: TensorLike,
  epoch: number,
): Tensor {
  const column = (rows: Tensor, k: number): Tensor => reshape(slice(rows, [0, k], [rows.shape[0]!, 1]), [-1]);
  const entry = takeRows(table, order);
  const [first, count] = [column(entry, 0), column(entry, 1)];
  const hashed = mix(add(mix(add(mix(div(draws, epoch)), slice(counter, [0], [1]))), cast(first, "u32")));
  const puzzle = add(first, cast(remainder(hashed, cast(count, "u32")), "i32"));
  const rows = takeRows(puzzles, puzzle);
  return add(column(rows, 0), remainder(column(entry, 2), column(rows, 1)));
}

/** The finaliser of MurmurHash3 (Appleby), a bijection of 32-bit words, elementwise. */
function mix(value: Tensor): Tensor {
  const a = mul(bitXor(value, shiftRight(value, 16)), 0x85ebca6b);
  const b = mul(bitXor(a, shiftRight(a, 13)), 0xc2b2ae35);
  return bitXor(b, shiftRight(b, 16));
}

/**
 * The batch of rows from `first` (i32 [1]) on, in order. Rows at or past `limit` (i32 [1]) get no labels, so that no metric
 * counts them.
 */
export function consecutiveBatch(
  data: GpuPuzzles,
  first: Tensor,
  limit: TensorLike,
  config: BatchSize,
): Batch {
  const rows = add(position([config.batch_size]), first);
  return rowsBatch(data, rows, less(rows, limit));
}

/** The batch of these rows (i32 [B]). Where `counts` (i32 [B]) is 0 a row gets no labels, so that no metric counts it. */
export function rowsBatch(data: GpuPuzzles, rows: Tensor, counts: Tensor): Batch {
  const batch = gather(data, where(greaterEqual(rows, data.count), 0, rows), null);
  return { ...batch, labels: where(reshape(counts, [rows.size, 1]), batch.labels, IGNORE_LABEL) };
}
