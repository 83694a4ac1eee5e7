/** What `hrm train` is asked to do: a new run, or one that continues. */
import { microBatchCount } from "../../training/micro_batches.js";
import type { StateDict } from "../../model/parameters.js";
import { findPreset, type Preset } from "../../training/presets.js";
import type { SessionSnapshot } from "../../training/session.js";
import { decodeCheckpoint, type Checkpoint } from "../../files/checkpoints/checkpoint.js";
import { FileFormatError } from "../../files/file_format_error.js";
import { formatValue } from "../../format_value.js";
import { splitsOf, withFiles } from "../inputs/puzzle_files.js";
import { readInput } from "../inputs/read_input.js";
import { ArgumentError } from "../../terminal/arguments.js";
import { requirePreset } from "../options/common.js";
import { configure, type ConfigureValues } from "../options/configure.js";
import { GB } from "../output/console.js";
import { RUN_CONFIG_FILE, type Precision, type RunConfig, type Validation } from "./config.js";
import { inheriting, sameSeed, startOf, stateAgain, transferred } from "./initial_weights.js";
import { lastState } from "./last_state.js";

/** A run that is allowed, with its puzzles, before it has a device. */
export interface TrainingJob {
  readonly preset: Preset;
  readonly run: Omit<RunConfig, "adapter">;
  /** Folder of a run that continues in it; null for a run that gets a new folder. */
  readonly folder: string | null;
  /** The state from which a run continues, of its folder or of a file; null for a new run, and if it has no checkpoint yet. */
  readonly resume: SessionSnapshot | null;
  /** Weights that the run starts from; null for the official initialisation, and if the run has a saved state. */
  readonly state: StateDict | null;
  /** Step after which training stops cleanly; Infinity if no step was given. */
  readonly stopAfter: number;
  /** Seconds that choosing kernels may take; undefined for the tuner's default. */
  readonly tuningSeconds?: number | undefined;
}

/** Options of a new run, as the parser returns them. */
export interface TrainValues extends ConfigureValues {
  readonly preset: string | undefined;
  readonly data: string | undefined;
  readonly test: string | undefined;
  readonly columns: string | undefined;
  readonly task: string | undefined;
  readonly validation: Validation | undefined;
  readonly seed: number | undefined;
  readonly "stop-after": number | undefined;
  readonly patience: number | undefined;
  readonly "micro-batch": number | undefined;
  /** GB. */
  readonly "memory-budget": number | undefined;
  readonly autotune: boolean | undefined;
  readonly "autotune-seconds": number | undefined;
  readonly precision: Precision | undefined;
  readonly keep: number | undefined;
  readonly init: string | undefined;
  readonly "init-weights": "ema" | "raw" | undefined;
}

/** The job of a new run. @throws ArgumentError that names the option at fault */
export async function newJob(values: TrainValues): Promise<TrainingJob> {
  requireConsistent(values);
  const source = await startOf(values);
  const named = { ...values, preset: values.preset ?? source?.preset };
  const base = await presetOn(named);
  const preset = await configure(source ? inheriting(base, source) : base, values);
  if (preset.train.augment && preset.task.symmetry === null)
    throw new ArgumentError(
      `--augment: got true; expected --no-augment, as ${preset.task.name} has no symmetries.`,
    );
  const { stopAt, evalEvery, evalLimit, model, train } = preset;
  const { "micro-batch": microBatch = null, "memory-budget": budget } = values;
  if (microBatch !== null) microBatchCount(model, microBatch);
  const seed = values.seed ?? (source ? sameSeed(source, values, preset) : 0);
  const start = source && transferred(source, preset, seed);
  const run = {
    preset: preset.name,
    seed,
    ...{ stopAt, evalEvery, evalLimit },
    patience: values.patience ?? null,
    keep: values.keep ?? 3,
    microBatch,
    memoryBudget: budget === undefined ? null : Math.floor(budget * GB),
    autotune: values.autotune ?? false,
    precision: values.precision ?? "f32",
    data: values.data ?? null,
    test: values.test ?? null,
    task: values.task ?? null,
    columns: values.columns ?? null,
    validation: values.validation ?? null,
    init: start?.record ?? null,
    ...{ model, train },
  };
  return {
    preset: withSplits(preset, run.seed),
    run,
    folder: null,
    resume: null,
    state: start?.state ?? null,
    stopAfter: stopAfterOf(values["stop-after"], 0),
    tuningSeconds: values["autotune-seconds"],
  };
}

/** @throws ArgumentError if an option needs another that is missing, or excludes one that was given */
function requireConsistent(values: TrainValues): void {
  const { data, test, task, columns, validation, autotune } = values;
  if (test !== undefined && data === undefined)
    throw new ArgumentError(`--test: got "${test}" without --data; expected the puzzles to train on, too.`);
  for (const [option, value] of Object.entries({ task, columns, validation }))
    if (value !== undefined && data === undefined)
      throw new ArgumentError(
        `--${option}: got ${value} without --data; expected the puzzles that it is about, as a preset's own are known.`,
      );
  if (values["init-weights"] !== undefined && values.init === undefined)
    throw new ArgumentError(
      `--init-weights: got ${values["init-weights"]} without --init; expected the checkpoint that it is about.`,
    );
  const { "micro-batch": microBatch, "memory-budget": budget, "autotune-seconds": seconds } = values;
  if (microBatch !== undefined && budget !== undefined)
    throw new ArgumentError(
      `--memory-budget: got ${budget} with --micro-batch ${microBatch}; expected one of them, as a budget chooses the micro-batch.`,
    );
  if (seconds !== undefined && autotune !== true)
    throw new ArgumentError(
      `--autotune-seconds: got ${seconds} without --autotune; expected both, or neither.`,
    );
}

