/**
 * Seeded mazes with exactly one shortest path: walls at uniformly random cells, their share uniform in [0.3, 0.5]
 * (Lehnert et al. 2024, arXiv 2402.14083), S and G uniform among the pairs farther apart than the filter (Wang et
 * al. 2025, arXiv 2506.21734: above 110 moves at 30x30), then walls on rival shortest paths.
 */
import { UsageError } from "../../../engine/errors.js";
import type { PuzzleRecord } from "../puzzle_set.js";
import { GOAL, mazeDistances, mazeTask, OPEN, PATH, START, WALL } from "./maze.js";
import { hostRandom, shuffle, type HostRandom } from "../random.js";

/** Which mazes to make. */
export interface MazeGeneratorOptions {
  /** Cells along a side. */
  readonly side: number;
  /** Number of mazes. */
  readonly count: number;
  /** An integer in [0, 2^53). */
  readonly seed: number;
  /**
   * Fewest moves of the shortest path; the default is twice the side plus 1. If a range is given, each maze draws its own
   * minimum uniformly from it, both ends included, so that short and long paths occur.
   */
  readonly minLength?: number | readonly [from: number, to: number];
  /** Mazes that are excluded with all their images, such as held-out mazes. */
  readonly without?: readonly Pick<PuzzleRecord, "input" | "label">[];
}

/** Number of wall patterns to try before a length counts as impossible. */
const TRIES = 20000;
/** Number of wall patterns to try before a maze draws another minimum from the range. */
const TRIES_OF_A_DRAW = 200;

/**
 * Generates mazes that are distinct up to rotation and reflection. The rating is the number of moves.
 * @throws UsageError if no maze satisfies the options
 */
export function generateMazes({
  side,
  count,
  seed,
  minLength = 2 * side + 1,
  without = [],
}: MazeGeneratorOptions): PuzzleRecord[] {
  if (!Number.isInteger(count) || count < 1)
    throw new UsageError(`generateMazes: got count ${count}; expected a positive integer.`);
  const [from, to] = typeof minLength === "number" ? [minLength, minLength] : minLength;
  const asked = from === to ? `${from}` : `${from}-${to}`;
  if (!Number.isInteger(from) || !Number.isInteger(to) || from < 1 || to < from)
    throw new UsageError(
      `generateMazes: got minLength ${asked}; expected a positive integer, or a range of them.`,
    );
  const task = mazeTask(side);
  const random = hostRandom(seed, `${task.name} ${asked}`);
  const draw = (): number => (from === to ? from : from + random.below(to - from + 1));
  const seen = new Set(without.map(({ input, label }) => task.classOf(input, label)));
  const source = `generated-${task.name}-min${asked}`;
  return Array.from({ length: count }, (_, made) => {
    let fewest = draw();
    for (let attempt = 1; attempt <= TRIES; attempt++) {
      if (attempt % TRIES_OF_A_DRAW === 0) fewest = draw();
      const maze = tryMaze(side, fewest, random);
      if (!maze) continue;
      const key = task.classOf(maze.input, maze.label);
      if (seen.has(key)) continue;
      seen.add(key);
      return { source, ...maze };
    }
    throw new UsageError(
      `generateMazes: got minLength ${asked} for ${side}x${side}; found ${made === 0 ? "none" : `${made} and no further`} ` +
        `in ${TRIES} wall patterns. Ask for shorter paths or fewer mazes.`,
    );
  });
}

type Maze = Pick<PuzzleRecord, "input" | "label" | "rating">;

