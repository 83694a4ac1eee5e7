/**
 * Symmetries: changes of a puzzle together with its answer that give another valid pair. Training draws them at random
 * (augmentation); splits keep puzzles that a symmetry connects on one side.
 */

/** Digits relabelled; bands, rows within bands, stacks and columns within stacks permuted; square boxes transposed. */
export interface SudokuSymmetry {
  /** Tells it from other symmetries. */
  readonly kind: "sudoku";
  /** Side of the grid, which is also the number of digits. */
  readonly size: number;
  /** Rows of a box. */
  readonly boxRows: number;
  /** Columns of a box. */
  readonly boxColumns: number;
}

/** The 8 rotations and reflections of a square. */
export interface DihedralSymmetry {
  /** Tells it from other symmetries. */
  readonly kind: "dihedral";
  /** Cells along a side. */
  readonly side: number;
}

/** Changes that turn a puzzle into another valid puzzle, with its answer. */
export type Symmetry = SudokuSymmetry | DihedralSymmetry;

/** The source of each cell in the 8 images of a side x side square, [8][side * side]. The first image is the identity. */
export function dihedralSources(side: number): Int32Array[] {
  const last = side - 1;
  const images: ((row: number, column: number) => readonly [number, number])[] = [
    (r, c) => [r, c],
    (r, c) => [c, last - r],
    (r, c) => [last - r, last - c],
    (r, c) => [last - c, r],
    (r, c) => [r, last - c],
    (r, c) => [last - r, c],
    (r, c) => [c, r],
    (r, c) => [last - c, last - r],
  ];
  return images.map((image) =>
    Int32Array.from({ length: side * side }, (_, cell) => {
      const [row, column] = image(Math.floor(cell / side), cell % side);
      return row * side + column;
    }),
  );
}

/** The least of the 8 images as text, which is equal for squares that rotations and reflections map on each other. */
export function dihedralClass(cells: ArrayLike<number>, sources: readonly Int32Array[]): string {
  let least: string | undefined;
  for (const source of sources) {
    let image = "";
    for (const from of source) image += String.fromCharCode(32 + cells[from]!);
    if (least === undefined || image < least) least = image;
  }
  return least!;
}

/** The least hash of the 8 images, which is equal for squares that rotations and reflections map on each other. */
export function dihedralInvariant(cells: ArrayLike<number>, sources: readonly Int32Array[]): number {
  const image = new Int32Array(cells.length);
  let least = Infinity;
  for (const source of sources) {
    for (let i = 0; i < image.length; i++) image[i] = cells[source[i]!]!;
    least = Math.min(least, cellsHash(image, 0, image.length));
  }
  return least;
}

/**
 * A canonical form of a solution grid (tokens 2 and up), as text of digits. It is equal exactly for grids that the symmetry
 * maps on each other: the least image in row-major order among the images whose first row is 1, 2, 3, ... and whose first two
 * rows have the greatest rank (`cycleRank`, then `sharedDigits`), of which there are few.
 */
export function sudokuClass(grid: ArrayLike<number>, symmetry: SudokuSymmetry): string {
  const { size, boxRows, boxColumns } = symmetry;
  const cells = Int32Array.from({ length: size * size }, (_, i) => grid[i]! - 2);
  const orientations = boxRows === boxColumns ? [cells, transposed(cells, size)] : [cells];
  const starts: { cells: Int32Array; first: number; second: number; stacks: number[] }[] = [];
  const orderings = stackOrders(size / boxColumns);
  let most = -1;
  for (const oriented of orientations) {
    for (let first = 0; first < size; first++) {
      const band = first - (first % boxRows);
      for (let second = band; second < band + boxRows; second++) {
        if (second === first) continue;
        const cycles = cycleRank(oriented, size, first, second);
        for (const stacks of orderings) {
          const rank = cycles * size + sharedDigits(oriented, size, boxColumns, first, second, stacks);
          if (rank < most) continue;
          if (rank > most) starts.length = 0;
          most = rank;
          starts.push({ cells: oriented, first, second, stacks });
        }
      }
    }
  }
  const best = new Int32Array(size * size).fill(size);
  const orders = columnOrders(size, boxColumns);
  const columns = new Int32Array(size);
  const label = new Int32Array(size);
  for (const { cells: oriented, first, second, stacks } of starts) {
    for (const order of orders) {
      for (let j = 0; j < size; j++)
        columns[j] = stacks[Math.floor(j / boxColumns)]! * boxColumns + order[j]!;
      keepLeast(best, oriented, symmetry, first, second, columns, label);
    }
  }
  return Array.from(best, (digit) => digit + 1).join("");
}

