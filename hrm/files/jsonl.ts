/**
 * Puzzles of a task of one's own, one JSON object a line:
 *
 *     {"input": [[1, 2], [0, 3]], "label": [[1, 2], [null, 3]]}
 *
 * Grids are lists of rows of tokens, all of one size; a flat list is one row. Tokens count from 0 (padding). A label of
 * null is not learned. `"identifier"` (an integer from 0, default 0) tells apart kinds of puzzles. The first line may be
 * `{"vocabSize": 11, "numPuzzleIdentifiers": 3}`; without it both are one more than the largest number in the file.
 */
import { IGNORE_LABEL, type PuzzleRecord, type PuzzleSet, puzzleSet } from "../puzzles.js";
import { gridTask } from "../tasks/grid.js";
import type { Task } from "../tasks/task.js";
import { FileFormatError } from "./file_format_error.js";
import { textLines } from "./text_lines.js";
import { shown } from "../shown.js";

const FORMAT = "jsonl";
const LARGEST_TOKEN = 65535;

/** Puzzles with their task. */
export interface TaskPuzzles {
  readonly task: Task;
  readonly set: PuzzleSet;
}

/**
 * Reads puzzles; `file` names them in messages. With a `task` they must fit it; else the task follows from the file.
 * @throws FileFormatError with the line
 */
export function readPuzzleJsonl(bytes: Uint8Array, task?: Task, file = "the file"): TaskPuzzles {
  const records: PuzzleRecord[] = [];
  let size: { rows: number; columns: number } | undefined;
  let header: { vocabSize?: number; numPuzzleIdentifiers?: number } = {};
  let largest = 0;
  let largestIdentifier = 0;
  for (const { line, text } of textLines(bytes, FORMAT, file)) {
    if (text.trim() === "") continue;
    const fail = (problem: string): FileFormatError => new FileFormatError(FORMAT, problem, { file, line });
    const object = parsedObject(text, fail);
    if (!("input" in object) && records.length === 0) {
      header = parsedHeader(object, fail);
      continue;
    }
    for (const key of Object.keys(object))
      if (!["input", "label", "identifier"].includes(key))
        throw fail(`got the key ${JSON.stringify(key.slice(0, 40))}; expected input, label and identifier`);
    const vocabSize = task?.vocabSize ?? header.vocabSize ?? LARGEST_TOKEN + 1;
    const input = parsedGrid(object["input"], "input", vocabSize, fail);
    const label = parsedGrid(object["label"], "label", vocabSize, fail);
    const expected = size ?? (task ? { rows: task.rows, columns: task.columns } : input);
    size = { rows: expected.rows, columns: expected.columns };
    for (const [what, grid] of [
      ["input", input],
      ["label", label],
    ] as const) {
      // A task says how many cells there are; how a file breaks them into rows is its own affair.
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
      throw fail(`identifier is ${shown(identifier)}; expected an integer from 0 to ${identifiers - 1}`);
    largestIdentifier = Math.max(largestIdentifier, identifier);
    for (const cells of [input.cells, label.cells])
      for (const token of cells) largest = Math.max(largest, token);
    records.push({ source: file, input: input.cells, label: label.cells, rating: 0, identifier });
  }
  if (!size || records.length === 0)
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
  return { task: found, set: puzzleSet(records, found.length) };
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

function parsedObject(text: string, fail: Fail): Record<string, unknown> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw fail(`not JSON (${(error as Error).message}); expected one whole object a line`);
  }
  if (typeof json !== "object" || json === null || Array.isArray(json))
    throw fail(
      'expected an object on every line, like {"input": [[1, 2]], "label": [[2, 1]]}, without brackets around them',
    );
  return json as Record<string, unknown>;
}

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
      throw fail(`${key} is ${shown(value)}; expected an integer from 1 to ${LARGEST_TOKEN + 1}`);
  }
  return object;
}

function isTokenBelow(value: number, limit: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < limit;
}

function parsedGrid(
  value: unknown,
  what: "input" | "label",
  vocabSize: number,
  fail: Fail,
): { rows: number; columns: number; cells: Int32Array } {
  if (!Array.isArray(value) || value.length === 0)
    throw fail(`${what} is ${shown(value)}; expected a list of rows of tokens`);
  const rows = (value.every(Array.isArray) ? value : [value]) as unknown[][];
  const columns = rows[0]!.length;
  if (columns === 0) throw fail(`${what} has an empty row`);
  const cells = new Int32Array(rows.length * columns);
  rows.forEach((row, r) => {
    if (row.length !== columns)
      throw fail(`${what} row ${r + 1} has ${row.length} tokens; expected ${columns} like the first`);
    row.forEach((token, c) => {
      if (token === null && what === "label") cells[r * columns + c] = IGNORE_LABEL;
      else if (typeof token === "number" && isTokenBelow(token, vocabSize)) cells[r * columns + c] = token;
      else
        throw fail(
          `${what} row ${r + 1}, column ${c + 1} is ${shown(token)}; ` +
            `expected an integer from 0 to ${vocabSize - 1}${what === "label" ? " or null" : ""}`,
        );
    });
  });
  return { rows: rows.length, columns, cells };
}
