/** `hrm train`: data, training with progress, one look at the test set, checkpoints and a solved puzzle. */
import { join } from "node:path";
import type { Device } from "../../../engine/index.js";
import { useMixedPrecision } from "../../../engine/mixed_precision.js";
import { divergedBefore, DivergenceError, findNonFinite } from "../../training/diagnosis.js";
import { createSolver } from "../../training/evaluation.js";
import { microBatchCount } from "../../training/micro_batches.js";
import { countParameters, createWeights } from "../../model/parameters.js";
import { chooseMicroBatch, trainingNeeds } from "../../training/memory_estimate.js";
import { presetNames, type Preset } from "../../training/presets.js";
import {
  createSession,
  type Session,
  type SessionEvent,
  type SessionSnapshot,
} from "../../training/session.js";
import { formatPercent, formatProportion, wilsonInterval } from "../../training/statistics.js";
import { announcement } from "../output/announcement.js";
import { ArgumentError, parseArguments, type Command, type Option } from "../options/arguments.js";
import { chooseKernels } from "../runs/choose_kernels.js";
import { configure, fieldOptions } from "../options/configure.js";
import { follow } from "../output/follow.js";
import { watchInterrupt, type Interruption } from "../runs/interrupt.js";
import { lastState } from "../runs/last_state.js";
import {
  columnsOption,
  describeBlanks,
  describeSplits,
  identifierWarnings,
  splitsOf,
  taskOption,
  withFiles,
} from "../inputs/puzzle_files.js";
import { majorityOfBlanks, type PuzzleSplits } from "../../puzzles/puzzle_set.js";
import { formatDuration, wantsColor } from "../output/render.js";
import {
  PRECISIONS,
  readRunConfig,
  RUN_CONFIG_FILE,
  RUN_NUMBERS,
  VALIDATIONS,
  writeRunConfig,
  type Precision,
  type RunConfig,
  type Validation,
} from "../runs/config.js";
import { requireHostMemory } from "../runs/host_memory.js";
import { createRunFolder, openParent } from "../runs/folder.js";
import { lockRun, type RunLock } from "../runs/lock.js";
import { openRunLog, scoresLine, trainLine, type MetricsLine, type RunLog } from "../runs/log.js";
import { BEST_FILE, openRunStore, type RunStore, type SaveOptions } from "../runs/store.js";
import { adapterOptions, jsonOption, memoryBudgetOption, requirePreset } from "../options/common.js";
import { formatGB, GB, invocation, printJson, say } from "../output/console.js";
import { openAnnounced } from "../runs/open_device.js";
import { renderSolution } from "../output/solution.js";

const defaultText = "the preset's";

