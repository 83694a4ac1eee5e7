/** `hrm generate`: writes puzzles with exactly one answer as CSV, JSON lines or an official data set folder, and ARC tasks. */
import { dirname, join } from "node:path";
import { UsageError } from "../../../engine/errors.js";
import { writePuzzleCsv } from "../../files/puzzles/csv.js";
import { writeDataset } from "../../files/puzzles/dataset.js";
import { writePuzzleJsonl } from "../../files/puzzles/jsonl.js";
import { puzzleSet, type PuzzleRecord } from "../../puzzles/puzzle_set.js";
import { generateMazes } from "../../puzzles/tasks/maze_generator.js";
import { findTask } from "../../puzzles/tasks/registry.js";
import type { SudokuSize } from "../../puzzles/tasks/sudoku.js";
import {
  generateSudoku,
  SUDOKU_DIFFICULTIES,
  type SudokuDifficulty,
} from "../../puzzles/tasks/sudoku_generator.js";
import type { Task } from "../../puzzles/tasks/task.js";
import { ArgumentError, parseArguments, type Command } from "../../terminal/arguments.js";
import { makeFolder } from "../disk/make_folder.js";
import { fileExists } from "../disk/file_exists.js";
import { OutputError, writeFileSafely } from "../disk/output.js";
import { jsonOption } from "../options/common.js";
import { printJson, say } from "../output/console.js";
import { ARC_TOY, arcOptions, generateArc } from "./generate_arc.js";

const FORMATS = ["csv", "jsonl", "official"] as const;

const options = {
  task: {
    type: "string",
    help: "sudoku4, sudoku6, sudoku9, maze-NxN or arc-toy",
    placeholder: "name",
    defaultText: "sudoku9",
  },
  count: {
    type: "int",
    min: 1,
    max: 10 ** 6,
    help: "puzzles to make, or tasks of arc-toy",
    defaultText: "1000; arc-toy: 160",
  },
  difficulty: {
    type: "choice",
    choices: SUDOKU_DIFFICULTIES,
    help: "Sudoku: naked singles, hidden singles, guesses, or anything with one solution",
    defaultText: "easy",
  },
  "min-givens": { type: "int", min: 1, help: "Sudoku: fewest givens", defaultText: "by difficulty" },
  "max-givens": { type: "int", min: 1, help: "Sudoku: most givens", defaultText: "by difficulty" },
  "min-length": {
    type: "int",
    min: 1,
    help: "mazes: fewest moves of the shortest path",
    defaultText: "twice the side and 1",
  },
  "min-length-to": {
    type: "int",
    min: 1,
    help: "mazes: draw each maze's fewest moves uniformly from --min-length to this, so that short and long paths mix",
    defaultText: "no mixture",
  },
  ...arcOptions,
  seed: { type: "int", default: 0, min: 0, max: 2 ** 32 - 1, help: "decides the puzzles" },
  out: { type: "string", help: "file (or folder, for official) to write", placeholder: "path" },
  format: {
    type: "choice",
    choices: FORMATS,
    help: "what to write",
    defaultText: "by the file's ending, else csv",
  },
  overwrite: { type: "bool", default: false, help: "replace what is there" },
  json: jsonOption,
} as const;

const command: Command<typeof options> = {
  name: "hrm generate",
  summary:
    "Makes puzzles with exactly one answer: Sudoku of a wanted difficulty, or mazes with one shortest path of a wanted length. " +
    "Makes data sets of published ARC tasks, or of small tasks like them (arc-toy). " +
    "The same seed makes the same puzzles.",
  options,
};

type Format = (typeof FORMATS)[number];

/** Runs `hrm generate`. */
export async function generateCommand(argv: readonly string[]): Promise<number> {
  const parsed = parseArguments(command, argv);
  if (parsed.kind === "help") {
    process.stdout.write(parsed.text);
    return 0;
  }
  const { values } = parsed;
  if (values.out === undefined)
    throw new ArgumentError("--out: got nothing; expected a file to write, such as puzzles.csv.");
  if (values.arc !== undefined || values["arc-train"] !== undefined || values.task === ARC_TOY) {
    if (values.arc !== undefined && values.task !== undefined)
      throw new ArgumentError(`--task: got ${values.task} with --arc; expected one of the two.`);
    refuseForeign(ARC_OPTIONS, values, values.task ?? "--arc");
    return generateArc({ ...values, out: values.out });
  }
  const task = requireGenerated(values.task ?? "sudoku9");
  const format = values.format ?? (/\.(jsonl|ndjson)$/i.test(values.out) ? "jsonl" : "csv");
  const target = format === "official" ? join(values.out, "train", "dataset.json") : values.out;
  if (!values.overwrite && (await fileExists(target)))
    throw new ArgumentError(`--out: ${target} exists; give another name, or --overwrite.`);

  const started = performance.now();
  const records = generated(task, { ...values, count: values.count ?? 1000 });
  const files = encoded(format, records, task, values.out);
  for (const [path, contents] of files) {
    await makeFolder(dirname(path)).catch((error: unknown) => {
      throw new OutputError(path, error);
    });
    await writeFileSafely(path, contents);
  }
  const seconds = (performance.now() - started) / 1000;
  const ratings = records.map(({ rating }) => rating).sort((a, b) => a - b);
  const [low, median, high] = [0, Math.floor(ratings.length / 2), ratings.length - 1].map((i) => ratings[i]!);
  say(`made      ${records.length} puzzles of ${task.name} in ${seconds.toFixed(1)} s`);
  say(
    `rating    ${task.name.startsWith("maze") ? "moves of the shortest path" : "guesses of the solver"}: ${low} to ${high}, median ${median}`,
  );
  say(`wrote     ${values.out} (${format})`);
  if (values.json)
    printJson({
      task: task.name,
      count: records.length,
      format,
      out: values.out,
      rating: { low, median, high },
    });
  return 0;
}

