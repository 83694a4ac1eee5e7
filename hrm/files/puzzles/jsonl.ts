/**
 * Puzzles of a user's own task, one JSON object per line:
 *
 *     {"input": [[1, 2], [0, 3]], "label": [[1, 2], [null, 3]]}
 *
 * Grids are lists of rows of tokens, all of one size; a flat list is one row. Tokens count from 0 (padding). A label of
 * null is not learned. `"identifier"` (an integer from 0, default 0) distinguishes kinds of puzzles. The first line may be
 * `{"vocabSize": 11, "numPuzzleIdentifiers": 3}`; without it both are one more than the largest number in the file.
 */
import { IGNORE_LABEL, type PuzzleRecord, type PuzzleSet } from "../../puzzles/puzzle_set.js";
import { gridTask } from "../../puzzles/tasks/grid.js";
import type { Task } from "../../puzzles/tasks/task.js";
import { FileFormatError } from "../file_format_error.js";
import { namedColumns, type ColumnChoice } from "./columns.js";
import { jsonObjects, refuseArc } from "./json_objects.js";
import { createTable, type PuzzleTable, type TextRow } from "./puzzle_table.js";
import { puzzlesOfText, type TextOptions } from "./puzzle_text.js";
import { formatValue } from "../../format_value.js";

const FORMAT = "jsonl";
const LARGEST_TOKEN = 65535;

/** Puzzles with their task. */
export interface TaskPuzzles {
  /** The task that the lines name. */
  readonly task: Task;
  /** The puzzles in the order of their lines. */
  readonly set: PuzzleSet;
  /** The line of each puzzle, from 1. */
  readonly lines: readonly number[];
  /** False if puzzles came without answers. */
  readonly answered: boolean;
  /** What was ignored, one sentence each. */
  readonly notes: readonly string[];
}

/** Options of reading JSON lines. */
export type JsonOptions = Pick<TextOptions, "columns" | "needsAnswers">;

/**
 * Reads puzzles; `file` names them in messages. With a `task` they must fit it; else the task follows from the file. Objects
 * with texts (`{"question": "1..4", "answer": "1234"}`) are read as the columns of a table are; one list of
 * objects is read as lines are. @throws FileFormatError with the line
 */
export function readPuzzleJsonl(
  bytes: Uint8Array,
  task?: Task,
  file = "the file",
  options: JsonOptions = {},
): TaskPuzzles {
  const lines: number[] = [];
  const ignored = new Set<string>();
  let keys: GridKeys | undefined;
  let table: PuzzleTable | undefined;
  let size: { rows: number; columns: number } | undefined;
  let header: { vocabSize?: number; numPuzzleIdentifiers?: number } = {};
  let largest = 0;
  let largestIdentifier = 0;
  for (const { line, object, fail } of jsonObjects(bytes, file)) {
    if (!keys) {
      refuseArc(object, fail);
      if ("vocabSize" in object || "numPuzzleIdentifiers" in object) {
        header = parsedHeader(object, fail);
        continue;
      }
      const found = keysOf(object, options.columns, fail);
      if (found.text) return readTexts(bytes, found, { task, file, ...options });
      keys = found;
    }
    for (const key of Object.keys(object))
      if (key !== keys.question && key !== keys.answer && key !== "identifier" && ignored.size < MOST_KEYS)
        ignored.add(key);
    const vocabSize = task?.vocabSize ?? header.vocabSize ?? LARGEST_TOKEN + 1;
    const input = parsedGrid(object[keys.question], keys.question, { vocabSize, nulls: false }, fail);
    const label = parsedGrid(object[keys.answer], keys.answer, { vocabSize, nulls: true }, fail);
    const expected = size ?? (task ? { rows: task.rows, columns: task.columns } : input);
    size = { rows: expected.rows, columns: expected.columns };
    for (const [what, grid] of [
      [keys.question, input],
      [keys.answer, label],
    ] as const) {
      // The task fixes the number of cells; the file may divide them into rows in any way.
      const fits = task
        ? grid.cells.length === task.length
        : grid.rows === size.rows && grid.columns === size.columns;
      if (!fits)
        throw fail(
          `${what} has ${grid.rows} rows of ${grid.columns}; expected ${size.rows} of ${size.columns}`,
        );
    }
    const identifier = object["identifier"] ?? 0;
    const identifiers = task?.numPuzzleIdentifiers ?? header.numPuzzleIdentifiers ?? LARGEST_TOKEN + 1;
    if (typeof identifier !== "number" || !isTokenBelow(identifier, identifiers))
      throw fail(
        `identifier is ${formatValue(identifier)}; expected an integer from 0 to ${identifiers - 1}`,
      );
    largestIdentifier = Math.max(largestIdentifier, identifier);
    for (const cells of [input.cells, label.cells])
      for (const token of cells) largest = Math.max(largest, token);
    lines.push(line);
    table ??= createTable(input.cells.length);
    table.add(input.cells, label.cells, identifier);
  }
  if (!size || !table)
    throw new FileFormatError(FORMAT, 'no puzzles; expected lines of {"input": grid, "label": grid}', {
      file,
    });
  const found =
    task ??
    gridTask({
      ...size,
      vocabSize: header.vocabSize ?? largest + 1,
      numPuzzleIdentifiers: header.numPuzzleIdentifiers ?? largestIdentifier + 1,
    });
  const notes =
    ignored.size === 0 ? [] : [`the keys ${formatValue([...ignored].join(", "))} of ${file} are not used`];
  return { task: found, set: table.finish(), lines, answered: true, notes };
}

