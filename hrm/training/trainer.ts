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
  constant,
  div,
  equal,
  hostTensor,
  notEqual,
  position,
  remainder,
  reshape,
  runSequence,
  slice,
  variable,
  where,
  zeros,
  type Device,
  type HostTensor,
  type Program,
  type TensorSpec,
  type Variable,
} from "../../engine/index.js";
import type { Abortable } from "../../engine/abort.js";
import { owning } from "../../engine/ownership.js";
import { createQueue } from "../../engine/queue.js";
import type { AdamState } from "../../engine/optimizers.js";
import {
  carryVariables,
  createCarry,
  destroyCarry,
  staggerCarry,
  type Carry,
  randomExploration,
} from "../model/act.js";
import { ConfigError, derive, type HrmConfig, type TrainConfig } from "../model/config.js";
import { destroyPuzzles, randomBatch, uploadPuzzles } from "../puzzles/sampling.js";
import { metricRow, METRICS, type MetricRow } from "../model/loss.js";
import {
  createMicroBatches,
  destroyMicroBatches,
  microBatchCount,
  stepPrograms,
  type MicroBatches,
  type StepHooks,
  type StepProgram,
} from "./micro_batches.js";
import type { Model, RotaryTables } from "../model/model.js";
import { rotaryAngles } from "../model/positions.js";
import {
  createPacked,
  createWeights,
  initialState,
  PUZZLE_EMBEDDING,
  type ParameterSpec,
  type StateDict,
  type Weights,
} from "../model/parameters.js";
import type { PuzzleSet } from "../puzzles/puzzle_set.js";
import { createSchedule, type Schedule } from "./schedule.js";
import { requireSizes } from "./sizes.js";
import {
  fingerprint,
  MICRO_BATCH,
  microBatchOf,
  originOf,
  PREFIX,
  readVariables,
  resumeDifferences,
  sameOrigin,
  writeVariables,
  type TrainingSnapshot,
} from "./snapshot.js";
import { countNonFinite, gradientNorm, PUZZLE_LOCAL, type TrainingState } from "./step.js";
import type { Symmetry } from "../puzzles/tasks/symmetry.js";

/** Rotary tables as constants, or null with learned positions. */
export function rotaryTables(config: HrmConfig): RotaryTables | null {
  const tables = rotaryAngles(config);
  if (!tables) return null;
  const { totalLength, headDim } = derive(config);
  const shape = [totalLength, headDim];
  return { cos: constant(tables.cos, shape), sin: constant(tables.sin, shape) };
}

/** The model that reads these weights. */
export function modelOf(config: HrmConfig, weights: Weights): Model {
  return { config, parameters: (name) => weights.get(name)!, rotary: rotaryTables(config) };
}

/** Weights, optimizer state, carry and counter on the GPU. */
export interface TrainingMemory extends TrainingState {
  readonly weights: Weights;
  /** The moving average of every trained weight, with the fixed ones as they are; null where none is kept. */
  readonly ema: Weights | null;
  readonly carry: Carry;
  /** Null where the batch is computed at once. */
  readonly micro: MicroBatches | null;
  /** Before a step is submitted, `schedule.prepare` has to bring its rows. */
  readonly schedule: Schedule;
  destroy(): void;
}

/** Everything that training updates, from a state dict; for micro-batches of `microBatch` rows, default the batch. */
export function createTrainingMemory(
  device: Device,
  config: HrmConfig,
  train: TrainConfig,
  options: MemoryOptions,
): TrainingMemory {
  return owning(() => memoryOf(device, config, train, options));
}

type MemoryOptions = Pick<TrainerOptions, "seed" | "state" | "microBatch" | "scheduleWindow">;

