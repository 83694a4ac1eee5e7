/** `hrm train`: reads the command line, opens the device and trains. */
import { join } from "node:path";
import type { Device, Target } from "../../../engine/index.js";
import { mixedPrecisionTarget, subgroupMatrices } from "../../../engine/mixed_precision.js";
import { presetNames } from "../../training/presets.js";
import { columnsOption, taskOption } from "../inputs/puzzle_files.js";
import { isFile } from "../disk/file_exists.js";
import {
  ArgumentError,
  parseArguments,
  type Command,
  type Option,
  type Values,
} from "../../terminal/arguments.js";
import { adapterOptions, jsonOption, memoryBudgetOption, requirePreset } from "../options/common.js";
import { fieldOptions } from "../options/configure.js";
import { announcement } from "../output/announcement.js";
import { printJson, say } from "../output/console.js";
import { PRECISIONS, readRunConfig, RUN_NUMBERS, VALIDATIONS, writeRunConfig } from "../runs/config.js";
import { createRunFolder, openParent } from "../runs/folder.js";
import { jobOfFile, newJob, requireResumeAlone, resumedJob, type TrainingJob } from "../runs/job.js";
import { lockRun, type RunLock } from "../runs/lock.js";
import { openAnnounced } from "../runs/open_device.js";
import {
  foundRun,
  seedFolder,
  seedsReport,
  showSeeds,
  testedScores,
  type SeedScores,
} from "../runs/seeds.js";
import { runJob } from "../runs/train.js";

const defaultText = "the preset's";

const options = {
  preset: {
    type: "string",
    help: `what to train: ${presetNames.join(", ")}`,
    placeholder: "name",
    defaultText: "sudoku4",
  },
  data: {
    type: "string",
    help: "train on these puzzles: .csv, .jsonl, an official data set folder, or an address of one",
    placeholder: "path",
    defaultText,
  },
  test: {
    type: "string",
    help: "test on these puzzles, with --data",
    placeholder: "path",
    defaultText: "a tenth of --data",
  },
  columns: columnsOption,
  task: taskOption,
  validation: {
    type: "choice",
    choices: VALIDATIONS,
    help: "what is held out of --data: whole puzzles, examples (rows) of puzzles that stay in training, or nothing (looks then show training puzzles)",
    defaultText: "puzzles; examples if identifiers tell puzzles apart",
  },
  seed: {
    ...RUN_NUMBERS.seed,
    help: "decides splits, weights and draws",
    defaultText: "0",
  },
  seeds: {
    type: "int",
    min: 1,
    max: 100,
    help: "train so many seeds in turn, from --seed on, and print mean and spread; the same command goes on, and trains no finished seed again",
    defaultText: "1",
  },
  steps: {
    type: "int",
    min: 1,
    help: "optimizer steps; the schedule of the learning rate ends there",
    defaultText,
  },
  "stop-at": {
    ...RUN_NUMBERS.stopAt,
    help: "target: validation exact accuracy that ends training",
    defaultText,
  },
  "stop-after": {
    type: "int",
    min: 1,
    help: "stop cleanly after this step; --resume goes on",
    defaultText: "never",
  },
  patience: {
    ...RUN_NUMBERS.patience,
    help: "looks at the validation set without a better one that end training",
    defaultText: "no limit",
  },
  resume: {
    type: "string",
    help: "folder of a run, or a checkpoint of one: continues it to its last step; only --stop-after, --adapter and --json may come with it",
    placeholder: "dir",
  },
  init: {
    type: "string",
    help: "start from the weights of this checkpoint: of hrm train, of the official PyTorch code, or safetensors of one",
    placeholder: "file",
    defaultText: "random weights",
  },
  "init-weights": {
    type: "choice",
    choices: ["ema", "raw"],
    help: "with --init: moving average or raw weights",
    defaultText: "the moving average if there is one",
  },
  batch: { type: "int", min: 1, help: "puzzles in a batch", defaultText },
  "micro-batch": {
    ...RUN_NUMBERS.microBatch,
    help: "puzzles computed at a time, a divisor of the batch; gradients add up to the batch's",
    defaultText: "as many as fit",
  },
  "memory-budget": memoryBudgetOption,
  autotune: {
    type: "bool",
    defaultText: "no",
    help: "first measure which variants of matmul and attention are fastest here; results are kept for later runs",
  },
  "autotune-seconds": {
    type: "float",
    min: 0,
    help: "seconds that --autotune may take; it finishes the variant that it is timing",
    defaultText: "10",
  },
  precision: {
    type: "choice",
    choices: PRECISIONS,
    defaultText: "f32",
    help: "precision of matrix products: mixed rounds operands to f16 and sums in f32, on GPUs with subgroup matrices (experimental)",
  },
  lr: { type: "float", help: "peak learning rate", defaultText },
  out: {
    type: "string",
    help: "folder in which the run gets a folder of its own",
    placeholder: "dir",
    defaultText: "runs",
  },
  keep: { ...RUN_NUMBERS.keep, help: "newest checkpoints kept, besides the best", defaultText: "3" },
  "eval-every": { ...RUN_NUMBERS.evalEvery, help: "steps between looks at the validation set", defaultText },
  "eval-limit": { ...RUN_NUMBERS.evalLimit, help: "validation puzzles per look", defaultText },
  config: {
    type: "string",
    help: "JSON file with config fields; options win over it",
    placeholder: "file",
  },
  ...adapterOptions,
  json: jsonOption,
  ...fieldOptions,
} as const satisfies Record<string, Option>;

