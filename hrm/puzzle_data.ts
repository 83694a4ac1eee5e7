/** Puzzles from any file or folder that this project reads: one function for all, and one for each format. */
import type { PuzzleSet } from "./puzzles.js";
import { MAZE_SIDES } from "./tasks/maze.js";
import { findTask, taskOfShape } from "./tasks/registry.js";
import type { Task } from "./tasks/task.js";
import { firstQuestion, readPuzzleCsv } from "./files/csv.js";
import { readDataset } from "./files/dataset.js";
import { FileFormatError } from "./files/file_format_error.js";
import { foreignProblem, textStart } from "./files/foreign.js";
import { readPuzzleJsonl } from "./files/jsonl.js";
import type { FileSource, FolderSource, Source } from "./files/sources.js";

export { firstQuestion, readPuzzleCsv, writePuzzleCsv } from "./files/csv.js";
export {
  readDataset,
  writeDataset,
  type Dataset,
  type DatasetMetadata,
  type ReadFile,
} from "./files/dataset.js";
export { FileFormatError, type FileFormatPlace } from "./files/file_format_error.js";
export { readPuzzleJsonl, writePuzzleJsonl, type TaskPuzzles } from "./files/jsonl.js";
export { readNpy, writeNpy, type NpyIntegers } from "./files/npy.js";
export {
  blobSource,
  fileListSource,
  SourceError,
  urlSource,
  type FileSource,
  type FolderSource,
  type Source,
} from "./files/sources.js";

/** What was read. */
export interface PuzzleData {
  readonly format: "csv" | "jsonl" | "official";
  /** The source's name. */
  readonly name: string;
  readonly task: Task;
  readonly set: PuzzleSet;
}

export interface LoadOptions {
  /** The task that the puzzles must be of; default: the one that the data are for. */
  readonly task?: Task;
  /** Which half of an official folder with `train` and `test` inside. */
  readonly split: "train" | "test";
}

/**
 * Reads puzzles: CSV (`.csv`), JSON lines (`.jsonl`, `.ndjson`), or an official data set folder. Without one of these
 * endings, a file that begins with "{" or "[" is taken for JSON lines. All or nothing: on an error, nothing has been loaded.
 * @throws FileFormatError, SourceError
 */
export async function loadPuzzles(source: Source, options: LoadOptions): Promise<PuzzleData> {
  return source.kind === "folder" ? loadFolder(source, options) : loadFile(source, options);
}

async function loadFile(source: FileSource, { task: wanted }: LoadOptions): Promise<PuzzleData> {
  const bytes = await source.read();
  const { name } = source;
  const path = name.replace(/[?#].*$/, "");
  const foreign = foreignProblem(bytes);
  if (foreign !== null) throw new FileFormatError("puzzles", foreign, { file: name });
  const json = !/\.csv$/i.test(path) && /^[{[]/.test(textStart(bytes));
  if (json || /\.(jsonl|ndjson)$/i.test(path))
    return { format: "jsonl", name, ...readPuzzleJsonl(bytes, wanted, name) };
  const task = wanted ?? taskOfQuestion(firstQuestion(bytes, name), name);
  return { format: "csv", name, task, set: readPuzzleCsv(bytes, task, name) };
}

async function loadFolder(source: FolderSource, { task: wanted, split }: LoadOptions): Promise<PuzzleData> {
  const nested = (await source.read("dataset.json")) === null;
  const folder = nested ? `${source.name}/${split}` : source.name;
  if (nested && (await source.read(`${split}/dataset.json`)) === null)
    throw new FileFormatError("dataset", `neither dataset.json nor ${split}/dataset.json in the folder`, {
      file: source.name,
    });
  const { metadata, set } = await readDataset(
    (file) => source.read(nested ? `${split}/${file}` : file),
    folder,
  );
  const { vocab_size: vocabSize, seq_len: length, num_puzzle_identifiers: numPuzzleIdentifiers } = metadata;
  if (wanted) {
    const fits =
      wanted.length === length &&
      wanted.vocabSize === vocabSize &&
      wanted.numPuzzleIdentifiers >= numPuzzleIdentifiers;
    if (!fits) {
      throw new FileFormatError(
        "dataset",
        `${length} cells of ${vocabSize} tokens and ${numPuzzleIdentifiers} identifiers; ` +
          `expected ${wanted.length}, ${wanted.vocabSize} and at most ${wanted.numPuzzleIdentifiers} for ${wanted.name}`,
        { file: `${folder}/dataset.json` },
      );
    }
  }
  const task = wanted ?? { ...taskOfShape(length, vocabSize), numPuzzleIdentifiers };
  return { format: "official", name: source.name, task, set };
}

/** The task that a CSV question is of, by its length and characters. */
function taskOfQuestion({ question, line }: { question: string; line: number }, file: string): Task {
  const side = Math.round(Math.sqrt(question.length));
  const name = /^[# SG]+$/.test(question) ? `maze-${side}x${side}` : `sudoku${side}`;
  const task = findTask(name);
  if (task && task.length === question.length) return task;
  throw new FileFormatError(
    "csv",
    `the first question, ${JSON.stringify(question.slice(0, 40))} of ${question.length} characters, is of no known task; ` +
      `expected 16, 36 or 81 digits and dots (Sudoku), or the "#", " ", "S" and "G" of an n x n maze, n from ${MAZE_SIDES.min} to ${MAZE_SIDES.max}, spaces at its ends included. ` +
      "Where the first line is a header, it has to name question and answer",
    { file, line },
  );
}