const options: Readonly<Record<string, Option>> = {
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
  steps: { type: "int", min: 1, help: "planned optimizer steps; the schedule ends there", defaultText },
  "stop-at": {
    ...RUN_NUMBERS.stopAt,
    help: "target: validation exact accuracy that ends training",
    defaultText,
  },
  "stop-after": {
    type: "int",
    min: 1,
    help: "stop cleanly after this step of the plan; --resume goes on",
    defaultText: "never",
  },
  patience: {
    ...RUN_NUMBERS.patience,
    help: "looks at the validation set without a better one that end training",
    defaultText: "no limit",
  },
  resume: {
    type: "string",
    help: "folder of a run: goes on to the end of its plan; takes only --stop-after, --adapter and --json beside it",
    placeholder: "dir",
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
    help: "first measure which variants of the matrix products are fastest here; results are kept for later runs",
  },
  "autotune-seconds": {
    type: "float",
    min: 0,
    help: "what --autotune may take, to the end of the variant under way",
    defaultText: "10",
  },
  precision: {
    type: "choice",
    choices: PRECISIONS,
    defaultText: "f32",
    help: "of matrix products: mixed rounds their operands to f16 and sums in f32, on GPUs with subgroup matrices (experimental)",
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
};

const command: Command = {
  name: "hrm train",
  summary:
    "Trains a Hierarchical Reasoning Model on the GPU until it solves held-out puzzles, then tests and saves it.",
  options,
};

type OptionValues = Readonly<Record<string, string | number | boolean | undefined>>;

/** Runs `hrm train`. Exit code 1 where the target was missed, 130 after Ctrl-C. */
export async function trainCommand(argv: readonly string[]): Promise<number> {
  const parsed = parseArguments(command, argv);
  if (parsed.kind === "help") {
    process.stdout.write(parsed.text);
    return 0;
  }
  const values = parsed.values as OptionValues;
  let [device, lock]: [Device?, RunLock?] = [];
  try {
    let plan: Plan;
    if (values["resume"] === undefined) plan = await newPlan(values);
    else {
      const run = await resumedConfig(values);
      // From here on nobody else changes the folder.
      lock = await lockRun(values["resume"] as string);
      for (const holder of lock.stale)
        say(
          `run       process ${holder?.pid ?? "(its lock is damaged)"} ended without a word; its lock is removed`,
        );
      plan = await resumedPlan(values, run);
    }
    device = await openAnnounced(values["adapter"] as string | undefined);
    if (plan.run.precision === "mixed") await announceMixedPrecision(device);
    const { name: adapter } = device.adapter;
    if (plan.folder === null) await openParent(parentOf(values));
    announce(plan);
    /** The folder of a new run is made when there is something to put into it: a stop before leaves nothing behind. */
    const begin = async (): Promise<string> => {
      if (plan.folder !== null) return plan.folder;
      const folder = await newFolder(values, plan);
      lock = await lockRun(folder);
      await writeRunConfig(folder, { ...plan.run, adapter });
      say(`run       ${folder}`);
      return folder;
    };
    return await runPlan({ device, plan, begin, json: values["json"] === true });
  } finally {
    device?.destroy();
    await lock?.release();
  }
}

/** What to train, from its start or from where it was stopped. */
interface Plan {
  readonly preset: Preset;
  readonly run: Omit<RunConfig, "adapter">;
  /** Of a run that goes on; null for a new one. */
  readonly folder: string | null;
  readonly resume: SessionSnapshot | null;
  readonly stopAfter: number;
  /** What choosing kernels may take; undefined for the tuner's default. */
  readonly tuningSeconds?: number | undefined;
}

async function newPlan(values: OptionValues): Promise<Plan> {
  const named = requirePreset((values["preset"] as string | undefined) ?? "sudoku4");
  const data = values["data"] as string | undefined;
  const test = values["test"] as string | undefined;
  if (test !== undefined && data === undefined)
    throw new ArgumentError(`--test: got "${test}" without --data; expected the puzzles to train on, too.`);
  const task = values["task"] as string | undefined;
  const validation = values["validation"] as Validation | undefined;
  const columns = values["columns"] as string | undefined;
  for (const [option, value] of Object.entries({ task, columns, validation }))
    if (value !== undefined && data === undefined)
      throw new ArgumentError(
        `--${option}: got ${value} without --data; expected the puzzles that it is about, as a preset's own are known.`,
      );
  const preset = await configure(
    data === undefined
      ? named
      : await withFiles(named, {
          data,
          test,
          task,
          validation,
          columns,
        }),
    values,
  );
  if (preset.train.augment && preset.task.symmetry === null)
    throw new ArgumentError(
      `--augment: got true; expected --no-augment, as ${preset.task.name} has no symmetries.`,
    );
  const { stopAt, evalEvery, evalLimit, model, train } = preset;
  const microBatch = (values["micro-batch"] as number | undefined) ?? null;
  const budget = values["memory-budget"] as number | undefined;
  if (microBatch !== null && budget !== undefined)
    throw new ArgumentError(
      `--memory-budget: got ${budget} with --micro-batch ${microBatch}; expected one of them, as a budget chooses the micro-batch.`,
    );
  if (microBatch !== null) microBatchCount(model, microBatch);
  const tuningSeconds = values["autotune-seconds"] as number | undefined;
  const autotune = values["autotune"] === true;
  if (tuningSeconds !== undefined && !autotune)
    throw new ArgumentError(
      `--autotune-seconds: got ${tuningSeconds} without --autotune; expected both, or neither.`,
    );
  const run = {
    preset: preset.name,
    seed: (values["seed"] as number | undefined) ?? 0,
    ...{ stopAt, evalEvery, evalLimit },
    patience: (values["patience"] as number | undefined) ?? null,
    keep: (values["keep"] as number | undefined) ?? 3,
    microBatch,
    memoryBudget: budget === undefined ? null : Math.floor(budget * GB),
    autotune,
    precision: (values["precision"] as Precision | undefined) ?? "f32",
    data: data ?? null,
    test: test ?? null,
    task: task ?? null,
    columns: columns ?? null,
    validation: validation ?? null,
    ...{ model, train },
  };
  return {
    preset: withSplits(preset, run.seed),
    run,
    folder: null,
    resume: null,
    stopAfter: stopAfterOf(values, 0),
    tuningSeconds,
  };
}

/** The preset with its splits made now: puzzles that do not do are found out before there is a run. @throws ArgumentError */
function withSplits(preset: Preset, seed: number): Preset {
  const splits = splitsOf(preset, seed);
  return { ...preset, splits: () => splits };
}

/** Options that go with --resume; all others belong to the run's plan, which is made already. */
const WITH_RESUME = ["resume", "stop-after", "adapter", "json"];

/** The run to go on with. @throws ArgumentError */
async function resumedConfig(values: OptionValues): Promise<RunConfig> {
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined || WITH_RESUME.includes(name)) continue;
    throw new ArgumentError(
      `--${name}: got ${JSON.stringify(value)} with --resume; expected only ${WITH_RESUME.map((o) => `--${o}`).join(", ")}, as the run goes on with its own plan.`,
    );
  }
  return readRunConfig(values["resume"] as string);
}