const command: Command<typeof options> = {
  name: "hrm train",
  summary:
    "Trains a Hierarchical Reasoning Model on the GPU until it solves held-out puzzles, then tests and saves it.",
  options,
};

/** Runs `hrm train`. Returns exit code 1 if the target was missed and 130 after Ctrl-C. */
export async function trainCommand(argv: readonly string[]): Promise<number> {
  const parsed = parseArguments(command, argv);
  if (parsed.kind === "help") {
    process.stdout.write(parsed.text);
    return 0;
  }
  const { values } = parsed;
  if (values.seeds !== undefined && values.resume === undefined) return trainSeeds(values, values.seeds);
  return trainOne(values, async () => {
    if (values.resume === undefined) return newJob(values);
    requireResumeAlone(values);
    const { resume, "stop-after": stopAfter } = values;
    return (await isFile(resume)) ? jobOfFile(resume, stopAfter) : { folder: resume, stopAfter };
  });
}

type TrainOptions = Values<typeof options>;

/** Trains several seeds in turn. Returns 130 after Ctrl-C, and 1 if a seed missed the target. */
async function trainSeeds(values: TrainOptions, count: number): Promise<number> {
  if (values["stop-after"] !== undefined)
    throw new ArgumentError(
      `--stop-after: got ${values["stop-after"]} with --seeds; expected none, as the seeds are compared at their end.`,
    );
  const first = values.seed ?? 0;
  const done: SeedScores[] = [];
  let code = 0;
  for (let seed = first; seed < first + count; seed++) {
    const job = await newJob({ ...values, seed });
    const folder = seedFolder(values.out ?? "runs", job);
    const found = await foundRun(folder, job);
    if (typeof found === "object") {
      say(`run       ${folder} is finished, and is not trained again`);
      done.push(found);
      continue;
    }
    say(`seed      ${seed}, ${seed - first + 1} of ${count}`);
    const begun = found === "begun" ? { folder, stopAfter: undefined } : job;
    const own = await trainOne({ ...values, json: false }, () => Promise.resolve(begun));
    const scores = await testedScores(folder, seed);
    if (scores) done.push(scores);
    code = Math.max(code, own);
    if (own > 1) break;
  }
  const report = seedsReport(done);
  showSeeds(report, count, values);
  if (values.json) printJson(report);
  return code;
}

/** A run that goes on in its folder, which is locked before its checkpoint is read. */
interface Continued {
  readonly folder: string;
  readonly stopAfter: number | undefined;
}

/** Trains a new run, or one that goes on. Returns the exit code. */
async function trainOne(
  values: TrainOptions,
  choose: () => Promise<TrainingJob | Continued>,
): Promise<number> {
  let [device, lock]: [Device?, RunLock?] = [];
  try {
    const chosen = await choose();
    let job: TrainingJob;
    if ("run" in chosen) job = chosen;
    else {
      const { folder, stopAfter } = chosen;
      const run = await readRunConfig(folder);
      // The lock comes before the checkpoint is read: from here on no other process changes the folder.
      lock = await lockRun(folder);
      for (const holder of lock.stale)
        say(
          `run       process ${holder?.pid ?? "(its lock is damaged)"} ended without a word; its lock is removed`,
        );
      job = await resumedJob(folder, run, stopAfter);
    }
    device = await openAnnounced(values.adapter);
    const mixed = job.run.precision === "mixed";
    const target = mixed ? await announcedMixedPrecision(device) : device.target;
    const { name: adapter } = device.adapter;
    const parent = values.out ?? "runs";
    if (job.folder === null) await openParent(parent);
    announce(job);
    /** Makes the folder of a new run once there is something to save: a stop before that leaves nothing behind. */
    const begin = async (): Promise<string> => {
      if (job.folder !== null) return job.folder;
      const folder = await newFolder(parent, job);
      lock = await lockRun(folder);
      await writeRunConfig(folder, { ...job.run, adapter });
      say(`run       ${folder}`);
      return folder;
    };
    return await runJob({ device, target, job, begin, json: values.json });
  } finally {
    device?.destroy();
    await lock?.release();
  }
}

/** The target in mixed precision, announced. */
async function announcedMixedPrecision(device: Device): Promise<Target> {
  const target = await mixedPrecisionTarget(device);
  const { M, N, K } = subgroupMatrices(device);
  say(
    `precision mixed: products of f16 operands with f32 sums on subgroup matrices ${M}x${N}x${K}, which multiplied exactly in a test`,
  );
  return target;
}

/** Makes the folder of a new run in `parent`. */
async function newFolder(parent: string, { run }: TrainingJob): Promise<string> {
  const name = `${run.preset}-seed${run.seed}`;
  const { folder, taken } = await createRunFolder(parent, name);
  if (taken)
    say(`run       ${join(parent, name)} exists and stays as it is; this run goes to the next free name`);
  return folder;
}

function announce({ preset, run, resume, folder }: TrainingJob): void {
  const named = requirePreset(run.preset);
  for (const line of announcement({ preset, named, data: run.data })) say(line);
  if (folder !== null) say(`run       ${folder}, going on after step ${resume?.step ?? 0}`);
  else if (resume)
    say(`run       goes on after step ${resume.step} of the checkpoint, in a folder of its own`);
}
