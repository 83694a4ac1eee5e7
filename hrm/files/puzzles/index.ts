/** Puzzles from any file or folder that this project reads: one function for all, and one for each format. */
import type { PuzzleSet } from "../../puzzles/puzzle_set.js";
import { gridTask } from "../../puzzles/tasks/grid.js";
import { taskOfShape } from "../../puzzles/tasks/registry.js";
import { firstBrokenRow } from "../../puzzles/tasks/rules.js";
import type { Task } from "../../puzzles/tasks/task.js";
import type { ColumnChoice } from "./columns.js";
import { readDataset } from "./dataset.js";
import { FileFormatError, type FileFormatPlace } from "../file_format_error.js";
import { unsupportedProblem, textStart } from "../unsupported_formats.js";
import { readPuzzleJsonl } from "./jsonl.js";
import { isNpz, readPuzzleNpz } from "./npz.js";
import { readPuzzleText } from "./puzzle_text.js";
import type { FileSource, FolderSource, Source } from "../sources/sources.js";

export { firstQuestion, readPuzzleCsv, writePuzzleCsv } from "./csv.js";
export { readDataset, writeDataset, type Dataset, type DatasetMetadata, type ReadFile } from "./dataset.js";
export type { ColumnChoice } from "./columns.js";
export { FileFormatError, type FileFormatPlace } from "../file_format_error.js";
export { readPuzzleJsonl, writePuzzleJsonl, type TaskPuzzles } from "./jsonl.js";
export { readPuzzleNpz } from "./npz.js";
export { readPuzzleText, type TextOptions, type TextPuzzles } from "./puzzle_text.js";
export { readNpy, writeNpy, type NpyIntegers } from "./npy.js";
export {
  blobSource,
  fileListSource,
  SourceError,
  urlSource,
  type DownloadLimits,
  type FileSource,
  type FolderSource,
  type Source,
} from "../sources/sources.js";

/** What was read. */
export interface PuzzleData {
  /** The format that was found. */
  readonly format: "csv" | "jsonl" | "npz" | "official";
  /** The source's name. */
  readonly name: string;
  /** The task of the puzzles, with its rules if they have any. */
  readonly task: Task;
  /** Labels are `IGNORE_LABEL` for puzzles without answers. */
  readonly set: PuzzleSet;
  /** False if puzzles came without answers. */
  readonly answered: boolean;
  /** Assumptions about the data, one sentence each, for messages. */
  readonly notes: readonly string[];
}

/** How puzzles are read from a source. */
export interface LoadOptions {
  /**
   * The task of the puzzles; rows that break its rules are refused. The default is the task that fits the data. Data that look
   * like a Sudoku or maze but break its rules are then a grid without rules and symmetries.
   */
  readonly task?: Task;
  /** True if the data tell the number of identifiers, not `task`. */
  readonly ownIdentifiers?: boolean;
  /** Which part of an official folder that has `train` and `test` inside. */
  readonly split: "train" | "test";
  /** Which columns or keys hold puzzles and answers, by name or by number from 1; default: by their usual names. */
  readonly columns?: ColumnChoice | undefined;
  /** False if puzzles may come without answers, to be solved; default true. */
  readonly needsAnswers?: boolean | undefined;
  /** Called from time to time with the share of the file that was read, from 0 to 1. */
  readonly onProgress?: ((share: number) => void) | undefined;
}

/**
 * Reads puzzles: tables and lists of text (`.csv`, `.tsv`, `.txt`, `.sdm`, `.sdk`), JSON lines or a JSON list (`.jsonl`,
 * `.ndjson`, or what begins with "{" or a list), `.npz` archives, or an official data set folder. On an error nothing is loaded.
 * @throws FileFormatError, SourceError
 */
export async function loadPuzzles(source: Source, options: LoadOptions): Promise<PuzzleData> {
  return source.kind === "folder" ? loadFolder(source, options) : loadFile(source, options);
}

