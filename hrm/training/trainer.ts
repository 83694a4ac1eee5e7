/**
 * Training on the GPU: the host submits steps and fetches metrics now and then; data, draws, halting, the
 * schedule and the optimizer never leave the device.
 */
import {
  add,
  assign,
  bitAnd,
  cast,
  compile,
  concat,
  div,
  equal,
  notEqual,
  position,
  remainder,
  reshape,
  runSequence,
  slice,
  variable,
  where,
  withChoices,
  zeros,
  type Allocator,
  type Device,
  type Program,
  type Target,
  type TypedArray,
  type Variable,
} from "../../engine/index.js";
import type { Abortable } from "../../engine/abort.js";
import { owning } from "../../engine/ownership.js";
import { createQueue } from "../../engine/queue.js";
import { randomExploration } from "../model/act.js";
import { ConfigError, type HrmConfig, type TrainConfig } from "../model/config.js";
import { metricRow, METRICS, type MetricRow } from "../model/loss.js";
import type { StateDict } from "../model/parameters.js";
import type { PuzzleSet } from "../puzzles/puzzle_set.js";
import { destroyPuzzles, randomBatch, uploadPuzzles } from "../puzzles/sampling.js";
import type { Symmetry } from "../puzzles/tasks/symmetry.js";
import { createTrainingMemory, trainingVariables, type TrainingMemory } from "./memory.js";
import { microBatchCount, stepPrograms, type StepHooks, type StepProgram } from "./micro_batches.js";
import {
  fingerprint,
  originOf,
  readVariables,
  resumeDifferences,
  sameOrigin,
  writeVariables,
  type RunIdentity,
  type TrainingSnapshot,
} from "./snapshot.js";
import { countNonFinite, gradientNorm, PUZZLE_LOCAL } from "./step.js";

/** Metrics of a step, as sums over its batch. */
export interface StepMetrics extends MetricRow {
  /** 1 is the first step. */
  readonly step: number;
  /** L2 norm of the gradient of the weights (not of the puzzle embedding). */
  readonly gradientNorm: number;
  /** The first step in which a logit, a loss, the norm or a gradient was NaN or infinite; 0 if there was no such step. */
  readonly firstNonFinite: number;
}

/** Steps whose metrics the GPU remembers. */
const RING = 128;
/** METRICS, gradientNorm, firstNonFinite. */
const COLUMNS = METRICS.length + 2;

/** The most steps in one command buffer: a long submission freezes pages and trips watchdogs. */
const STEPS_PER_SUBMIT = 4;

/** A training run on one device. */
export interface Trainer {
  /** Everything that the run keeps on the GPU. */
  readonly memory: TrainingMemory;
  /** The program of the step, or of one of its micro-batches. */
  readonly program: Program;
  /** The programs of a step in the order in which they run, and how often each of them runs in a row. */
  readonly sequence: readonly (readonly [program: Program, times: number])[];
  /** What a snapshot holds, by name. */
  readonly variables: ReadonlyMap<string, Variable>;
  /** What the programs were compiled for: the target that was given, with the kernel variants of the run that goes on. */
  readonly target: Target;
  /** Steps submitted so far. */
  readonly step: number;
  /**
   * Submits steps, at most up to `train.total_steps`, and resolves before they have run. Returns how many it submitted. If
   * the signal fires, no more steps are submitted, and the promise rejects with its reason; submitted steps count.
   */
  run(steps: number, options?: Abortable): Promise<number>;
  /**
   * Metrics of the steps since the last call, at most of the newest 128 steps. This is the only read-back of training.
   * Calls that overlap are answered one after the other; each returns the steps since the call before.
   */
  metrics(): Promise<StepMetrics[]>;
  /** The whole state after the steps submitted so far; `createTrainer({ resume })` continues from it. */
  save(): Promise<TrainingSnapshot>;
  /** The configuration of the next step: what the run began with, and what was changed since. */
  readonly settings: { readonly config: HrmConfig; readonly train: TrainConfig };
  /**
   * Changes what a step reads as a number, so that nothing is compiled: the steps submitted from now on use the new values,
   * and so does a run that continues from a snapshot.
   * @throws ConfigError, and nothing has changed
   */
  change(changes: TrainingChanges): void;
  /** After a resume: the reasons why training will not repeat an uninterrupted run to the bit. Empty if it will. */
  readonly differences: readonly string[];
  /** Frees programs and variables; the device stays. */
  destroy(): void;
}

