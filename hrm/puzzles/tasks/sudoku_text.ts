/** Sudoku as text: one character a cell as data files have it, and boards as people paste them. */
import { PuzzleError } from "./task.js";

/** Token of an empty cell. */
const BLANK = 1;
const DIGITS = "123456789ABCDEFG";
/** Characters that always stand for blanks; any other one may, if it is the only one and completes the cells. */
const BLANKS = "._0";
/** Characters that may lie between the cells of a pasted board. */
const FRAME = /[\s|+\-=:;,*!'"`()[\]{}/\\\u2500-\u257f]/u;

/** The digits of a size as characters: 1 to 9, then A to G. */
export function sudokuDigits(size: number): string {
  return DIGITS.slice(0, size);
}

/** What cells may be written as, in words. */
export function expectedSymbols(size: number): string {
  const digits = size <= 9 ? `the digits 1 to ${size}` : `the digits 1 to 9 and A to ${DIGITS[size - 1]!}`;
  return `${digits}, and ".", "0" or "_" for blanks (or one other character for all of them)`;
}

/**
 * Reads a puzzle or answer of `size` x `size` cells, one character a cell. `like` is another text of the same puzzle
 * (its answer), which tells the symbols that a large grid uses: 1-9 A-G, 0-F or A-P. @throws PuzzleError
 */
export function decodeSudoku(text: string, size: number, like = text): Int32Array {
  const length = size * size;
  if (text.length !== length) {
    const trimmed = text.trim();
    if (trimmed.length === length) return decodeSudoku(trimmed, size, like);
    if (/\s/.test(trimmed)) return parseSudoku(text, size);
    throw new PuzzleError(
      `sudoku${size}: got ${text.length} characters; expected ${length}, one a cell, row by row.`,
    );
  }
  const table = tokenTable(size, size > 9 ? symbolsOf(like, size) : sudokuDigits(size));
  const cells = new Int32Array(length);
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i);
    const token = code < 128 ? table[code]! : 0;
    if (token === 0) return withOtherBlank(text, size, table, i);
    cells[i] = token;
  }
  return cells;
}

/** A text with a character that is none of ours: the blank, if it is the only such character and no blank is ours. */
function withOtherBlank(text: string, size: number, table: Uint8Array, at: number): Int32Array {
  const blank = text[at]!;
  const cells = new Int32Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    const token = code < 128 ? table[code]! : 0;
    if (text[i] === blank && !/[0-9A-Za-z]/.test(blank.replace(/x/i, ""))) cells[i] = BLANK;
    else if (token > BLANK) cells[i] = token;
    else
      throw new PuzzleError(
        `sudoku${size}: got ${JSON.stringify(blank)} as character ${at + 1}; expected ${expectedSymbols(size)}.`,
      );
  }
  return cells;
}

const tables = new Map<string, Uint8Array>();

/** Tokens by character code; 0 stands for characters that are none. */
function tokenTable(size: number, symbols: string): Uint8Array {
  const key = `${size} ${symbols}`;
  let table = tables.get(key);
  if (!table) {
    table = new Uint8Array(128);
    for (const blank of BLANKS) table[blank.charCodeAt(0)] = BLANK;
    for (let d = 0; d < size; d++) {
      table[symbols.charCodeAt(d)] = d + 2;
      table[symbols[d]!.toLowerCase().charCodeAt(0)] = d + 2;
    }
    tables.set(key, table);
  }
  return table;
}

/** Which characters a text of a grid beyond 9x9 uses as digits: 1-9 A-G, 0-F or A-P. */
function symbolsOf(text: string, size: number): string {
  const has = new Set(text.toUpperCase());
  const letters = "ABCDEFGHIJKLMNOP".slice(0, size);
  const beyond = [...letters].some((letter) => has.has(letter) && !DIGITS.slice(0, size).includes(letter));
  const digits = [..."123456789"].some((digit) => has.has(digit));
  if (beyond && !digits) return letters;
  const zeros = text.split("0").length - 1;
  const others = [...has].some((character) => character === "." || character === "_");
  if (digits && zeros > 0 && zeros <= size && !has.has(DIGITS[size - 1]!) && (others || zeros === size))
    return "0123456789ABCDEF".slice(0, size);
  return DIGITS.slice(0, size);
}

/**
 * Reads a puzzle as a person pastes it: white space, frames, commas, comment lines and prose around the rows are
 * skipped, and any one character that completes the number of cells is the blank. @throws PuzzleError
 */
