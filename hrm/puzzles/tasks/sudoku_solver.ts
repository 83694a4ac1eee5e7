/**
 * An exact Sudoku solver on candidate bit masks: naked and hidden singles to a fixpoint, then depth-first
 * search on the open cell with the fewest candidates (lowest index on ties), digits ascending.
 */
import { digitToken, isDigit, sudokuUnits, type SudokuSize } from "./sudoku.js";

/** What a search found. */
export interface SudokuSearch {
  /** Solutions found, at most the limit of the search. */
  readonly solutions: number;
  /** The first solution, encoded; null where there is none. */
  readonly first: Int32Array | null;
  /** Candidates tried until the first solution; 0 where singles suffice. A measure of difficulty. */
  readonly guesses: number;
  /** Candidates tried in all: the work of the search. */
  readonly tried: number;
  /** False if the search ended because it had tried `most` candidates: there may be more solutions. */
  readonly complete: boolean;
}

/** Which inferences may fill a cell: the only digit left in it, or also the only place left for a digit. */
export type Singles = "naked" | "naked and hidden";

/** A solver for grids of one size; `puzzle` is encoded and row-major, [size * size]. */
export interface SudokuSolver {
  /**
   * Looks for solutions until `limit` are found (default 2: enough to know whether there is exactly one), or until `most`
   * candidates were tried (default: no bound).
   */
  search(puzzle: ArrayLike<number>, limit?: number, most?: number): SudokuSearch;
  /** True if singles alone fill the grid; the puzzle then has exactly one solution. */
  yieldsTo(puzzle: ArrayLike<number>, singles: Singles): boolean;
  /**
   * True if singles fill this open cell. If they fill the whole grid of the puzzle with this cell given, they then fill the
   * whole grid of the puzzle too, since a digit that is known never takes an inference away.
   */
  fills(puzzle: ArrayLike<number>, cell: number, singles: Singles): boolean;
  /** A solution, its search taking digits in the order of `pick(n)`, an integer in [0, n). Null where there is none. */
  complete(puzzle: ArrayLike<number>, pick: (n: number) => number): Int32Array | null;
}

/** Candidates of every cell; a placed cell keeps the bit of its digit alone. */
interface Board {
  readonly masks: Int32Array;
  readonly placed: Uint8Array;
  open: number;
}

interface Geometry {
  readonly size: number;
  readonly full: number;
  readonly units: readonly Int32Array[];
  readonly peers: readonly Int32Array[];
}

const solvers = new Map<SudokuSize, SudokuSolver>();

/** The solver of a size; made once. */
export function sudokuSolver(size: SudokuSize): SudokuSolver {
  const known = solvers.get(size);
  if (known) return known;
  const geometry = geometryOf(size);
  const solver: SudokuSolver = {
    search: (puzzle, limit = 2, most = Infinity) =>
      searchFrom(setUp(puzzle, size, geometry), geometry, limit, most),
    yieldsTo(puzzle, singles) {
      const board = setUp(puzzle, size, geometry);
      return board !== null && propagate(board, geometry, singles) && board.open === 0;
    },
    fills(puzzle, cell, singles) {
      let used = 0;
      const others = geometry.peers[cell]!;
      for (let i = 0; i < others.length; i++) {
        const token = puzzle[others[i]!]!;
        if (isDigit(token, size)) used |= 1 << (token - digitToken(1));
      }
      // In most cases the givens that the cell sees decide.
      if (isSingle(geometry.full & ~used)) return used !== geometry.full;
      const board = setUp(puzzle, size, geometry);
      return board !== null && propagate(board, geometry, singles, cell);
    },
    complete(puzzle, pick) {
      const board = setUp(puzzle, size, geometry);
      return board && fillAtRandom(board, geometry, pick);
    },
  };
  solvers.set(size, solver);
  return solver;
}

function geometryOf(size: SudokuSize): Geometry {
  const units = sudokuUnits(size).map((unit) => Int32Array.from(unit));
  const peers = Array.from({ length: size * size }, (_, cell) => {
    const seen = new Set(units.filter((unit) => unit.includes(cell)).flatMap((unit) => [...unit]));
    seen.delete(cell);
    return Int32Array.from(seen);
  });
  return { size, full: (1 << size) - 1, units, peers };
}

/** The board after the givens; null where two of them contradict each other. */
function setUp(puzzle: ArrayLike<number>, size: SudokuSize, geometry: Geometry): Board | null {
  const cells = size * size;
  const board: Board = {
    masks: new Int32Array(cells).fill(geometry.full),
    placed: new Uint8Array(cells),
    open: cells,
  };
  for (let cell = 0; cell < cells; cell++) {
    const token = puzzle[cell]!;
    if (isDigit(token, size) && !place(board, cell, 1 << (token - digitToken(1)), geometry)) return null;
  }
  return board;
}

