/**
 * Sudoku of 4x4 (boxes of 2x2), 6x6 (boxes of 2 rows x 3 columns), 9x9, 12x12 (boxes of 3 rows x 4 columns) and 16x16:
 * rules, encoding and pictures.
 * Encoding, as in the official data sets: 0 = PAD, 1 = blank, d + 1 = the digit d.
 */
import { gridPicture, type PictureCell } from "./picture.js";
import { decodeSudoku, parseSudoku, sudokuDigits } from "./sudoku_text.js";
import { sudokuClass, sudokuInvariant, type SudokuSymmetry } from "./symmetry.js";
import { requireLength, type Highlights, type RenderOptions, type Task, type Verdict } from "./task.js";
import { styled, type TextStyle } from "./text.js";

/** Token of an empty cell. */
export const BLANK = 1;

/** Side of the grid, which is also the number of digits. */
export type SudokuSize = 4 | 6 | 9 | 12 | 16;

/** All sizes that have a task. */
export const SUDOKU_SIZES: readonly SudokuSize[] = [4, 6, 9, 12, 16];

const BOX_ROWS: Readonly<Record<SudokuSize, number>> = { 4: 2, 6: 2, 9: 3, 12: 3, 16: 4 };
/** The largest size whose canonical form is computed; larger grids have too many column orders. */
const LARGEST_CANONICAL = 9;

/** Token of the digit 1 to `size`. */
export function digitToken(digit: number): number {
  return digit + 1;
}

/** True if a cell holds a digit of a grid of this size. */
export function isDigit(token: number, size: SudokuSize): boolean {
  return Number.isInteger(token) && token > BLANK && token <= size + 1;
}

/**
 * The groups of `size` cells that must differ: rows, then columns, then boxes of `boxRows` rows. Cells are row-major
 * indices.
 */
export function sudokuUnits(
  size: SudokuSize,
  boxRows: number = BOX_ROWS[size],
): readonly (readonly number[])[] {
  const boxColumns = size / boxRows;
  const range = Array.from({ length: size }, (_, i) => i);
  const rows = range.map((row) => range.map((column) => row * size + column));
  const columns = range.map((column) => range.map((row) => row * size + column));
  const boxes = range.map((box) => {
    const top = Math.floor(box / boxRows) * boxRows;
    const left = (box % boxRows) * boxColumns;
    return range.map((i) => (top + Math.floor(i / boxColumns)) * size + left + (i % boxColumns));
  });
  return [...rows, ...columns, ...boxes];
}

/** The symmetries of Sudoku grids of a size. */
export function sudokuSymmetry(size: SudokuSize): SudokuSymmetry {
  const boxRows = BOX_ROWS[size];
  return { kind: "sudoku", size, boxRows, boxColumns: size / boxRows };
}

/** The Sudoku task of a size; its name is `sudoku4`, `sudoku6`, `sudoku9`, `sudoku12` or `sudoku16`. */
export function sudokuTask(size: SudokuSize): Task {
  const name = `sudoku${size}`;
  const length = size * size;
  const units = sudokuUnits(size);
  const symmetry = sudokuSymmetry(size);
  return {
    name,
    vocabSize: size + 2,
    length,
    rows: size,
    columns: size,
    numPuzzleIdentifiers: 1,
    symmetry,
    vocabulary: () => ["PAD", ".", ...sudokuDigits(size)],
    parse: (text) => parseSudoku(text, size),
    decode: (text, like) => decodeSudoku(text, size, like),
    format: (cells) =>
      Array.from(requireLength(name, cells, length, "cells"), (token) => symbol(token, size)).join(""),
    check: (input, answer) => checkSudoku(input, answer, size, units),
    problemOf: (input, answer) => sudokuProblem(input, answer, size, units),
    classOf: (_, answer) =>
      size > LARGEST_CANONICAL
        ? String(sudokuInvariant(requireLength(name, answer, length, "answer"), symmetry))
        : sudokuClass(requireLength(name, answer, length, "answer"), symmetry),
    invariantOf: (_, answer) => sudokuInvariant(answer, symmetry),
    renderText: (cells, options) => renderSudoku(cells, size, options),
    renderPicture: (cells, highlights) => drawSudoku(cells, size, highlights),
  };
}

/** Cells that break a rule: equal digits in a row, column or box, changed givens, and tokens outside the vocabulary. */
function checkSudoku(
  input: ArrayLike<number>,
  answer: ArrayLike<number>,
  size: SudokuSize,
  units: readonly (readonly number[])[],
): Verdict {
  requireLength(`sudoku${size}`, input, size * size, "input");
  requireLength(`sudoku${size}`, answer, size * size, "answer");
  if (isSolution(input, answer, size, units)) return { solved: true, violations: [] };
  const broken = new Set<number>();
  let filled = true;
  for (let cell = 0; cell < size * size; cell++) {
    const token = answer[cell]!;
    if (isDigit(input[cell]!, size) && token !== input[cell]) broken.add(cell);
    if (isDigit(token, size)) continue;
    filled = false;
    if (token !== BLANK && token !== 0) broken.add(cell);
  }
  for (const unit of units) {
    for (const cell of unit) {
      const twin = unit.some((other) => other !== cell && answer[other] === answer[cell]);
      if (twin && isDigit(answer[cell]!, size)) broken.add(cell);
    }
  }
  return { solved: filled && broken.size === 0, violations: [...broken].sort((a, b) => a - b) };
}

