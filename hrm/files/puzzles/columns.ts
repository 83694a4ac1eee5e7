/** Finds the columns of a table, or the keys of an object, that hold puzzles and answers. */
import { formatValue } from "../../format_value.js";

/** What `--columns` says: a name, or the number of a column counted from 1. */
export interface ColumnChoice {
  /** The column or key of the puzzles: its name, or its number counted from 1. */
  readonly question?: string | undefined;
  /** The column or key of the answers: its name, or its number counted from 1. */
  readonly answer?: string | undefined;
}

/** Columns of puzzle and answer, counted from 0. The answer is null for puzzles without answers. */
export interface Columns {
  readonly question: number;
  readonly answer: number | null;
  /** True if the first row names the columns. */
  readonly header: boolean;
  /** A sentence about what was guessed; null if nothing was guessed. */
  readonly note: string | null;
}

/** Usual names of columns. Earlier names win. */
const QUESTION =
  "question puzzle puzzles quiz quizzes sudoku problem problems unsolved initial_board initial_grid initial start board grid input inputs givens".split(
    " ",
  );
const ANSWER =
  "answer answers solution solutions solved solved_board solution_board final_board output outputs label labels target result".split(
    " ",
  );
/** Words that give a column another meaning if they stand beside one of the names above. */
const OTHER =
  /^(id|ids|index|no|nr|number|name|size|length|difficulty|rating|level|count|type|source|hash|time|steps)$/;

/** The name in the form for comparison: `Initial Board` becomes `initial_board`. */
const normal = (name: string): string =>
  name
    .trim()
    .slice(0, 100)
    .toLowerCase()
    .replace(/[\s-]+/g, "_");

/** Index of the best name in a list; -1 if no name fits. */
function placeOf(names: readonly string[], known: readonly string[], but = -1): number {
  for (const name of known) {
    const at = names.findIndex((given, i) => i !== but && given === name);
    if (at >= 0) return at;
  }
  for (const name of known) {
    const at = names.findIndex((given, i) => {
      const words = given.split("_");
      return i !== but && words.includes(name) && !words.some((word) => OTHER.test(word));
    });
    if (at >= 0) return at;
  }
  return -1;
}

/** True if one of these names is a usual name of puzzles or answers. */
export function namesColumns(names: readonly string[]): boolean {
  const given = names.map(normal);
  return placeOf(given, QUESTION) >= 0 || placeOf(given, ANSWER) >= 0;
}

/** Indices of puzzle and answer among the names of a header or the keys of an object; -1 if missing. */
export function namedColumns(names: readonly string[]): { question: number; answer: number } {
  const given = names.map(normal);
  const unsolved = placeOf(given, QUESTION);
  const answer = placeOf(given, ANSWER, unsolved);
  return { question: unsolved, answer };
}

/** Number of cells of a text as a board, with or without its white space; 0 if it is not a board. `wanted` is the task's number of cells. */
export function boardLength(text: string, wanted?: number): number {
  if (text.length > 16384) return 0;
  if (/^[# SGo]+$/.test(text) && text.includes("#")) {
    const side = Math.round(Math.sqrt(text.length));
    return side >= 3 && side * side === text.length && (wanted ?? text.length) === text.length
      ? text.length
      : 0;
  }
  for (const cells of [text, text.replace(/\s/g, "")]) {
    const side = Math.round(Math.sqrt(cells.length));
    if (![4, 6, 9, 12, 16].includes(side) || side * side !== cells.length) continue;
    if (wanted !== undefined && wanted !== cells.length) continue;
    const digits = `123456789ABCDEFG`.slice(0, side);
    const others = new Set(cells.toUpperCase());
    for (const character of `._0${side === 16 || side === 12 ? "ABCDEFGHIJKLMNOP" : ""}${digits}`)
      others.delete(character);
    // A grid without givens consists of one character.
    if (others.size <= 1) return cells.length;
  }
  return 0;
}

/** True if a board has blanks. */
const hasBlanks = (text: string): boolean => /[._0?*x ~-]/i.test(text.trim());

/**
 * Chooses the columns: by the caller's choice, by the names in the first row, or by fields of the first rows that look like
 * boards. `fail` makes an error from a message.
 */
export function chooseColumns(
  rows: readonly (readonly string[])[],
  choice: ColumnChoice | undefined,
  wanted: number | undefined,
  fail: (problem: string) => Error,
): Columns {
  const [first = [], second] = rows;
  const names = first.map(normal);
  const boardsOf = (row: readonly string[] | undefined): number[] =>
    (row ?? []).flatMap((field, i) => (boardLength(field, wanted) > 0 ? [i] : []));
  const found = namedColumns(first);
  const named = found.question >= 0 || found.answer >= 0;
  const header =
    boardsOf(first).length === 0 && (named || boardsOf(second).length > 0 || choice !== undefined);
  if (choice?.question !== undefined || choice?.answer !== undefined) {
    const place = (given: string, what: string): number => {
      const at = header ? names.indexOf(normal(given)) : -1;
      const number = /^\d{1,4}$/.test(given) ? Number(given) - 1 : -1;
      const index = at >= 0 ? at : number;
      if (index < 0 || index >= first.length)
        throw fail(
          `no column ${formatValue(given)} for the ${what}; expected a number from 1 to ${first.length}${header ? `, or one of ${formatValue(first.join(", "))}` : ""}`,
        );
      return index;
    };
    const question = choice.question === undefined ? found.question : place(choice.question, "question");
    const answer = choice.answer === undefined ? found.answer : place(choice.answer, "answer");
    if (question < 0)
      throw fail("the columns name an answer but no question; expected question=NAME_OR_NUMBER");
    return { question, answer: answer < 0 || answer === question ? null : answer, header, note: null };
  }
  if (header && found.question >= 0)
    return { question: found.question, answer: found.answer < 0 ? null : found.answer, header, note: null };
  const row = header ? second! : first;
  const boards = boardsOf(row);
  if (boards.length === 0 || (named && header)) {
    if (named && header)
      throw fail(
        `the header ${formatValue(first.join(","))} names answers but no questions; name the column with --columns question=NAME_OR_NUMBER`,
      );
    // No field looks like a puzzle. The columns of the official files are taken, so that the error shows their content.
    if (first.length < 2)
      throw fail(
        `got 1 field (${formatValue(first.join(","))}); expected source,question,answer,rating, a header that names question and answer, or a puzzle a line`,
      );
    return {
      question: first.length > 2 ? 1 : 0,
      answer: first.length > 2 ? 2 : 1,
      header: false,
      note: null,
    };
  }
  const length = boardLength(row[boards[0]!]!, wanted);
  const same = boards.filter((i) => boardLength(row[i]!, wanted) === length);
  const question = same.find((i) => hasBlanks(row[i]!)) ?? same[0]!;
  const answer = same.find((i) => i !== question) ?? null;
  const usual = !header && question === (row.length > 2 ? 1 : 0) && answer === question + 1;
  const note = usual
    ? null
    : `column ${question + 1} is taken for the puzzle${answer === null ? "" : ` and column ${answer + 1} for its answer`}${header ? `; the header ${formatValue(first.join(","))} does not name them` : ""}`;
  return { question, answer, header, note };
}
