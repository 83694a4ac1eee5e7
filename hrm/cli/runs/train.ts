/** `hrm train` step by step: prepare, train, test, report. */
import { join } from "node:path";
import type { Device, Target } from "../../../engine/index.js";
import { countParameters, createWeights } from "../../model/parameters.js";
import { majorityOfBlanks, type PuzzleSplits } from "../../puzzles/puzzle_set.js";
import { divergedBefore } from "../../training/diagnosis.js";
import { createSolver, type Scores } from "../../training/evaluation.js";
import { chooseMicroBatch, trainingNeeds } from "../../training/memory_estimate.js";
import type { Preset } from "../../training/presets.js";
import { createSession, type Session } from "../../training/session.js";
import { formatPercent, formatProportion, wilsonInterval } from "../../training/statistics.js";
import { describeBlanks, describeSplits, identifierWarnings } from "../inputs/puzzle_files.js";
import { formatGB, invocation, printJson, say } from "../output/console.js";
import { follow } from "../output/follow.js";
import { formatDuration } from "../../format_duration.js";
import { wantsColor } from "../output/render.js";
import { renderSolution } from "../output/solution.js";
import { chooseKernels } from "./choose_kernels.js";
import { requireHostMemory } from "./host_memory.js";
import { watchInterrupt, type Interruption } from "./interrupt.js";
import type { TrainingJob } from "./job.js";
import { openRunLog, scoresLine, type RunLog } from "./log.js";
import { divergence, keepRecord, secondsSinceStart } from "./record.js";
import { BEST_FILE, openRunStore, type RunStore } from "./store.js";

interface JobOptions {
  readonly device: Device;
  /** What the run is compiled for, before kernels are chosen. */
  readonly target: Target;
  readonly job: TrainingJob;
  /** Makes the folder of a new run, and returns the run's folder. */
  readonly begin: () => Promise<string>;
  /** Whether the last line of stdout is a JSON report. */
  readonly json: boolean;
}

/** A run under way. */
interface Run extends Pick<JobOptions, "device" | "job"> {
  readonly session: Session;
  readonly folder: string;
  readonly store: RunStore;
  readonly log: RunLog;
  readonly interruption: Interruption;
}

/** Trains, tests and reports. Returns the exit code: 1 if the target was missed, 130 after Ctrl-C. */
export async function runJob({ device, target, job, begin, json }: JobOptions): Promise<number> {
  const { preset, run: config, resume, stopAfter } = job;
  let interruption: Interruption | undefined;
  let session: Session | undefined;
  try {
    // Until the folder exists a signal ends the process at once: nothing needs saving, and compiling blocks the event loop.
    session = await createSession({
      ...{ device, preset, seed: config.seed, stopAfter },
      ...(job.state && { state: job.state }),
      ...(resume
        ? { resume, target }
        : {
            microBatch: (splits) => fittingMicroBatch(job, splits, { device, target }),
            target: (splits, microBatch) => tunedTarget(job, splits, { device, target, microBatch }),
          }),
      ...(config.patience !== null && { patience: config.patience }),
    });
    const folder = await begin();
    let testing = false;
    interruption = watchInterrupt(() => {
      if (!testing) say("\nstopping  after the steps under way; Ctrl-C again ends at once and saves nothing");
    });
    const run = await openRun({ device, job, session, folder, interruption });
    const ending = await train(run);
    testing = true;
    const report = trainingReport(run, ending !== null);
    say(`saved     ${report.checkpoint} after ${formatDuration(report.seconds)}`);
    const scores = ending === null ? null : await test(run);
    if (scores === null) {
      say(
        ending === null
          ? `stopped   at step ${report.steps} of ${preset.train.total_steps}; the test set was not looked at. Go on with: ${invocation()} train --resume ${folder}`
          : `stopped   before the look at the test set was done; the run is saved. Look with: ${invocation()} train --resume ${folder}`,
      );
      if (json) printJson(report);
      return ending === null && interruption.signal === null ? 0 : interruption.exitCode;
    }
    const finished = session;
    await interruption.unlessStopped(() => showSolution(finished, preset, device));
    if (json) printJson({ ...report, ...testReport(run, scores) });
    if (interruption.signal !== null) return interruption.exitCode;
    return ending === "target" ? 0 : 1;
  } finally {
    interruption?.dispose();
    session?.destroy();
  }
}

/** Describes the data, opens store and log, and saves the state that training starts from. @throws DivergenceError, OutputError */
async function openRun(parts: Omit<Run, "store" | "log">): Promise<Run> {
  const { job, session, folder } = parts;
  const { preset, run: config } = job;
  for (const difference of session.trainer.differences)
    say(`warning   not bit-identical to a run without a stop: ${difference}`);
  say(`data      ${describeSplits(session.splits, preset)}`);
  for (const warning of identifierWarnings(session.splits, preset.model)) say(`warning   ${warning}`);
  const vocabulary = preset.task.vocabulary();
  const origin = {
    ...(config.data === null ? { task: preset.name } : { task: preset.task.name, data: config.data }),
    ...(vocabulary && { vocabulary }),
  };
  const store = openRunStore(session, { folder, origin, keep: config.keep });
  const log = await openRunLog(folder, session.trainer.step, { warn: (text) => say(`warning   ${text}`) });
  // From here on the run can be resumed, and a state that stops being finite can be traced.
  if (!(await store.save())) throw divergedBefore(await session.save());
  return { ...parts, store, log };
}

