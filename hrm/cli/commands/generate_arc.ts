/** `hrm generate --arc` and `--task arc-toy`: official data set folders of ARC tasks. */
import { readdir, readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { UsageError } from "../../../engine/errors.js";
import { readArcTasks, writeArcTasks, type ArcFile } from "../../files/puzzles/arc.js";
import { writeDataset } from "../../files/puzzles/dataset.js";
import { FileFormatError } from "../../files/file_format_error.js";
import { buildArcDataset, type ArcDataset, type ArcSources } from "../../puzzles/arc/dataset.js";
import { ARC, type ArcTask } from "../../puzzles/arc/grid.js";
import { ARC_TOY_FAMILIES, ARC_TOY_SIDE, arcToySources, generateArcToy } from "../../puzzles/arc/toy.js";
import type { PuzzleSet } from "../../puzzles/puzzle_set.js";
import { ArgumentError, type Option, type Values } from "../../terminal/arguments.js";
import { fileExists } from "../disk/file_exists.js";
import { makeFolder } from "../disk/make_folder.js";
import { OutputError, reasonOf, writeFileSafely } from "../disk/output.js";
import { printJson, say } from "../output/console.js";

/** The name for `--task`. */
export const ARC_TOY = "arc-toy";

/** Images of each task, if `--augmentations` is not given. */
const AUGMENTATIONS = { arc: 100, toy: 0 } as const;
const TOY_TASKS = 160;

/** Options of `hrm generate` for ARC. */
export const arcOptions = {
  arc: {
    type: "string",
    help: "ARC tasks as they are published: demonstrations are learned, tests are tested; files or folders of JSON, separated by commas, with solutions or without",
    placeholder: "paths",
    defaultText: "none",
  },
  "arc-train": {
    type: "string",
    help: "with --arc: more tasks, of which tests are learned too",
    placeholder: "paths",
    defaultText: "none",
  },
  augmentations: {
    type: "int",
    min: 0,
    max: 100_000,
    help: "ARC: images of each task (rotated, reflected, recoloured), each with a puzzle identifier of its own; officially 1000",
    defaultText: `${AUGMENTATIONS.arc}; ${ARC_TOY}: ${AUGMENTATIONS.toy}`,
  },
  canvas: {
    type: "int",
    min: 1,
    max: ARC.side,
    help: "ARC: side of the canvas; tasks with larger grids are left out",
    defaultText: `${ARC.side}; ${ARC_TOY}: ${ARC_TOY_SIDE}`,
  },
} as const satisfies Record<string, Option>;

/** What the command line says. */
export type ArcWishes = Values<typeof arcOptions> & {
  readonly count: number | undefined;
  readonly seed: number;
  readonly out: string;
  readonly format: "csv" | "jsonl" | "official" | undefined;
  readonly overwrite: boolean;
  readonly json: boolean;
};

/** Writes the tasks: as a data set folder, or for arc-toy as published JSON if the name ends in .json. @throws ArgumentError */
export async function generateArc(wishes: ArcWishes): Promise<number> {
  const { out, arc, count, seed, format } = wishes;
  const toy = arc === undefined;
  if (format !== undefined && format !== "official")
    throw new ArgumentError(
      `--format: got ${format}; expected official, as ARC tasks need puzzle identifiers.`,
    );
  if (toy && wishes["arc-train"] !== undefined)
    throw new ArgumentError("--arc-train: got no --arc; expected the tasks to test.");
  if (!toy && count !== undefined)
    throw new ArgumentError(`--count: got ${count} with --arc; expected none, as all of its tasks are used.`);
  const plain = toy && /\.json$/i.test(out);
  const target = plain ? out : join(out, "train", "dataset.json");
  if (!wishes.overwrite && (await fileExists(target)))
    throw new ArgumentError(`--out: ${target} exists; give another name, or --overwrite.`);
  if (plain) {
    const tasks = generateArcToy({ count: count ?? TOY_TASKS, seed });
    await write([[out, writeArcTasks(tasks)]]);
    say(`made      ${tasks.length} tasks of ${ARC_TOY_FAMILIES.join(", ")}`);
    say(`wrote     ${out} (published ARC JSON; hrm generate --arc ${out} makes a data set of it)`);
    if (wishes.json) printJson({ task: ARC_TOY, count: tasks.length, format: "arc", out });
    return 0;
  }
  const sources = toy
    ? arcToySources(generateArcToy({ count: count ?? TOY_TASKS, seed }))
    : {
        tested: await tasksOf(arc, "--arc"),
        learned: wishes["arc-train"] === undefined ? [] : await tasksOf(wishes["arc-train"], "--arc-train"),
      };
  const side = wishes.canvas ?? (toy ? ARC_TOY_SIDE : ARC.side);
  const augmentations = wishes.augmentations ?? AUGMENTATIONS[toy ? "toy" : "arc"];
  const dataset = built(sources, { side, augmentations, seed });
  const { train, test, identifiers } = dataset;
  await write([
    [join(out, "identifiers.json"), JSON.stringify(identifiers)],
    ...(test ? filesOf(join(out, "test"), test, identifiers.length) : []),
    ...filesOf(join(out, "train"), train, identifiers.length),
  ]);
  report(sources, dataset);
  say(`wrote     ${out} (official, canvas ${side}x${side})`);
  if (wishes.json)
    printJson({
      task: toy ? ARC_TOY : "arc",
      tasks: sources.learned.length + sources.tested.length,
      identifiers: identifiers.length,
      train: train.count,
      test: test?.count ?? 0,
      ...{ leaks: dataset.leaks, tooLarge: dataset.tooLarge.length, empty: dataset.empty.length },
      ...{ format: "official", out },
    });
  return 0;
}

/** Says how large the data set is, and what was left out. */
function report({ learned, tested }: ArcSources, dataset: ArcDataset): void {
  const { train, test, identifiers, tooLarge, leaks, empty, fewImages } = dataset;
  const some = (names: readonly string[]): string =>
    `${names.slice(0, 5).join(", ")}${names.length > 5 ? ", ..." : ""}`;
  say(`made      ${tested.length} tasks to test and ${learned.length} more to learn`);
  say(
    `examples  ${train.count} to learn, ${test?.count ?? 0} to test, under ${identifiers.length} puzzle identifiers; a puzzle embedding of 512 numbers each takes ${(identifiers.length * 2048) / 1e6} MB`,
  );
  if (tooLarge.length > 0)
    say(`left out  ${tooLarge.length} tasks with grids larger than the canvas: ${some(tooLarge)}`);
  if (leaks > 0)
    say(
      `left out  ${leaks} pairs that equal a test up to rotation, reflection and colours, so that no test is learned`,
    );
  if (empty.length > 0)
    say(
      `warning   ${empty.length} tasks have nothing left to learn, so they are neither learned nor tested: ${some(empty)}`,
    );
  if (fewImages > 0) say(`images    ${fewImages} tasks have fewer different images than wanted`);
}

function built(
  sources: ArcSources,
  options: { side: number; augmentations: number; seed: number },
): ArcDataset {
  try {
    return buildArcDataset(sources, options);
  } catch (error) {
    throw error instanceof UsageError ? new ArgumentError(`--arc: ${error.message}`) : error;
  }
}

/** The tasks of files and folders that are separated by commas. @throws ArgumentError */
async function tasksOf(given: string, option: string): Promise<readonly ArcTask[]> {
  const files: ArcFile[] = [];
  for (const path of given.split(",")) {
    try {
      const folder = (await stat(path)).isDirectory();
      const names = folder ? (await readdir(path)).filter((name) => /\.json$/i.test(name)).sort() : [];
      for (const name of folder ? names.map((inside) => join(path, inside)) : [path])
        files.push({ name, bytes: new Uint8Array(await readFile(name)) });
    } catch (error) {
      throw new ArgumentError(
        `${option}: cannot read "${path}" (${reasonOf(error)}); expected a JSON file of ARC tasks or a folder of such files.`,
      );
    }
  }
  try {
    const { tasks, unmatched } = readArcTasks(files);
    if (unmatched.length > 0)
      say(
        `warning   ${unmatched.length} solutions belong to no task of ${option}: ${unmatched.slice(0, 5).join(", ")}`,
      );
    return tasks;
  } catch (error) {
    throw error instanceof FileFormatError ? new ArgumentError(`${option}: ${error.message}`) : error;
  }
}

type Contents = [path: string, contents: string | Uint8Array];

/** The files of a set. dataset.json is the last, so that a folder with this file is complete. */
function filesOf(folder: string, set: PuzzleSet, numPuzzleIdentifiers: number): Contents[] {
  return [...writeDataset(set, { vocabSize: ARC.vocabSize, numPuzzleIdentifiers })]
    .sort(([a], [b]) => Number(a === "dataset.json") - Number(b === "dataset.json"))
    .map(([name, bytes]): Contents => [join(folder, name), bytes]);
}

async function write(files: readonly Contents[]): Promise<void> {
  for (const [path, contents] of files) {
    await makeFolder(dirname(path)).catch((error: unknown) => {
      throw new OutputError(path, error);
    });
    await writeFileSafely(path, contents);
  }
}