function memoryOf(
  device: Device,
  config: HrmConfig,
  train: TrainConfig,
  { seed, state, microBatch, scheduleWindow }: MemoryOptions,
): TrainingMemory {
  const parts = microBatchCount(config, microBatch);
  requireSizes(config, device.gpu.limits, microBatch);
  const initial = state ?? initialState(config, seed);
  const weights = createWeights(device, config, initial);
  const packed = (prefix: string, initialOf: (p: ParameterSpec) => HostTensor | TensorSpec) =>
    createPacked(device, config, prefix, ({ name }) => prefix + name, initialOf);
  const spec = ({ shape }: ParameterSpec): TensorSpec => ({ shape, dtype: "f32" });
  const [expAvg, expAvgSq] = [packed(PREFIX.expAvg, spec), packed(PREFIX.expAvgSq, spec)];
  const averages = train.ema_decay > 0 ? packed(PREFIX.ema, ({ name }) => initial.get(name)!) : null;
  const adam = new Map(
    [...expAvg.keys()].map((name): [string, AdamState] => [
      name,
      {
        parameter: weights.get(name)!,
        expAvg: expAvg.get(name)!,
        expAvgSq: expAvgSq.get(name)!,
        ema: averages?.get(name),
      },
    ]),
  );
  const puzzleTable = weights.get(PUZZLE_EMBEDDING) ?? null;
  const puzzleEma =
    averages && puzzleTable && train.ema_warmup
      ? variable(device, initial.get(PUZZLE_EMBEDDING)!, PREFIX.ema + PUZZLE_EMBEDDING)
      : null;
  const ema =
    averages &&
    new Map([...weights, ...averages, ...(puzzleEma ? [[PUZZLE_EMBEDDING, puzzleEma] as const] : [])]);
  const schedule = createSchedule(device, train, scheduleWindow);
  const carry = createCarry(device, config, parts);
  if (train.staggered_starts) staggerCarry(carry, config.halt_max_steps);
  const micro = parts > 1 ? createMicroBatches(device, config, parts) : null;
  const counter = variable(device, hostTensor(Uint32Array.of(seed, 0), [2]), "counter");
  return {
    model: modelOf(config, weights),
    weights,
    ema,
    carry,
    micro,
    adam,
    puzzleTable,
    puzzleEma,
    counter,
    schedule,
    train,
    destroy() {
      destroyCarry(carry);
      if (micro) destroyMicroBatches(micro);
      for (const map of [weights, ema ?? [], expAvg, expAvgSq]) for (const v of map.values()) v.destroy();
      for (const v of [counter, schedule.weights, schedule.puzzle]) v.destroy();
    },
  };
}

/** Every variable that training changes, by the name that a snapshot keeps it under. */
export function trainingVariables(memory: TrainingMemory): ReadonlyMap<string, Variable> {
  const variables = [
    ...memory.weights.values(),
    ...(memory.ema?.values() ?? []),
    ...[...memory.adam.values()].flatMap(({ expAvg, expAvgSq }) => [expAvg, expAvgSq]),
    ...carryVariables(memory.carry),
    memory.counter,
  ];
  return new Map(variables.map((v) => [v.name, v]));
}

/** Metrics of a step, as sums over its batch. */
export interface StepMetrics extends MetricRow {
  /** 1 is the first step. */
  readonly step: number;
  /** L2 norm of the gradient of the weights (not of the puzzle embedding). */
  readonly gradientNorm: number;
  /** The first step so far in which a logit, a loss, the norm or a gradient was NaN or infinite; 0 while all were finite. */
  readonly firstNonFinite: number;
}

/** Steps whose metrics the GPU remembers. */
const RING = 128;
/** METRICS, gradientNorm, firstNonFinite. */
const COLUMNS = METRICS.length + 2;

/** Steps that one command buffer holds at most: long submissions make pages and watchdogs nervous. */
const STEPS_PER_SUBMIT = 4;

/** A training run on one device. */
export interface Trainer {
  readonly memory: TrainingMemory;
  /** The program of the step, or of one of its micro-batches. */
  readonly program: Program;
  /** All programs of a step in order, and how often each runs in a row. */
  readonly turns: readonly (readonly [program: Program, times: number])[];
  /** What a snapshot holds, by name. */
  readonly variables: ReadonlyMap<string, Variable>;
  /** Steps submitted so far. */
  readonly step: number;
  /**
   * Submits steps, at most to the end of the plan; resolves before they have run. Returns how many. If the signal fires,
   * no more are submitted, and the promise rejects with its reason; those submitted count.
   */
  run(steps: number, options?: Abortable): Promise<number>;
  /**
   * Metrics of the steps since the last call, at most the newest 128; the only read-back of training. Calls that overlap
   * are answered one after the other, each with the steps since the one before.
   */
  metrics(): Promise<StepMetrics[]>;
  /** The whole state after the steps submitted so far; `createTrainer({ resume })` goes on from it. */
  save(): Promise<TrainingSnapshot>;
  /** Where training was resumed: why it will not be bit-identical to an uninterrupted run; else empty. */
  readonly differences: readonly string[];
  destroy(): void;
}

export interface TrainerOptions extends Abortable {
  readonly device: Device;
  readonly config: HrmConfig;
  readonly train: TrainConfig;
  readonly data: PuzzleSet;
  /** Symmetry of the puzzles, drawn from where `train.augment` is set. */
  readonly symmetry?: Symmetry | null;
  readonly seed: number;
  /** Start from these weights instead of the official initialisation. */
  readonly state?: StateDict;
  /** Rows of a micro-batch, a divisor of the batch; default that of `resume`, else the whole batch. */
  readonly microBatch?: number | undefined;
  /** Steps whose learning rates are on the GPU at a time; default 4096. What is computed does not depend on it. */
  readonly scheduleWindow?: number | undefined;
  /**
   * Go on from here, with the same configuration and data; `seed` and `state` then come from the snapshot, and where it
   * was computed on this adapter, driver and build in this precision, the device takes over its choices of kernels
   * ({@link Device.choose}).
   */
  readonly resume?: TrainingSnapshot;
}

