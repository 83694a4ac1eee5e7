/**
 * Tasks of the Abstraction and Reasoning Corpus as they are published: files of one task (`{"train": [...], "test": [...]}`),
 * files of many (`{"007bbfb7": {"train": ...}}`), and the challenges and solutions of ARC Prize, in which the outputs of the
 * tests lie in a file of their own (`{"007bbfb7": [grid, ...]}`).
 */
import { ARC, gridKey, type ArcGrid, type ArcPair, type ArcTask } from "../../puzzles/arc/grid.js";
import { parseImageName } from "../../puzzles/arc/image.js";
import { formatValue } from "../../format_value.js";
import { FileFormatError } from "../file_format_error.js";
import { unsupportedProblem } from "../unsupported_formats.js";
import { startOfText } from "./text_lines.js";

const FORMAT = "arc";
/** The most bytes of a file, which is read as a whole. All published tasks together take about 10 MB. */
const MOST_BYTES = 256e6;
const MOST_TASKS = 100_000;
const MOST_PAIRS = 1000;
const LONGEST_NAME = 200;

/** A file of ARC tasks or solutions. */
export interface ArcFile {
  /** Its name, for messages; the name of a single task is taken from it. */
  readonly name: string;
  /** Its bytes. */
  readonly bytes: Uint8Array;
}

/** Tasks, and what did not match. */
export interface ArcTasks {
  /** The tasks, in the order of the files. */
  readonly tasks: readonly ArcTask[];
  /** Names in solution files of which there is no task. */
  readonly unmatched: readonly string[];
}

type Fail = (problem: string) => FileFormatError;
type Json = Readonly<Record<string, unknown>>;

/**
 * Reads ARC tasks from files in any order: tasks, and solutions of their tests. Grids have 1 to 30 rows and columns and
 * colours 0 to 9. The output of a test may be missing. @throws FileFormatError with the file, the task, the pair and the row
 */
export function readArcTasks(files: readonly ArcFile[]): ArcTasks {
  const tasks = new Map<string, ArcTask>();
  const solutions: { id: string; grids: readonly ArcGrid[]; fail: Fail }[] = [];
  for (const { name, bytes } of files) {
    const fail: Fail = (problem) => new FileFormatError(FORMAT, problem, { file: name });
    const json = parsed(bytes, fail);
    const entries: [string, unknown][] = isTask(json) ? [[baseName(name), json]] : Object.entries(json);
    if (entries.length === 0 || entries.length > MOST_TASKS)
      throw fail(`${entries.length} tasks; expected 1 to ${MOST_TASKS}`);
    for (const [id, value] of entries) {
      requireName(id, fail);
      const failTask: Fail = (problem) => fail(`task ${formatValue(id)}: ${problem}`);
      if (Array.isArray(value))
        solutions.push({ id, grids: parsedSolutions(value, failTask), fail: failTask });
      else if (tasks.has(id)) throw failTask("a second task with this name; expected every task once");
      else tasks.set(id, parsedTask(id, value, failTask));
    }
  }
  const unmatched: string[] = [];
  const solved = new Set<string>();
  for (const { id, grids, fail } of solutions) {
    const task = tasks.get(id);
    if (solved.has(id)) throw fail("a second list of solutions; expected one");
    solved.add(id);
    if (task) tasks.set(id, withSolutions(task, grids, fail));
    else unmatched.push(id);
  }
  if (tasks.size === 0) {
    const names = files.map(({ name }) => name).join(", ");
    throw new FileFormatError(FORMAT, "no tasks; expected a file with train and test pairs", { file: names });
  }
  return { tasks: [...tasks.values()], unmatched };
}

/** The tasks as one JSON text, one task a line, in the published form. */
export function writeArcTasks(tasks: readonly ArcTask[]): string {
  const rows = ({ rows, columns, cells }: ArcGrid) =>
    Array.from({ length: rows }, (_, r) => [...cells.subarray(r * columns, (r + 1) * columns)]);
  const pair = ({ input, output }: ArcPair) => ({
    input: rows(input),
    ...(output && { output: rows(output) }),
  });
  const lines = tasks.map(
    ({ id, train, test }) =>
      `${JSON.stringify(id)}:${JSON.stringify({ train: train.map(pair), test: test.map(pair) })}`,
  );
  return `{${lines.join(",\n")}}\n`;
}

function parsed(bytes: Uint8Array, fail: Fail): Json {
  if (bytes.length > MOST_BYTES) throw fail(`${bytes.length} bytes; expected at most ${MOST_BYTES}`);
  const foreign = unsupportedProblem(bytes);
  if (foreign !== null) throw fail(foreign);
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(startOfText(bytes))));
  } catch (error) {
    throw fail(`not JSON (${(error as Error).message.slice(0, 100)}); expected ARC tasks`);
  }
  if (!isObject(json))
    throw fail(
      'expected an object: {"train": [...], "test": [...]}, or tasks or solutions by the names of tasks',
    );
  return json;
}