/**
 * An integer in [0, 2^53) that the symmetry does not change: equal for grids that it maps on each other, and different for
 * nearly all other grids. It takes a thousandth of the time of `sudokuClass`. It is a hash of the cycles of the permutations
 * between all pairs of lines, summed so that the order of lines, bands and digits does not matter.
 */
export function sudokuInvariant(grid: ArrayLike<number>, symmetry: SudokuSymmetry): number {
  const { size, boxRows, boxColumns } = symmetry;
  const rows = linesHash(grid, size, boxRows, size, 1);
  const columns = linesHash(grid, size, boxColumns, 1, size);
  // A transposition swaps the two hashes, so their order must not matter.
  const square = boxRows === boxColumns;
  const low = square ? mixed(mixed(rows) + mixed(columns)) : mixed(mixed(rows) + Math.imul(columns, 3));
  const high = square
    ? mixed(Math.imul(rows ^ 0x5bd1e995, columns ^ 0x5bd1e995))
    : mixed(mixed(columns) ^ Math.imul(rows, 5));
  return (high >>> 11) * 2 ** 32 + (low >>> 0);
}

/** A hash of the cycles between all pairs of lines: cell j of line i is `grid[i * line + j * step]`. */
function linesHash(grid: ArrayLike<number>, size: number, block: number, line: number, step: number): number {
  const below = new Int8Array(size);
  const near = new Int32Array(size);
  const far = new Int32Array(size);
  for (let a = 0; a < size; a++) {
    for (let b = a + 1; b < size; b++) {
      for (let j = 0; j < size; j++) below[grid[a * line + j * step]! - 2] = grid[b * line + j * step]! - 2;
      let cycles = 0;
      for (let seen = 0, start = 0; start < size; start++) {
        let length = 0;
        for (let digit = start; ((seen >> digit) & 1) === 0; digit = below[digit]!) {
          seen |= 1 << digit;
          length++;
        }
        cycles += mixed(length);
      }
      const sums = Math.floor(a / block) === Math.floor(b / block) ? near : far;
      sums[a] = sums[a]! + mixed(cycles);
      sums[b] = sums[b]! + mixed(cycles);
    }
  }
  let hash = 0;
  for (let first = 0; first < size; first += block) {
    let band = 0;
    for (let k = first; k < first + block; k++) band += mixed(Math.imul(near[k]!, 3) + mixed(far[k]!));
    hash += mixed(band | 0);
  }
  return hash | 0;
}

