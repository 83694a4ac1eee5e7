/**
 * The data set folder of the official builders (sapientinc/HRM, dataset/common.py): `dataset.json` and
 * `{set}__{inputs,labels,puzzle_identifiers,puzzle_indices,group_indices}.npy` for each of its sets.
 */
import { IGNORE_LABEL, type PuzzleGroups, type PuzzleSet } from "../../puzzles/puzzle_set.js";
import { FileFormatError } from "../file_format_error.js";
import { pointerProblem } from "../unsupported_formats.js";
import { readNpy, shapeText, writeNpy, type NpyIntegers } from "./npy.js";
import { formatValue } from "../../format_value.js";

const FORMAT = "dataset";

/** The fields of `dataset.json`. */
export interface DatasetMetadata {
  /** The token that fills cells after the end of a puzzle. */
  readonly pad_id: number;
  /** Value of labels that are ignored; null if no labels are ignored. */
  readonly ignore_label_id: number | null;
  /** The identifier that stands for no puzzle. */
  readonly blank_identifier_id: number;
  /** Number of tokens. */
  readonly vocab_size: number;
  /** Cells of a puzzle. */
  readonly seq_len: number;
  /** Rows of the puzzle embedding. */
  readonly num_puzzle_identifiers: number;
  /** Number of groups; the puzzles of a group are augmentations of one. */
  readonly total_groups: number;
  /** Mean number of rows of a puzzle. */
  readonly mean_puzzle_examples: number;
  /** Names of the sets, by which their files begin. */
  readonly sets: readonly string[];
}

/** A data set in memory; its sets follow one another. */
export interface Dataset {
  /** What `dataset.json` says. */
  readonly metadata: DatasetMetadata;
  /** The puzzles of all its sets, one set after the other. */
  readonly set: PuzzleSet;
  /** Rows of each of its sets, in the order of `metadata.sets`. */
  readonly counts: readonly number[];
  /** What was assumed, one sentence each. */
  readonly notes: readonly string[];
}

/** Returns the bytes of a file in the folder; null if there is no such file. */
export type ReadFile = (name: string) => Promise<Uint8Array | null>;

const ARRAYS = ["inputs", "labels", "puzzle_identifiers", "puzzle_indices", "group_indices"] as const;

/**
 * Reads a folder with a `dataset.json` of its own; `folder` names it in messages.
 * @throws FileFormatError if a file is missing or unreadable, or if files contradict each other
 */
export async function readDataset(read: ReadFile, folder = "the folder"): Promise<Dataset> {
  const file = `${folder}/dataset.json`;
  const json = await read("dataset.json");
  if (!json) throw new FileFormatError(FORMAT, "no dataset.json in the folder", { file: folder });
  const metadata = parseMetadata(json, file);
  const parts: PuzzleSet[] = [];
  for (const name of metadata.sets) {
    const arrays = {} as Record<(typeof ARRAYS)[number], NpyIntegers>;
    const missing: string[] = [];
    for (const array of ARRAYS) {
      const path = `${name}__${array}.npy`;
      const bytes = await read(path);
      if (!bytes) missing.push(path);
      else arrays[array] = readNpy(bytes, `${folder}/${path}`);
    }
    if (missing.length > 0)
      throw new FileFormatError(FORMAT, `no ${missing.join(", ")} in the folder, which dataset.json names`, {
        file: folder,
      });
    parts.push(checkedSet(arrays, metadata, `${folder}/${name}`));
  }
  const set = parts.length === 1 ? parts[0]! : joined(parts);
  const groups = set.groups ? set.groups.groupIndices.length - 1 : set.count;
  if (groups !== metadata.total_groups)
    throw new FileFormatError(
      FORMAT,
      `total_groups is ${metadata.total_groups}; the sets have ${groups} groups`,
      {
        file,
      },
    );
  return { metadata, set, counts: parts.map(({ count }) => count), notes: [] };
}

/** Sizes of the model that a data set is for. */
interface DatasetSizes {
  readonly vocabSize: number;
  readonly numPuzzleIdentifiers: number;
}

/** The files of a data set with one set, `all`, by name. */
export const writeDataset = (set: PuzzleSet, sizes: DatasetSizes): Map<string, Uint8Array<ArrayBuffer>> =>
  writeDatasetOf(new Map([["all", set]]), sizes);

