/** Memory that training needs, and the largest micro-batch that fits. Planned without a device: a ledger counts variables. */
import { LimitError, type HostTensor, type Kernel, type Target } from "../../engine/index.js";
import { bufferSize } from "../../engine/allocator.js";
import { plan } from "../../engine/compiler/compile.js";
import type { Plan } from "../../engine/compiler/plan.js";
import { defaultTraits, Ledger, targetOf, type DeviceTraits } from "../../engine/planning.js";
import { prepareEvaluation } from "./evaluation.js";
import { parameterSpecs } from "../model/parameters.js";
import type { PuzzleSet } from "../puzzles/puzzle_set.js";
import { requireSizes, weightBytes } from "./sizes.js";
import { prepareTraining, snapshotVariables, type TrainerOptions } from "./trainer.js";

export { defaultTraits, targetOf, type DeviceTraits } from "../../engine/planning.js";

/** A run whose memory is estimated. */
export interface EstimateOptions extends Pick<TrainerOptions, "config" | "train" | "data" | "symmetry"> {
  /** What it will be compiled for: `device.target`, or `targetOf(defaultTraits)`. */
  readonly target: Target;
  /** The validation set. */
  readonly validation: PuzzleSet;
}

/** What a run needs, in bytes as the device's counters (`device.stats`) will show them. */
export interface MemoryNeeds {
  /** Rows of a micro-batch. */
  readonly microBatch: number;
  /** Bytes on the device while the run trains and validates. */
  readonly held: number;
  /** Bytes on the device while the state is copied to the host to be saved. */
  readonly peak: number;
  /**
   * Estimated bytes on the host: puzzles and initial weights at the start; a copy of the state, the best weights and the file
   * during a save. On a software adapter the host also holds the device's memory.
   */
  readonly host: number;
  /** Part of `held` for weights, moments, averages, sums of gradients, puzzles, and the carry, which grows with the batch. */
  readonly variables: number;
  /** Part of `held` for the programs' intermediates and constants, which grow with the micro-batch. */
  readonly programs: number;
  /** Work (operations plus bytes) of the dispatch with the most work. */
  readonly longestDispatch: number;
}

/** The programs of a run, and what its variables hold. */
interface PlannedRun {
  /** The programs of a training step, and how often each of them runs in a row. */
  readonly step: readonly (readonly [plan: Plan, times: number])[];
  readonly validation: Plan;
  /** Bytes of the variables of training and validation. */
  readonly variables: number;
  /** Bytes of the variables that a snapshot copies. */
  readonly copied: number;
}

/** Plans training and validation. */
function planRun(options: EstimateOptions, microBatch: number): PlannedRun {
  const { config, target, validation } = options;
  const device = new Ledger(target);
  requireSizes(config, device.gpu.limits, microBatch);
  // The estimate does not depend on values, so variables are made from specs without data.
  const state = new Map(
    parameterSpecs(config).map(({ name, shape }) => [name, { shape, dtype: "f32" } as HostTensor]),
  );
  const training = prepareTraining({ ...options, device, state, microBatch, seed: 0 });
  const { memory } = training;
  const evaluation = prepareEvaluation({
    device,
    config: { ...config, batch_size: microBatch },
    weights: memory.ema ?? memory.weights,
    data: validation,
  });
  let copied = 0;
  for (const { buffers, size } of snapshotVariables(training).values())
    copied += buffers.length * bufferSize(4 * size);
  return {
    step: training.programs.map(({ name, times, body }) => [plan(target, {}, body, name), times]),
    validation: plan(target, {}, evaluation.body, "evaluation"),
    variables: device.bytes,
    copied,
  };
}

/**
 * The kernels of a training step with micro-batches of these rows, each repeated as often as it runs, and then the kernels
 * of a segment of validation.
 * @throws LimitError, ConfigError as {@link trainingNeeds}
 */
export function trainingKernels(options: EstimateOptions, microBatch: number): Kernel[] {
  const { step, validation } = planRun(options, microBatch);
  return [...step, [validation, 1] as const].flatMap(([{ dispatches }, times]) =>
    Array.from({ length: times }, () => dispatches.map(({ kernel }) => kernel)).flat(),
  );
}

/** Floating-point operations of a run, summed over its kernels. */
export interface RunFlops {
  /** Of a training step. */
  readonly step: number;
  /** Of one segment of one puzzle in evaluation. */
  readonly segment: number;
}

