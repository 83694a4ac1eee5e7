/** The memory of training on the GPU: weights, moments, averages, carry, schedule and the step counter. */
import {
  hostTensor,
  variable,
  type Allocator,
  type HostTensor,
  type TensorSpec,
  type Variable,
} from "../../engine/index.js";
import type { AdamState } from "../../engine/optimizers.js";
import { owning } from "../../engine/ownership.js";
import { carryVariables, createCarry, destroyCarry, staggerCarry, type Carry } from "../model/act.js";
import type { HrmConfig, TrainConfig } from "../model/config.js";
import { modelOf } from "../model/trainable_model.js";
import {
  createPacked,
  createWeights,
  initialState,
  PUZZLE_EMBEDDING,
  type ParameterSpec,
  type StateDict,
  type Weights,
} from "../model/parameters.js";
import {
  createMicroBatches,
  destroyMicroBatches,
  microBatchCount,
  type MicroBatches,
} from "./micro_batches.js";
import { createSchedule, type Schedule } from "./schedule.js";
import { requireSizes } from "./sizes.js";
import { PREFIX } from "./snapshot.js";
import type { TrainingState } from "./step.js";

/** Everything that a training step reads and changes on the GPU, except the puzzles. */
export interface TrainingMemory extends TrainingState {
  /** Every weight by official name. */
  readonly weights: Weights;
  /** The moving average of every trained weight, and the fixed weights as they are; null if no average is kept. */
  readonly ema: Weights | null;
  /** What each row takes from one segment to the next. */
  readonly carry: Carry;
  /** Null if the batch is computed at once. */
  readonly micro: MicroBatches | null;
  /** Call `schedule.prepare` before a step is submitted: it uploads the learning rate of that step. */
  readonly schedule: Schedule;
  /** f32 [1]: write another probability, and the next step explores with it. */
  readonly explorationProbability: Variable;
  /** Frees every variable. */
  destroy(): void;
}

/**
 * Allocates the memory of training. Weights come from `state`, or from the official initialisation with `seed`.
 * `microBatch` is in rows; the default is the whole batch.
 * @throws ConfigError if `microBatch` does not divide the batch
 * @throws LimitError if a weight or a state is larger than the device allows
 */
export function createTrainingMemory(
  device: Allocator,
  config: HrmConfig,
  train: TrainConfig,
  options: MemoryOptions,
): TrainingMemory {
  return owning(() => memoryOf(device, config, train, options));
}

interface MemoryOptions {
  readonly seed: number;
  readonly state?: StateDict | undefined;
  readonly microBatch?: number | undefined;
  /** Steps whose learning rates are on the GPU at a time. */
  readonly scheduleWindow?: number | undefined;
}

function memoryOf(
  device: Allocator,
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
  const explorationProbability = variable(
    device,
    hostTensor(Float32Array.of(config.halt_exploration_prob), [1]),
    "exploration",
  );
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
    explorationProbability,
    train,
    destroy() {
      destroyCarry(carry);
      if (micro) destroyMicroBatches(micro);
      for (const map of [weights, ema ?? [], expAvg, expAvgSq]) for (const v of map.values()) v.destroy();
      for (const v of [counter, schedule.weights, schedule.puzzle, explorationProbability]) v.destroy();
    },
  };
}

/** Every variable that training changes, by its name in a snapshot. */
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
