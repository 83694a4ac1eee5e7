/** A board as SVG: a puzzle, or what a model answers at some update. */
import type { Task } from "../puzzles/tasks/task.js";
import { boxOf, isGiven, lookOf } from "./cells.js";
import { escaped } from "./chart_svg.js";

/** What a board shows. */
export interface BoardDrawing {
  readonly task: Task;
  /** Tokens of the puzzle [S]. */
  readonly inputs: ArrayLike<number>;
  /** Tokens that are shown [S]; those of the puzzle for the puzzle itself. */
  readonly tokens: ArrayLike<number>;
  /** Tokens before this update [S]: cells that differ are marked as changed. */
  readonly before?: ArrayLike<number>;
  /** In words, for people who hear the picture. */
  readonly label: string;
}

const SIDE = 18;
const FILLS = {
  wall: "#444",
  path: "#9ecbff",
  blank: "#fff",
  symbol: "#fff",
  start: "#c8e6c9",
  goal: "#ffe0a3",
} as const;

/** Draws a board: givens bold, changed cells on grey, cells that break a rule in red. */
export function boardAsSvg({ task, inputs, tokens, before, label }: BoardDrawing): string {
  const { rows, columns } = task;
  const broken = new Set(task.check(Int32Array.from(inputs), Int32Array.from(tokens)).violations);
  const parts: string[] = [];
  for (let cell = 0; cell < task.length; cell++) {
    const [row, column] = [Math.floor(cell / columns), cell % columns];
    const [x, y] = [column * SIDE, row * SIDE];
    const { text, kind } = lookOf(task, tokens[cell]!);
    const changed = before !== undefined && before[cell] !== tokens[cell];
    const fill = broken.has(cell) ? "#f8c4c4" : changed ? "#d9d9d9" : FILLS[kind];
    parts.push(
      `<rect x="${x}" y="${y}" width="${SIDE}" height="${SIDE}" fill="${fill}" stroke="#bbb" stroke-width="0.5"/>`,
    );
    if (text !== "")
      parts.push(
        `<text x="${x + SIDE / 2}" y="${y + 13}" text-anchor="middle"${isGiven(task, inputs[cell]!) ? ' font-weight="bold"' : ""}${broken.has(cell) ? ' fill="#a00"' : ""}>${escaped(text)}</text>`,
      );
    const edges: [differs: boolean, line: string][] = [
      [column + 1 < columns && boxOf(task, cell) !== boxOf(task, cell + 1), `x1="${x + SIDE}" y1="${y}"`],
      [row + 1 < rows && boxOf(task, cell) !== boxOf(task, cell + columns), `x1="${x}" y1="${y + SIDE}"`],
    ];
    for (const [differs, line] of edges)
      if (differs)
        parts.push(`<line ${line} x2="${x + SIDE}" y2="${y + SIDE}" stroke="#333" stroke-width="1.5"/>`);
  }
  const [width, height] = [columns * SIDE, rows * SIDE];
  return `<svg viewBox="-1 -1 ${width + 2} ${height + 2}" width="${width + 2}" height="${height + 2}" role="img" font-family="sans-serif" font-size="12"><title>${escaped(label)}</title>${parts.join("")}<rect width="${width}" height="${height}" fill="none" stroke="#333" stroke-width="1.5"/></svg>`;
}