/** The files of a data set, by name; its sets have names of letters, digits, points and dashes. */
export function writeDatasetOf(
  sets: ReadonlyMap<string, PuzzleSet>,
  { vocabSize, numPuzzleIdentifiers }: DatasetSizes,
): Map<string, Uint8Array<ArrayBuffer>> {
  const all = [...sets.values()];
  const ignored = all.some(({ labels }) => labels.includes(IGNORE_LABEL));
  // 0 is PAD, so only the answers of a user's own task may have it.
  const ignoreId = all.some(({ labels }) => labels.includes(0)) ? (ignored ? IGNORE_LABEL : null) : 0;
  const bytes = vocabSize <= 256;
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  let [groups, puzzles, rows] = [0, 0, 0];
  for (const [name, set] of sets) {
    const { count, length } = set;
    const { puzzleIndices, groupIndices } = set.groups ?? trivialGroups(count);
    const labels = ignored && ignoreId === 0 ? set.labels.map((l) => Math.max(0, l)) : set.labels;
    const own = puzzleIndices.length - 1;
    const identifiers = puzzleIndices.subarray(0, own).map((row) => set.identifiers[row]!);
    const ofLabels = bytes && ignoreId !== IGNORE_LABEL ? "|u1" : "<i4";
    files.set(`${name}__inputs.npy`, writeNpy(set.inputs, [count, length], bytes ? "|u1" : "<i4"));
    files.set(`${name}__labels.npy`, writeNpy(labels, [count, length], ofLabels));
    files.set(`${name}__puzzle_identifiers.npy`, writeNpy(identifiers, [own], "<i4"));
    files.set(`${name}__puzzle_indices.npy`, writeNpy(puzzleIndices, [own + 1], "<i4"));
    files.set(`${name}__group_indices.npy`, writeNpy(groupIndices, [groupIndices.length], "<i4"));
    groups += groupIndices.length - 1;
    puzzles += own;
    rows += count;
  }
  const metadata: DatasetMetadata = {
    pad_id: 0,
    ignore_label_id: ignoreId,
    blank_identifier_id: 0,
    vocab_size: vocabSize,
    seq_len: all[0]!.length,
    num_puzzle_identifiers: numPuzzleIdentifiers,
    total_groups: groups,
    mean_puzzle_examples: rows / puzzles,
    sets: [...sets.keys()],
  };
  return new Map([["dataset.json", new TextEncoder().encode(JSON.stringify(metadata))], ...files]);
}

/** Groups in which every row is a puzzle and every puzzle is a group. */
function trivialGroups(count: number): PuzzleGroups {
  const indices = Int32Array.from({ length: count + 1 }, (_, i) => i);
  return { puzzleIndices: indices, groupIndices: indices };
}

function parseMetadata(bytes: Uint8Array, file: string): DatasetMetadata {
  const pointer = pointerProblem(bytes);
  if (pointer !== null) throw new FileFormatError(FORMAT, pointer, { file });
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw new FileFormatError(FORMAT, `not JSON: ${(error as Error).message}`, { file }, { cause: error });
  }
  if (typeof json !== "object" || json === null || Array.isArray(json))
    throw new FileFormatError(FORMAT, "expected a JSON object", { file });
  const fields = json as Record<string, unknown>;
  const missing: string[] = [];
  const problems: string[] = [];
  const require = (field: string, holds: (value: unknown) => boolean, expected: string): void => {
    if (!Object.hasOwn(fields, field)) missing.push(field);
    else if (!holds(fields[field]))
      problems.push(`${field} is ${formatValue(fields[field])}; expected ${expected}`);
  };
  const natural = (value: unknown): boolean => Number.isInteger(value) && Number(value) >= 0;
  const positive = (value: unknown): boolean => natural(value) && Number(value) > 0;
  for (const field of ["vocab_size", "seq_len", "num_puzzle_identifiers", "total_groups"])
    require(field, positive, "a positive integer");
  for (const field of ["pad_id", "blank_identifier_id"]) require(field, natural, "an integer of at least 0");
  require("ignore_label_id", (v) => v === null || Number.isInteger(v), "an integer or null");
  require("mean_puzzle_examples", (v) => typeof v === "number" && v > 0, "a number above 0");
  // Set names become file names.
  require("sets", (v) =>
    Array.isArray(v) &&
    v.length > 0 &&
    new Set(v).size === v.length &&
    v.every((name) => typeof name === "string" && /^[\w][\w .-]*$/.test(name)), "a list of different names");
  if (missing.length > 0) {
    const other = Object.keys(fields).slice(0, 20).join(", ");
    problems.unshift(`${missing.join(", ")} missing; the file has ${formatValue(other)}`);
  }
  if (problems.length > 0) throw new FileFormatError(FORMAT, problems.join("; "), { file });
  return fields as unknown as DatasetMetadata;
}

