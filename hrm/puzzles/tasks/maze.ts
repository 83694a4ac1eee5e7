/**
 * Mazes: find a shortest path from S to G through open cells, moving to one of four neighbours. The answer is the
 * maze with the path marked. Encoding, as in the official data sets: 0 = PAD, then `# SGo` (wall, open, start, goal,
 * path) as 1 to 5.
 */
import { gridPicture, type PictureCell } from "./picture.js";
import { dihedralClass, dihedralInvariant, dihedralSources } from "./symmetry.js";
import {
  decodeCells,
  PuzzleError,
  requireLength,
  type Highlights,
  type RenderOptions,
  type Task,
  type Verdict,
} from "./task.js";
import { styled, type TextStyle } from "./text.js";

/** Token of a wall. */
export const WALL = 1;
/** Token of an open cell. */
export const OPEN = 2;
/** Token of the start. */
export const START = 3;
/** Token of the goal. */
export const GOAL = 4;
/** Token of a cell on the answer's path. */
export const PATH = 5;

const CHARACTERS = ".# SGo";
const EXPECTED = '"#" (wall), " " (open), "S", "G" or "o" (path)';

/** Smallest and largest side of a maze. */
export const MAZE_SIDES = { min: 3, max: 64 } as const;

/** The maze task of a side length; its name is `maze-10x10`. @throws PuzzleError on sides outside 3..64 */
export function mazeTask(side: number): Task {
  if (!Number.isInteger(side) || side < MAZE_SIDES.min || side > MAZE_SIDES.max)
    throw new PuzzleError(
      `maze: got a side of ${side}; expected an integer from ${MAZE_SIDES.min} to ${MAZE_SIDES.max}.`,
    );
  const name = `maze-${side}x${side}`;
  const length = side * side;
  let sources: Int32Array[] | undefined;
  const decode = (text: string): Int32Array => decodeCells(name, text, length, tokenOf, EXPECTED);
  return {
    name,
    vocabSize: CHARACTERS.length,
    length,
    rows: side,
    columns: side,
    numPuzzleIdentifiers: 1,
    symmetry: { kind: "dihedral", side },
    vocabulary: () => ["PAD", ...CHARACTERS.slice(1)],
    // Spaces are cells: only line breaks and frames are skipped, so that rendered mazes read back.
    parse: (text) => requireEnds(decode(text.replace(/[\r\n\u2500-\u257f]/gu, "")), name),
    decode,
    format: (cells) => Array.from(requireLength(name, cells, length, "cells"), symbol).join(""),
    check: (input, answer) => checkMaze(input, answer, side),
    classOf: (input) =>
      dihedralClass(requireLength(name, input, length, "input"), (sources ??= dihedralSources(side))),
    invariantOf: (input) => dihedralInvariant(input, (sources ??= dihedralSources(side))),
    renderText: (cells, options) => renderMaze(cells, side, options),
    renderPicture: (cells, highlights) => drawMaze(cells, side, highlights),
  };
}

function tokenOf(character: string): number | undefined {
  const token = CHARACTERS.indexOf(character);
  return token > 0 ? token : undefined;
}

const symbol = (token: number): string => CHARACTERS[token] ?? "?";

function requireEnds(cells: Int32Array, name: string): Int32Array {
  for (const [token, letter] of [
    [START, "S"],
    [GOAL, "G"],
  ] as const) {
    const count = cells.filter((t) => t === token).length;
    if (count !== 1) throw new PuzzleError(`${name}: got ${count} cells "${letter}"; expected exactly one.`);
  }
  return cells;
}

