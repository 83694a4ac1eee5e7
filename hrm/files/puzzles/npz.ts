/** NumPy `.npz` archives with an array of puzzles and one of answers. */
import { gridTask } from "../../puzzles/tasks/grid.js";
import { taskOfShape } from "../../puzzles/tasks/registry.js";
import type { Task } from "../../puzzles/tasks/task.js";
import type { PuzzleSet } from "../../puzzles/puzzle_set.js";
import { formatValue } from "../../format_value.js";
import { namedColumns, type ColumnChoice } from "./columns.js";
import { FileFormatError } from "../file_format_error.js";
import { readNpy, shapeText } from "./npy.js";
import { readZip } from "../archives/zip.js";

const FORMAT = "npz";

/** True for a zip archive whose first entry is a `.npy` array. */
export function isNpz(bytes: Uint8Array): boolean {
  if (bytes[0] !== 0x50 || bytes[1] !== 0x4b || bytes[2] !== 3 || bytes[3] !== 4 || bytes.length < 34)
    return false;
  const length = bytes[26]! + 256 * bytes[27]!;
  return length < 1024 && String.fromCharCode(...bytes.subarray(30, 30 + length)).endsWith(".npy");
}

/**
 * Reads the arrays of puzzles and answers, [n, cells] or [n, rows, columns], by their names (`inputs`, `labels`,
 * `quizzes`, `solutions`, ...) or the names chosen; `file` names it in messages. Tokens count from 0, as in the official
 * folders. @throws FileFormatError
 */
export function readPuzzleNpz(
  bytes: Uint8Array,
  file: string,
  {
    task: wanted,
    columns,
  }: { readonly task?: Task | undefined; readonly columns?: ColumnChoice | undefined } = {},
): { task: Task; set: PuzzleSet; answered: true; notes: readonly string[] } {
  const fail = (problem: string): FileFormatError => new FileFormatError(FORMAT, problem, { file });
  const entries = readZip(bytes);
  const names = [...entries.keys()].map((name) => name.replace(/\.npy$/, ""));
  const found = namedColumns(names);
  const listed = formatValue(names.join(", "));
  const question = columns?.question ?? names[found.question];
  const answer = columns?.answer ?? names[found.answer];
  if (question === undefined || answer === undefined)
    throw fail(
      `the arrays ${listed}; expected one of puzzles and one of answers, such as inputs and labels; --columns question=NAME,answer=NAME names others`,
    );
  const read = (name: string): { shape: readonly number[]; values: Int32Array } => {
    const entry = entries.get(`${name}.npy`);
    if (!entry) throw fail(`no array ${formatValue(name)}; got ${listed}`);
    return readNpy(entry.read(), `${file}/${name}.npy`);
  };
  const [inputs, labels] = [read(question), read(answer)];
  const [count = 0, ...cells] = inputs.shape;
  const length = cells.reduce((a, b) => a * b, 1);
  if (
    inputs.shape.length < 2 ||
    count === 0 ||
    length === 0 ||
    labels.values.length !== inputs.values.length ||
    labels.shape[0] !== count
  )
    throw fail(
      `${question} of shape (${shapeText(inputs.shape)}) and ${answer} of shape (${shapeText(labels.shape)}); expected [n, cells] or [n, rows, columns] for both`,
    );
  let largest = 0;
  for (const [name, { values }] of [
    [question, inputs],
    [answer, labels],
  ] as const) {
    const limit = wanted?.vocabSize ?? 65536;
    for (let i = 0; i < values.length; i++) {
      const value = values[i]!;
      largest = Math.max(largest, value);
      if (value < 0 || value >= limit)
        throw fail(`${name} has the value ${value} at index ${i}; expected tokens from 0 to ${limit - 1}`);
    }
  }
  const shape = cells.length === 2 ? { rows: cells[0]!, columns: cells[1]! } : null;
  const told = taskOfShape(length, largest + 1);
  const task =
    wanted ?? (told.symmetry === null && shape ? gridTask({ ...shape, vocabSize: largest + 1 }) : told);
  if (task.length !== length)
    throw fail(`puzzles of ${length} cells; expected ${task.length} for ${task.name}`);
  const set = {
    count,
    length,
    inputs: inputs.values,
    labels: labels.values,
    identifiers: new Int32Array(count),
  };
  const notes = [`${file}: ${question} and ${answer} are read as tokens of ${task.name}`];
  return { task, set, answered: true, notes };
}