/** Puts a digit into an open cell; false where a peer is left without candidates. */
function place(board: Board, cell: number, bit: number, { peers }: Geometry): boolean {
  if ((board.masks[cell]! & bit) === 0) return false;
  board.masks[cell] = bit;
  board.placed[cell] = 1;
  board.open--;
  const { masks } = board;
  const others = peers[cell]!;
  for (let i = 0; i < others.length; i++) {
    const rest = masks[others[i]!]! & ~bit;
    if (rest === 0) return false;
    masks[others[i]!] = rest;
  }
  return true;
}

/**
 * Fills cells by singles until nothing follows; false on a contradiction. With `wanted` it ends as soon as that cell has one
 * candidate left, and returns whether it has.
 */
function propagate(
  board: Board,
  geometry: Geometry,
  singles: Singles = "naked and hidden",
  wanted?: number,
): boolean {
  const { masks, placed } = board;
  const isFound = (): boolean => wanted !== undefined && isSingle(masks[wanted]!);
  for (let progress = true; progress && board.open > 0;) {
    if (isFound()) return true;
    progress = false;
    for (let cell = 0; cell < masks.length; cell++) {
      const mask = masks[cell]!;
      if (placed[cell] || !isSingle(mask)) continue;
      if (!place(board, cell, mask, geometry)) return false;
      progress = true;
    }
    if (progress || singles === "naked") continue;
    for (const unit of geometry.units) {
      let once = 0;
      let twice = 0;
      for (let i = 0; i < unit.length; i++) {
        twice |= once & masks[unit[i]!]!;
        once |= masks[unit[i]!]!;
      }
      if (once !== geometry.full) return false;
      const unique = once & ~twice;
      if (unique === 0) continue;
      for (const cell of unit) {
        const bit = masks[cell]! & unique;
        if (placed[cell] || bit === 0) continue;
        // Two digits with this one place: `place` keeps the first and the second has none left.
        if (!isSingle(bit) || !place(board, cell, bit, geometry)) return false;
        progress = true;
      }
    }
  }
  return wanted === undefined || isFound();
}

/** True if a mask has one bit. */
const isSingle = (mask: number): boolean => (mask & (mask - 1)) === 0;

function copy({ masks, placed, open }: Board): Board {
  return { masks: masks.slice(), placed: placed.slice(), open };
}

/** The open cell with the fewest candidates, lowest index on ties. */
function narrowest({ masks, placed }: Board): number {
  let best = -1;
  let fewest = 32;
  for (let cell = 0; cell < masks.length && fewest > 2; cell++) {
    if (placed[cell]) continue;
    let count = 0;
    for (let mask = masks[cell]!; mask !== 0; mask &= mask - 1) count++;
    if (count < fewest) [best, fewest] = [cell, count];
  }
  return best;
}

function tokensOf({ masks }: Board): Int32Array {
  return masks.map((mask) => digitToken(32 - Math.clz32(mask)));
}

function searchFrom(start: Board | null, geometry: Geometry, limit: number, most: number): SudokuSearch {
  let solutions = 0;
  let first: Int32Array | null = null;
  let guesses = 0;
  let tried = 0;
  const visit = (board: Board): void => {
    if (!propagate(board, geometry)) return;
    if (board.open === 0) {
      first ??= tokensOf(board);
      solutions++;
      return;
    }
    const cell = narrowest(board);
    for (let mask = board.masks[cell]!; mask !== 0 && solutions < limit && tried < most; mask &= mask - 1) {
      tried++;
      if (!first) guesses++;
      const next = copy(board);
      if (place(next, cell, mask & -mask, geometry)) visit(next);
    }
  };
  if (start) visit(start);
  return { solutions, first, guesses, tried, complete: solutions >= limit || tried < most };
}

function fillAtRandom(board: Board, geometry: Geometry, pick: (n: number) => number): Int32Array | null {
  if (!propagate(board, geometry)) return null;
  if (board.open === 0) return tokensOf(board);
  const cell = narrowest(board);
  const bits: number[] = [];
  for (let mask = board.masks[cell]!; mask !== 0; mask &= mask - 1) bits.push(mask & -mask);
  while (bits.length > 0) {
    const [bit] = bits.splice(pick(bits.length), 1);
    const next = copy(board);
    const found = place(next, cell, bit!, geometry) ? fillAtRandom(next, geometry, pick) : null;
    if (found) return found;
  }
  return null;
}