/** Moves from `from` to every cell through cells that `passable` allows; -1 for cells that cannot be reached. */
export function mazeDistances(
  side: number,
  from: number,
  passable: (cell: number) => boolean,
  distances: Int32Array = new Int32Array(side * side),
  queue: Int32Array = new Int32Array(side * side),
): Int32Array {
  distances.fill(-1);
  distances[from] = 0;
  queue[0] = from;
  for (let head = 0, tail = 1; head < tail; head++) {
    const cell = queue[head]!;
    const next = distances[cell]! + 1;
    const column = cell % side;
    const visit = (neighbour: number): void => {
      if (distances[neighbour] !== -1 || !passable(neighbour)) return;
      distances[neighbour] = next;
      queue[tail++] = neighbour;
    };
    if (cell >= side) visit(cell - side);
    if (column > 0) visit(cell - 1);
    if (column < side - 1) visit(cell + 1);
    if (cell < side * (side - 1)) visit(cell + side);
  }
  return distances;
}

/**
 * A maze is solved if the marked cells form a path from S to G with the fewest moves. Cells that break a rule are changed
 * walls, changed ends, invalid tokens, and marked cells that cannot be reached from S along marked cells.
 */
function checkMaze(input: ArrayLike<number>, answer: ArrayLike<number>, side: number): Verdict {
  const name = `maze-${side}x${side}`;
  requireLength(name, input, side * side, "input");
  requireLength(name, answer, side * side, "answer");
  const start = onlyIndex(input, START);
  const goal = onlyIndex(input, GOAL);
  const marked = (cell: number): boolean => answer[cell] === PATH || cell === start || cell === goal;
  const along = start < 0 ? null : mazeDistances(side, start, marked);
  const violations: number[] = [];
  let length = 1;
  for (let cell = 0; cell < side * side; cell++) {
    const token = answer[cell]!;
    const given = input[cell]!;
    if (given !== OPEN && given !== PATH ? token !== given : token !== OPEN && token !== PATH)
      violations.push(cell);
    else if (token === PATH) {
      length++;
      if (!along || along[cell] === -1) violations.push(cell);
    }
  }
  if (violations.length > 0 || !along || goal < 0 || along[goal] === -1) return { solved: false, violations };
  const shortest = mazeDistances(side, start, (cell) => input[cell] !== WALL)[goal];
  return { solved: length === shortest, violations };
}

/** Index of the only cell with this token; -1 if no cell or several cells have it. */
function onlyIndex(cells: ArrayLike<number>, token: number): number {
  const index = Array.prototype.indexOf.call(cells, token);
  return index === Array.prototype.lastIndexOf.call(cells, token) ? index : -1;
}

/** Draws a frame around the maze. With colours, the path is green and violations are red. */
function renderMaze(
  cells: ArrayLike<number>,
  side: number,
  { violations = [], color = false }: RenderOptions = {},
): string {
  requireLength(`maze-${side}x${side}`, cells, side * side, "cells");
  const marked = new Set(violations);
  const line = (row: number): string => {
    let text = "│";
    for (let column = 0; column < side; column++) {
      const cell = row * side + column;
      const token = cells[cell]!;
      const styles: TextStyle[] = [];
      if (marked.has(cell)) styles.push("red");
      else if (token === PATH) styles.push("green");
      else if (token === START || token === GOAL) styles.push("bold");
      text += styled(symbol(token), color ? styles : []);
    }
    return `${text}│`;
  };
  const rule = "─".repeat(side);
  return [`┌${rule}┐`, ...Array.from({ length: side }, (_, row) => line(row)), `└${rule}┘`].join("\n");
}

function drawMaze(cells: ArrayLike<number>, side: number, { violations = [] }: Highlights = {}): string {
  requireLength(`maze-${side}x${side}`, cells, side * side, "cells");
  const marked = new Set(violations);
  return gridPicture({
    rows: side,
    columns: side,
    label: `Maze ${side}x${side}`,
    box: { rows: 0, columns: 0 },
    cell(index): PictureCell {
      const token = cells[index]!;
      if (marked.has(index)) return { text: token === OPEN ? "" : symbol(token), fill: "violation" };
      if (token === WALL) return { fill: "wall" };
      if (token === PATH) return { fill: "path" };
      return token === START || token === GOAL ? { text: symbol(token), fill: "end" } : {};
    },
  });
}