async function resumedPlan(values: OptionValues, run: RunConfig): Promise<Plan> {
  const folder = values["resume"] as string;
  const { stopAt, evalEvery, evalLimit, model, train } = run;
  const named = requirePreset(run.preset);
  const base = run.data === null ? named : await withFilesOf(run, folder, run.data);
  const preset = withSplits({ ...base, stopAt, evalEvery, evalLimit, model, train }, run.seed);
  const resume = await lastState(folder);
  return { preset, run, folder, resume, stopAfter: stopAfterOf(values, resume?.step ?? 0) };
}

/** The run's preset on its files. @throws ArgumentError that says where their names come from */
async function withFilesOf(run: RunConfig, folder: string, data: string): Promise<Preset> {
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
      `--resume "${folder}": ${error.message} Its ${RUN_CONFIG_FILE} names these puzzles; relative paths start where the run was started, so resume it there.`,
    );
  }
}

function stopAfterOf(values: OptionValues, step: number): number {
  const stopAfter = values["stop-after"] as number | undefined;
  if (stopAfter !== undefined && stopAfter <= step)
    throw new ArgumentError(
      `--stop-after: got ${stopAfter}; the run is at step ${step} already, so expected more than that.`,
    );
  return stopAfter ?? Infinity;
}

async function announceMixedPrecision(device: Device): Promise<void> {
  const { M, N, K } = await useMixedPrecision(device);
  say(
    `precision mixed: products of f16 operands with f32 sums on subgroup matrices ${M}x${N}x${K}, which multiplied exactly in a test`,
  );
}

/** The folder in which new runs get theirs. */
const parentOf = (values: OptionValues): string => (values["out"] as string | undefined) ?? "runs";

/** Makes the run's folder. */
async function newFolder(values: OptionValues, { run }: Plan): Promise<string> {
  const parent = parentOf(values);
  const name = `${run.preset}-seed${run.seed}`;
  const { folder, taken } = await createRunFolder(parent, name);
  if (taken)
    say(`run       ${join(parent, name)} exists and stays as it is; this run goes to the next free name`);
  return folder;
}

function announce({ preset, run, resume, folder }: Plan): void {
  const named = requirePreset(run.preset);
  for (const line of announcement({ preset, named, data: run.data })) say(line);
  if (folder !== null) say(`run       ${folder}, going on after step ${resume?.step ?? 0}`);
}

interface Run {
  readonly device: Device;
  readonly plan: Plan;
  /** Makes the folder of a new run, and returns the run's folder. */
  readonly begin: () => Promise<string>;
  readonly json: boolean;
}

