/**
 * Puzzle CSV as the Sudoku-Extreme and Maze-Hard data sets have it: `source,question,answer,rating`, one character a
 * cell. The header is optional: with one, its names find the columns; without, a line is `source,question,answer` and
 * anything, or `question,answer` alone. Spaces belong to the fields; lines of nothing else are skipped. A quoted field may
 * hold line breaks; messages then name the line on which its row begins.
 */
import type { PuzzleRecord, PuzzleSet } from "../puzzles.js";
import { PuzzleError, type Task } from "../tasks/task.js";
import { FileFormatError } from "./file_format_error.js";
import { textLines, type TextLine } from "./text_lines.js";

const FORMAT = "csv";

/** Characters of a row after which a quote that is still open was not meant to be one. */
const LONGEST_QUOTED = 16384;

/** What columns are called in files that people have; the first name is ours. */
const QUESTION = ["question", "puzzle", "puzzles", "quiz", "quizzes"];
const ANSWER = ["answer", "solution", "solutions"];

/** Where a line has its puzzle and its answer. */
interface Columns {
  readonly question: number;
  readonly answer: number;
  readonly count: number;
}

/**
 * Reads the puzzles of a task; `file` names it in messages. Every answer is checked by the task's rules.
 * @throws FileFormatError with the line, on anything that is not such a file; nothing is returned then
 */
export function readPuzzleCsv(bytes: Uint8Array, task: Task, file = "the file"): PuzzleSet {
  const { length } = task;
  // A puzzle takes two characters a cell: more rows than this cannot be in the file.
  const capacity = Math.floor(bytes.length / (2 * length));
  const inputs = new Int32Array(capacity * length);
  const labels = new Int32Array(capacity * length);
  let count = 0;
  for (const { line, question, answer } of questions(bytes, file)) {
    const input = decoded(task, question, "question", file, line);
    const label = decoded(task, answer, "answer", file, line);
    const { solved, violations } = task.check(input, label);
    if (!solved) {
      const cells = violations.slice(0, 5).map((cell) => cell + 1);
      throw new FileFormatError(
        FORMAT,
        cells.length > 0
          ? `the answer does not solve the question: ${task.name} rules are broken at character ${cells.join(", ")}`
          : `the answer does not solve the question by the rules of ${task.name}: it is not complete, or its path is not a shortest one`,
        { file, line },
      );
    }
    inputs.set(input, count * length);
    labels.set(label, count * length);
    count++;
  }
  if (count === 0)
    throw new FileFormatError(FORMAT, "no puzzles; expected lines of source,question,answer,rating", {
      file,
    });
  return {
    count,
    length,
    inputs: inputs.slice(0, count * length),
    labels: labels.slice(0, count * length),
    identifiers: new Int32Array(count),
  };
}

/** The first question of a file, by which its task can be told, and its line. @throws FileFormatError */
export function firstQuestion(bytes: Uint8Array, file = "the file"): { question: string; line: number } {
  for (const { question, line } of questions(bytes, file)) return { question, line };
  throw new FileFormatError(FORMAT, "no puzzles; expected lines of source,question,answer,rating", { file });
}

/** The text of a file with a header. Sources with a comma, a quote or a line break are quoted. */
export function writePuzzleCsv(records: readonly PuzzleRecord[], task: Task): string {
  const quoted = (text: string): string => (/[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text);
  const lines = records.map(
    ({ source, input, label, rating }) =>
      `${quoted(source)},${task.format(input)},${task.format(label)},${rating}\n`,
  );
  return `source,question,answer,rating\n${lines.join("")}`;
}

function* questions(
  bytes: Uint8Array,
  file: string,
): Generator<{ line: number; question: string; answer: string }> {
  let columns: Columns | undefined;
  for (const { line, fields } of rows(bytes, file)) {
    if (!columns) {
      const names = fields.map((field) => field.trim().toLowerCase());
      const header = names.some((name) => QUESTION.includes(name) || ANSWER.includes(name));
      columns = columnsOf(names, header, file, line);
      if (header) continue;
    }
    if (fields.length !== columns.count) {
      throw new FileFormatError(FORMAT, `got ${fields.length} fields; expected ${columns.count}`, {
        file,
        line,
      });
    }
    yield { line, question: fields[columns.question]!, answer: fields[columns.answer]! };
  }
}

/** Rows of fields, each with the line on which it begins. */
function* rows(bytes: Uint8Array, file: string): Generator<{ line: number; fields: string[] }> {
  /** A row with a quote still open. */
  let open: TextLine | null = null;
  const unclosed = (line: number): FileFormatError =>
    new FileFormatError(FORMAT, "a quoted field has no closing quote", { file, line });
  for (const next of textLines(bytes, FORMAT, file)) {
    const row: TextLine = open ? { line: open.line, text: `${open.text}\n${next.text}` } : next;
    if (row.text.trim() === "") continue;
    const fields = fieldsOf(row.text, file, row.line);
    if (!fields && row.text.length > LONGEST_QUOTED) throw unclosed(row.line);
    open = fields ? null : row;
    if (fields) yield { line: row.line, fields };
  }
  if (open) throw unclosed(open.line);
}

function columnsOf(names: readonly string[], header: boolean, file: string, line: number): Columns {
  const columns = header
    ? {
        question: names.findIndex((name) => QUESTION.includes(name)),
        answer: names.findIndex((name) => ANSWER.includes(name)),
        count: names.length,
      }
    : { question: names.length > 2 ? 1 : 0, answer: names.length > 2 ? 2 : 1, count: names.length };
  if (names.length < 2 || columns.question < 0 || columns.answer < 0) {
    throw new FileFormatError(
      FORMAT,
      `got ${names.length} field${names.length === 1 ? "" : "s"} (${JSON.stringify(names.join(",").slice(0, 40))}); ` +
        "expected source,question,answer,rating, or a header that names question and answer",
      { file, line },
    );
  }
  return columns;
}

/** Fields of a row; one that begins with a quote ends with one, and doubles those inside. Null where a quote is open. */
function fieldsOf(text: string, file: string, line: number): string[] | null {
  if (!text.includes('"')) return text.split(",");
  const fields: string[] = [];
  for (let at = 0; at <= text.length;) {
    if (text[at] !== '"') {
      const comma = text.indexOf(",", at);
      const end = comma < 0 ? text.length : comma;
      fields.push(text.slice(at, end));
      at = end + 1;
      continue;
    }
    let field = "";
    let from = at + 1;
    for (;;) {
      const quote = text.indexOf('"', from);
      if (quote < 0) return null;
      field += text.slice(from, quote);
      at = quote + 1;
      if (text[at] !== '"') break;
      field += '"';
      from = at + 1;
    }
    if (at < text.length && text[at] !== ",")
      throw new FileFormatError(
        FORMAT,
        `field ${fields.length + 1} goes on after its closing quote; expected a comma`,
        { file, line },
      );
    fields.push(field);
    at++;
  }
  return fields;
}

function decoded(task: Task, text: string, what: string, file: string, line: number): Int32Array {
  try {
    return task.decode(text);
  } catch (error) {
    if (!(error instanceof PuzzleError)) throw error;
    throw new FileFormatError(FORMAT, `${what}: ${error.message}`, { file, line }, { cause: error });
  }
}
