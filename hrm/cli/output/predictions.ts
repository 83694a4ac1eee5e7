/** The file of `hrm eval --predictions`: every answer with what the model and the rules say of it. */
import { firstHalts, stopsAt, type Census } from "../../thinking/census.js";
import type { Answers } from "../../training/answers.js";
import type { PuzzleSet } from "../../puzzles/puzzle_set.js";
import type { Task } from "../../puzzles/tasks/task.js";

/** A line of the file. */
export interface PredictionLine {
  /** Row of the puzzle in its file, from 1. */
  readonly puzzle: number;
  readonly question: string;
  readonly prediction: string;
  readonly answer: string;
  /** Every labelled cell is right. */
  readonly exact: boolean;
  /** Whether the prediction is complete and obeys the rules; null if the task has no known rules. */
  readonly obeys_rules: boolean | null;
  /** After the last segment that ran. */
  readonly q_halt: number;
  /** Segments that ran. */
  readonly segments: number;
  /** The first segment, from 1, after which the model would stop; null if there is none. */
  readonly halts_at: number | null;
}

/** Answers to puzzles of a file. */
export interface Predictions {
  /** The puzzles that were answered. */
  readonly data: PuzzleSet;
  /** Row of each of them in the file, from 0. */
  readonly rows: readonly number[];
  readonly answers: Answers;
  readonly census: Census;
}

/** A line for each puzzle. */
export function predictionLines(
  { data: set, rows, answers: { tokens, ran }, census }: Predictions,
  task: Task,
): PredictionLine[] {
  const { length } = set;
  const { segments } = census;
  const halts = firstHalts(census);
  // Cells without a label have no symbol; they are written as the prediction has them.
  const text = (cells: Int32Array, instead: Int32Array): string =>
    task.format(cells.map((token, i) => (token < 0 ? instead[i]! : token)));
  return Array.from({ length: set.count }, (_, row) => {
    const cells = (of: Int32Array): Int32Array => of.subarray(row * length, (row + 1) * length);
    const [input, label, answer] = [cells(set.inputs), cells(set.labels), cells(tokens)];
    const last = row * segments + segments - 1;
    const halted = halts[row]! < segments || stopsAt(census, last);
    return {
      puzzle: rows[row]! + 1,
      question: task.format(input),
      prediction: task.format(answer),
      answer: text(label, answer),
      exact: census.right[last] === 1,
      obeys_rules: task.check(input, answer).solved,
      q_halt: Number(census.qHalt[last]!.toPrecision(6)),
      segments: ran[row]!,
      halts_at: halted ? halts[row]! : null,
    };
  });
}

/** The lines as JSON Lines or as CSV with a header (RFC 4180); null is an empty field. */
export function encodePredictions(lines: readonly PredictionLine[], format: "csv" | "jsonl"): string {
  if (format === "jsonl") return lines.map((line) => `${JSON.stringify(line)}\n`).join("");
  const fields = Object.keys(lines[0] ?? {}) as (keyof PredictionLine)[];
  const quoted = (value: string): string =>
    /[",\r\n]|^\s|\s$/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
  const rows = lines.map((line) => fields.map((field) => quoted(String(line[field] ?? ""))).join(","));
  return [fields.join(","), ...rows].map((row) => `${row}\r\n`).join("");
}
