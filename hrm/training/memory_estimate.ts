/** What training needs of a device's memory, and the micro-batch that fits: found by compiling for a device that is none. */
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

/** A run to plan. */
export interface PlanOptions extends Pick<TrainerOptions, "config" | "train" | "data" | "symmetry"> {
  /** The device that it is for: `device.gpu`, or {@link defaultTraits}. */
  readonly device: DeviceTraits;
  /** The target whose precision it will have: `device.target`. Default f32. */
  readonly multiplying?: Target;
  /** The validation set. */
  readonly validation: PuzzleSet;
}

/** What a run needs; bytes are those that the device's counters will show. */
export interface MemoryNeeds {
  /** Rows of a micro-batch. */
  readonly microBatch: number;
  /** While it trains and validates. */
  readonly held: number;
  /** While its state is also copied to the host, to be saved. */
  readonly peak: number;
  /**
   * Estimate for the host: puzzles and initial weights while it starts; while it saves, a copy of the state, the best
   * weights and the file. What the device holds comes on top where it computes on the CPU.
   */
  readonly host: number;
  /** Of `held`: weights, moments, averages, sums of gradients, puzzles, and the carry, which grows with the batch. */
  readonly variables: number;
  /** Of `held`: what the programs compute with, which grows with the micro-batch. */
  readonly programs: number;
  /** Work (operations and bytes) of the dispatch that has most of it. */
  readonly longestDispatch: number;
}

/** Training and validation as programs on a device that only counts. */
async function compiled(options: PlanOptions, microBatch: number) {
  const { config, data, validation, multiplying } = options;
  const device = await planningDevice(options.device);
  device.multiplyWith(multiplying?.capabilities.mixedPrecision ?? null, multiplying?.chooseHalves);
  requireSizes(config, options.device.limits, microBatch);
  // Values play no part, so there is no memory for them: a variable takes a bare spec as well.
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
 * The kernels of a training step with micro-batches of these rows, each as often as it runs, and those of a segment of
 * validation.
 * @throws LimitError, ConfigError as {@link trainingNeeds}
 */
export async function trainingKernels(options: PlanOptions, microBatch: number): Promise<Kernel[]> {
  const { trainer, evaluator } = await compiled(options, microBatch);
  const sequence: (readonly [Program, number])[] = [...trainer.sequence, [evaluator.program, 1]];
  return sequence.flatMap(([{ plan }, times]) =>
    Array.from({ length: times }, () => plan.dispatches.map(({ kernel }) => kernel)).flat(),
  );
}

/**
 * Floating-point operations of a training step whose batch is computed at once, as its kernels count them.
 * @throws LimitError, ConfigError as {@link trainingNeeds}
 */
export async function stepFlops(options: PlanOptions): Promise<number> {
  const { trainer } = await compiled(options, options.config.batch_size);
  let flops = 0;
  for (const [{ plan }, times] of trainer.sequence)
    for (const { kernel } of plan.dispatches) flops += times * kernel.flops;
  return flops;
}

/**
 * What a run with micro-batches of these rows needs.
 * @throws LimitError where it does not fit the device's limits; ConfigError where they do not divide the batch
 */
export async function trainingNeeds(options: PlanOptions, microBatch: number): Promise<MemoryNeeds> {
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

/** Bytes of puzzles, as integers, and of what a run copies to the host. */
function hostNeeds({ config, data, validation }: PlanOptions, copies: number): number {
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

/** Work that an adapter on the CPU does in about a second: longer dispatches would meet the watchdogs of browsers. */
const SOFTWARE_DISPATCH = 1e9;

/** True for rows that should be split further, as the device computes on the CPU and would be busy with one dispatch for seconds. */
export function isTooLong(
  { microBatch, longestDispatch }: MemoryNeeds,
  { adapterInfo }: Pick<DeviceTraits, "adapterInfo">,
): boolean {
  return microBatch > 1 && longestDispatch > SOFTWARE_DISPATCH && isSoftwareAdapter(adapterInfo);
}

/**
 * The largest micro-batch that fits the device's limits and, where one is given, the budget in bytes. On an adapter that
 * computes on the CPU, also the largest without a dispatch of over a second, as far as rows can be split.
 * @throws LimitError where none does: what the smallest needs
 */
export async function chooseMicroBatch(options: PlanOptions, budget = Infinity): Promise<MemoryNeeds> {
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
    `No micro-batch fits, not even one of a single row: ${reason}. Choose a smaller model or batch, or a larger budget.`,
  );
}
