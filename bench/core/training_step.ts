/** Times a whole training step: in one pass, split per kernel, and on the host. */
import type { Device } from "../../engine/index.js";
import { EngineError, KernelError } from "../../engine/index.js";
import { stepTolerance } from "./block_stack.js";
import type { Ceilings } from "./ceilings.js";
import type { StepCase } from "./cases/steps.js";
import { WrongResultError } from "./kernel_case.js";
import type { Omission, Result, SplitRow } from "./report.js";
import { sampleInterleaved, type Effort } from "./sampling.js";
import { quantile } from "./statistics.js";
import type { Encode, Stopwatch } from "../../engine/stopwatch.js";
import { estimateSeconds, rates, roofline } from "./roofline.js";

/** Steps timed on the host; fewer if a step is long. */
const HOST_ROUNDS = { min: 2, max: 15, limitMs: 1000 } as const;

/** Checks and times a step. Otherwise it reports why the step was skipped, or what was wrong. */
export async function measureStep(
  device: Device,
  stopwatch: Stopwatch,
  step: StepCase,
  ceilings: Ceilings,
  { budget, seed, effort }: { budget: number; seed: number; effort: Effort },
): Promise<Result | Omission | { wrong: string }> {
  const { kernel, shape } = step;
  const seconds = estimateSeconds(ceilings, { flops: step.flops, bytes: 0 });
  if (seconds > budget) {
    const reason = `${(step.flops / 1e9).toPrecision(3)} GFLOP: about ${seconds.toPrecision(2)} s a step here, budget ${budget} s`;
    return { kernel, shape, variant: "default", reason };
  }
  const before = device.stats.bytesLive;
  device.stats.bytesPeak = before;
  let prepared;
  try {
    prepared = await step.create(device, seed);
  } catch (error) {
    if (!(error instanceof KernelError) && !(error instanceof EngineError && error.code === "limit"))
      throw error;
    return { kernel, shape, variant: "default", reason: error.message };
  }
  const { program } = prepared;
  const peakBytes = device.stats.bytesPeak - before;
  try {
    const start = performance.now();
    const maxError = await prepared.check();
    const coldMs = performance.now() - start;
    const [timing] = await sampleInterleaved(stopwatch, [(pass) => program.encode(pass)], effort);
    const work = program.plan.dispatches.reduce(
      (sum, { kernel: k }) => ({ flops: sum.flops + k.flops, bytes: sum.bytes + k.bytes }),
      { flops: 0, bytes: 0 },
    );
    // The least time of a step is the sum of the least times of its kernels.
    const least = program.plan.dispatches.reduce((sum, d) => sum + roofline(ceilings, d.kernel).ms, 0);
    return {
      kernel,
      variant: "default",
      shape,
      name: "",
      ...rates(ceilings, work, timing!),
      ceilingFraction: least / timing!.median,
      coldMs,
      maxError,
      tolerance: stepTolerance(device, step.tolerance),
      compared: step.compared,
      step: {
        dispatches: program.plan.dispatches.length,
        jsMs: await hostTime(device, program),
        peakBytes,
        split: await splitByKernel(stopwatch, program, ceilings),
      },
    };
  } catch (error) {
    if (error instanceof WrongResultError) return { wrong: error.message };
    throw error;
  } finally {
    prepared.destroy();
  }
}

type Replayed = Awaited<ReturnType<StepCase["create"]>>["program"];

/** Median time that the host spends on encoding and submitting one step on an idle queue. */
async function hostTime(device: Device, program: Replayed): Promise<number> {
  const times: number[] = [];
  const end = performance.now() + HOST_ROUNDS.limitMs;
  for (let i = 0; i < HOST_ROUNDS.max; i++) {
    if (i >= HOST_ROUNDS.min && performance.now() > end) break;
    await device.idle();
    const start = performance.now();
    const submitted = program.run();
    times.push(performance.now() - start);
    await submitted;
  }
  await device.idle();
  return quantile(times, 0.5);
}

/** Rounds with one pass per dispatch. Their mean is finer than the clock's quantum. */
const SPLIT_ROUNDS = { min: 2, max: 20, limitMs: 1000 } as const;

/** Every dispatch in a pass of its own, averaged over rounds and added up by kernel family. */
async function splitByKernel(
  stopwatch: Stopwatch,
  program: Replayed,
  ceilings: Ceilings,
): Promise<SplitRow[]> {
  if (!stopwatch.timestamps) return [];
  const { dispatches } = program.plan;
  const passes = dispatches.map(
    (_, i): Encode =>
      (pass) =>
        program.encode(pass, i, i + 1),
  );
  const sums = dispatches.map(() => ({ ms: 0, rounds: 0 }));
  const end = performance.now() + SPLIT_ROUNDS.limitMs;
  for (let round = 0; round < SPLIT_ROUNDS.max; round++) {
    if (round >= SPLIT_ROUNDS.min && performance.now() > end) break;
    const { each } = await stopwatch.timeEach(passes);
    each.forEach((ms, i) => {
      if (ms === null) return;
      sums[i]!.ms += ms;
      sums[i]!.rounds++;
    });
  }
  const each = sums.map(({ ms, rounds }) => (rounds > 0 ? ms / rounds : 0));
  const total = each.reduce((sum, ms) => sum + ms, 0);
  if (total === 0) return [];
  const families = new Map<string, { dispatches: number; ms: number; flops: number; least: number }>();
  dispatches.forEach(({ kernel }, i) => {
    const name = familyOf(kernel.name);
    const row = families.get(name) ?? { dispatches: 0, ms: 0, flops: 0, least: 0 };
    families.set(name, {
      dispatches: row.dispatches + 1,
      ms: row.ms + each[i]!,
      flops: row.flops + kernel.flops,
      least: row.least + roofline(ceilings, kernel).ms,
    });
  });
  return [...families]
    .map(([kernel, { dispatches: count, ms, flops, least }]) => ({
      kernel,
      dispatches: count,
      ms,
      share: ms / total,
      gflops: flops / ms / 1e6,
      ceilingFraction: least / ms,
    }))
    .sort((a, b) => b.ms - a.ms);
}

/** `matmul_nt` from `matmul_nt_2592x384x128_r8x8`: the words before the first that holds a digit. */
export function familyOf(name: string): string {
  const words = name.split("_");
  const shape = words.findIndex(
    (word, i) => i > 0 && /\d/.test(word) && !/^(f32|i32|u32|f16|atan2)$/.test(word),
  );
  return words.slice(0, shape < 0 ? words.length : shape).join("_");
}