/** The named preset, on the files that were named if any were. @throws ArgumentError */
async function presetOn({ preset: name = "sudoku4", data, ...files }: TrainValues): Promise<Preset> {
  const named = requirePreset(name);
  if (data === undefined) return named;
  const { test, task, validation, columns } = files;
  return withFiles(named, { data, test, task, validation, columns });
}

/** The preset with its splits made now: bad puzzles are found before the run gets a folder. @throws ArgumentError */
function withSplits(preset: Preset, seed: number): Preset {
  const splits = splitsOf(preset, seed);
  return { ...preset, splits: () => splits };
}

/** Options that may come with --resume; the run's folder keeps all others. */
const WITH_RESUME = ["resume", "stop-after", "adapter", "json"];

/** @throws ArgumentError if an option came with --resume that the run's folder keeps */
export function requireResumeAlone(values: object): void {
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined || WITH_RESUME.includes(name)) continue;
    throw new ArgumentError(
      `--${name}: got ${JSON.stringify(value)} with --resume; expected only ${WITH_RESUME.map((o) => `--${o}`).join(", ")}, as the run goes on with its own plan.`,
    );
  }
}

/** The job of a run that continues from its folder. @throws ArgumentError */
export async function resumedJob(
  folder: string,
  run: RunConfig,
  stopAfter: number | undefined,
): Promise<TrainingJob> {
  const preset = withSplits(await presetOfRun(run, folder), run.seed);
  const resume = await lastState(folder);
  const state = resume ? null : await stateAgain(run, preset, folder);
  return { preset, run, folder, resume, state, stopAfter: stopAfterOf(stopAfter, resume?.step ?? 0) };
}

/**
 * The job of a run that goes on from a checkpoint file, such as one that a page made, in a folder of its own. What the file does
 * not say, such as the target, is as the preset has it.
 * @throws ArgumentError
 */
export async function jobOfFile(path: string, stopAfter: number | undefined): Promise<TrainingJob> {
  const wrong = (reason: string): ArgumentError =>
    new ArgumentError(
      `--resume "${path}": ${reason}; expected the folder of a run, or a checkpoint of a run on a preset's own puzzles.`,
    );
  const { task, data, run: resume } = checkpointOf(await readInput(path, wrong), wrong);
  if (!resume) throw wrong("it holds weights alone, not a run");
  if (data !== undefined)
    throw wrong(`its run is on puzzles of ${formatValue(data)}, which the file does not hold`);
  const named = findPreset(task);
  if (!named) throw wrong(`its run is on ${formatValue(task)}, which is no preset`);
  const { stopAt, evalEvery, evalLimit } = named;
  const { config: model, train, seed, microBatch, precision } = resume;
  const run = {
    ...{ preset: named.name, seed, stopAt, evalEvery, evalLimit, model, train, microBatch },
    ...{ patience: null, keep: 3, memoryBudget: null, autotune: false },
    precision: precision === null ? ("f32" as const) : ("mixed" as const),
    ...{ data: null, test: null, task: null, columns: null, validation: null, init: null },
  };
  const preset = withSplits({ ...named, model, train }, seed);
  return { preset, run, folder: null, resume, state: null, stopAfter: stopAfterOf(stopAfter, resume.step) };
}

function checkpointOf(bytes: Uint8Array, wrong: (reason: string) => ArgumentError): Checkpoint {
  try {
    return decodeCheckpoint(bytes);
  } catch (error) {
    if (error instanceof FileFormatError) throw wrong(error.message);
    throw error;
  }
}

/** The preset of a run with its options, on its puzzles. `option` named the folder, for errors. @throws ArgumentError */
export async function presetOfRun(run: RunConfig, folder: string, option = "--resume"): Promise<Preset> {
  const { stopAt, evalEvery, evalLimit, model, train } = run;
  const named = requirePreset(run.preset);
  const base = run.data === null ? named : await withFilesOf(run, { folder, option, data: run.data });
  return { ...base, stopAt, evalEvery, evalLimit, model, train };
}

/** The run's preset on its files. @throws ArgumentError that says where their names come from */
async function withFilesOf(
  run: RunConfig,
  { folder, option, data }: { readonly folder: string; readonly option: string; readonly data: string },
): Promise<Preset> {
  try {
    const { test, task, columns, validation } = run;
    return await withFiles(requirePreset(run.preset), {
      data,
      test: test ?? undefined,
      task: task ?? undefined,
      columns: columns ?? undefined,
      validation: validation ?? undefined,
    });
  } catch (error) {
    if (!(error instanceof ArgumentError)) throw error;
    throw new ArgumentError(
      `${option} "${folder}": ${error.message} Its ${RUN_CONFIG_FILE} names these puzzles; relative paths start where the run was started, so ${option === "--resume" ? "resume it" : "run this command"} there.`,
    );
  }
}

/** @throws ArgumentError if the run is past `stopAfter` already */
function stopAfterOf(stopAfter: number | undefined, step: number): number {
  if (stopAfter !== undefined && stopAfter <= step)
    throw new ArgumentError(
      `--stop-after: got ${stopAfter}; the run is at step ${step} already, so expected more than that.`,
    );
  return stopAfter ?? Infinity;
}