/** Reads one set, and checks that its files agree. */
function checkedSet(
  arrays: Record<(typeof ARRAYS)[number], NpyIntegers>,
  metadata: DatasetMetadata,
  prefix: string,
): PuzzleSet {
  const { seq_len: length, vocab_size: vocab, num_puzzle_identifiers: identifierCount } = metadata;
  const fail = (array: string, problem: string): FileFormatError =>
    new FileFormatError(FORMAT, problem, { file: `${prefix}__${array}.npy` });
  const count = arrays.inputs.shape[0] ?? 0;
  for (const array of ["inputs", "labels"] as const) {
    const { shape } = arrays[array];
    // Rows and columns of a grid are its cells, row by row.
    const cells = shape.slice(1).reduce((a, b) => a * b, 1);
    if (shape.length < 2 || shape.length > 3 || shape[0] !== count || cells !== length)
      throw fail(
        array,
        `shape (${shapeText(shape)}); expected (${count}, ${length}), seq_len being ${length}, or (${count}, rows, columns)`,
      );
  }
  if (count === 0) throw fail("inputs", "no puzzles");
  const inRange = (array: string, values: Int32Array, limit: number): void => {
    const bad = values.findIndex((value) => value < 0 || value >= limit);
    if (bad >= 0)
      throw fail(array, `value ${values[bad]} at index ${bad}; expected 0 to ${limit - 1} by dataset.json`);
  };
  inRange("inputs", arrays.inputs.values, vocab);
  const labels = arrays.labels.values;
  const bad = labels.findIndex(
    (label) => label !== metadata.ignore_label_id && (label < 0 || label >= vocab),
  );
  if (bad >= 0)
    throw fail(
      "labels",
      `value ${labels[bad]} at index ${bad}; expected 0 to ${vocab - 1}, or ignore_label_id (${metadata.ignore_label_id})`,
    );
  if (metadata.ignore_label_id !== null)
    labels.forEach((label, i) => {
      if (label === metadata.ignore_label_id) labels[i] = IGNORE_LABEL;
    });
  const indices = (array: "puzzle_indices" | "group_indices", end: number, what: string): Int32Array => {
    const { shape, values } = arrays[array];
    if (shape.length !== 1 || values.length < 2 || values[0] !== 0 || values.at(-1) !== end)
      throw fail(array, `expected a list from 0 to ${end}, the number of ${what}`);
    const down = values.findIndex((value, i) => i > 0 && value <= values[i - 1]!);
    if (down > 0) throw fail(array, `value ${values[down]} at index ${down} is not above the one before it`);
    return values;
  };
  const puzzleIndices = indices("puzzle_indices", count, "rows");
  const puzzles = puzzleIndices.length - 1;
  const groupIndices = indices("group_indices", puzzles, "puzzles");
  const perPuzzle = arrays.puzzle_identifiers;
  if (perPuzzle.shape.length !== 1 || perPuzzle.values.length !== puzzles)
    throw fail("puzzle_identifiers", `shape (${shapeText(perPuzzle.shape)}); expected (${puzzles},)`);
  inRange("puzzle_identifiers", perPuzzle.values, identifierCount);
  const identifiers = new Int32Array(count);
  for (let p = 0; p < puzzles; p++)
    identifiers.fill(perPuzzle.values[p]!, puzzleIndices[p], puzzleIndices[p + 1]);
  const trivial = puzzles === count && groupIndices.length - 1 === puzzles;
  return {
    count,
    length,
    inputs: arrays.inputs.values,
    labels,
    identifiers,
    ...(!trivial && { groups: { puzzleIndices, groupIndices } }),
  };
}

/** Several sets as one, rows, puzzles and groups renumbered. */
function joined(parts: readonly PuzzleSet[]): PuzzleSet {
  const count = parts.reduce((sum, part) => sum + part.count, 0);
  const { length } = parts[0]!;
  const inputs = new Int32Array(count * length);
  const labels = new Int32Array(count * length);
  const identifiers = new Int32Array(count);
  const puzzleIndices = [0];
  const groupIndices = [0];
  let row = 0;
  for (const part of parts) {
    inputs.set(part.inputs, row * length);
    labels.set(part.labels, row * length);
    identifiers.set(part.identifiers, row);
    const groups = part.groups ?? trivialGroups(part.count);
    const firstPuzzle = puzzleIndices.length - 1;
    for (const end of groups.puzzleIndices.subarray(1)) puzzleIndices.push(row + end);
    for (const end of groups.groupIndices.subarray(1)) groupIndices.push(firstPuzzle + end);
    row += part.count;
  }
  const trivial = groupIndices.length === count + 1;
  return {
    count,
    length,
    inputs,
    labels,
    identifiers,
    ...(!trivial && {
      groups: {
        puzzleIndices: Int32Array.from(puzzleIndices),
        groupIndices: Int32Array.from(groupIndices),
      },
    }),
  };
}