/** What to train, and on what. */
export interface TrainerOptions extends Abortable {
  /** The device to run on. */
  readonly device: Device;
  /** What to compile for; default: the device's target. */
  readonly target?: Target | undefined;
  /** The model's configuration. */
  readonly config: HrmConfig;
  /** The configuration of training. */
  readonly train: TrainConfig;
  /** The training puzzles. */
  readonly data: PuzzleSet;
  /** Symmetry of the puzzles. Images are drawn from it if `train.augment` is set. */
  readonly symmetry?: Symmetry | null;
  /** Decides initial weights and all draws. */
  readonly seed: number;
  /** Start from these weights instead of the official initialisation. */
  readonly state?: StateDict;
  /** Rows of a micro-batch, a divisor of the batch. The default is the value of `resume`, else the whole batch. */
  readonly microBatch?: number | undefined;
  /** Steps whose learning rates are on the GPU at a time; default 4096. What is computed does not depend on it. */
  readonly scheduleWindow?: number | undefined;
  /**
   * Continue from this snapshot, with the same configuration and data. `seed` and `state` then come from the snapshot. If
   * the snapshot was computed on this adapter, driver and build in this precision, the step is compiled with its kernel
   * variants.
   */
  readonly resume?: TrainingSnapshot;
}

/** What may change between two steps. */
export interface TrainingChanges {
  /** Peak learning rate of the weights. */
  readonly lr?: number;
  /** Share of rows that explore. */
  readonly halt_exploration_prob?: number;
}

/** The memory of a trainer on the GPU, and its programs before they are compiled. */
export interface PreparedTraining {
  readonly memory: TrainingMemory;
  /** Metrics of the last steps [RING, COLUMNS]. */
  readonly ring: Variable;
  readonly programs: readonly StepProgram[];
  destroy(): void;
}

/**
 * Allocates the memory of training and prepares its programs. `observe` is traced with each micro-batch.
 * @throws ConfigError, LimitError
 */
export function prepareTraining(
  options: PreparationOptions,
  observe?: StepHooks["observe"],
): PreparedTraining {
  return owning(() => preparedOf(options, observe));
}

type PreparationOptions = Omit<TrainerOptions, "device" | "resume" | "state" | "target"> & {
  /** A device, or the ledger of a plan. */
  readonly device: Allocator;
  readonly state?: StateDict | undefined;
};

function preparedOf(
  {
    device,
    config,
    train,
    data,
    symmetry = null,
    seed,
    state,
    microBatch,
    scheduleWindow,
  }: PreparationOptions,
  observe?: StepHooks["observe"],
): PreparedTraining {
  if (train.augment && !symmetry) throw new ConfigError("augment", true, "false: the task has no symmetries");
  const memory = createTrainingMemory(device, config, train, {
    ...{ seed, microBatch, scheduleWindow },
    ...(state && { state }),
  });
  const puzzles = uploadPuzzles(device, data, "train", train.augment ? symmetry : null);
  const ring = variable(device, zeros([RING, COLUMNS]), "metrics");
  const first = variable(device, zeros([1]), "first non-finite step");
  const { counter } = memory;
  const record: StepHooks["record"] = ({ metrics, gradients, lostLogits }) => {
    const done = slice(counter, [1], [1]);
    const norm = reshape(gradientNorm(gradients), [1]);
    // The norm covers all gradients but that of the puzzle embedding.
    const ofPuzzles = gradients.get(PUZZLE_LOCAL);
    const count = add(
      lostLogits,
      countNonFinite(concat([metrics, norm], 0), ...(ofPuzzles ? [ofPuzzles] : [])),
    );
    const lost = bitAnd(notEqual(count, 0), equal(first, 0));
    assign(first, where(lost, cast(add(done, 1), "f32"), first));
    const row = equal(div(position([RING, COLUMNS]), COLUMNS), remainder(cast(done, "i32"), RING));
    assign(ring, where(row, concat([metrics, norm, first], 0), ring));
  };
  const draw = () => ({
    ...randomBatch(puzzles, counter, config),
    ...randomExploration(counter, config),
  });
  return {
    memory,
    ring,
    programs: stepPrograms(memory, draw, { record, ...(observe && { observe }) }),
    destroy() {
      memory.destroy();
      destroyPuzzles(puzzles);
      for (const v of [ring, first]) v.destroy();
    },
  };
}

/** What a snapshot holds, by name. */
export function snapshotVariables({
  memory,
  ring,
}: Pick<PreparedTraining, "memory" | "ring">): ReadonlyMap<string, Variable> {
  return new Map([...trainingVariables(memory), [ring.name, ring]]);
}

/**
 * Compiles the training step and allocates its memory.
 * @throws ConfigError if `train.augment` is set for a task without symmetries, or if `microBatch` does not divide the batch
 * @throws ResumeError if the snapshot belongs to another model
 */
