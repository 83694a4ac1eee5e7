/** Reads puzzles from text files with one character per cell: tables (such as CSV), lists and boards, with or without answers. */
import { IGNORE_LABEL, type PuzzleSet } from "../../puzzles/puzzle_set.js";
import { formatValue } from "../../format_value.js";
import { MAZE_SIDES } from "../../puzzles/tasks/maze.js";
import { findTask } from "../../puzzles/tasks/registry.js";
import { PuzzleError, type Task } from "../../puzzles/tasks/task.js";
import { boardLength, chooseColumns, namesColumns, type ColumnChoice } from "./columns.js";
import { fieldRows, isComment, namedSeparator, SEPARATORS } from "./delimited.js";
import { FileFormatError } from "../file_format_error.js";
import { listKindOf, listRows, type ListKind } from "./puzzle_list.js";
import { createTable, type TextRow } from "./puzzle_table.js";
import { textLines } from "./text_lines.js";

/** How puzzles are read from a text file. */
export interface TextOptions {
  /** The task of the puzzles; the default is the task of the first puzzle. */
  readonly task?: Task | undefined;
  /** Which columns or keys to read. By default their names decide, or contents that look like a puzzle. */
  readonly columns?: ColumnChoice | undefined;
  /** Whether every puzzle must have an answer; default true. */
  readonly needsAnswers?: boolean | undefined;
  /** Called from time to time with the share of the file that was read. */
  readonly onProgress?: ((share: number) => void) | undefined;
}

/** What was read. */
export interface TextPuzzles {
  /** The task of the puzzles. */
  readonly task: Task;
  /** Labels are `IGNORE_LABEL` for puzzles without answers. */
  readonly set: PuzzleSet;
  /** False if puzzles came without answers. */
  readonly answered: boolean;
  /** What was guessed, one sentence each. */
  readonly notes: readonly string[];
}

/** The most lines that are examined to recognise the kind of file. */
const MOST_LINES = 40;
/** Rows between two reports of progress. */
const PROGRESS_ROWS = 8192;

/** Reads a table, a list or boards. @throws FileFormatError with the line */
export function readPuzzleText(bytes: Uint8Array, file: string, options: TextOptions = {}): TextPuzzles {
  const format = "csv";
  const { rows, notes } = textRows(bytes, {
    format,
    file,
    columns: options.columns,
    wanted: options.task?.length,
  });
  return puzzlesOfText(rows, { ...options, format, file, notes, size: bytes.length });
}

interface RowsOptions {
  readonly format: string;
  readonly file: string;
  readonly columns?: ColumnChoice | undefined;
  /** Cells of a puzzle, if they are known. */
  readonly wanted: number | undefined;
}

/** The rows of a text file, and what was guessed about them. */
export function textRows(
  bytes: Uint8Array,
  options: RowsOptions,
): { rows: Iterable<TextRow>; notes: readonly string[] } {
  const shape = shapeOf(bytes, options);
  if (shape.kind !== "table") return { rows: listRows(bytes, shape.kind, options), notes: [] };
  const { format, file, columns: choice, wanted } = options;
  const first: string[][] = [];
  let line: number | undefined;
  for (const row of fieldRows(bytes, shape.separator, options)) {
    line ??= row.line;
    if (first.push(row.fields) === 2) break;
  }
  if (first.length === 0) throw noPuzzles(format, file);
  const columns = chooseColumns(
    first,
    choice,
    wanted,
    (problem) => new FileFormatError(format, problem, { file, line: line! }),
  );
  const count = first[0]!.length;
  // If separators are a comma and a space, the space in front of a field is not a cell.
  const spaced =
    count > 1 && first.every((row) => row.slice(1).every((field) => field.startsWith(" ") && !isMaze(field)));
  const cell = (field: string): string => (spaced && field.startsWith(" ") ? field.slice(1) : field);
  function* rows(): Generator<TextRow> {
    let header = columns.header;
    for (const { line: at, fields } of fieldRows(
      bytes,
      (shape as { separator: string }).separator,
      options,
    )) {
      if (header) {
        header = false;
        continue;
      }
      if (fields.length !== count && !(fields.length === count + 1 && fields[count] === ""))
        throw new FileFormatError(format, `got ${fields.length} fields; expected ${count}`, {
          file,
          line: at,
        });
      const answer = columns.answer === null ? null : cell(fields[columns.answer]!);
      yield { line: at, question: cell(fields[columns.question]!), answer };
    }
  }
  return { rows: rows(), notes: columns.note === null ? [] : [columns.note] };
}