/** A device without limits, since the operations of a run do not depend on the adapter. */
const UNLIMITED: DeviceTraits = {
  ...defaultTraits,
  limits: { ...defaultTraits.limits, maxBufferSize: 2 ** 52, maxStorageBufferBindingSize: 2 ** 52 },
};

/**
 * The operations of a run whose batches are computed at once; `target` defaults to a device without limits.
 * @throws LimitError, ConfigError as {@link trainingNeeds}
 */
export function runFlops({
  target = targetOf(UNLIMITED),
  ...options
}: Omit<EstimateOptions, "target"> & Partial<Pick<EstimateOptions, "target">>): RunFlops {
  const rows = options.config.batch_size;
  const { step, validation } = planRun({ ...options, target }, rows);
  const total = ({ dispatches }: Plan): number =>
    dispatches.reduce((sum, { kernel }) => sum + kernel.flops, 0);
  return {
    step: step.reduce((sum, [plan, times]) => sum + times * total(plan), 0),
    segment: total(validation) / rows,
  };
}

/**
 * The memory that a run with micro-batches of `microBatch` rows needs.
 * @throws LimitError if the run does not fit the target's limits; ConfigError if the rows do not divide the batch
 */
export function trainingNeeds(options: EstimateOptions, microBatch: number): MemoryNeeds {
  const run = planRun(options, microBatch);
  const plans = [...run.step.map(([plan]) => plan), run.validation];
  const total = (bytesOf: (bytes: Plan["bytes"]) => number): number =>
    plans.reduce((sum, { bytes }) => sum + bytesOf(bytes), 0);
  const programs = total(({ intermediates, constants }) => intermediates + constants);
  const variables = run.variables + total(({ inputs, outputs }) => inputs + outputs);
  const works = plans.flatMap(({ dispatches }) =>
    dispatches.map(({ kernel }) => kernel.flops + kernel.bytes),
  );
  const held = variables + programs;
  return {
    ...{ microBatch, held, peak: held + run.copied, variables, programs },
    host: hostNeeds(options, run.copied),
    longestDispatch: works.reduce((most, work) => Math.max(most, work), 0),
  };
}

/** Bytes of the puzzles, and of everything that a run copies to the host. */
function hostNeeds({ config, data, validation }: EstimateOptions, copies: number): number {
  const puzzles = [data, validation].reduce(
    (sum, { inputs, labels, identifiers }) =>
      sum + inputs.byteLength + labels.byteLength + identifiers.byteLength,
    0,
  );
  const weights = weightBytes(config);
  return puzzles + 2 * (copies + weights);
}

/** The divisors of a batch, largest first. */
export function microBatches(batch: number): number[] {
  const small: number[] = [];
  for (let rows = 1; rows * rows <= batch; rows++) if (batch % rows === 0) small.push(rows);
  return [...new Set([...small.map((rows) => batch / rows), ...small.reverse()])];
}

/** Work that a software adapter does in about a second. Longer dispatches risk the watchdogs of browsers. */
const SOFTWARE_DISPATCH = 1e9;

/** True if a micro-batch should be split further: on a software adapter one of its dispatches would take seconds. */
export function isTooLong(
  { microBatch, longestDispatch }: MemoryNeeds,
  { capabilities: { software } }: Target,
): boolean {
  return microBatch > 1 && longestDispatch > SOFTWARE_DISPATCH && software;
}

/**
 * The largest micro-batch that fits the device's limits and the budget in bytes. On a software adapter no dispatch of it
 * takes over about a second, unless it has a single row.
 * @throws LimitError if no micro-batch fits; it says what the smallest micro-batch needs
 */
export function chooseMicroBatch(options: EstimateOptions, budget = Infinity): MemoryNeeds {
  let reason = "";
  for (const rows of microBatches(options.config.batch_size)) {
    try {
      const needs = trainingNeeds(options, rows);
      if (needs.peak > budget) reason = `${needs.peak} bytes, more than the budget of ${budget}`;
      else if (!isTooLong(needs, options.target)) return needs;
    } catch (error) {
      if (!(error instanceof LimitError)) throw error;
      reason = error.message;
    }
  }
  throw new LimitError(
    `No micro-batch fits, not even a single row: ${reason}. Choose a smaller model or batch, or a larger budget.`,
  );
}