/** The finaliser of MurmurHash3 (Appleby), a bijection of 32-bit integers. */
function mixed(value: number): number {
  let h = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/** A hash of cells, an integer in [0, 2^53). */
export function cellsHash(cells: ArrayLike<number>, from: number, to: number): number {
  let low = 0x9747b28c;
  let high = 0x3c6ef372;
  for (let i = from; i < to; i++) {
    low = Math.imul(low ^ cells[i]!, 0x01000193);
    low ^= low >>> 15;
    high = Math.imul(high + cells[i]!, 0x85ebca6b);
    high ^= high >>> 13;
  }
  return (mixed(high) >>> 11) * 2 ** 32 + (mixed(low) >>> 0);
}

function transposed(cells: Int32Array, size: number): Int32Array {
  return cells.map((_, i) => cells[(i % size) * size + Math.floor(i / size)]!);
}

/** Sum of the squared cycle lengths of the permutation that takes each digit of one row to the one below it in the other. */
function cycleRank(cells: Int32Array, size: number, first: number, second: number): number {
  const below = new Int32Array(size);
  for (let c = 0; c < size; c++) below[cells[first * size + c]!] = cells[second * size + c]!;
  let rank = 0;
  for (let seen = 0, start = 0; start < size; start++) {
    let length = 0;
    for (let digit = start; ((seen >> digit) & 1) === 0; digit = below[digit]!) {
      seen |= 1 << digit;
      length++;
    }
    rank += length * length;
  }
  return rank;
}

/** Digits of the second row in the first stack that the first row has in the second stack. */
function sharedDigits(
  cells: Int32Array,
  size: number,
  boxColumns: number,
  first: number,
  second: number,
  [from, to]: number[],
): number {
  let seen = 0;
  for (let c = 0; c < boxColumns; c++) seen |= 1 << cells[first * size + to! * boxColumns + c]!;
  let shared = 0;
  for (let c = 0; c < boxColumns; c++) shared += (seen >> cells[second * size + from! * boxColumns + c]!) & 1;
  return shared;
}

/** Replaces `best` by the image with these first two rows and this column order if the image is less. */
function keepLeast(
  best: Int32Array,
  cells: Int32Array,
  { size, boxRows }: SudokuSymmetry,
  first: number,
  second: number,
  columns: Int32Array,
  label: Int32Array,
): void {
  for (let j = 0; j < size; j++) label[cells[first * size + columns[j]!]!] = j;
  // Nearly every order is already greater in the second row.
  for (let j = 0; j < size; j++) {
    const difference = label[cells[second * size + columns[j]!]!]! - best[size + j]!;
    if (difference > 0) return;
    if (difference < 0) break;
  }
  const value = (row: number, j: number): number => label[cells[row * size + columns[j]!]!]!;
  const ascending = (a: number, b: number): number => value(a, 0) - value(b, 0);
  let less = best[0] === size;
  const rows = [first, second];
  for (let position = 1; position < size; position++) {
    if (position === 2) {
      // Sorts the other rows by their first cells: first within each band, then the bands.
      const bands = Array.from({ length: size / boxRows }, (_, b) =>
        Array.from({ length: boxRows }, (_, r) => b * boxRows + r)
          .filter((row) => row !== first && row !== second)
          .sort(ascending),
      );
      const top = Math.floor(first / boxRows);
      const [rest] = bands.splice(top, 1);
      rows.push(...rest!, ...bands.sort((a, b) => ascending(a[0]!, b[0]!)).flat());
    }
    for (let j = 0; j < size; j++) {
      const digit = value(rows[position]!, j);
      const at = position * size + j;
      if (!less && digit > best[at]!) return;
      less ||= digit < best[at]!;
      if (less) best[at] = digit;
    }
  }
  if (less) for (let j = 0; j < size; j++) best[j] = j;
}

function permutations(items: readonly number[]): number[][] {
  if (items.length === 0) return [[]];
  return items.flatMap((item, i) =>
    permutations([...items.slice(0, i), ...items.slice(i + 1)]).map((rest) => [item, ...rest]),
  );
}

const stackCache = new Map<number, number[][]>();

/** All orders of the stacks. */
function stackOrders(stacks: number): number[][] {
  let orders = stackCache.get(stacks);
  if (!orders) stackCache.set(stacks, (orders = permutations(Array.from({ length: stacks }, (_, i) => i))));
  return orders;
}

const orderCache = new Map<string, number[][]>();

/** Orders of the columns within every stack, [..][size], each counted from its stack's first column. */
function columnOrders(size: number, boxColumns: number): number[][] {
  const key = `${size} ${boxColumns}`;
  let orders = orderCache.get(key);
  if (!orders) {
    const within = permutations(Array.from({ length: boxColumns }, (_, i) => i));
    orders = [[]];
    for (let stack = 0; stack < size / boxColumns; stack++)
      orders = orders.flatMap((prefix) => within.map((order) => [...prefix, ...order]));
    orderCache.set(key, orders);
  }
  return orders;
}
