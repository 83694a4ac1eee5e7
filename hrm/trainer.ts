/**
 * Training on the GPU: the host submits steps and fetches metrics now and then; data, draws, halting, the
 * schedule and the optimizer never leave the device.
 */
import {
  assign,
  cast,
  compile,
  constant,
  equal,
  hostTensor,
  position,
  remainder,
  reshape,
  slice,
  variable,
  where,
  zeros,
  type AdamState,
  type Device,
  type Program,
  type Variable,
} from "../engine/index.js";
import { ropeTables } from "../kernels/rope.js";
import { createCarry, destroyCarry, type Carry } from "./act.js";
import { ConfigError, derive, type HrmConfig, type TrainConfig } from "./config.js";
import { destroyPuzzles, randomBatch, randomExploration, uploadPuzzles } from "./data.js";
import { metricRow, METRICS, type MetricRow } from "./loss.js";
import type { Model, RotaryTables } from "./model.js";
import {
  createWeights,
  initialState,
  parameterSpecs,
  PUZZLE_EMBEDDING,
  type StateDict,
  type Weights,
} from "./parameters.js";
import type { PuzzleSet } from "./puzzles.js";
import { scheduleTables } from "./schedule.js";
import {
  fingerprint,
  originOf,
  PREFIX,
  readVariables,
  resumeDifferences,
  writeVariables,
  type TrainingSnapshot,
} from "./snapshot.js";
import { trainStep, type TrainingState } from "./step.js";
import type { Symmetry } from "./tasks/symmetry.js";

/** Rotary tables as constants, or null with learned positions. */
export function rotaryTables(config: HrmConfig): RotaryTables | null {
  if (config.pos_encodings !== "rope") return null;
  const { totalLength: length, headDim } = derive(config);
  const { cos, sin } = ropeTables({ length, headDim, theta: config.rope_theta });
  return { cos: constant(cos, [length, headDim]), sin: constant(sin, [length, headDim]) };
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
  destroy(): void;
}

/** Everything that training updates, from a state dict. */
export function createTrainingMemory(
  device: Device,
  config: HrmConfig,
  train: TrainConfig,
  { seed, state }: { seed: number; state?: StateDict },
): TrainingMemory {
  const initial = state ?? initialState(config, seed);
  const weights = createWeights(device, config, initial);
  const adam = new Map<string, AdamState>();
  const ema = new Map<string, Variable>(weights);
  for (const { name, shape, update } of parameterSpecs(config)) {
    if (update === "fixed") continue;
    const average = train.ema_decay > 0 ? variable(device, initial.get(name)!, PREFIX.ema + name) : undefined;
    if (average) ema.set(name, average);
    if (update === "puzzle") continue;
    adam.set(name, {
      parameter: weights.get(name)!,
      expAvg: variable(device, zeros(shape), PREFIX.expAvg + name),
      expAvgSq: variable(device, zeros(shape), PREFIX.expAvgSq + name),
      ema: average,
    });
  }
  const tables = scheduleTables(train);
  const schedule = {
    weights: variable(device, tables.weights, "schedule"),
    puzzle: variable(device, tables.puzzle, "schedule.puzzle"),
  };
  const carry = createCarry(device, config);
  const counter = variable(device, hostTensor(Uint32Array.of(seed, 0), [2]), "counter");
  return {
    model: modelOf(config, weights),
    weights,
    ema: train.ema_decay > 0 ? ema : null,
    carry,
    adam,
    puzzleTable: weights.get(PUZZLE_EMBEDDING) ?? null,
    puzzleEma: train.ema_decay > 0 ? (ema.get(PUZZLE_EMBEDDING) ?? null) : null,
    counter,
    schedule,
    train,
    destroy() {
      destroyCarry(carry);
      for (const v of [...weights.values(), ...ema.values(), counter, schedule.weights, schedule.puzzle])
        v.destroy();
      for (const { expAvg, expAvgSq } of adam.values()) [expAvg, expAvgSq].forEach((v) => v.destroy());
    },
  };
}

/** Every variable that training changes, by the name that a snapshot keeps it under. */
export function trainingVariables(memory: TrainingMemory): ReadonlyMap<string, Variable> {
  const variables = [
    ...memory.weights.values(),
    ...(memory.ema?.values() ?? []),
    ...[...memory.adam.values()].flatMap(({ expAvg, expAvgSq }) => [expAvg, expAvgSq]),
    ...(Object.values(memory.carry) as Variable[]),
    memory.counter,
  ];
  return new Map(variables.map((v) => [v.name, v]));
}