async function loadFile(source: FileSource, options: LoadOptions): Promise<PuzzleData> {
  const bytes = await source.read();
  const { name } = source;
  const path = name.replace(/[?#].*$/, "");
  if (isNpz(bytes)) {
    const data: PuzzleData = { format: "npz", name, ...readPuzzleNpz(bytes, name, options) };
    return byRules(data, options.task, (row) => ({ place: puzzleAt(row), file: { file: name } }));
  }
  const foreign = unsupportedProblem(bytes);
  if (foreign !== null) throw new FileFormatError("puzzles", foreign, { file: name });
  const json = !/\.csv$/i.test(path) && /^(\{|\[\s*(["[{\]\d]|$))/.test(textStart(bytes, 256));
  if (json || /\.(jsonl|ndjson)$/i.test(path)) return loadJsonl(bytes, name, options);
  return { format: "csv", name, ...readPuzzleText(bytes, name, options) };
}

/** The most identifiers in a JSON lines file. */
const MOST_IDENTIFIERS = 65536;

function loadJsonl(bytes: Uint8Array, name: string, options: LoadOptions): PuzzleData {
  const { task: wanted, ownIdentifiers = false } = options;
  const asked = wanted && ownIdentifiers ? { ...wanted, numPuzzleIdentifiers: MOST_IDENTIFIERS } : wanted;
  const { lines, ...found } = readPuzzleJsonl(bytes, asked, name, options);
  const { task, set } = found;
  const own = set.identifiers.reduce((most, identifier) => Math.max(most, identifier + 1), 1);
  const data: PuzzleData = {
    format: "jsonl",
    name,
    ...found,
    task: asked === wanted ? task : { ...task, numPuzzleIdentifiers: own },
  };
  return byRules(data, wanted, (row) => ({ place: puzzleAt(row), file: { file: name, line: lines[row]! } }));
}

const puzzleAt = (row: number): string => `puzzle ${row + 1} (index ${row})`;

/**
 * Checks every row by the rules of its task. If a row breaks them, it is refused if the caller named the task; otherwise the
 * data become a grid without rules and symmetries, with a note. `placeOf` returns the place of a row. @throws FileFormatError
 */
function byRules(
  data: PuzzleData,
  wanted: Task | undefined,
  placeOf: (row: number) => { readonly place: string; readonly file: FileFormatPlace },
): PuzzleData {
  const { task, set, format } = data;
  const broken = firstBrokenRow(set, task);
  if (!broken) return data;
  const { place, file } = placeOf(broken.row);
  const { rows, columns, vocabSize, numPuzzleIdentifiers } = task;
  const grid = gridTask({ rows, columns, vocabSize, numPuzzleIdentifiers });
  if (wanted)
    throw new FileFormatError(
      format === "official" ? "dataset" : format,
      `${place}: ${broken.problem}. The puzzles are read as ${task.name}; without rules they would be of the task ${grid.name} (--task)`,
      file,
    );
  const note = `${file.file} has the shape of ${task.name}, but in ${place} ${broken.problem}: it is taken for ${grid.name}, without rules and without symmetries (--task ${task.name} would refuse it)`;
  return { ...data, task: grid, notes: [...data.notes, note] };
}

async function loadFolder(
  source: FolderSource,
  { task: wanted, ownIdentifiers = false, split }: LoadOptions,
): Promise<PuzzleData> {
  const nested = (await source.read("dataset.json")) === null;
  const folder = nested ? `${source.name}/${split}` : source.name;
  if (nested && (await source.read(`${split}/dataset.json`)) === null)
    throw new FileFormatError("dataset", `neither dataset.json nor ${split}/dataset.json in the folder`, {
      file: source.name,
    });
  const { metadata, set, counts, notes } = await readDataset(
    (file) => source.read(nested ? `${split}/${file}` : file),
    folder,
  );
  const { vocab_size: vocabSize, seq_len: length, num_puzzle_identifiers: numPuzzleIdentifiers } = metadata;
  if (wanted) {
    const fits =
      wanted.length === length &&
      wanted.vocabSize === vocabSize &&
      (ownIdentifiers || wanted.numPuzzleIdentifiers >= numPuzzleIdentifiers);
    if (!fits) {
      throw new FileFormatError(
        "dataset",
        `${length} cells of ${vocabSize} tokens and ${numPuzzleIdentifiers} identifiers; ` +
          `expected ${wanted.length}, ${wanted.vocabSize} and at most ${wanted.numPuzzleIdentifiers} for ${wanted.name}`,
        { file: `${folder}/dataset.json` },
      );
    }
  }
  const claimed = wanted ?? taskOfShape(length, vocabSize);
  const task = wanted && !ownIdentifiers ? wanted : { ...claimed, numPuzzleIdentifiers };
  const data: PuzzleData = { format: "official", name: source.name, task, set, answered: true, notes };
  return byRules(data, wanted, (row) => {
    const place = placeInSets(metadata.sets, counts, row);
    return { place: puzzleAt(place.row), file: { file: `${folder}/${place.file}` } };
  });
}

/** The place of a row in sets that follow one another: the file of its set, and its index in that file. */
function placeInSets(
  sets: readonly string[],
  counts: readonly number[],
  row: number,
): { row: number; file: string } {
  let index = 0;
  while (index + 1 < counts.length && row >= counts[index]!) row -= counts[index++]!;
  return { row, file: `${sets[index]}__labels.npy` };
}
