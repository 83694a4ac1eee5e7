/** `hrm generate`: writes puzzles with exactly one answer as CSV, JSON lines or an official data set folder. */
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

const FORMATS = ["csv", "jsonl", "official"] as const;

const options = {
  task: {
    type: "string",
    default: "sudoku9",
    help: "sudoku4, sudoku6, sudoku9 or maze-NxN",
    placeholder: "name",
  },
  count: { type: "int", default: 1000, min: 1, max: 10 ** 6, help: "puzzles to make" },
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
  const task = requireGenerated(values.task);
  const format = values.format ?? (/\.(jsonl|ndjson)$/i.test(values.out) ? "jsonl" : "csv");
  const target = format === "official" ? join(values.out, "train", "dataset.json") : values.out;
  if (!values.overwrite && (await fileExists(target)))
    throw new ArgumentError(`--out: ${target} exists; give another name, or --overwrite.`);

  const started = performance.now();
  const records = generated(task, values);
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
    `--task: got "${name}"; expected sudoku4, sudoku6, sudoku9 or maze-NxN (N from 3 to 64).`,
  );
}

interface Wishes {
  readonly count: number;
  readonly seed: number;
  readonly difficulty: SudokuDifficulty | undefined;
  readonly "min-givens": number | undefined;
  readonly "max-givens": number | undefined;
  readonly "min-length": number | undefined;
  readonly "min-length-to": number | undefined;
}

function generated(task: Task, wishes: Wishes): PuzzleRecord[] {
  const { count, seed, difficulty } = wishes;
  const [fewest, most] = [wishes["min-givens"], wishes["max-givens"]];
  const [minLength, mixedTo] = [wishes["min-length"], wishes["min-length-to"]];
  const foreign = Object.entries(
    task.name.startsWith("maze")
      ? { difficulty, "min-givens": fewest, "max-givens": most }
      : { "min-length": minLength, "min-length-to": mixedTo },
  ).find(([, value]) => value !== undefined);
  if (foreign)
    throw new ArgumentError(`--${foreign[0]}: got ${foreign[1]}; ${task.name} has no such option.`);
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