/** Name under which a snapshot keeps how products were computed, where not in f32. */
const PRECISION = "precision";

/** Everything of a trainer that is on the GPU, and the programs that work on it, yet to be compiled. */
export interface TrainingPlan {
  readonly memory: TrainingMemory;
  /** Metrics of the last steps [RING, COLUMNS]. */
  readonly ring: Variable;
  readonly programs: readonly StepProgram[];
  destroy(): void;
}

/** Prepares the state of training and its programs. */
export function planTraining(options: TrainingPlanOptions, observe?: StepHooks["observe"]): TrainingPlan {
  return owning(() => planOf(options, observe));
}

type TrainingPlanOptions = Omit<TrainerOptions, "resume" | "state"> & {
  readonly state?: StateDict | undefined;
};

function planOf(
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
  }: TrainingPlanOptions,
  observe?: StepHooks["observe"],
): TrainingPlan {
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

/**
 * Compiles the training step and prepares its state.
 * @throws ConfigError where `train.augment` is set for a task without symmetries, or `microBatch` divides no batch
 * @throws ResumeError where the snapshot is one of another model
 */
export async function createTrainer(options: TrainerOptions): Promise<Trainer> {
  const { device, config, train, data, resume } = options;
  const seed = resume?.seed ?? options.seed;
  const rows = options.microBatch ?? (resume && microBatchOf(resume));
  const count = microBatchCount(config, rows);
  const origin = originOf(device);
  const { [MICRO_BATCH]: _, [PRECISION]: before, ...kernels } = resume?.choices ?? {};
  const precision = device.capabilities.mixedPrecision?.name;
  // Elsewhere other variants are faster, and these may not exist.
  const repeats = resume !== undefined && sameOrigin(resume.origin, origin) && before === precision;
  const choices = {
    ...(repeats && kernels),
    ...(count > 1 && { [MICRO_BATCH]: String(rows) }),
    ...(precision !== undefined && { [PRECISION]: precision }),
  };
  const identity = { config, train, data: fingerprint(data), origin };
  const differences = resume ? resumeDifferences(resume, { ...identity, choices }) : [];
  if (repeats) device.choose(kernels);
  const state = resume?.state ?? options.state;
  const planned = planTraining({ ...options, seed, state, microBatch: rows });
  const { memory, ring } = planned;
  const variables = new Map([...trainingVariables(memory), [ring.name, ring]]);
  const turns: [Program, number][] = [];
  const release = (): void => {
    for (const [program] of turns) program.destroy();
    planned.destroy();
  };
  try {
    if (resume) writeVariables(variables, resume.state);
    for (const { name, times, body } of planned.programs)
      turns.push([await compile(device, {}, body, { name, signal: options.signal }), times]);
  } catch (error) {
    release();
    throw error;
  }
  const chosen: Record<string, string> = { ...choices };
  for (const [{ plan }] of turns)
    for (const { kernel } of plan.dispatches) if (kernel.choice) chosen[kernel.choice[0]] = kernel.choice[1];
  const stepsPerSubmit = Math.max(1, Math.floor(STEPS_PER_SUBMIT / count));
  let submitted = resume?.step ?? 0;
  let fetched = resume?.fetched ?? 0;
  const oneRead = createQueue();
  return {
    memory,
    variables,
    turns,
    program: turns[count > 1 ? 1 : 0]![0],
    differences,
    get step() {
      return submitted;
    },
    async run(steps, { signal } = {}) {
      let done = 0;
      // Looks at the plan's end each time: calls may overlap.
      const left = (): number => Math.min(steps - done, train.total_steps - submitted);
      // One step first: a fast GPU that was waited for begins while the others are encoded.
      for (let most = 1; left() > 0; most = stepsPerSubmit) {
        signal?.throwIfAborted();
        const rounds = Math.min(left(), most, memory.schedule.prepare(submitted + 1));
        submitted += rounds;
        done += rounds;
        await runSequence(turns, rounds);
      }
      return done;
    },
    metrics: () =>
      oneRead(async () => {
        const [start, end] = [Math.max(fetched, submitted - RING), submitted];
        const values = await ring.read();
        fetched = end;
        return Array.from({ length: end - start }, (_, i) => {
          const at = ((start + i) % RING) * COLUMNS;
          const row = values.subarray(at, at + COLUMNS);
          const [gradientNorm, firstNonFinite] = row.subarray(METRICS.length) as unknown as [number, number];
          return { step: start + i + 1, ...metricRow(row), gradientNorm, firstNonFinite };
        });
      }),
    async save() {
      const at = { step: submitted, fetched };
      return { ...identity, choices: chosen, ...at, seed, state: await readVariables(variables) };
    },
    destroy: release,
  };
}