/** True for the rows of a maze, whose spaces are cells. */
const isMaze = (field: string): boolean => /^[# SGo]+$/.test(field) && boardLength(field) > 0;

/** The kind of a text file, recognised by its first lines. */
function shapeOf(
  bytes: Uint8Array,
  { format, file, columns, wanted }: RowsOptions,
): { kind: "table"; separator: string } | { kind: ListKind } {
  let fallback: string | null = null;
  let looked = 0;
  for (const { text } of textLines(bytes, format, file)) {
    if (text.trim() === "" || isComment(text) || /^\s*\[\w+\]\s*$/.test(text)) continue;
    const named = namedSeparator(text);
    if (named !== null && fallback === null) return { kind: "table", separator: named };
    const table = separatorOf(text, wanted);
    if (table.certain || columns !== undefined) return { kind: "table", separator: table.separator };
    const kind = listKindOf(text, wanted);
    if (kind !== null) return { kind };
    fallback ??= table.separator;
    if (++looked >= MOST_LINES) break;
  }
  if (wanted !== undefined) return shapeOf(bytes, { format, file, columns, wanted: undefined });
  return { kind: "table", separator: fallback ?? "," };
}

/** The separator of a line. It is certain if the line has names of columns, or fields that are boards. */
function separatorOf(line: string, wanted: number | undefined): { separator: string; certain: boolean } {
  let best = { separator: ",", certain: false, score: 0 };
  for (const separator of SEPARATORS) {
    const fields = line.split(separator, 256).map((field) => field.replace(/^\s*"|"\s*$/g, ""));
    const boards = fields.filter((field) => boardLength(field, wanted) > 0).length;
    const named = boards === 0 && namesColumns(fields);
    // A single word is a name of a column if it is the whole line, such as "puzzle" above a list.
    const certain =
      (boards > 0 && fields.length > 1) || (named && (fields.length > 1 || /^\s*\w+\s*$/.test(line)));
    const score = (certain ? 1000 : 0) + 100 * boards + fields.length;
    if (score > best.score) best = { separator, certain, score };
  }
  return best;
}

export interface DecodeOptions extends TextOptions {
  readonly format: string;
  readonly file: string;
  readonly notes: readonly string[];
  /** Bytes of the file, which bound the number of puzzles. */
  readonly size: number;
}

/** Decodes and checks rows of text. @throws FileFormatError with the line */
export function puzzlesOfText(rows: Iterable<TextRow>, options: DecodeOptions): TextPuzzles {
  const { format, file, needsAnswers = true, onProgress, size } = options;
  let { task } = options;
  let table: ReturnType<typeof createTable> | undefined;
  let answered = true;
  let seen = 0;
  let characters = 0;
  for (const { line, question, answer } of rows) {
    task ??= taskOfQuestion(question, { format, file, line });
    table ??= createTable(task.length, Math.ceil(size / (task.length * (answer === null ? 1 : 2))));
    const fail = (problem: string, cause?: unknown): FileFormatError =>
      new FileFormatError(format, problem, { file, line }, { cause });
    if (answer === null || answer.trim() === "") {
      if (needsAnswers)
        throw fail(
          `the puzzle comes without its answer; training and scoring need one for every puzzle (a column such as "solution"; --columns question=...,answer=... names it). hrm solve reads puzzles alone`,
        );
      answered = false;
    }
    const hasAnswer = answer !== null && answer.trim() !== "";
    const input = decoded(task, question, "question", fail, hasAnswer ? answer : undefined);
    const label = hasAnswer ? decoded(task, answer, "answer", fail) : null;
    if (label) requireSolved(task, input, label, fail);
    table.add(input, label ?? IGNORE_LABEL, 0);
    characters += question.length + (answer?.length ?? 0) + 2;
    if (onProgress && ++seen % PROGRESS_ROWS === 0) onProgress(Math.min(1, characters / size));
  }
  if (!task || !table) throw noPuzzles(format, file);
  return { task, set: table.finish(), answered, notes: options.notes };
}

const noPuzzles = (format: string, file: string): FileFormatError =>
  new FileFormatError(
    format,
    "no puzzles; expected lines of source,question,answer,rating, or a puzzle a line",
    {
      file,
    },
  );

/** @throws FileFormatError if the answer breaks a rule */
function requireSolved(
  task: Task,
  input: Int32Array,
  label: Int32Array,
  fail: (problem: string) => Error,
): void {
  const { solved, violations } = task.check(input, label);
  if (solved !== false) return;
  const problem = task.problemOf?.(input, label) ?? null;
  if (problem !== null) throw fail(`the answer does not solve the question: ${problem}`);
  const cells = violations.slice(0, 5).map((cell) => cell + 1);
  throw fail(
    cells.length > 0
      ? `the answer does not solve the question: ${task.name} rules are broken at character ${cells.join(", ")}`
      : `the answer does not solve the question by the rules of ${task.name}: it is not complete, or its path is not a shortest one`,
  );
}

function decoded(
  task: Task,
  text: string,
  what: string,
  fail: (problem: string, cause?: unknown) => Error,
  like?: string,
): Int32Array {
  try {
    return task.decode(text, like);
  } catch (error) {
    if (!(error instanceof PuzzleError)) throw error;
    throw fail(spreadsheetProblem(text, task) ?? `${what}: ${error.message}`, error);
  }
}

/** The message about a puzzle that a spreadsheet changed because it took it for a number; null for other texts. */
function spreadsheetProblem(text: string, { length, name }: Task): string | null {
  const advice = "; write the file anew with these columns as text (in a spreadsheet: import them as text)";
  if (/^[+-]?\d([.,]\d+)?E\+?\d+$/i.test(text.trim()))
    return `${name}: got ${formatValue(text.trim())}: a spreadsheet took the puzzle for a number and rounded it, so its digits are lost${advice}`;
  if (/^[0-9]+$/.test(text) && text.length < length && text.length > length / 2 && length - text.length < 20)
    return `${name}: got ${text.length} characters; expected ${length}: a spreadsheet took the puzzle for a number and dropped its leading zeros${advice}`;
  return null;
}

/** The task of a question, recognised by its length and characters. @throws FileFormatError */
export function taskOfQuestion(
  question: string,
  { format, file, line }: { format: string; file: string; line: number },
): Task {
  const length = boardLength(question) || question.length;
  const side = Math.round(Math.sqrt(length));
  const name =
    /^[# SG]+$/.test(question) && question.includes("#") ? `maze-${side}x${side}` : `sudoku${side}`;
  const named = findTask(name);
  const task = named?.length === length ? named : /\s/.test(question.trim()) ? boardIn(question) : undefined;
  if (task) return task;
  const eaten = [16, 36, 81].find((cells) => cells - 20 < question.length && question.length < cells);
  const sudoku = eaten === undefined ? undefined : findTask(`sudoku${Math.sqrt(eaten)}`);
  const spreadsheet = spreadsheetProblem(question, sudoku ?? findTask("sudoku9")!) ?? null;
  throw new FileFormatError(
    format,
    spreadsheet !== null && (sudoku || /E/i.test(question))
      ? spreadsheet
      : `the first question, ${formatValue(question.slice(0, 40))} of ${question.length} characters, is of no known task; ` +
          `expected 16, 36, 81, 144 or 256 digits and dots (Sudoku), or the "#", " ", "S" and "G" of an n x n maze, n from ${MAZE_SIDES.min} to ${MAZE_SIDES.max}, spaces at its ends included. ` +
          "If the first line is a header, it has to name question and answer",
    { file, line },
  );
}

/** The Sudoku task of a board that stands between other words; undefined if there is no board. */
function boardIn(text: string): Task | undefined {
  if (text.length > 16384) return undefined;
  for (const size of [9, 4, 6, 16, 12]) {
    const task = findTask(`sudoku${size}`)!;
    try {
      task.parse(text);
      return task;
    } catch (error) {
      if (!(error instanceof PuzzleError)) throw error;
    }
  }
  return undefined;
}