export async function createTrainer(options: TrainerOptions): Promise<Trainer> {
  const { device, config, train, resume } = options;
  const seed = resume?.seed ?? options.seed;
  const microBatch = options.microBatch ?? resume?.microBatch ?? undefined;
  const given = options.target ?? device.target;
  const repeats = resume !== undefined && isRepeatable(resume, device, given);
  const target = repeats ? withChoices(given, resume.kernels) : given;
  let identity = identityOf({ ...options, target }, microBatch, repeats ? resume.kernels : {});
  const differences = resume ? resumeDifferences(resume, identity) : [];
  const state = resume?.state ?? options.state;
  const prepared = prepareTraining({ ...options, seed, state, microBatch });
  const { memory, ring } = prepared;
  const variables = snapshotVariables(prepared);
  const sequence: [Program, number][] = [];
  const release = (): void => {
    for (const [program] of sequence) program.destroy();
    prepared.destroy();
  };
  try {
    if (resume) writeVariables(variables, resume.state);
    for (const { name, times, body } of prepared.programs)
      sequence.push([await compile(device, {}, body, { name, target, signal: options.signal }), times]);
  } catch (error) {
    release();
    throw error;
  }
  const kernels = { ...identity.kernels, ...chosenKernels(sequence) };
  const count = microBatchCount(config, microBatch);
  const stepsPerSubmit = Math.max(1, Math.floor(STEPS_PER_SUBMIT / count));
  let submitted = resume?.step ?? 0;
  let fetched = resume?.fetched ?? 0;
  const oneRead = createQueue();
  return {
    ...{ memory, variables, sequence, target },
    program: sequence[count > 1 ? 1 : 0]![0],
    differences,
    get step() {
      return submitted;
    },
    get settings() {
      return { config: identity.config, train: identity.train };
    },
    change({ lr = identity.train.lr, halt_exploration_prob: share = identity.config.halt_exploration_prob }) {
      if (!(Math.fround(lr) > 0 && lr < Infinity)) throw new ConfigError("lr", lr, "a number above 0");
      if (!(share >= 0 && share <= 1))
        throw new ConfigError("halt_exploration_prob", share, "a number from 0 to 1");
      const train = { ...identity.train, lr };
      identity = { ...identity, train, config: { ...identity.config, halt_exploration_prob: share } };
      memory.schedule.change(train);
      memory.explorationProbability.write(Float32Array.of(share));
    },
    async run(steps, { signal } = {}) {
      let done = 0;
      // Computed again in each round, since calls may overlap.
      const left = (): number => Math.min(steps - done, train.total_steps - submitted);
      // The first submission has one step, so that a waiting GPU starts while the other steps are encoded.
      for (let most = 1; left() > 0; most = stepsPerSubmit) {
        signal?.throwIfAborted();
        const rounds = Math.min(left(), most, memory.schedule.prepare(submitted + 1));
        submitted += rounds;
        done += rounds;
        await runSequence(sequence, rounds);
      }
      return done;
    },
    metrics: () =>
      oneRead(async () => {
        const [start, end] = [Math.max(fetched, submitted - RING), submitted];
        const values = await ring.read();
        fetched = end;
        return Array.from({ length: end - start }, (_, i) => metricsOf(values, start + i + 1));
      }),
    async save() {
      const at = { step: submitted, fetched };
      return { ...identity, kernels, ...at, seed, state: await readVariables(variables) };
    },
    destroy: release,
  };
}

/**
 * True if the kernel variants of a snapshot serve here: on the adapter, driver and build that computed it, in its
 * precision. Elsewhere other variants are faster, and these may not exist.
 */
function isRepeatable({ origin, precision }: TrainingSnapshot, device: Device, target: Target): boolean {
  return sameOrigin(origin, originOf(device)) && precision === precisionOf(target);
}

const precisionOf = ({ capabilities }: Target): string | null => capabilities.mixedPrecision?.name ?? null;

function identityOf(
  { device, target, config, train, data }: TrainerOptions & { readonly target: Target },
  microBatch: number | undefined,
  kernels: RunIdentity["kernels"],
): RunIdentity {
  return {
    ...{ config, train, data: fingerprint(data), origin: originOf(device), kernels },
    microBatch: microBatchCount(config, microBatch) > 1 ? microBatch! : null,
    precision: precisionOf(target),
  };
}

/** The variants of the programs' kernels, by kernel name. */
function chosenKernels(programs: readonly (readonly [Program, number])[]): Record<string, string> {
  const chosen: Record<string, string> = {};
  for (const [{ plan }] of programs)
    for (const { kernel } of plan.dispatches) if (kernel.choice) chosen[kernel.choice[0]] = kernel.choice[1];
  return chosen;
}

/** The row of the ring that belongs to a step. */
function metricsOf(ring: TypedArray, step: number): StepMetrics {
  const at = ((step - 1) % RING) * COLUMNS;
  const row = ring.subarray(at, at + COLUMNS);
  const [gradientNorm, firstNonFinite] = row.subarray(METRICS.length) as unknown as [number, number];
  return { step, ...metricRow(row), gradientNorm, firstNonFinite };
}