/** Keys of puzzle and answer. */
interface GridKeys {
  readonly question: string;
  readonly answer: string;
  /** True for texts, and for lists of digits, with one character per cell. */
  readonly text: boolean;
}

/** Keys whose values are tokens, see the head of this file. Other keys hold digits, where 0 is a blank. */
const TOKEN_KEYS = ["input", "inputs", "label", "labels", "output", "outputs", "target"];
/** The most unknown keys that a message names. */
const MOST_KEYS = 16;

function keysOf(object: Record<string, unknown>, choice: ColumnChoice | undefined, fail: Fail): GridKeys {
  const names = Object.keys(object);
  const own = { question: names.indexOf("input"), answer: names.indexOf("label") };
  const found = own.question >= 0 && own.answer >= 0 ? own : namedColumns(names);
  const chosen = (given: string | undefined, what: string, at: number): string | undefined => {
    if (given === undefined) return names[at];
    if (Object.hasOwn(object, given)) return given;
    throw fail(`no key ${formatValue(given)} for the ${what}; got ${formatValue(names.join(", "))}`);
  };
  const question = chosen(choice?.question, "question", found.question);
  const answer = chosen(choice?.answer, "answer", found.answer);
  if (question === undefined)
    throw fail(
      `got the keys ${formatValue(names.join(", "))}; expected a puzzle with input and label (grids of tokens) or question and answer (texts), or vocabSize and numPuzzleIdentifiers in the first line; --columns question=KEY,answer=KEY names others`,
    );
  const value = object[question];
  const digits = Array.isArray(value) && !TOKEN_KEYS.includes(question.toLowerCase()) && isDigits(value);
  return { question, answer: answer ?? "label", text: typeof value === "string" || digits };
}

/** True for lists of digits, the size of a Sudoku. */
function isDigits(value: readonly unknown[]): boolean {
  return textOf(value) !== null;
}

/** Digits of a list as text; null for anything else. */
function textOf(value: unknown): string | null {
  if (typeof value === "string") return value;
  if (!Array.isArray(value) || value.length > 81) return null;
  const rows: unknown[] = value.some(Array.isArray) ? value : [value];
  let text = "";
  for (const row of rows) {
    if (typeof row === "string") text += row;
    else if (!Array.isArray(row) || row.length > 81) return null;
    else
      for (const cell of row) {
        if (cell === null || cell === "") text += ".";
        else if (
          typeof cell === "number"
            ? Number.isInteger(cell) && cell >= 0 && cell <= 9
            : typeof cell === "string" && cell.length === 1
        )
          text += String(cell);
        else return null;
      }
  }
  return [16, 36, 81].includes(text.length) ? text : null;
}