function tryMaze(side: number, minLength: number, random: HostRandom): Maze | null {
  const cells = side * side;
  const walls = new Uint8Array(cells);
  const order = Array.from({ length: cells }, (_, cell) => cell);
  shuffle(random, order);
  const wallCount = Math.round((0.3 + 0.2 * random.uniform()) * cells);
  for (let i = 0; i < wallCount; i++) walls[order[i]!] = 1;
  const open = order.slice(wallCount);
  const passable = (cell: number): boolean => walls[cell] === 0;
  const [distances, queue] = [new Int32Array(cells), new Int32Array(cells)];
  if (!mayReach(side, minLength, open, passable, distances, queue)) return null;
  // Counts the pairs that are far enough apart, then draws a number and finds its pair again.
  const pairs = open.map((from) => {
    mazeDistances(side, from, passable, distances, queue);
    return distances.reduce((count, d) => count + (d >= minLength ? 1 : 0), 0);
  });
  const total = pairs.reduce((a, b) => a + b, 0);
  if (total === 0) return null;
  let pick = random.below(total);
  let index = 0;
  while (pick >= pairs[index]!) pick -= pairs[index++]!;
  const start = open[index]!;
  mazeDistances(side, start, passable, distances, queue);
  const goal = distances.findIndex((d) => d >= minLength && pick-- === 0);
  const length = distances[goal]!;
  const path = onlyPath(side, start, goal, walls, random);
  const input = Int32Array.from(walls, (wall) => (wall ? WALL : OPEN));
  input[start] = START;
  input[goal] = GOAL;
  const label = input.slice();
  for (const cell of path) if (label[cell] === OPEN) label[cell] = PATH;
  return { input, label, rating: length };
}

/**
 * A quick estimate of the longest distance, before all pairs are measured: from a random open cell to the farthest cell, and
 * from there to its farthest cell. A pattern whose estimate is too low is skipped.
 */
function mayReach(
  side: number,
  minLength: number,
  open: readonly number[],
  passable: (cell: number) => boolean,
  distances: Int32Array,
  queue: Int32Array,
): boolean {
  let cell = open[0];
  let far = 0;
  for (let sweep = 0; sweep < 3 && cell !== undefined; sweep++) {
    mazeDistances(side, cell, passable, distances, queue);
    far = distances.reduce((max, d) => Math.max(max, d), 0);
    if (far >= minLength) return true;
    cell = distances.indexOf(far);
  }
  return false;
}

/** Draws one shortest path and walls up a minimal set of cells on its rivals. Returns the path, ends included. */
function onlyPath(
  side: number,
  start: number,
  goal: number,
  walls: Uint8Array,
  random: HostRandom,
): Set<number> {
  const passable = (cell: number): boolean => walls[cell] === 0;
  const fromStart = mazeDistances(side, start, passable);
  const path = new Set([goal]);
  for (let cell = goal; cell !== start;) {
    const back = neighbours(side, cell).filter((n) => fromStart[n] === fromStart[cell]! - 1);
    cell = back[random.below(back.length)]!;
    path.add(cell);
  }
  const closed: number[] = [];
  for (let rivals = rivalCells(side, start, goal, path, walls); rivals.length > 0;) {
    const cell = rivals[random.below(rivals.length)]!;
    walls[cell] = 1;
    closed.push(cell);
    rivals = rivalCells(side, start, goal, path, walls);
  }
  for (const cell of closed) {
    walls[cell] = 0;
    if (rivalCells(side, start, goal, path, walls).length > 0) walls[cell] = 1;
  }
  return path;
}

/** Cells on shortest paths that are not on `path`; empty if `path` is the only shortest path. */
function rivalCells(
  side: number,
  start: number,
  goal: number,
  path: ReadonlySet<number>,
  walls: Uint8Array,
): number[] {
  const passable = (cell: number): boolean => walls[cell] === 0;
  const fromStart = mazeDistances(side, start, passable);
  const fromGoal = mazeDistances(side, goal, passable);
  const length = fromStart[goal]!;
  const rivals: number[] = [];
  fromStart.forEach((d, cell) => {
    if (d >= 0 && d + fromGoal[cell]! === length && !path.has(cell)) rivals.push(cell);
  });
  return rivals;
}

function neighbours(side: number, cell: number): number[] {
  const column = cell % side;
  return [
    ...(cell >= side ? [cell - side] : []),
    ...(column > 0 ? [cell - 1] : []),
    ...(column < side - 1 ? [cell + 1] : []),
    ...(cell < side * (side - 1) ? [cell + side] : []),
  ];
}
