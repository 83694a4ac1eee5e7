/** Checks whether puzzles obey the rules of their task. */
import { IGNORE_LABEL, type PuzzleSet } from "../puzzle_set.js";
import { digitToken } from "./sudoku.js";
import type { Task } from "./task.js";

/** A puzzle that breaks a rule. */
export interface BrokenRow {
  /** Index in the set, from 0. */
  readonly row: number;
  /** What is wrong, as the end of a sentence. */
  readonly problem: string;
}

/** The first puzzle of a set whose label breaks a rule of the task; null if all obey, or if no rules are known. */
export function firstBrokenRow({ count, length, inputs, labels }: PuzzleSet, task: Task): BrokenRow | null {
  for (let row = 0; row < count; row++) {
    const range = [row * length, (row + 1) * length] as const;
    const problem = ruleProblem(task, inputs.subarray(...range), labels.subarray(...range));
    if (problem !== null) return { row, problem };
  }
  return null;
}

/**
 * The rule that a puzzle and its label break, in words; null if they obey, or if no rules are known. Ignored labels are not
 * checked, so that a puzzle without a label obeys. `input` and `label` are tokens, [length].
 */
export function ruleProblem(task: Task, input: Int32Array, label: Int32Array): string | null {
  const labelled = label.reduce((sum, token) => sum + Number(token !== IGNORE_LABEL), 0);
  const complete = labelled === label.length;
  // The rules of paths need the whole answer.
  if (labelled === 0 || (!complete && task.symmetry?.kind !== "sudoku")) return null;
  const answer = complete ? label : label.map((token, i) => (token === IGNORE_LABEL ? input[i]! : token));
  const { solved, violations } = task.check(input, answer);
  if (solved === null) return null;
  const padding = input.indexOf(0);
  if (padding >= 0)
    return `the input has token 0 (PAD) at ${placeOf(task, padding)}${offsetHint(task, label)}`;
  const judged = violations.filter((cell) => label[cell] !== IGNORE_LABEL);
  if (complete ? solved : judged.length === 0) return null;
  const known = task.problemOf?.(input, answer) ?? null;
  const hint = known === null ? offsetHint(task, label) : `; ${known}`;
  if (judged.length > 0)
    return `the label breaks the rules of ${task.name} at ${placeOf(task, judged[0]!)}${hint}`;
  const incomplete =
    task.symmetry?.kind === "sudoku"
      ? "it has blank cells"
      : "its path does not reach the goal by the fewest moves";
  return `the label does not solve the input by the rules of ${task.name}: ${incomplete}${hint}`;
}

function placeOf({ columns }: Task, cell: number): string {
  return `row ${Math.floor(cell / columns) + 1}, column ${(cell % columns) + 1} of the grid`;
}

/** A hint what to add to every token, if the label is a Sudoku grid in another encoding; else "". */
function offsetHint(task: Task, label: Int32Array): string {
  const { symmetry, length } = task;
  if (symmetry?.kind !== "sudoku") return "";
  const { size } = symmetry;
  const least = label.reduce((a, b) => Math.min(a, b), Infinity);
  const shift = digitToken(1) - least;
  const blank = new Int32Array(length).fill(1);
  if (
    shift === 0 ||
    task.check(
      blank,
      label.map((token) => token + shift),
    ).solved !== true
  )
    return "";
  return (
    `; its tokens ${least} to ${least + size - 1} look like the digits 1 to ${size}, ` +
    `but digits 1..${size} are tokens ${digitToken(1)}..${digitToken(size)} and a blank is token 1: write every digit as digit + 1`
  );
}
