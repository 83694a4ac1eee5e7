/** Memory that training needs, and the largest micro-batch that fits. Estimated on a fake device that allocates nothing. */
import { LimitError, type HostTensor, type Kernel, type Program, type Target } from "../../engine/index.js";
import { planningDevice, type DeviceTraits } from "../../engine/planning.js";
import { bufferSize } from "../../engine/allocator.js";
import { isSoftwareAdapter } from "../../engine/device.js";
import { createEvaluator } from "./evaluation.js";
import { parameterSpecs } from "../model/parameters.js";
import type { PuzzleSet } from "../puzzles/puzzle_set.js";
import { requireSizes, weightBytes } from "./sizes.js";
import { createTrainer, type TrainerOptions } from "./trainer.js";

export { defaultTraits, type DeviceTraits } from "../../engine/planning.js";

/** A run whose memory is estimated. */
export interface EstimateOptions extends Pick<TrainerOptions, "config" | "train" | "data" | "symmetry"> {
  /** The device that will run it: `device.gpu`, or {@link defaultTraits}. */
  readonly device: DeviceTraits;
  /** The target whose precision it will have: `device.target`. Default f32. */
  readonly multiplying?: Target;
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

/** Compiles training and validation on a device that only counts. */
async function compiled(options: EstimateOptions, microBatch: number) {
  const { config, data, validation, multiplying } = options;
  const device = await planningDevice(options.device);
  device.multiplyWith(multiplying?.capabilities.mixedPrecision ?? null, multiplying?.chooseHalves);
  requireSizes(config, options.device.limits, microBatch);
  // The estimate does not depend on values, so variables are made from specs without data.
  const state = new Map(
    parameterSpecs(config).map(({ name, shape }) => [name, { shape, dtype: "f32" } as HostTensor]),
  );
  const trainer = await createTrainer({ ...options, device, data, state, microBatch, seed: 0 });
  const { memory } = trainer;
  const evaluation = { ...config, batch_size: microBatch };
  const weights = memory.ema ?? memory.weights;
  const evaluator = await createEvaluator({ device, config: evaluation, weights, data: validation });
  return { device, trainer, evaluator };
}

/**
 * The kernels of a training step with micro-batches of these rows, each repeated as often as it runs, and then the kernels
 * of a segment of validation.
 * @throws LimitError, ConfigError as {@link trainingNeeds}
 */
export async function trainingKernels(options: EstimateOptions, microBatch: number): Promise<Kernel[]> {
  const { trainer, evaluator } = await compiled(options, microBatch);
  const sequence: (readonly [Program, number])[] = [...trainer.sequence, [evaluator.program, 1]];
  return sequence.flatMap(([{ plan }, times]) =>
    Array.from({ length: times }, () => plan.dispatches.map(({ kernel }) => kernel)).flat(),
  );
}

/**
 * Floating-point operations of a training step whose batch is computed at once, summed over its kernels.
 * @throws LimitError, ConfigError as {@link trainingNeeds}
 */
export async function stepFlops(options: EstimateOptions): Promise<number> {
  const { trainer } = await compiled(options, options.config.batch_size);
  let flops = 0;
  for (const [{ plan }, times] of trainer.sequence)
    for (const { kernel } of plan.dispatches) flops += times * kernel.flops;
  return flops;
}

/**
 * The memory that a run with micro-batches of `microBatch` rows needs.
 * @throws LimitError if the run does not fit the device's limits; ConfigError if the rows do not divide the batch
 */
export async function trainingNeeds(options: EstimateOptions, microBatch: number): Promise<MemoryNeeds> {
  const { device, trainer, evaluator } = await compiled(options, microBatch);
  const plans = [...trainer.sequence.map(([program]) => program), evaluator.program].map(({ plan }) => plan);
  const programs = plans.reduce((sum, { bytes }) => sum + bytes.intermediates + bytes.constants, 0);
  const works = plans.flatMap(({ dispatches }) =>
    dispatches.map(({ kernel }) => kernel.flops + kernel.bytes),
  );
  const held = device.stats.bytesLive;
  let copies = 0;
  for (const { buffers, size } of trainer.variables.values()) copies += buffers.length * bufferSize(4 * size);
  return {
    ...{ microBatch, held, peak: held + copies, variables: held - programs, programs },
    host: hostNeeds(options, copies),
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
  { adapterInfo }: Pick<DeviceTraits, "adapterInfo">,
): boolean {
  return microBatch > 1 && longestDispatch > SOFTWARE_DISPATCH && isSoftwareAdapter(adapterInfo);
}

/**
 * The largest micro-batch that fits the device's limits and the budget in bytes. On a software adapter no dispatch of it
 * takes over about a second, unless it has a single row.
 * @throws LimitError if no micro-batch fits; it says what the smallest micro-batch needs
 */
export async function chooseMicroBatch(options: EstimateOptions, budget = Infinity): Promise<MemoryNeeds> {
  let reason = "";
  for (const rows of microBatches(options.config.batch_size)) {
    try {
      const needs = await trainingNeeds(options, rows);
      if (needs.peak > budget) reason = `${needs.peak} bytes, more than the budget of ${budget}`;
      else if (!isTooLong(needs, options.device)) return needs;
    } catch (error) {
      if (!(error instanceof LimitError)) throw error;
      reason = error.message;
    }
  }
  throw new LimitError(
    `No micro-batch fits, not even a single row: ${reason}. Choose a smaller model or batch, or a larger budget.`,
  );
}
