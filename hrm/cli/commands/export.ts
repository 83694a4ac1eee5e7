/** `hrm export`: a run in the form of other programs. */
import { dirname, join, resolve } from "node:path";
import { officialExport, unofficialOptions } from "../../files/checkpoints/official_export.js";
import { formatValue } from "../../format_value.js";
import { withImages } from "../../puzzles/images_on_host.js";
import type { PuzzleSet } from "../../puzzles/puzzle_set.js";
import { splitsOf } from "../inputs/puzzle_files.js";
import { ArgumentError, parseArguments, type Command, type Values } from "../../terminal/arguments.js";
import { codeOf, nodeFileSystem } from "../disk/file_system.js";
import { makeFolder } from "../disk/make_folder.js";
import { OutputError, writeFileSafely } from "../disk/output.js";
import { jsonOption } from "../options/common.js";
import { printJson, say, show } from "../output/console.js";
import { openRunFolder, weightsOf, type OpenedRun } from "../runs/run_folder.js";

const options = {
  official: {
    type: "string",
    help: "folder to write for the official PyTorch code: checkpoint, all_config.yaml and the data set folder",
    placeholder: "dir",
  },
  weights: {
    type: "choice",
    choices: ["ema", "raw"],
    help: "moving average or raw weights",
    defaultText: "the moving average if there is one",
  },
  "forward-dtype": {
    type: "choice",
    choices: ["bfloat16", "float32"],
    default: "bfloat16",
    help: "with --official: type in which the official code computes; its FlashAttention needs bfloat16",
  },
  "data-path": {
    type: "string",
    help: "with --official: path of the data set folder where the official code runs",
    placeholder: "path",
    defaultText: "the absolute path here",
  },
  images: {
    type: "int",
    min: 0,
    max: 100_000,
    help: "with --official: random symmetric images of each training puzzle, for a run that draws them while it trains",
    defaultText: "none",
  },
  "leave-out": {
    type: "string",
    help: "with --official: options of training without an official counterpart to leave out, such as ema_decay,lr_schedule",
    placeholder: "names",
    defaultText: "none: they are refused",
  },
  overwrite: { type: "bool", default: false, help: "replace files that are there" },
  json: jsonOption,
} as const;

const command: Command<typeof options> = {
  name: "hrm export",
  summary:
    "Writes a run for other programs: for the official PyTorch code (--official). The run stays as it is.",
  options,
  positionals: [{ name: "run", help: "folder of a run that hrm train made", required: true }],
};

/** Runs `hrm export`. */
export async function exportCommand(argv: readonly string[]): Promise<number> {
  const parsed = parseArguments(command, argv);
  if (parsed.kind === "help") {
    process.stdout.write(parsed.text);
    return 0;
  }
  const { values } = parsed;
  if (values.official === undefined)
    throw new ArgumentError("--official: got nothing; expected a folder to write.");
  const opened = await openRunFolder(parsed.positionals[0]!);
  await exportOfficial(values.official, opened, values);
  return 0;
}

