/** The suite: ceilings, then every kernel checked and timed, then whole training steps. */
import { KernelError } from "../../engine/index.js";
import type { Device } from "../../engine/index.js";
import { measureCeilings, type Ceilings } from "./ceilings.js";
import { check, prepare, WrongResultError, type CheckedLaunch, type KernelCase } from "./kernel_case.js";
import { randomSource } from "./random.js";
import type { Omission, Result } from "./report.js";
import { estimateSeconds, rates } from "./roofline.js";
import { FULL_EFFORT, QUICK_EFFORT, sampleInterleaved } from "./sampling.js";
import { createStopwatch, type Stopwatch } from "../../engine/stopwatch.js";
import { measureStep } from "./training_step.js";
import type { StepCase } from "./cases/steps.js";

export interface SuiteOptions {
  readonly quick: boolean;
  readonly cases: readonly KernelCase[];
  readonly steps: readonly StepCase[];
  /** True to time also the alternatives that the engine would not choose here. */
  readonly variants: boolean;
  /** Longest single run in seconds, by estimate. Longer work is skipped. */
  readonly budget: number;
  readonly seed: number;
}

/** Callbacks for the events of a run. */
export interface SuiteEvents {
  ceilings?(ceilings: Ceilings): void;
  result?(result: Result): void;
  skipped?(omission: Omission): void;
  refused?(omission: Omission): void;
  /** Before each case: what comes, and how much of the suite is done (0 to 1). */
  progress?(what: string, done: number): void;
}

export interface SuiteResult {
  readonly ceilings: Ceilings;
  readonly results: readonly Result[];
  readonly skipped: readonly Omission[];
  readonly refused: readonly Omission[];
}

/** Budgets in seconds for one run. */
export const BUDGET = { quick: 1.5, full: 30 } as const;

/** Cases and steps whose `kernel shape` contains every word of the filter. */
export function filtered<T extends { readonly kernel: string; readonly shape: string }>(
  items: readonly T[],
  filter: string,
): T[] {
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  return items.filter(({ kernel, shape }) => {
    const text = `${kernel} ${shape}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
}

/** Runs the suite on an open device. Kernels with wrong results are reported and not timed. Device errors are thrown. */
export async function runSuite(
  device: Device,
  options: SuiteOptions,
  events: SuiteEvents = {},
): Promise<SuiteResult> {
  const effort = options.quick ? QUICK_EFFORT : FULL_EFFORT;
  const stopwatch = createStopwatch(device);
  const results: Result[] = [];
  const skipped: Omission[] = [];
  const refused: Omission[] = [];
  const skip = (omission: Omission): void => {
    skipped.push(omission);
    events.skipped?.(omission);
  };
  const refuse = (omission: Omission): void => {
    refused.push(omission);
    events.refused?.(omission);
  };
  const add = (result: Result): void => {
    results.push(result);
    events.result?.(result);
  };
  try {
    events.progress?.("ceilings", 0);
    const ceilings = await measureCeilings(device, stopwatch, effort);
    events.ceilings?.(ceilings);
    const total = options.cases.length + options.steps.length;
    let done = 0;
    for (const benchCase of options.cases) {
      events.progress?.(`${benchCase.kernel} ${benchCase.shape}`, done++ / total);
      for (const result of await measureCase(device, stopwatch, benchCase, ceilings, options, skip, refuse))
        add(result);
    }
    for (const step of options.steps) {
      events.progress?.(`${step.kernel} ${step.shape}`, done++ / total);
      const outcome = await measureStep(device, stopwatch, step, ceilings, { ...options, effort });
      if ("reason" in outcome) skip(outcome);
      else if ("wrong" in outcome) refuse({ ...named(step), variant: "default", reason: outcome.wrong });
      else add(outcome);
    }
    return { ceilings, results, skipped, refused };
  } finally {
    stopwatch.destroy();
  }
}

const named = ({ kernel, shape }: { kernel: string; shape: string }) => ({ kernel, shape });

/** Compared elements of each output. */
const COMPARED = { quick: 256, full: 2048 } as const;

/** Checks and times the alternatives of a case, interleaved. */
export async function measureCase(
  device: Device,
  stopwatch: Stopwatch,
  benchCase: KernelCase,
  ceilings: Ceilings,
  options: Pick<SuiteOptions, "quick" | "variants" | "budget" | "seed">,
  skip: (omission: Omission) => void,
  refuse: (omission: Omission) => void,
): Promise<Result[]> {
  const omission = (variant: string, reason: string): Omission => ({ ...named(benchCase), variant, reason });
  const tooLong = (flops: number, bytes: number): string | null => {
    const seconds = estimateSeconds(ceilings, { flops, bytes });
    return seconds > options.budget
      ? `${(flops / 1e9).toPrecision(3)} GFLOP: about ${seconds.toPrecision(2)} s a run here, budget ${options.budget} s`
      : null;
  };
  const long = tooLong(benchCase.flops, 0);
  if (long) {
    skip(omission("default", long));
    return [];
  }
  let alternatives;
  try {
    alternatives = benchCase.alternatives(device.capabilities);
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    skip(omission("default", error.message));
    return [];
  }
  if (!options.variants) alternatives = alternatives.slice(0, 1);
  const slow = tooLong(alternatives[0]!.kernel.flops, alternatives[0]!.kernel.bytes);
  if (slow) {
    skip(omission("default", slow));
    return [];
  }
  const random = randomSource(options.seed + hash(benchCase.kernel + benchCase.shape));
  const data = prepare(benchCase, random);
  const checked: CheckedLaunch[] = [];
  try {
    for (const alternative of alternatives) {
      try {
        const samples = options.quick ? COMPARED.quick : COMPARED.full;
        checked.push(await check(device, benchCase, alternative, data, random, samples));
      } catch (error) {
        if (!(error instanceof WrongResultError)) throw error;
        refuse(omission(alternative.variant, error.message));
      }
    }
    const timings = await sampleInterleaved(
      stopwatch,
      checked.map(({ launch }) => launch.encode),
      options.quick ? QUICK_EFFORT : FULL_EFFORT,
    );
    return checked.map((one, i) => ({
      ...named(benchCase),
      variant: one.variant,
      name: one.launch.kernel.name,
      ...rates(ceilings, one.launch.kernel, timings[i]!),
      coldMs: one.launch.coldMs,
      maxError: one.maxError,
      tolerance: one.tolerance,
      compared: one.compared,
    }));
  } finally {
    for (const { launch } of checked) launch.destroy();
  }
}

/** Spreads cases over the seed space, so that the data of a case do not depend on the filter. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h;
}
