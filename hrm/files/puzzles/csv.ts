/**
 * Puzzle CSV in the format of the Sudoku-Extreme and Maze-Hard data sets: `source,question,answer,rating`, with one character
 * per cell. `readPuzzleText` also accepts other tables.
 */
import type { PuzzleRecord, PuzzleSet } from "../../puzzles/puzzle_set.js";
import type { Task } from "../../puzzles/tasks/task.js";
import { readPuzzleText, textRows } from "./puzzle_text.js";
import { FileFormatError } from "../file_format_error.js";

/**
 * Reads the puzzles of a task; `file` names it in messages. Every answer is checked by the task's rules.
 * @throws FileFormatError with the line, on anything that is not such a file; nothing is returned then
 */
export function readPuzzleCsv(bytes: Uint8Array, task: Task, file = "the file"): PuzzleSet {
  return readPuzzleText(bytes, file, { task }).set;
}

/** The first question of a file, which shows its task, and the line of the question. @throws FileFormatError */
export function firstQuestion(bytes: Uint8Array, file = "the file"): { question: string; line: number } {
  for (const { question, line } of textRows(bytes, { format: "csv", file, wanted: undefined }).rows)
    return { question, line };
  throw new FileFormatError("csv", "no puzzles; expected lines of source,question,answer,rating", { file });
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