async function exportOfficial(
  target: string,
  opened: OpenedRun,
  values: Values<typeof options>,
): Promise<void> {
  const { checkpoint, run, preset, folder } = opened;
  const { weights, images, json, "forward-dtype": forwardDtype, "leave-out": names } = values;
  const { config } = checkpoint;
  const leaveOut = leftOut(names);
  refuseUnofficial(opened, leaveOut);
  if (run.train.augment && images === undefined)
    throw new ArgumentError(
      "--images: got nothing; expected how many images each training puzzle gets, as the run draws them while it trains (augment true) and the official code does not. Official are 1000 for Sudoku-Extreme 1k; 0 leaves them out.",
    );
  const inside = await nodeFileSystem.list(target).catch((error: unknown) => {
    if (codeOf(error) === "ENOENT") return [];
    throw new OutputError(target, error);
  });
  if (inside.length > 0 && !values.overwrite)
    throw new ArgumentError(`--official: ${target} is not empty; give another folder, or --overwrite.`);
  const { state, which } = weightsOf(opened, weights);
  const { train, validation, test } = splitsOf(preset, run.seed);
  const heldOut = new Map<string, PuzzleSet>(
    validation === test
      ? [["test", test]]
      : [
          ["validation", validation],
          ["test", test],
        ],
  );
  const {
    files,
    checkpoint: name,
    totalSteps,
    notes,
  } = officialExport(
    {
      ...{
        config,
        train: run.train,
        state,
        step: checkpoint.step,
        seed: run.seed,
        evalEvery: run.evalEvery,
        heldOut,
      },
      trainingSet: withImagesOf(train, opened, images ?? 0),
    },
    { dataPath: values["data-path"] ?? resolve(target, "data"), forwardDtype, leaveOut },
  );
  for (const [path, contents] of files) {
    const file = join(target, path);
    await makeFolder(dirname(file)).catch((error: unknown) => {
      throw new OutputError(file, error);
    });
    await writeFileSafely(file, contents);
  }
  say(
    `run       ${folder}, step ${checkpoint.step}, ${which === "ema" ? "the moving average" : "the raw weights"}`,
  );
  for (const note of notes) say(`note      ${note}`);
  const path = resolve(target);
  show(
    [
      `${target}: ${name}, all_config.yaml, data/train, data/test`,
      "In a clone of sapientinc/HRM (docs/scaling.md says what it needs):",
      `  OMP_NUM_THREADS=8 torchrun --nproc-per-node 8 evaluate.py checkpoint=${join(path, name)}`,
      `  OMP_NUM_THREADS=8 torchrun --nproc-per-node 8 pretrain.py --config-path ${path} --config-name all_config`,
    ].join("\n"),
    { json },
  );
  if (json)
    printJson({ official: target, checkpoint: join(target, name), weights: which, totalSteps, notes });
}

/** The names of `--leave-out`. */
const leftOut = (names: string | undefined): string[] =>
  (names ?? "")
    .split(",")
    .map((name) => name.trim())
    .filter(Boolean);

/** @throws ArgumentError that names each option without an official counterpart that is not left out */
function refuseUnofficial({ checkpoint: { config }, run }: OpenedRun, leaveOut: readonly string[]): void {
  const unofficial = unofficialOptions(config, run.train);
  for (const name of leaveOut) {
    const found = unofficial.find(({ field }) => field === name);
    if (!found)
      throw new ArgumentError(
        `--leave-out: got ${formatValue(name)}; expected options of the run that the official code does not have${unofficial.length > 0 ? `: ${unofficial.map(({ field }) => field).join(", ")}` : ", and there are none"}.`,
      );
  }
  const refused = unofficial.filter(
    ({ field, concerns }) => concerns === "weights" || !leaveOut.includes(field),
  );
  if (refused.length === 0) return;
  const lines = refused.map(
    ({ field, value, official, concerns }) =>
      `\n  ${field}: the run has ${String(value)}, the official code ${official}${concerns === "weights" ? "; the weights mean something else there" : ""}`,
  );
  const free = refused.filter(({ concerns }) => concerns === "training").map(({ field }) => field);
  throw new ArgumentError(
    `--official: got a run with options that the official code does not have:${lines.join("")}\n` +
      (free.length < refused.length
        ? "Expected a run that is trained without them."
        : `Expected --leave-out ${[...leaveOut, ...free].join(",")}, if training may go on without them.`),
  );
}

/** The training puzzles with their images. @throws ArgumentError if they can have none */
function withImagesOf(train: PuzzleSet, { preset, run }: OpenedRun, images: number): PuzzleSet {
  if (images === 0) return train;
  const { symmetry, name } = preset.task;
  if (!symmetry || train.groups)
    throw new ArgumentError(
      `--images: got ${images}; expected 0, as ${symmetry ? "the training puzzles come with their images" : `${name} has no symmetries`}.`,
    );
  return withImages(train, symmetry, images, run.seed);
}
