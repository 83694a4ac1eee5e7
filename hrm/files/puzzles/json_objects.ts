/** Objects of a JSON file: one per line, or the elements of one list. */
import { FileFormatError } from "../file_format_error.js";
import { textStart } from "../unsupported_formats.js";
import { startOfText, textLines } from "./text_lines.js";

const FORMAT = "jsonl";
/** The most bytes of a list, which is read as a whole. Longer lists should be written as JSON lines. */
const LONGEST_LIST = 256e6;

/** One object of a file, and makers of errors that name its place. */
export interface JsonObject {
  /** The line from 1, or the element of a list, from 1. */
  readonly line: number;
  readonly object: Record<string, unknown>;
  readonly fail: (problem: string) => FileFormatError;
}

/** The objects of a file in their order. @throws FileFormatError if a value is not an object */
export function* jsonObjects(bytes: Uint8Array, file: string): Generator<JsonObject> {
  if (textStart(bytes, 1) === "[") {
    yield* listObjects(bytes, file);
    return;
  }
  let first = true;
  for (const { line, text } of textLines(bytes, FORMAT, file)) {
    if (text.trim() === "") continue;
    const fail = (problem: string): FileFormatError => new FileFormatError(FORMAT, problem, { file, line });
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch (error) {
      if (first) refuseOneObject(bytes, file);
      throw fail(`not JSON (${(error as Error).message.slice(0, 100)}); expected one whole object a line`);
    }
    first = false;
    yield { line, object: requireObject(json, fail), fail };
  }
}

function* listObjects(bytes: Uint8Array, file: string): Generator<JsonObject> {
  const at = (problem: string): FileFormatError => new FileFormatError(FORMAT, problem, { file, line: 1 });
  const json = wholeJson(bytes, (problem) =>
    at(`${problem}; expected a list of objects, or one whole object a line`),
  );
  for (const [index, element] of (json as unknown[]).entries()) {
    const fail = (problem: string): FileFormatError => at(`element ${index + 1} of the list: ${problem}`);
    // A list of texts is a list of puzzles.
    const object = typeof element === "string" ? { question: element } : element;
    yield { line: index + 1, object: requireObject(object, fail), fail };
  }
}

function requireObject(json: unknown, fail: (problem: string) => Error): Record<string, unknown> {
  if (typeof json !== "object" || json === null || Array.isArray(json))
    throw fail(
      'expected an object on every line, like {"input": [[1, 2]], "label": [[2, 1]]}, or a list of such objects',
    );
  return json as Record<string, unknown>;
}

function wholeJson(bytes: Uint8Array, fail: (problem: string) => Error): unknown {
  if (bytes.length > LONGEST_LIST)
    throw fail(`a list of ${bytes.length} bytes; expected at most ${LONGEST_LIST}: write one object a line`);
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(startOfText(bytes))));
  } catch (error) {
    throw fail(`not JSON (${(error as Error).message.slice(0, 100)})`);
  }
}

/** Names a file that is one object over several lines, if it is of a kind that is known. */
function refuseOneObject(bytes: Uint8Array, file: string): void {
  let json: unknown;
  try {
    json = wholeJson(bytes, () => new Error());
  } catch {
    return;
  }
  const fail = (problem: string): FileFormatError => new FileFormatError(FORMAT, problem, { file, line: 1 });
  if (typeof json === "object" && json !== null) refuseArc(json as Record<string, unknown>, fail);
}

/** @throws FileFormatError for tasks of the Abstraction and Reasoning Corpus, of which a data set must be made first */
export function refuseArc(object: Record<string, unknown>, fail: (problem: string) => Error): void {
  const isPairs = (value: unknown): boolean =>
    Array.isArray(value) &&
    value.length > 0 &&
    value.every((pair) => typeof pair === "object" && pair !== null && "input" in pair);
  const isTask = (value: unknown): boolean =>
    typeof value === "object" && value !== null && isPairs((value as { train?: unknown }).train);
  const values = Object.values(object);
  const count = isTask(object) ? 1 : values.length > 0 && values.every(isTask) ? values.length : 0;
  if (count === 0) return;
  throw fail(
    `${count === 1 ? "an ARC task" : `${count} ARC tasks`} (train and test pairs of grids), which are not read as puzzles; ` +
      "make a data set folder of the file with hrm generate --arc FILE --out FOLDER and give that folder (docs/arc.md)",
  );
}