async function runPlan({ device, plan, begin, json }: Run): Promise<number> {
  const { preset, run, resume, stopAfter } = plan;
  let interruption: Interruption | undefined;
  let session: Session | undefined;
  try {
    // Up to the folder a signal ends the process at once: there is nothing to save, and compilers leave no time to listen.
    session = await createSession({
      ...{ device, preset, seed: run.seed, stopAfter },
      ...(resume ? { resume } : { microBatch: (splits) => prepare(plan, splits, device) }),
      ...(run.patience !== null && { patience: run.patience }),
    });
    const folder = await begin();
    let testing = false;
    interruption = watchInterrupt(() => {
      if (!testing) say("\nstopping  after the steps under way; Ctrl-C again ends at once and saves nothing");
    });
    for (const difference of session.trainer.differences)
      say(`warning   not bit-identical to a run without a stop: ${difference}`);
    say(`data      ${describeSplits(session.splits, preset)}`);
    for (const warning of identifierWarnings(session.splits, preset.model)) say(`warning   ${warning}`);
    const vocabulary = preset.task.vocabulary();
    const origin = {
      ...(run.data === null ? { task: preset.name } : { task: preset.task.name, data: run.data }),
      ...(vocabulary && { vocabulary }),
    };
    const store = openRunStore(session, { folder, origin, keep: run.keep });
    const log = await openRunLog(folder, session.trainer.step, { warn: (text) => say(`warning   ${text}`) });
    // From here on the run can be resumed, and a state that stops being finite can be traced.
    if (!(await store.save())) throw divergedBefore(await session.save());
    const ending = await follow({
      ...{ session, preset, interruption, stream: process.stderr, adapter: device.adapter.name },
      onEvent: keepRecord({ session, preset, store, log, device }),
    });
    if (!(await store.save()))
      throw await divergence({ session, preset, store, device }, session.trainer.step);
    if (ending !== null) await store.keepBest(session.best!);
    testing = true;
    const seconds = secondsSinceStart();
    const best = join(folder, BEST_FILE);
    const report = {
      steps: session.trainer.step,
      seconds,
      exactAccuracy: null as number | null,
      exactInterval: null as readonly [number, number] | null,
      cellAccuracy: null as number | null,
      blankAccuracy: null as number | null,
      majorityBlankAccuracy: null as number | null,
      meanSteps: null as number | null,
      paramCount: countParameters(preset.model),
      adapter: device.adapter.name,
      checkpoint: ending === null ? store.last!.path : best,
    };
    say(`saved     ${report.checkpoint} after ${formatDuration(seconds)}`);
    if (ending === null) {
      say(
        `stopped   at step ${report.steps} of ${preset.train.total_steps}; the test set was not looked at. Go on with: ${invocation()} train --resume ${folder}`,
      );
      if (json) printJson(report);
      return interruption.signal === null ? 0 : interruption.exitCode;
    }
    const finished = session;
    const scores = await interruption.unlessStopped(() => finished.test());
    if (scores === null) {
      say(
        `stopped   before the look at the test set was done; the run is saved. Look with: ${invocation()} train --resume ${folder}`,
      );
      if (json) printJson(report);
      return interruption.exitCode;
    }
    await log.write(scoresLine("test", { step: session.best!.step, seconds: secondsSinceStart(), scores }));
    await log.sync();
    const testIsTraining = session.splits.test === session.splits.validation;
    const { low, high } = wilsonInterval(scores.exact, scores.count);
    say(
      `test      exact ${formatProportion(scores.exact, scores.count)} of ${scores.count} ${testIsTraining ? "training" : "test"} puzzles (95% interval); cells ${formatPercent(scores.cellAccuracy)}; ${describeBlanks(scores, session.splits.test)}`,
    );
    await interruption.unlessStopped(() => showSolution(finished, preset, device));
    if (json)
      printJson({
        ...report,
        exactAccuracy: scores.exactAccuracy,
        exactInterval: [low, high],
        cellAccuracy: scores.cellAccuracy,
        blankAccuracy: scores.blankAccuracy,
        majorityBlankAccuracy: majorityOfBlanks(session.splits.test),
        meanSteps: scores.meanSteps,
      });
    if (interruption.signal !== null) return interruption.exitCode;
    return ending === "target" ? 0 : 1;
  } finally {
    interruption?.dispose();
    session?.destroy();
  }
}

/** Chooses the micro-batch and, where the run asks for it, kernels; of the micro-batch says what it needs. */
async function prepare(plan: Plan, splits: PuzzleSplits, device: Device): Promise<number> {
  const { preset, run, tuningSeconds: seconds } = plan;
  const microBatch = await fittingMicroBatch(plan, splits, device);
  if (run.autotune) await chooseKernels({ device, preset, splits, microBatch, seconds });
  return microBatch;
}