/** Metrics of a step, as sums over its batch. */
export interface StepMetrics extends MetricRow {
  /** 1 is the first step. */
  readonly step: number;
}

/** Steps whose metrics the GPU remembers. */
const RING = 128;

/** Steps that one command buffer holds at most: long submissions make pages and watchdogs nervous. */
const STEPS_PER_SUBMIT = 4;

/** A training run on one device. */
export interface Trainer {
  readonly memory: TrainingMemory;
  readonly program: Program;
  /** Steps submitted so far. */
  readonly step: number;
  /** Submits steps, at most to the end of the plan; resolves before they have run. Returns how many. */
  run(steps: number): Promise<number>;
  /** Metrics of the steps since the last call, at most the newest 128; the only read-back of training. */
  metrics(): Promise<StepMetrics[]>;
  /** The whole state after the steps submitted so far; `createTrainer({ resume })` goes on from it. */
  save(): Promise<TrainingSnapshot>;
  /** Where training was resumed: why it will not be bit-identical to an uninterrupted run; else empty. */
  readonly differences: readonly string[];
  destroy(): void;
}

export interface TrainerOptions {
  readonly device: Device;
  readonly config: HrmConfig;
  readonly train: TrainConfig;
  readonly data: PuzzleSet;
  /** Symmetry of the puzzles, drawn from where `train.augment` is set. */
  readonly symmetry?: Symmetry | null;
  readonly seed: number;
  /** Start from these weights instead of the official initialisation. */
  readonly state?: StateDict;
  /** Go on from here, with the same configuration and data; `seed` and `state` then come from the snapshot. */
  readonly resume?: TrainingSnapshot;
}

/**
 * Compiles the training step and prepares its state.
 * @throws ConfigError where `train.augment` is set for a task without symmetries
 * @throws ResumeError where the snapshot is one of another model
 */
export async function createTrainer(options: TrainerOptions): Promise<Trainer> {
  const { device, config, train, data, symmetry = null, resume } = options;
  if (train.augment && !symmetry) throw new ConfigError("augment", true, "false: the task has no symmetries");
  const state = resume?.state ?? options.state;
  const seed = resume?.seed ?? options.seed;
  const choices = resume?.choices ?? {};
  const identity = { config, train, data: fingerprint(data), origin: originOf(device), choices };
  const differences = resume ? resumeDifferences(resume, identity) : [];
  const puzzles = uploadPuzzles(device, data, "train", train.augment ? symmetry : null);
  const memory = createTrainingMemory(device, config, train, { seed, ...(state && { state }) });
  const ring = variable(device, zeros([RING, METRICS.length]), "metrics");
  const { counter } = memory;
  const variables = new Map([...trainingVariables(memory), [ring.name, ring]]);
  const release = (): void => {
    memory.destroy();
    ring.destroy();
    destroyPuzzles(puzzles);
  };
  try {
    if (resume) writeVariables(variables, resume.state);
  } catch (error) {
    release();
    throw error;
  }
  const program = await compile(
    device,
    {},
    () => {
      // The step's own number, before it counts up.
      const done = cast(slice(counter, [1], [1]), "i32");
      const row = reshape(equal(position([RING]), remainder(done, RING)), [RING, 1]);
      const { metrics } = trainStep(
        memory,
        randomBatch(puzzles, counter, config),
        randomExploration(counter, config),
      );
      assign(ring, where(row, metrics, ring));
    },
    { name: "training step" },
  );
  let submitted = resume?.step ?? 0;
  let fetched = resume?.fetched ?? 0;
  return {
    memory,
    program,
    differences,
    get step() {
      return submitted;
    },
    async run(steps) {
      const wanted = Math.min(steps, train.total_steps - submitted);
      for (let left = wanted; left > 0; left -= STEPS_PER_SUBMIT) {
        const times = Math.min(left, STEPS_PER_SUBMIT);
        submitted += times;
        await program.run({}, times);
      }
      return Math.max(0, wanted);
    },
    async metrics() {
      const [first, end] = [Math.max(fetched, submitted - RING), submitted];
      const values = await ring.read();
      fetched = end;
      return Array.from({ length: end - first }, (_, i) => {
        const at = ((first + i) % RING) * METRICS.length;
        return { step: first + i + 1, ...metricRow(values.subarray(at, at + METRICS.length)) };
      });
    },
    async save() {
      const at = { step: submitted, fetched };
      return { ...identity, ...at, seed, state: await readVariables(variables) };
    },
    destroy() {
      program.destroy();
      release();
    },
  };
}