export function parseSudoku(text: string, size: number): Int32Array {
  const length = size * size;
  if (text.length === length && !/\s/.test(text)) return decodeSudoku(text, size);
  const lines = text.split(/\r\n|\r|\n/);
  const symbols = size > 9 ? symbolsOf(text, size) : sudokuDigits(size);
  const table = tokenTable(size, symbols);
  const uncommented = lines.filter((line) => !/^\s*([#;]|\[\w+\])/.test(line) || isRow(line, size, table));
  const candidates = [
    lines,
    uncommented,
    uncommented.filter((line) => isRow(line, size, table)),
    uncommented.filter((line) => isRow(line, size, table) && !isRule(line)),
  ];
  for (const candidate of candidates) {
    const cells =
      cellsOf(candidate.join("\n"), length, table) ??
      (size > 9 ? cellsOfNumbers(candidate.join("\n"), size) : null) ??
      cellsOfColumns(candidate, size, table);
    if (cells) return cells;
  }
  throw problemOf(uncommented.join("\n"), size, table);
}

/** Cells if all characters are digits, blanks and frames; a blank of another kind is the one that completes them. */
function cellsOf(text: string, length: number, table: Uint8Array): Int32Array | null {
  const cells: number[] = [];
  const others = new Map<string, number>();
  let digits = 0;
  let foreign = 0;
  for (const character of text) {
    const code = character.charCodeAt(0);
    const token = code < 128 && character.length === 1 ? table[code]! : 0;
    if (token > 0) cells.push(token);
    if (token > BLANK) digits++;
    else if (token === 0) {
      others.set(character, (others.get(character) ?? 0) + 1);
      if (!FRAME.test(character)) foreign++;
    }
  }
  if (foreign === 0 && cells.length === length) return Int32Array.from(cells);
  // A blank of another kind: it takes the place of ours, and all the rest is frame.
  if (digits !== cells.length) return null;
  const fits = [...others].filter(
    ([character, count]) =>
      digits + count === length &&
      !/[0-9A-Za-wyz\n\r]/.test(character) &&
      foreign === (FRAME.test(character) ? 0 : count),
  );
  if (fits.length !== 1) return null;
  const blank = fits[0]![0];
  const found: number[] = [];
  for (const character of text) {
    const code = character.charCodeAt(0);
    if (character === blank) found.push(BLANK);
    else if (code < 128 && table[code]! > BLANK) found.push(table[code]!);
  }
  return Int32Array.from(found);
}

/** Numbers from 1 to the size between spaces, commas and frames: "1 12 . 16". */
function cellsOfNumbers(text: string, size: number): Int32Array | null {
  const words = text.split(/[\s,;|]+/).filter((word) => word !== "" && !/^[-+=]{2,}$/.test(word));
  if (words.length !== size * size || !words.some((word) => word.length > 1)) return null;
  const cells = words.map((word) =>
    /^[1-9]\d?$/.test(word) && Number(word) <= size
      ? Number(word) + 1
      : /^[._0?x*-]$/i.test(word)
        ? BLANK
        : 0,
  );
  return cells.includes(0) ? null : Int32Array.from(cells);
}

/** Rows in which nothing stands for a blank: empty fields between commas, or spaces at fixed places. */
function cellsOfColumns(lines: readonly string[], size: number, table: Uint8Array): Int32Array | null {
  const cell = (character: string): number =>
    character === "" || character === " "
      ? BLANK
      : character.length === 1
        ? (table[character.charCodeAt(0)] ?? 0)
        : 0;
  const full = lines.length > size ? lines.filter((line) => line.trim() !== "") : lines;
  if (full.length !== size) return null;
  for (const split of [
    (line: string) => line.split(/[,;\t]/).map((field) => field.trim()),
    (line: string) => [...line.padEnd(size)],
  ]) {
    const rows = full.map(split);
    if (rows.some((row) => row.length !== size)) continue;
    const cells = rows.flat().map(cell);
    if (!cells.includes(0)) return Int32Array.from(cells);
  }
  return null;
}

/** True for a line that may be a row: digits, blanks and frames alone. */
function isRow(line: string, size: number, table: Uint8Array): boolean {
  let cells = 0;
  for (const character of line) {
    const code = character.charCodeAt(0);
    if (code < 128 && table[code]! > 0) cells++;
    else if (!FRAME.test(character) && !/[?xX#~^]/.test(character)) return false;
  }
  return cells <= size * size && line.trim() !== "";
}

/** True for a line of a frame: no cell in it, and a corner or a crossing. */
function isRule(line: string): boolean {
  return !/[0-9A-Za-z._?]/.test(line) && /[+=*|\u2500-\u257f]/u.test(line);
}

/** What is wrong with a text that is no board: its first foreign character, or the number of cells. */
function problemOf(text: string, size: number, table: Uint8Array): PuzzleError {
  let position = 0;
  let cells = 0;
  for (const character of text) {
    position++;
    const code = character.charCodeAt(0);
    if (code < 128 && table[code]! > 0) cells++;
    else if (!FRAME.test(character))
      return new PuzzleError(
        `sudoku${size}: got ${JSON.stringify(character)} as character ${position}; expected ${expectedSymbols(size)}.`,
      );
  }
  return new PuzzleError(
    `sudoku${size}: got ${cells} cells; expected ${size * size}, row by row, like "1${".".repeat(Math.min(80, size * size - 1))}".`,
  );
}