/** True for a complete answer that keeps the givens and breaks no rule: the quick check of large files. */
function isSolution(
  input: ArrayLike<number>,
  answer: ArrayLike<number>,
  size: SudokuSize,
  units: readonly (readonly number[])[],
): boolean {
  for (let cell = 0; cell < size * size; cell++)
    if (isDigit(input[cell]!, size) && input[cell] !== answer[cell]) return false;
  for (const unit of units) {
    let seen = 0;
    for (const cell of unit) if (isDigit(answer[cell]!, size)) seen |= 1 << (answer[cell]! - digitToken(1));
    if (seen !== (1 << size) - 1) return false;
  }
  return true;
}

/** Why a puzzle cannot have an answer, or what is wrong with the boxes of a wrong answer; null if neither is known. */
function sudokuProblem(
  input: ArrayLike<number>,
  answer: ArrayLike<number> | undefined,
  size: SudokuSize,
  units: readonly (readonly number[])[],
): string | null {
  const boxRows = BOX_ROWS[size];
  const boxColumns = size / boxRows;
  if (answer && boxRows !== boxColumns && isSolution(input, answer, size, sudokuUnits(size, boxColumns)))
    return `it fits boxes of ${boxColumns} rows x ${boxRows} columns, but sudoku${size} has boxes of ${boxRows} rows x ${boxColumns} columns; transpose every puzzle and answer (swap rows and columns)`;
  const kinds = ["row", "column", "box"];
  for (const [index, unit] of units.entries()) {
    const seen = new Set<number>();
    for (const cell of unit) {
      const token = input[cell]!;
      if (isDigit(token, size) && seen.has(token))
        return `two ${symbol(token, size)} in ${kinds[Math.floor(index / size)]!} ${(index % size) + 1}`;
      seen.add(token);
    }
  }
  return null;
}

/** Draws the grid with box characters. With colours, givens are bold, violations red and blanks dim. */
function renderSudoku(
  cells: ArrayLike<number>,
  size: SudokuSize,
  { input, violations = [], color = false }: RenderOptions = {},
): string {
  requireLength(`sudoku${size}`, cells, size * size, "cells");
  if (input) requireLength(`sudoku${size}`, input, size * size, "input");
  const boxRows = BOX_ROWS[size];
  const boxColumns = size / boxRows;
  const marked = new Set(violations);
  const drawCell = (cell: number): string => {
    const token = cells[cell]!;
    const styles: TextStyle[] = [];
    if (!isDigit(token, size)) styles.push("dim");
    else if (input && isDigit(input[cell]!, size)) styles.push("bold");
    if (marked.has(cell)) styles.push("red");
    return styled(symbol(token, size), color ? styles : []);
  };
  const stroke = "─".repeat(2 * boxColumns + 1);
  const rule = (left: string, cross: string, right: string): string =>
    left + Array.from({ length: boxRows }, () => stroke).join(cross) + right;
  const lines = [rule("┌", "┬", "┐")];
  for (let row = 0; row < size; row++) {
    if (row > 0 && row % boxRows === 0) lines.push(rule("├", "┼", "┤"));
    let line = "│";
    for (let column = 0; column < size; column++) {
      line += ` ${drawCell(row * size + column)}`;
      if ((column + 1) % boxColumns === 0) line += " │";
    }
    lines.push(line);
  }
  lines.push(rule("└", "┴", "┘"));
  return lines.join("\n");
}

/** Draws givens in bold, filled digits in blue, and violations on red. */
function drawSudoku(
  cells: ArrayLike<number>,
  size: SudokuSize,
  { input, violations = [] }: Highlights = {},
): string {
  requireLength(`sudoku${size}`, cells, size * size, "cells");
  const boxRows = BOX_ROWS[size];
  const marked = new Set(violations);
  return gridPicture({
    rows: size,
    columns: size,
    label: `Sudoku ${size}x${size}`,
    box: { rows: boxRows, columns: size / boxRows },
    cell(index): PictureCell {
      const token = cells[index]!;
      const given = !input || isDigit(input[index]!, size);
      return {
        text: isDigit(token, size) ? symbol(token, size) : "",
        ink: given ? "given" : "filled",
        ...(marked.has(index) && { fill: "violation" as const }),
      };
    },
  });
}

function symbol(token: number, size: SudokuSize): string {
  if (isDigit(token, size)) return sudokuDigits(size)[token - digitToken(1)]!;
  return token === BLANK || token === 0 ? "." : "?";
}
