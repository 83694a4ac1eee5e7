/** Text in rows of fields: separators, quotes, comments and the `sep=` line of spreadsheets. */
import { FileFormatError } from "../file_format_error.js";
import { textLines } from "./text_lines.js";

/** If a quote is still open after this many characters, it was not meant as a quote. */
const LONGEST_QUOTED = 16384;
/** The most fields in a row. Each field is an object, so a row of commas would otherwise take a hundred times its size. */
const MOST_FIELDS = 4096;

/** Characters that may separate fields. */
export const SEPARATORS = [",", ";", "\t", "|"] as const;

/** A row of fields. */
export interface FieldRow {
  /** Its first line, counted from 1. */
  readonly line: number;
  readonly fields: string[];
}

/** The separator that a line `sep=;` of a spreadsheet names; null for any other line. */
export function namedSeparator(line: string): string | null {
  return /^\s*"?sep=(.)"?\s*$/i.exec(line)?.[1] ?? null;
}

/** True for a line such as `# made by a script`. A row of a maze begins with "#" too, but has walls, spaces and ends alone. */
export function isComment(line: string): boolean {
  if (!/^\s*#/.test(line)) return false;
  const isMaze = (field: string): boolean => /^"?[# SGo]{3,}"?$/.test(field) && /[SG]/.test(field);
  return !line.split(/[,;\t]/, MOST_FIELDS).some(isMaze);
}

/** A row whose quote is still open at the end of a line. */
interface OpenRow {
  readonly line: number;
  readonly fields: string[];
  field: string;
  length: number;
}

/** Rows of a file; lines of white space alone, comments and a `sep=` line are skipped. @throws FileFormatError */
export function* fieldRows(
  bytes: Uint8Array,
  separator: string,
  { format, file }: { format: string; file: string },
): Generator<FieldRow> {
  let open: OpenRow | null = null;
  let before = true;
  const unclosed = (line: number): FileFormatError =>
    new FileFormatError(format, "a quoted field has no closing quote", { file, line });
  for (const { line, text } of textLines(bytes, format, file)) {
    if (!open) {
      if (text.trim() === "" || isComment(text)) continue;
      if (before && namedSeparator(text) !== null) continue;
      before = false;
    }
    const row: OpenRow = open ?? { line, fields: [], field: "", length: 0 };
    const fail = (problem: string): FileFormatError =>
      new FileFormatError(format, problem, { file, line: row.line });
    row.length += text.length;
    if (open && row.length > LONGEST_QUOTED) throw unclosed(row.line);
    open = readFields(text, separator, row, open !== null, fail) ? null : row;
    if (!open) yield { line: row.line, fields: row.fields };
  }
  if (open) throw unclosed(open.line);
}

/** Adds the fields of a line to a row. Returns false if a quote is open at the end of the line. `quoted` says whether the line begins inside a quote. */
function readFields(
  text: string,
  separator: string,
  row: OpenRow,
  quoted: boolean,
  fail: (problem: string) => FileFormatError,
): boolean {
  const { fields } = row;
  const add = (field: string): void => {
    if (fields.push(field) > MOST_FIELDS)
      throw fail(
        `got more than ${MOST_FIELDS} fields in a row; expected a puzzle and its answer among a few`,
      );
  };
  let at = 0;
  if (quoted) row.field += "\n";
  for (;;) {
    if (!quoted) {
      // Spaces before a quote do not belong to the field.
      let start = at;
      while (text[start] === " ") start++;
      if (text[start] !== '"') {
        const next = text.indexOf(separator, at);
        add(text.slice(at, next < 0 ? text.length : next));
        if (next < 0) return true;
        at = next + 1;
        continue;
      }
      at = start + 1;
      row.field = "";
    }
    for (;;) {
      const quote = text.indexOf('"', at);
      if (quote < 0) {
        row.field += text.slice(at);
        return false;
      }
      row.field += text.slice(at, quote);
      at = quote + 1;
      if (text[at] !== '"') break;
      row.field += '"';
      at++;
    }
    quoted = false;
    add(row.field);
    while (text[at] === " ") at++;
    if (at >= text.length) return true;
    if (text[at] !== separator)
      throw fail(
        `field ${fields.length} goes on after its closing quote; expected a ${separator === "," ? "comma" : JSON.stringify(separator)}`,
      );
    at++;
  }
}