/** Objects with texts as the rows of a table. */
function readTexts(
  bytes: Uint8Array,
  { question, answer }: GridKeys,
  options: JsonOptions & { task: Task | undefined; file: string },
): TaskPuzzles {
  const lines: number[] = [];
  function* rows(): Generator<TextRow> {
    for (const { line, object, fail } of jsonObjects(bytes, options.file)) {
      const text = textOf(object[question]);
      const label = object[answer] ?? null;
      const answered = label === null ? null : textOf(label);
      if (text === null)
        throw fail(`${question} is ${formatValue(object[question])}; expected a text, one character a cell`);
      if (label !== null && answered === null)
        throw fail(`${answer} is ${formatValue(label)}; expected a text, one character a cell`);
      lines.push(line);
      yield { line, question: text, answer: answered };
    }
  }
  const puzzles = puzzlesOfText(rows(), { ...options, format: FORMAT, notes: [], size: bytes.length });
  return { ...puzzles, lines };
}

/** The text of a file with a header. */
export function writePuzzleJsonl(records: readonly PuzzleRecord[], task: Task): string {
  const { rows, columns, vocabSize, numPuzzleIdentifiers } = task;
  const grid = (cells: Int32Array): (number | null)[][] =>
    Array.from({ length: rows }, (_, r) =>
      Array.from(cells.subarray(r * columns, (r + 1) * columns), (token) =>
        token === IGNORE_LABEL ? null : token,
      ),
    );
  const lines = records.map(({ input, label, identifier }) =>
    JSON.stringify({ input: grid(input), label: grid(label), ...(identifier && { identifier }) }),
  );
  return `${[JSON.stringify({ vocabSize, numPuzzleIdentifiers }), ...lines].join("\n")}\n`;
}

type Fail = (problem: string) => FileFormatError;

function parsedHeader(
  object: Record<string, unknown>,
  fail: Fail,
): { vocabSize?: number; numPuzzleIdentifiers?: number } {
  for (const [key, value] of Object.entries(object)) {
    if (key !== "vocabSize" && key !== "numPuzzleIdentifiers")
      throw fail(
        `got the key ${JSON.stringify(key.slice(0, 40))}; expected a puzzle with input and label, or vocabSize and numPuzzleIdentifiers`,
      );
    if (typeof value !== "number" || value < 1 || !isTokenBelow(value, LARGEST_TOKEN + 2))
      throw fail(`${key} is ${formatValue(value)}; expected an integer from 1 to ${LARGEST_TOKEN + 1}`);
  }
  return object;
}

function isTokenBelow(value: number, limit: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < limit;
}

function parsedGrid(
  value: unknown,
  what: string,
  { vocabSize, nulls }: { readonly vocabSize: number; readonly nulls: boolean },
  fail: Fail,
): { rows: number; columns: number; cells: Int32Array } {
  if (!Array.isArray(value) || value.length === 0)
    throw fail(`${what} is ${formatValue(value)}; expected a list of rows of tokens`);
  const rows = (value.every(Array.isArray) ? value : [value]) as unknown[][];
  const columns = rows[0]!.length;
  if (columns === 0) throw fail(`${what} has an empty row`);
  // All rows are measured before cells are allocated, since one long row among many short rows is not a grid.
  const ragged = rows.findIndex((row) => row.length !== columns);
  if (ragged >= 0)
    throw fail(
      `${what} row ${ragged + 1} has ${rows[ragged]!.length} tokens; expected ${columns} like the first`,
    );
  const cells = new Int32Array(rows.length * columns);
  rows.forEach((row, r) => {
    row.forEach((token, c) => {
      if (token === null && nulls) cells[r * columns + c] = IGNORE_LABEL;
      else if (typeof token === "number" && isTokenBelow(token, vocabSize)) cells[r * columns + c] = token;
      else
        throw fail(
          `${what} row ${r + 1}, column ${c + 1} is ${formatValue(token)}; ` +
            `expected an integer from 0 to ${vocabSize - 1}${nulls ? " or null" : ""}`,
        );
    });
  });
  return { rows: rows.length, columns, cells };
}