function isObject(json: unknown): json is Json {
  return typeof json === "object" && json !== null && !Array.isArray(json);
}

/** True for one task, and not tasks by their names. */
function isTask(json: Json): boolean {
  return Object.hasOwn(json, "train") && (Array.isArray(json["train"]) || Object.hasOwn(json, "test"));
}

/** The name of a file without folder and ending. */
function baseName(path: string): string {
  return path.replace(/^.*[/\\]/, "").replace(/\.json$/i, "");
}

function requireName(id: string, fail: Fail): void {
  // Names are told apart from the names of images, which follow them in identifiers.json.
  const plain = id.length > 0 && id.length <= LONGEST_NAME && !/[\p{Cc}\p{Cs}<>]/u.test(id);
  if (!plain || parseImageName(id).image !== null)
    throw fail(
      `a task with the name ${formatValue(id)}; expected 1 to ${LONGEST_NAME} printable characters that do not look like the name of an augmented task`,
    );
}

function parsedTask(id: string, json: unknown, fail: Fail): ArcTask {
  if (!isObject(json))
    throw fail(`${formatValue(json)}; expected train and test pairs, or a list of solutions`);
  const pairs = (part: "train" | "test"): ArcPair[] => {
    const list = Object.hasOwn(json, part) ? json[part] : undefined;
    if (!Array.isArray(list) || list.length === 0 || list.length > MOST_PAIRS)
      throw fail(
        `${part} is ${Array.isArray(list) ? `a list of ${list.length}` : formatValue(list)}; expected a list of 1 to ${MOST_PAIRS} pairs`,
      );
    return list.map((pair: unknown, i) => {
      const where = `${part} pair ${i + 1}`;
      if (!isObject(pair)) throw fail(`${where} is ${formatValue(pair)}; expected an input and an output`);
      const input = parsedGrid(pair["input"], `${where}, input`, fail);
      const known = Object.hasOwn(pair, "output");
      if (!known && part === "train") throw fail(`${where} has no output`);
      return { input, output: known ? parsedGrid(pair["output"], `${where}, output`, fail) : null };
    });
  };
  return { id, train: pairs("train"), test: pairs("test") };
}

function parsedSolutions(list: readonly unknown[], fail: Fail): ArcGrid[] {
  if (list.length === 0 || list.length > MOST_PAIRS)
    throw fail(`${list.length} solutions; expected 1 to ${MOST_PAIRS}`);
  return list.map((grid, i) => parsedGrid(grid, `solution ${i + 1}`, fail));
}

function parsedGrid(json: unknown, where: string, fail: Fail): ArcGrid {
  const sized = (list: unknown): list is unknown[] =>
    Array.isArray(list) && list.length > 0 && list.length <= ARC.side;
  const size = (value: unknown): string =>
    Array.isArray(value) ? `a list of ${value.length}` : formatValue(value);
  if (!sized(json)) throw fail(`${where} is ${size(json)}; expected 1 to ${ARC.side} rows`);
  const first: unknown = json[0];
  if (!sized(first)) throw fail(`${where}, row 1 is ${size(first)}; expected 1 to ${ARC.side} colours`);
  const [rows, columns] = [json.length, first.length];
  const cells = new Uint8Array(rows * columns);
  json.forEach((row: unknown, r) => {
    if (!Array.isArray(row) || row.length !== columns)
      throw fail(`${where}, row ${r + 1} is ${size(row)}; expected ${columns} colours, as row 1 has`);
    row.forEach((colour: unknown, c) => {
      if (typeof colour !== "number" || !Number.isInteger(colour) || colour < 0 || colour >= ARC.colours)
        throw fail(
          `${where}, row ${r + 1}, column ${c + 1} is ${formatValue(colour)}; expected a colour from 0 to ${ARC.colours - 1}`,
        );
      cells[r * columns + c] = colour;
    });
  });
  return { rows, columns, cells };
}

/** The task with the outputs of its tests. */
function withSolutions(task: ArcTask, grids: readonly ArcGrid[], fail: Fail): ArcTask {
  if (grids.length !== task.test.length)
    throw fail(`${grids.length} solutions of ${task.test.length} tests; expected as many`);
  const test = task.test.map(({ input, output }, i) => {
    if (output && gridKey(output) !== gridKey(grids[i]!))
      throw fail(`solution ${i + 1} differs from the output that the task has`);
    return { input, output: grids[i]! };
  });
  return { ...task, test };
}
