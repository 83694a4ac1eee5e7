/** Reads puzzles from the files and folders that the command line names. */
import { readFile, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { EngineError, UsageError } from "../../../engine/errors.js";
import type { HrmConfig } from "../../model/config.js";
import { withPuzzles, type Preset } from "../../training/presets.js";
import {
  loadPuzzles,
  urlSource,
  type ColumnChoice,
  type LoadOptions,
  type PuzzleData,
  type Source,
} from "../../files/puzzles/index.js";
import type { Scores } from "../../training/evaluation.js";
import { majorityOfBlanks, type PuzzleSet, type PuzzleSplits } from "../../puzzles/puzzle_set.js";
import { formatPercent } from "../../training/statistics.js";
import { untrainedIdentifiers } from "../../puzzles/examples.js";
import { findTask, TASK_NAMES } from "../../puzzles/tasks/registry.js";
import { splitFile, type SplitPlan } from "../../puzzles/file_splits.js";
import { countShared, hasTooFewClasses } from "../../puzzles/splits.js";
import type { Task } from "../../puzzles/tasks/task.js";
import { ArgumentError, type Option } from "../../terminal/arguments.js";
import { isAddress, pathOf } from "./read_input.js";
import type { Validation } from "../runs/config.js";
import { reasonOf } from "../disk/output.js";
import { say } from "../output/console.js";
import { formatValue } from "../../format_value.js";

/** Number of puzzles from which on a message announces the split, since it takes long. */
const MANY_GROUPS = 100_000;

/** Puzzles that the command line names, and the option that names them. */
export interface PuzzleFile {
  readonly path: string;
  readonly option: string;
  /** Value of `--columns`. */
  readonly columns?: ColumnChoice | undefined;
}

/** The option that names columns. */
export const columnsOption = {
  type: "string",
  help: "columns or keys of the puzzles by name or number (from 1): question=NAME,answer=NAME",
  placeholder: "names",
  defaultText: "what their names or contents tell",
} as const satisfies Option;

/** Parses `--columns question=NAME,answer=2`. @throws ArgumentError */
export function columnChoice(given: string | undefined): ColumnChoice | undefined {
  if (given === undefined) return undefined;
  const choice: { question?: string; answer?: string } = {};
  for (const part of given.split(",")) {
    const [, what, name] = /^\s*(question|answer)\s*=\s*(.+?)\s*$/.exec(part) ?? [];
    if ((what !== "question" && what !== "answer") || choice[what] !== undefined)
      throw new ArgumentError(
        `--columns: got ${formatValue(given)}; expected question=NAME_OR_NUMBER,answer=NAME_OR_NUMBER.`,
      );
    choice[what] = name!;
  }
  return choice;
}

/** The file of puzzles, for commands in which `--data` and `--test` mean the same; null if neither is given. @throws ArgumentError if both are given */
export function puzzleFile({
  data,
  test,
  columns: given,
}: {
  readonly data: string | undefined;
  readonly test: string | undefined;
  readonly columns?: string | undefined;
}): PuzzleFile | null {
  const columns = columnChoice(given);
  if (data !== undefined && test !== undefined)
    throw new ArgumentError("--test: got a second file beside --data; expected one of the two.");
  if (data !== undefined) return { path: data, option: "--data", columns };
  if (columns && test === undefined)
    throw new ArgumentError(`--columns: got ${formatValue(given)} without a file; expected --data with it.`);
  return test === undefined ? null : { path: test, option: "--test", columns };
}

/** Bytes of pipes, which can be read once, while a command may ask for its puzzles several times. */
const piped = new Map<string, Promise<Uint8Array>>();

/**
 * A path or an address as a source; "-" is the standard input. A pipe (`<(...)`, `/dev/stdin`) is read once.
 * `option` names it in errors. @throws ArgumentError if there is nothing
 */
export async function openSource(given: string, option: string): Promise<Source> {
  if (isAddress(given)) return urlSource(given);
  const path = given === "-" ? "/dev/stdin" : pathOf(given);
  // dataset.json stands for its folder, as in an address.
  const inFolder = basename(path) === "dataset.json";
  const bad = (error: unknown): ArgumentError =>
    new ArgumentError(
      `${option}: cannot read "${path}" (${reasonOf(error)}); expected a .csv or .jsonl file, an official data set folder, or an address of one.`,
    );
  const found = await stat(path).catch((error: unknown) => {
    throw bad(error);
  });
  const read = (file: string): Promise<Uint8Array> => readFile(file).then((bytes) => new Uint8Array(bytes));
  if (found.isDirectory() || inFolder) {
    const folder = inFolder ? dirname(path) : path;
    return {
      kind: "folder",
      name: folder,
      read: (file) =>
        read(join(folder, file)).catch((error: NodeJS.ErrnoException) => {
          if (error.code === "ENOENT" || error.code === "ENOTDIR") return null;
          throw bad(error);
        }),
    };
  }
  const open = (): Promise<Uint8Array> => {
    if (found.isFile()) return read(path);
    const known = piped.get(path);
    if (known) return known;
    const bytes = read(path);
    piped.set(path, bytes);
    return bytes;
  };
  return {
    kind: "file",
    name: path,
    read: () =>
      open().catch((error: unknown) => {
        throw bad(error);
      }),
  };
}

/** Size in bytes from which on reading a file is announced with its progress. */
const LARGE_FILE = 4e6;
/** Milliseconds between two reports of progress. */
const PROGRESS_EVERY = 3000;

/** Prints that a large file is being read. Returns a function that reports the share that was read. */
async function announceReading(source: Source): Promise<(share: number) => void> {
  const size = await stat(source.name).then(
    (found) => (found.isFile() ? found.size : 0),
    () => 0,
  );
  if (source.kind !== "file" || size < LARGE_FILE) return () => undefined;
  say(`data      reading ${source.name} (${(size / 1e6).toFixed(0)} MB)`);
  let last = Date.now();
  return (share) => {
    if (Date.now() - last < PROGRESS_EVERY) return;
    last = Date.now();
    say(`data      reading ${source.name}: ${formatPercent(share)}`);
  };
}

/** The option that names the task of puzzles. */
export const taskOption = {
  type: "string",
  help: `task of the puzzles: ${TASK_NAMES}; rows that break its rules are refused`,
  placeholder: "name",
  defaultText: "what the puzzles, or the checkpoint, tell",
} as const satisfies Option;

/** The task of this name. @throws ArgumentError */
export function requireTask(name: string): Task {
  const task = findTask(name);
  if (task) return task;
  throw new ArgumentError(`--task: got ${formatValue(name)}; expected one of ${TASK_NAMES}.`);
}

/** The task by whose rules a checkpoint's puzzles are read: its own, or the one that `--task` names. @throws ArgumentError */
export function namedTask(own: Task, name: string | undefined): Task {
  if (name === undefined) return own;
  const task = requireTask(name);
  if (task.length !== own.length || task.vocabSize !== own.vocabSize)
    throw new ArgumentError(
      `--task: got ${name}, of ${task.length} cells and ${task.vocabSize} tokens; expected ${own.length} cells and ${own.vocabSize} tokens, which the checkpoint's weights are for.`,
    );
  return { ...task, numPuzzleIdentifiers: own.numPuzzleIdentifiers };
}

/** Notes that were printed, since a command may ask for its puzzles several times. */
const noted = new Set<string>();

/** Reads the puzzles of a file or folder, and prints assumptions about them. @throws ArgumentError that names the option, the file, the line and what is wrong */
export async function readPuzzles(path: string, option: string, options: LoadOptions): Promise<PuzzleData> {
  const source = await openSource(path, option);
  try {
    const onProgress = await announceReading(source);
    const data = await loadPuzzles(source, { onProgress, ...options });
    for (const note of data.notes) {
      if (!noted.has(note)) say(`puzzles   ${note}`);
      noted.add(note);
    }
    return data;
  } catch (error) {
    if (error instanceof ArgumentError || !(error instanceof EngineError)) throw error;
    throw new ArgumentError(`${option}: ${error.message}`);
  }
}

/** Files of puzzles, and how to use them. */
export interface Files {
  readonly data: string;
  readonly test?: string | undefined;
  /** Value of `--columns`. */
  readonly columns?: string | undefined;
  /** Name of the task; the default follows from the puzzles. */
  readonly task?: string | undefined;
  /** What is held out; the default is puzzles, or examples if identifiers distinguish puzzles. */
  readonly validation?: Validation | undefined;
}

/**
 * Returns the preset on puzzles from files. The validation set is held out of `data`, and so is the test set if `test` is not
 * given and the folder of `data` has no test set. @throws ArgumentError
 */
export async function withFiles(
  preset: Preset,
  { data, test, task: name, validation, columns: given }: Files,
): Promise<Preset> {
  const columns = columnChoice(given);
  const training = await readPuzzles(data, "--data", {
    split: "train",
    columns,
    ...(name !== undefined && { task: requireTask(name), ownIdentifiers: true }),
  });
  const { task, set } = training;
  const testSet =
    test !== undefined
      ? (await readPuzzles(test, "--test", { task, split: "test", columns })).set
      : training.format === "official"
        ? await ownTestSet(data, task)
        : null;
  const by = hasTooFewClasses(task) ? "solution" : preset.splitBy;
  const splits = (seed: number): PuzzleSplits => splitFiles(set, testSet, { task, by, seed, validation });
  return withPuzzles(preset, { task, splitBy: by, splits });
}

/** Makes training, validation and test sets from the puzzles of files, and says so if that takes long. */
function splitFiles(set: PuzzleSet, testSet: PuzzleSet | null, plan: SplitPlan): PuzzleSplits {
  const groups = set.groups ? set.groups.groupIndices.length - 1 : set.count;
  if (plan.validation !== "none" && groups >= MANY_GROUPS)
    say(
      `data      splitting ${groups} puzzles, no ${plan.by === "class" ? "symmetric images" : "solution"} on two sides`,
    );
  return splitFile(set, testSet, plan);
}

/** Makes the splits of a preset. @throws ArgumentError if the preset has no puzzles or too few */
export function splitsOf(preset: Preset, seed: number): PuzzleSplits {
  try {
    return preset.splits(seed);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    const wayOut = / hold out; |to spare; /.test(error.message)
      ? " Or train on all of them: --validation none."
      : "";
    throw new ArgumentError(`--data: ${error.message}${wayOut}`);
  }
}

/** The test part of an official folder; null if the folder holds one set. */
async function ownTestSet(path: string, task: Task): Promise<PuzzleSet | null> {
  const source = await openSource(path, "--data");
  if (source.kind === "file" || (await source.read("dataset.json"))) return null;
  if (!(await source.read("test/dataset.json"))) return null;
  return (await readPuzzles(path, "--data", { task, split: "test" })).set;
}

/** Describes the splits and what they never share. Says if test puzzles repeat solutions of training. */
export function describeSplits(
  { train, validation, test, held = "puzzles" }: PuzzleSplits,
  { task, splitBy }: Pick<Preset, "task" | "splitBy">,
): string {
  const counts = `${train.count} training, ${validation.count} validation, ${test.count} test puzzles`;
  if (held === "nothing")
    return `${counts}; nothing is held out: validation shows training puzzles${test === validation ? ", and so does the test" : ""}, which says nothing of unseen ones`;
  const shared = countShared(test, train, task, "solution");
  const repeats = (what: string, number: number): string =>
    number > 0 ? `; ${number} of the ${what} puzzles have a solution that is in training too` : "";
  if (held === "examples") {
    const seen = countShared(validation, train, task, "solution");
    return `${counts}; examples are held out, of puzzles that stay in training with others${repeats("validation", seen)}${repeats("test", shared)}`;
  }
  if (shared > 0) return `${counts}${repeats("test", shared)}`;
  return `${counts}; no ${splitBy === "class" && task.symmetry ? "solution or symmetric image of one" : "solution"} in two of them`;
}

/**
 * A warning for each set with identifiers that training never sees, if the model embeds identifiers (`puzzle_emb_ndim` above
 * 0), since it cannot learn them.
 */
export function identifierWarnings(
  { train, validation, test }: PuzzleSplits,
  { puzzle_emb_ndim }: Pick<HrmConfig, "puzzle_emb_ndim">,
): string[] {
  if (puzzle_emb_ndim === 0) return [];
  return (
    [
      ["validation", validation],
      ["test", test],
    ] as const
  ).flatMap(([what, set]) => {
    const { used, untrained } = untrainedIdentifiers(set, train);
    return untrained === 0
      ? []
      : [
          `identifiers in ${what} ${used}, of which trained ${used - untrained}: the puzzle embedding of the others stays at its start, so their answers tell nothing of what was learned`,
        ];
  });
}

/** The accuracy on blank cells, and the accuracy of always answering the most frequent token. */
export function describeBlanks({ blankAccuracy }: Scores, data: PuzzleSet): string {
  const majority = majorityOfBlanks(data);
  if (Number.isNaN(majority)) return "no blanks";
  return `blanks ${formatPercent(blankAccuracy)} (the most frequent answer: ${formatPercent(majority)})`;
}
