/** Grids of the Abstraction and Reasoning Corpus (ARC), and the square canvas on which the model sees them. */
import { UsageError } from "../../../engine/errors.js";

/** A grid of colours. */
export interface ArcGrid {
  /** Number of rows. */
  readonly rows: number;
  /** Number of columns. */
  readonly columns: number;
  /** Colours from 0 (black) to 9, row by row, [rows * columns]. */
  readonly cells: Uint8Array;
}

/** An example of a task: a grid, and what it becomes. */
export interface ArcPair {
  /** The grid that is shown. */
  readonly input: ArcGrid;
  /** The grid that is asked for; null if it is not known. */
  readonly output: ArcGrid | null;
}

/** A task of ARC. */
export interface ArcTask {
  /** Its name, which is unique in a file. */
  readonly id: string;
  /** The demonstrations; their outputs are known. */
  readonly train: readonly ArcPair[];
  /** The tests; their outputs may be unknown. */
  readonly test: readonly ArcPair[];
}

/** Sizes of the official encoding (sapientinc/HRM, dataset/build_arc_dataset.py). */
export const ARC = {
  /** Number of colours. */
  colours: 10,
  /** Side of the official canvas, and the largest side of a grid. */
  side: 30,
  /** Tokens: PAD, EOS and the colours. */
  vocabSize: 12,
  /** Token of cells outside the grid. */
  PAD: 0,
  /** Token of cells right below the grid and right beside it. */
  EOS: 1,
  /** Token of colour 0; the other colours follow. */
  firstColour: 2,
} as const;

/**
 * The grid on a square canvas, [side * side]: colours as tokens from 2 on, EOS in the row below and in the column to the
 * right as far as the canvas reaches, PAD elsewhere. The corner of the grid is at `row` and `column` (default 0, 0).
 * @throws UsageError if the grid does not fit
 */
export function toCanvas(grid: ArcGrid, side: number, row = 0, column = 0): Int32Array {
  const { rows, columns, cells } = grid;
  if (row < 0 || column < 0 || row + rows > side || column + columns > side)
    throw new UsageError(
      `toCanvas: got a grid of ${rows} x ${columns} at row ${row}, column ${column}; expected one inside a canvas of ${side} x ${side}.`,
    );
  const canvas = new Int32Array(side * side);
  const [below, beside] = [row + rows, column + columns];
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++)
      canvas[(row + r) * side + column + c] = cells[r * columns + c]! + ARC.firstColour;
  if (below < side) canvas.fill(ARC.EOS, below * side + column, below * side + beside);
  if (beside < side) for (let r = row; r < below; r++) canvas[r * side + beside] = ARC.EOS;
  return canvas;
}

/**
 * The grid at the upper left corner of a canvas: the largest rectangle of colours there, the flattest of equally large ones,
 * as the official evaluation crops answers. Null if the corner has no colour.
 */
export function cropCanvas(canvas: ArrayLike<number>, side: number): ArcGrid | null {
  let [rows, columns] = [0, 0];
  // The rectangle of `height` rows is as wide as the narrowest of its rows.
  for (let height = 1, width = side; height <= side && width > 0; height++) {
    const start = (height - 1) * side;
    for (let c = 0; c < width; c++) {
      const token = canvas[start + c]!;
      if (token < ARC.firstColour || token >= ARC.vocabSize) width = c;
    }
    if (height * width > rows * columns) [rows, columns] = [height, width];
  }
  if (rows === 0) return null;
  const cells = Uint8Array.from(
    { length: rows * columns },
    (_, i) => canvas[Math.floor(i / columns) * side + (i % columns)]! - ARC.firstColour,
  );
  return { rows, columns, cells };
}

/** A text that is equal for equal grids. */
export function gridKey({ rows, columns, cells }: ArcGrid): string {
  let text = `${rows}x${columns}:`;
  for (const colour of cells) text += colour;
  return text;
}

/** The grid as a list of rows, as JSON has it. */
export function gridRows({ rows, columns, cells }: ArcGrid): number[][] {
  return Array.from({ length: rows }, (_, r) => Array.from(cells.subarray(r * columns, (r + 1) * columns)));
}
