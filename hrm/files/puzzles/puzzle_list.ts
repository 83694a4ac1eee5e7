/**
 * Puzzles without a table: one per line (`.sdm`, banks of `hash puzzle rating`), or boards over several lines (`.sdk`, grids of
 * nine lines). Lines that begin with "#" are comments.
 */
import { FileFormatError } from "../file_format_error.js";
import { boardLength } from "./columns.js";
import { isComment } from "./delimited.js";
import { textLines } from "./text_lines.js";
import type { TextRow } from "./puzzle_table.js";

/** Sides of the boards that a row of cells may belong to. */
const SIDES = [4, 6, 9, 12, 16];
/** The most words of a line that are examined. */
const MOST_WORDS = 64;

/** What one line of a list holds. */
export type ListKind = "puzzle a line" | "row a line" | "maze a line" | "maze row a line";

/** The kind of list to which a line belongs; null if it belongs to none. `wanted` is the number of cells of the task. */
export function listKindOf(line: string, wanted?: number): ListKind | null {
  if (line.length > 16384) return null;
  if (/^[# SGo]{3,}$/.test(line) && line.includes("#") && !isComment(`${line} `)) {
    if (boardLength(line, wanted) > 0 && line.includes("S")) return "maze a line";
  }
  if (line.split(/\s+/, MOST_WORDS).some((word) => boardLength(word, wanted) > 0)) return "puzzle a line";
  const side = sideOf(line);
  if (side > 0 && (wanted === undefined || side * side === wanted)) return "row a line";
  if (/^[# SG]{3,64}$/.test(line) && line.includes("#")) return "maze row a line";
  return null;
}

/** The cells of a row without its frame. */
function cellsOf(line: string): string {
  const bare = line.replace(/[\s|!:+,;\u2500-\u257f]/gu, "");
  if (SIDES.includes(bare.length)) return bare;
  return SIDES.includes(line.length) && /^[\d ]+$/.test(line) ? line.replaceAll(" ", ".") : bare;
}

/** The side of the board to which a row belongs; 0 if the line is not a row. */
function sideOf(line: string): number {
  if (line.length > 256) return 0;
  const cells = cellsOf(line);
  if (!SIDES.includes(cells.length)) return 0;
  const digits = "123456789ABCDEFG".slice(0, cells.length);
  const others = new Set(cells.toUpperCase());
  for (const character of `._0${digits}`) others.delete(character);
  // A line without a digit or a usual blank may belong to a frame.
  return others.size <= 1 && /[0-9A-G._?x]/i.test(cells) ? cells.length : 0;
}

/** The puzzles of a list, and their answers if a line has two boards. @throws FileFormatError */
export function* listRows(
  bytes: Uint8Array,
  kind: ListKind,
  { format, file, wanted }: { format: string; file: string; wanted: number | undefined },
): Generator<TextRow> {
  const fail = (problem: string, line: number): FileFormatError =>
    new FileFormatError(format, problem, { file, line });
  let skipping = false;
  let start = 0;
  let side = wanted === undefined ? 0 : Math.round(Math.sqrt(wanted));
  let rows: string[] = [];
  const rowAt = (): TextRow => ({ line: start, question: rows.join(""), answer: null });
  for (const { line, text } of textLines(bytes, format, file)) {
    if (kind === "maze a line") {
      if (text.trim() !== "" && !isComment(text)) yield { line, question: text, answer: null };
      continue;
    }
    if (kind === "maze row a line") {
      if (text === "" && rows.length === 0) continue;
      if (rows.length === 0) [start, side] = [line, text.length];
      if (text.length !== side)
        throw fail(
          `got a row of ${text.length} cells; expected ${side} as in the row on line ${start}`,
          line,
        );
      if (rows.push(text) < side) continue;
      yield rowAt();
      rows = [];
      continue;
    }
    const section = /^\s*\[(\w+)\]\s*$/.exec(text)?.[1]?.toLowerCase();
    if (section !== undefined) skipping = section !== "puzzle";
    if (section !== undefined || skipping || text.trim() === "" || /^\s*[#;]/.test(text)) continue;
    if (kind === "puzzle a line") {
      const words = text.trim().split(/\s+/, MOST_WORDS);
      const boards = words.filter((word) => boardLength(word, wanted) > 0);
      if (boards.length === 0)
        throw fail(
          `got ${JSON.stringify(text.trim().slice(0, 40))} of ${text.trim().length} characters; expected a puzzle${wanted === undefined ? "" : ` of ${wanted} cells`} a line`,
          line,
        );
      const same = boards.filter((board) => board.length === boards[0]!.length);
      yield { line, question: same[0]!, answer: same[1] ?? null };
      continue;
    }
    const here = sideOf(text);
    if (here === 0) {
      // This line is a title between boards, or belongs to a frame.
      if (rows.length === 0 || /^[\s|+\-=*:\u2500-\u257f]+$/u.test(text)) continue;
      throw fail(
        `got ${JSON.stringify(text.slice(0, 40))} as row ${rows.length + 1} of a board; expected ${side} cells, as in its first row on line ${start}`,
        line,
      );
    }
    if (rows.length === 0) {
      start = line;
      if (wanted === undefined) side = here;
    }
    if (here !== side)
      throw fail(
        `got a row of ${here} cells; expected ${side}${rows.length > 0 ? `, as in the row on line ${start}` : ""}`,
        line,
      );
    if (rows.push(cellsOf(text)) < side) continue;
    yield rowAt();
    rows = [];
  }
  if (rows.length > 0)
    throw fail(`the board on this line ends after ${rows.length} of its ${side} rows`, start);
}
