/** `hrm solve --all`: solves every puzzle of a file and writes the answers to a file. */
import type { Device } from "../../../engine/index.js";
import type { HrmConfig } from "../../model/config.js";
import { createSolver } from "../../training/evaluation.js";
import type { Weights } from "../../model/parameters.js";
import type { PuzzleSet } from "../../puzzles/puzzle_set.js";
import type { Task } from "../../puzzles/tasks/task.js";
import { ArgumentError } from "../../terminal/arguments.js";
import { readPuzzles, type PuzzleFile } from "../inputs/puzzle_files.js";
import { openAnnounced } from "../runs/open_device.js";
import { printJson, say, show } from "../output/console.js";
import { writeFileSafely } from "../disk/output.js";

/** Milliseconds between two lines of progress. */
const PROGRESS_EVERY = 3000;

export interface SolveAllOptions {
  readonly all: boolean;
  readonly out: string | undefined;
  readonly puzzles: PuzzleFile | null;
  /** A puzzle on the command line, which may not be combined with a file. */
  readonly given: string | undefined;
  readonly task: Task;
  readonly config: HrmConfig;
  readonly weights: (device: Device) => Weights;
  readonly segments: number | undefined;
  readonly adapter: string | undefined;
  readonly json: boolean;
}

/** One puzzle with the answer of the model. */
export interface SolvedPuzzle {
  readonly question: string;
  /** The answer; empty for a puzzle that cannot have one. */
  readonly answer: string;
  /** True if every rule holds; null if no rules are known. */
  readonly solved: boolean | null;
  /** Why the puzzle cannot have an answer; null if no reason is known. */
  readonly problem: string | null;
}

/** Solves all puzzles of a file. Returns the exit code: 1 if an answer breaks a rule, else 0. @throws ArgumentError */
export async function solveAll(options: SolveAllOptions): Promise<number> {
  const { puzzles, out, task, given } = options;
  if (!options.all) throw new ArgumentError(`--out: got "${out}" without --all; expected both, or neither.`);
  if (puzzles === null || given !== undefined)
    throw new ArgumentError(
      "--all: got no file of puzzles alone; expected --data with one, and no puzzle beside it.",
    );
  if (out === undefined || !/\.(csv|jsonl)$/i.test(out))
    throw new ArgumentError(
      `--out: got ${out === undefined ? "nothing" : `"${out}"`}; expected a file for the answers that ends with .csv or .jsonl.`,
    );
  const { path, option, columns } = puzzles;
  const { set } = await readPuzzles(path, option, { task, split: "test", columns, needsAnswers: false });
  const device = await openAnnounced(options.adapter);
  try {
    const solver = await createSolver({ device, config: options.config, weights: options.weights(device) });
    const answers = await answersTo(set, task, async (inputs, identifier) => {
      const solved = await solver.solve(inputs, {
        identifier,
        ...(options.segments !== undefined && { segments: options.segments }),
      });
      return solved.at(-1)!.prediction;
    });
    await writeFileSafely(out, answersText(answers, /\.jsonl$/i.test(out)));
    const solved = countSolved(answers);
    show(
      solved === null
        ? `${answers.length} puzzles answered, not judged: no rules are known for ${task.name}; answers in ${out}`
        : `${solved} of ${answers.length} puzzles solved (every rule holds); answers in ${out}`,
      options,
    );
    if (options.json) printJson({ puzzles: answers.length, solved, out, adapter: device.adapter.name });
    return solved === null || solved === answers.length ? 0 : 1;
  } finally {
    device.destroy();
  }
}

/** Answers that obey every rule; null if no rules are known. */
export function countSolved(answers: readonly SolvedPuzzle[]): number | null {
  if (answers.some(({ solved }) => solved === null)) return null;
  return answers.filter(({ solved }) => solved === true).length;
}

/** Computes the answer to every puzzle that can have one, and prints its progress. */
export async function answersTo(
  { count, length, inputs, identifiers }: PuzzleSet,
  task: Task,
  solve: (inputs: Int32Array, identifier: number) => Promise<Int32Array>,
): Promise<SolvedPuzzle[]> {
  const answers: SolvedPuzzle[] = [];
  let last = Date.now();
  for (let row = 0; row < count; row++) {
    const puzzle = inputs.slice(row * length, (row + 1) * length);
    const question = task.format(puzzle);
    const problem = task.problemOf?.(puzzle) ?? null;
    if (problem !== null) answers.push({ question, answer: "", solved: false, problem });
    else {
      const answer = await solve(puzzle, identifiers[row]!);
      const { solved } = task.check(puzzle, answer);
      answers.push({ question, answer: task.format(answer), solved, problem });
    }
    if (Date.now() - last < PROGRESS_EVERY) continue;
    last = Date.now();
    say(`solving   ${row + 1} of ${count}`);
  }
  return answers;
}

/** The text of a file of answers: CSV with a header, or one JSON object per line. */
export function answersText(answers: readonly SolvedPuzzle[], jsonl: boolean): string {
  if (jsonl) return answers.map((answer) => `${JSON.stringify(answer)}\n`).join("");
  const lines = answers.map(
    ({ question, answer, solved, problem }) => `${question},${answer},${solved ?? ""},${problem ?? ""}\n`,
  );
  return `question,answer,solved,problem\n${lines.join("")}`;
}
