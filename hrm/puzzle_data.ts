/** Puzzles from any file or folder that this project reads: one function for all, and one for each format. */
import type { PuzzleSet } from "./puzzles.js";
import { taskOfShape } from "./tasks/registry.js";
import type { Task } from "./tasks/task.js";
import type { ColumnChoice } from "./files/columns.js";
import { readDataset } from "./files/dataset.js";
import { FileFormatError } from "./files/file_format_error.js";
import { foreignProblem, textStart } from "./files/foreign.js";
import { readPuzzleJsonl } from "./files/jsonl.js";
import { isNpz, readPuzzleNpz } from "./files/npz.js";
import { readPuzzleText } from "./files/puzzle_text.js";
import type { FileSource, FolderSource, Source } from "./files/sources.js";

export { firstQuestion, readPuzzleCsv, writePuzzleCsv } from "./files/csv.js";
export {
  readDataset,
  writeDataset,
  type Dataset,
  type DatasetMetadata,
  type ReadFile,
} from "./files/dataset.js";
export type { ColumnChoice } from "./files/columns.js";
export { FileFormatError, type FileFormatPlace } from "./files/file_format_error.js";
export { readPuzzleJsonl, writePuzzleJsonl, type TaskPuzzles } from "./files/jsonl.js";
export { readPuzzleNpz } from "./files/npz.js";
export { readPuzzleText, type TextOptions, type TextPuzzles } from "./files/puzzle_text.js";
export { readNpy, writeNpy, type NpyIntegers } from "./files/npy.js";
export {
  blobSource,
  fileListSource,
  SourceError,
  urlSource,
  type DownloadLimits,
  type FileSource,
  type FolderSource,
  type Source,
} from "./files/sources.js";

/** What was read. */
export interface PuzzleData {
  readonly format: "csv" | "jsonl" | "npz" | "official";
  /** The source's name. */
  readonly name: string;
  readonly task: Task;
  /** Labels are `IGNORE_LABEL` for puzzles without answers. */
  readonly set: PuzzleSet;
  /** False if puzzles came without answers. */
  readonly answered: boolean;
  /** What was assumed of the data and is worth a line, one sentence each. */
  readonly notes: readonly string[];
}

export interface LoadOptions {
  /** The task that the puzzles must be of; default: the one that the data are for. */
  readonly task?: Task;
  /** Which half of an official folder with `train` and `test` inside. */
  readonly split: "train" | "test";
  /** Which columns or keys hold puzzles and answers, by name or by number from 1; default: by their usual names. */
  readonly columns?: ColumnChoice | undefined;
  /** False if puzzles may come without answers, to be solved; default true. */
  readonly needsAnswers?: boolean | undefined;
  /** Called now and then with the share of a file that was read, from 0 to 1. */
  readonly onProgress?: ((share: number) => void) | undefined;
}

/**
 * Reads puzzles: tables and lists of text (`.csv`, `.tsv`, `.txt`, `.sdm`, `.sdk`), JSON lines or a JSON list (`.jsonl`,
 * `.ndjson`, or what begins with "{" or a list), `.npz` archives, or an official data set folder. All or nothing: on an error, nothing has been loaded.
 * @throws FileFormatError, SourceError
 */
export async function loadPuzzles(source: Source, options: LoadOptions): Promise<PuzzleData> {
  return source.kind === "folder" ? loadFolder(source, options) : loadFile(source, options);
}

async function loadFile(source: FileSource, options: LoadOptions): Promise<PuzzleData> {
  const bytes = await source.read();
  const { name } = source;
  const path = name.replace(/[?#].*$/, "");
  if (isNpz(bytes)) return { format: "npz", name, ...readPuzzleNpz(bytes, name, options) };
  const foreign = foreignProblem(bytes);
  if (foreign !== null) throw new FileFormatError("puzzles", foreign, { file: name });
  const json = !/\.csv$/i.test(path) && /^(\{|\[\s*(["[{\]\d]|$))/.test(textStart(bytes, 256));
  if (json || /\.(jsonl|ndjson)$/i.test(path))
    return { format: "jsonl", name, ...readPuzzleJsonl(bytes, options.task, name, options) };
  return { format: "csv", name, ...readPuzzleText(bytes, name, options) };
}

async function loadFolder(source: FolderSource, { task: wanted, split }: LoadOptions): Promise<PuzzleData> {
  const nested = (await source.read("dataset.json")) === null;
  const folder = nested ? `${source.name}/${split}` : source.name;
  if (nested && (await source.read(`${split}/dataset.json`)) === null)
    throw new FileFormatError("dataset", `neither dataset.json nor ${split}/dataset.json in the folder`, {
      file: source.name,
    });
  const { metadata, set, notes } = await readDataset(
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
  return { format: "official", name: source.name, task, set, answered: true, notes };
}