/** A task for which puzzles can be generated. @throws ArgumentError */
function requireGenerated(name: string): Task {
  const task = /^(sudoku|maze)/.test(name) ? findTask(name) : undefined;
  if (task) return task;
  throw new ArgumentError(
    `--task: got "${name}"; expected sudoku4, sudoku6, sudoku9, maze-NxN (N from 3 to 64) or arc-toy.`,
  );
}

const SUDOKU_OPTIONS = ["difficulty", "min-givens", "max-givens"] as const;
const MAZE_OPTIONS = ["min-length", "min-length-to"] as const;
const ARC_OPTIONS = ["augmentations", "canvas"] as const;
type KindOption = (typeof SUDOKU_OPTIONS | typeof MAZE_OPTIONS | typeof ARC_OPTIONS)[number];

/** Refuses the options of other kinds of puzzles. @throws ArgumentError */
function refuseForeign(
  own: readonly KindOption[],
  values: Readonly<Partial<Record<KindOption, string | number | undefined>>>,
  name: string,
): void {
  for (const option of [...SUDOKU_OPTIONS, ...MAZE_OPTIONS, ...ARC_OPTIONS])
    if (values[option] !== undefined && !own.includes(option))
      throw new ArgumentError(`--${option}: got ${values[option]}; ${name} has no such option.`);
}

interface Wishes {
  readonly count: number;
  readonly seed: number;
  readonly difficulty: SudokuDifficulty | undefined;
  readonly "min-givens": number | undefined;
  readonly "max-givens": number | undefined;
  readonly "min-length": number | undefined;
  readonly "min-length-to": number | undefined;
  readonly augmentations: number | undefined;
  readonly canvas: number | undefined;
}

function generated(task: Task, wishes: Wishes): PuzzleRecord[] {
  const { count, seed, difficulty } = wishes;
  const [fewest, most] = [wishes["min-givens"], wishes["max-givens"]];
  const [minLength, mixedTo] = [wishes["min-length"], wishes["min-length-to"]];
  refuseForeign(task.name.startsWith("maze") ? MAZE_OPTIONS : SUDOKU_OPTIONS, wishes, task.name);
  if ((fewest === undefined) !== (most === undefined))
    throw new ArgumentError(
      `--${fewest === undefined ? "max" : "min"}-givens: got this option alone; expected both --min-givens and --max-givens, or neither.`,
    );
  if (mixedTo !== undefined && minLength === undefined)
    throw new ArgumentError(`--min-length-to: got ${mixedTo} without --min-length; expected both.`);
  if (mixedTo !== undefined && mixedTo < minLength!)
    throw new ArgumentError(
      `--min-length-to: got ${mixedTo}; expected at least --min-length (${minLength}).`,
    );
  const lengths = mixedTo === undefined ? minLength : ([minLength!, mixedTo] as const);
  try {
    if (task.name.startsWith("maze"))
      return generateMazes({
        side: task.rows,
        count,
        seed,
        ...(lengths !== undefined && { minLength: lengths }),
      });
    return generateSudoku({
      size: task.rows as SudokuSize,
      count,
      seed,
      ...(difficulty && { difficulty }),
      ...(fewest !== undefined && most !== undefined && { givens: [fewest, most] as const }),
    });
  } catch (error) {
    throw error instanceof UsageError ? new ArgumentError(error.message) : error;
  }
}

/** Paths and contents of the files to write. */
function encoded(
  format: Format,
  records: readonly PuzzleRecord[],
  task: Task,
  out: string,
): [path: string, contents: string | Uint8Array][] {
  if (format === "csv") return [[out, writePuzzleCsv(records, task)]];
  if (format === "jsonl") return [[out, writePuzzleJsonl(records, task)]];
  const files = writeDataset(puzzleSet(records, task.length), task);
  return [
    ...[...files]
      // dataset.json is written last, so that a folder with this file is complete.
      .sort(([a], [b]) => Number(a === "dataset.json") - Number(b === "dataset.json"))
      .map(([name, bytes]): [string, Uint8Array] => [join(out, "train", name), bytes]),
    [join(out, "identifiers.json"), JSON.stringify(["<blank>"])],
  ];
}
