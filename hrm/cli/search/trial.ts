/** One trial of a search: a run that trains to the step of a rung, and is scored there. */
import { join } from "node:path";
import type { Device } from "../../../engine/index.js";
import type { Scores } from "../../training/evaluation.js";
import { chooseMicroBatch } from "../../training/memory_estimate.js";
import type { Preset } from "../../training/presets.js";
import type { PuzzleSplits } from "../../puzzles/puzzle_set.js";
import { createSession, type TrainingSummary } from "../../training/session.js";
import { ArgumentError } from "../../terminal/arguments.js";
import { requireHostMemory } from "../runs/host_memory.js";
import type { Interruption } from "../runs/interrupt.js";
import { lastState } from "../runs/last_state.js";
import { makeFolder } from "../disk/make_folder.js";
import { writeRunConfig } from "../runs/config.js";
import { lockRun } from "../runs/lock.js";
import { openRunLog, scoresLine, trainLine } from "../runs/log.js";
import { openRunStore } from "../runs/store.js";
import { say } from "../output/console.js";

export interface TrialOptions {
  readonly device: Device;
  /** The preset with the fields of the option. */
  readonly preset: Preset;
  readonly splits: PuzzleSplits;
  readonly seed: number;
  readonly data: string | null;
  readonly test: string | null;
  /** The folder of the trial, which is made if it is missing. */
  readonly folder: string;
  /** Step to train to. */
  readonly until: number;
  /** Validation puzzles to score; null for all. */
  readonly puzzles: number | null;
  readonly interruption: Interruption;
  /** Receives the progress: first the initial step with null, then each step with the means since the last call. */
  readonly onSteps: (step: number, training: TrainingSummary | null) => void;
}

/** The result of a trial at a rung; null if it was interrupted after saving its state. */
export type TrialResult =
  | { readonly kind: "scored"; readonly step: number; readonly scores: Scores; readonly loss: number | null }
  | { readonly kind: "diverged"; readonly step: number }
  | null;

/** A second checkpoint limits the loss if the newest is damaged. */
const CHECKPOINTS_KEPT = 2;

/**
 * Trains a trial from its last saved state, and scores it.
 * @throws ArgumentError if the trial cannot continue from its folder, or is past the step already; OutputError
 */
export async function runTrial(options: TrialOptions): Promise<TrialResult> {
  await makeFolder(options.folder);
  const lock = await lockRun(options.folder);
  try {
    return await lockedTrial(options);
  } finally {
    await lock.release();
  }
}

async function lockedTrial(options: TrialOptions): Promise<TrialResult> {
  const { device, splits, seed, data, test, folder, until, puzzles, interruption, onSteps } = options;
  // Only rungs are looks: a trial ends at its rung or its last step, and never by reaching a target.
  const { total_steps } = options.preset.train;
  const preset = { ...options.preset, splits: () => splits, stopAt: 1, evalEvery: total_steps };
  const { model, train, task, stopAt, evalEvery, evalLimit } = preset;
  const resume = await lastState(folder);
  if (resume && resume.step > until)
    throw new ArgumentError(
      `--resume: "${folder}" is at step ${resume.step}, past the rung at step ${until}; expected a trial that only this search trains.`,
    );
  if (!resume)
    await writeRunConfig(folder, {
      ...{ preset: preset.name, seed, adapter: device.adapter.name, stopAt, evalEvery, evalLimit },
      ...{ patience: null, keep: CHECKPOINTS_KEPT, microBatch: null, memoryBudget: null },
      ...{ autotune: false, precision: "f32", data, test, columns: null },
      ...{ task: null, validation: null, init: null, model, train },
    });
  const planned = { config: model, train, data: splits.train, validation: splits.validation };
  const microBatch = (): number => {
    const on = { target: device.target, symmetry: task.symmetry };
    const needs = chooseMicroBatch({ ...planned, ...on });
    requireHostMemory(needs, device.adapter.software);
    return needs.microBatch;
  };
  const session = await createSession({
    ...{ device, preset, seed, stopAfter: until },
    ...(resume ? { resume } : { microBatch }),
  });
  try {
    for (const difference of session.trainer.differences)
      say(`warning   ${folder}: not bit-identical to a trial without a stop: ${difference}`);
    const vocabulary = task.vocabulary();
    const origin = {
      ...(data === null ? { task: preset.name } : { task: task.name, data }),
      ...(vocabulary && { vocabulary }),
    };
    const store = openRunStore(session, { folder, origin, keep: CHECKPOINTS_KEPT });
    const log = await openRunLog(folder, session.trainer.step, { warn: (text) => say(`warning   ${text}`) });
    const synced = { log: () => log.sync() };
    if (!resume && !(await store.save())) return { kind: "diverged", step: 0 };
    let loss: number | null = null;
    onSteps(session.trainer.step, null);
    for await (const event of session.events()) {
      if (event.kind === "steps") {
        const { firstNonFinite } = event.metrics.at(-1)!;
        if (firstNonFinite > 0) return { kind: "diverged", step: firstNonFinite };
        const seconds = performance.now() / 1000;
        await log.write(trainLine(event, { batchSize: model.batch_size, train, seconds }));
        loss = event.training.loss;
        onSteps(event.step, event.training);
        if (store.due && !(await store.save(synced))) return { kind: "diverged", step: event.step };
      }
      if (interruption.signal !== null) break;
    }
    const { step } = session.trainer;
    if (!(await store.save(synced))) return { kind: "diverged", step };
    if (step < until) return null;
    const scores = await interruption.unlessStopped(() => session.validate(puzzles ?? undefined));
    if (scores === null) return null;
    if (scores.nonFinite > 0) return { kind: "diverged", step };
    await log.write(scoresLine("validation", { step, seconds: performance.now() / 1000, scores }));
    await log.sync();
    return { kind: "scored", step, scores, loss };
  } finally {
    session.destroy();
  }
}

/** The folder of a trial inside the folder of its search. */
export const trialFolder = (search: string, option: number, seed: number): string =>
  join(search, "trials", `option${option}-seed${seed}`);