/**
 * The micro-batch asked for, or the largest that fits the device and the budget; says what it needs, where the batch is
 * not computed at once.
 * @throws LimitError if the device, the budget or this machine's memory does not hold it
 */
async function fittingMicroBatch(
  { preset, run }: Plan,
  { train: data, validation }: PuzzleSplits,
  device: Device,
): Promise<number> {
  const { model: config, train, task } = preset;
  const planned = { config, train, data, validation, symmetry: task.symmetry };
  const options = { ...planned, device: device.gpu, multiplying: device };
  const needs =
    run.microBatch === null
      ? await chooseMicroBatch(options, run.memoryBudget ?? Infinity)
      : await trainingNeeds(options, run.microBatch);
  const { microBatch, held, peak } = needs;
  requireHostMemory(needs, device.adapter.software);
  if (run.microBatch === null && (run.memoryBudget !== null || microBatch < config.batch_size))
    say(
      `memory    ${formatGB(held)}, ${formatGB(peak)} while it saves: ${config.batch_size / microBatch} x ${microBatch} puzzles a step`,
    );
  return microBatch;
}

const secondsSinceStart = (): number => performance.now() / 1000;

interface Keeper {
  readonly session: Session;
  readonly preset: Preset;
  readonly store: RunStore;
  readonly log: RunLog;
  readonly device: Device;
}

/** Logs every event, saves at every look and now and then between. @throws DivergenceError, OutputError */
function keepRecord({ session, preset, store, log, device }: Keeper): (event: SessionEvent) => Promise<void> {
  const save = async (
    { best = false }: Pick<SaveOptions, "best"> = {},
    line?: MetricsLine,
  ): Promise<void> => {
    const written = async (): Promise<void> => {
      if (line) await log.write(line);
      await log.sync();
    };
    if (!(await store.save({ best, log: written })))
      throw await divergence({ session, preset, store, device }, session.trainer.step);
  };
  return async (event) => {
    const seconds = secondsSinceStart();
    if (event.kind === "steps") {
      const { firstNonFinite } = event.metrics.at(-1)!;
      if (firstNonFinite > 0) throw await divergence({ session, preset, store, device }, firstNonFinite);
      const { model, train } = preset;
      await log.write(trainLine(event, { batchSize: model.batch_size, train, seconds }));
      if (store.due) await save();
    } else if (event.kind === "validation") {
      const { step, scores, best } = event;
      await save({ best }, scoresLine("validation", { step, seconds, scores }, { best }));
    }
  };
}

/**
 * The error for training that left the finite numbers, as was seen at `lastStep`: replays from the last good checkpoint
 * to say where.
 */
async function divergence(
  { session, preset, store, device }: Omit<Keeper, "log">,
  lastStep: number,
): Promise<DivergenceError> {
  if (!store.last) return divergedBefore(await session.save());
  const { snapshot, path } = store.last;
  const { symmetry } = preset.task;
  const found = await findNonFinite({ device, snapshot, data: session.splits.train, symmetry, lastStep });
  // Squares of finite numbers may still be too large.
  const { step, tensor } = found ?? { step: lastStep, tensor: "the gradient's norm" };
  return new DivergenceError(
    step,
    tensor,
    `Training left the finite numbers at step ${step}, first in ${tensor}. The last good checkpoint is ${path} (step ${snapshot.step}). ` +
      "A lower --lr, or more --lr_warmup_steps, usually helps.",
  );
}

/** Solves the first test puzzle on screen. */
async function showSolution(session: Session, preset: Preset, device: Device): Promise<void> {
  const { test } = session.splits;
  const inputs = test.inputs.slice(0, test.length);
  const label = test.labels.slice(0, test.length);
  const best = createWeights(device, preset.model, session.best!.weights);
  const solver = await createSolver({ device, config: preset.model, weights: best });
  const segments = await solver.solve(inputs, { identifier: test.identifiers[0]! });
  solver.destroy();
  for (const v of best.values()) v.destroy();
  say(
    `\nA ${session.splits.test === session.splits.validation ? "training" : "test"} puzzle, and the answer after each ACT segment:\n`,
  );
  say(
    renderSolution({ task: preset.task, inputs, label, segments }, wantsColor(process.stderr, process.env)),
  );
}