/** Trains to the run's end, and saves. Returns why the run ended; null if it was stopped before. @throws DivergenceError, OutputError */
async function train({ device, job, session, store, log, interruption }: Run) {
  const { preset } = job;
  const ending = await follow({
    ...{ session, preset, interruption, stream: process.stderr, adapter: device.adapter.name },
    onEvent: keepRecord({ session, preset, store, log, device }),
  });
  if (!(await store.save())) throw await divergence({ session, preset, store, device }, session.trainer.step);
  if (ending !== null) await store.keepBest(session.best!);
  return ending;
}

/** Scores the best weights on the test set, logs the scores and prints them; null if Ctrl-C came first: then prints what is known. */
async function test({ session, log, interruption }: Run): Promise<Scores | null> {
  const scores = await session.test(() => interruption.signal !== null);
  const { test } = session.splits;
  if (interruption.signal !== null && scores.count < test.count) {
    if (scores.count > 0)
      say(
        `partial   exact ${formatProportion(scores.exact, scores.count)} of the first ${scores.count} of ${test.count} test puzzles (95% interval); cells ${formatPercent(scores.cellAccuracy)}`,
      );
    return null;
  }
  await log.write(scoresLine("test", { step: session.best!.step, seconds: secondsSinceStart(), scores }));
  await log.sync();
  const kind = session.splits.test === session.splits.validation ? "training" : "test";
  say(
    `test      exact ${formatProportion(scores.exact, scores.count)} of ${scores.count} ${kind} puzzles (95% interval); cells ${formatPercent(scores.cellAccuracy)}; ${describeBlanks(scores, session.splits.test)}`,
  );
  return scores;
}

/** What `--json` prints of a run that was not tested. */
function trainingReport({ session, job, device, folder, store }: Run, ended: boolean) {
  return {
    steps: session.trainer.step,
    seconds: secondsSinceStart(),
    exactAccuracy: null,
    exactInterval: null,
    cellAccuracy: null,
    blankAccuracy: null,
    majorityBlankAccuracy: null,
    meanSteps: null,
    paramCount: countParameters(job.preset.model),
    adapter: device.adapter.name,
    checkpoint: ended ? join(folder, BEST_FILE) : store.last!.path,
  };
}

/** The fields that the look at the test set adds. */
function testReport({ session }: Run, scores: Scores) {
  const { low, high } = wilsonInterval(scores.exact, scores.count);
  return {
    exactAccuracy: scores.exactAccuracy,
    exactInterval: [low, high],
    cellAccuracy: scores.cellAccuracy,
    blankAccuracy: scores.blankAccuracy,
    majorityBlankAccuracy: majorityOfBlanks(session.splits.test),
    meanSteps: scores.meanSteps,
  };
}

/** The target, with the fastest kernels if the run asks for measuring. */
function tunedTarget(
  { preset, run, tuningSeconds: seconds }: TrainingJob,
  splits: PuzzleSplits,
  on: Pick<JobOptions, "device" | "target"> & { readonly microBatch: number },
): Target | Promise<Target> {
  return run.autotune ? chooseKernels({ ...on, preset, splits, seconds }) : on.target;
}

/**
 * The micro-batch that was asked for, or the largest that fits the device and the budget. If the batch is split, prints the
 * memory that its parts need.
 * @throws LimitError if the device, the budget or this machine's memory does not hold it
 */
function fittingMicroBatch(
  { preset, run }: TrainingJob,
  { train: data, validation }: PuzzleSplits,
  { device, target }: Pick<JobOptions, "device" | "target">,
): number {
  const { model: config, train, task } = preset;
  const options = { config, train, data, validation, symmetry: task.symmetry, target };
  const needs =
    run.microBatch === null
      ? chooseMicroBatch(options, run.memoryBudget ?? Infinity)
      : trainingNeeds(options, run.microBatch);
  const { microBatch, held, peak } = needs;
  requireHostMemory(needs, device.adapter.software);
  if (run.microBatch === null && (run.memoryBudget !== null || microBatch < config.batch_size))
    say(
      `memory    ${formatGB(held)}, ${formatGB(peak)} while it saves: ${config.batch_size / microBatch} x ${microBatch} puzzles a step`,
    );
  return microBatch;
}

/** Solves the first test puzzle, and prints its answer after each segment. */
async function showSolution(session: Session, preset: Preset, device: Device): Promise<void> {
  const { test } = session.splits;
  const inputs = test.inputs.slice(0, test.length);
  const label = test.labels.slice(0, test.length);
  const best = createWeights(device, preset.model, session.best!.weights);
  const solver = await createSolver({
    device,
    target: session.trainer.target,
    config: preset.model,
    weights: best,
  });
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
