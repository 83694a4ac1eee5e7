/** Times the kernels of the run's training step against the ceilings of the device. */
import { measureCeilings, type Ceilings } from "../../../bench/core/ceilings.js";
import { roofline } from "../../../bench/core/roofline.js";
import { QUICK_EFFORT } from "../../../bench/core/sampling.js";
import { familyOf } from "../../../bench/core/training_step.js";
import { createStopwatch, type Stopwatch } from "../../../engine/stopwatch.js";
import type { Device, Kernel, Program, Target } from "../../../engine/index.js";
import type { Preset } from "../../../hrm/training/presets.js";
import type { Session } from "../../../hrm/training/session.js";
import type { Profile, TimedKernel } from "../reports.js";
import { createTrainer } from "../../../hrm/training/trainer.js";

/** Milliseconds that a timed pass should last, and launches in it at most. */
const [PASS, MOST] = [2, 64];

/**
 * Runs the step's kernels one by one. A copy of the trainer, with weights of its own, is timed, since launches change the
 * state of the run.
 */
export async function profileRun({
  preset,
  session,
  target,
  device,
}: {
  readonly preset: Preset;
  readonly session: Session;
  readonly target: Target;
  readonly device: Device;
}): Promise<Profile> {
  const { model: config, train, task } = preset;
  const copy = await createTrainer({
    ...{ device, target, config, train, seed: 0, data: session.splits.train, symmetry: task.symmetry },
  });
  const stopwatch = createStopwatch(device);
  try {
    // Inputs of the first launch are those of a step that ran.
    await copy.run(1);
    const ceilings = await measureCeilings(device, stopwatch, QUICK_EFFORT);
    const kernels = await timedKernels(copy.sequence, stopwatch, ceilings);
    return { step: session.trainer.step, timestamps: stopwatch.timestamps, ceilings, kernels };
  } finally {
    stopwatch.destroy();
    copy.destroy();
  }
}

async function timedKernels(
  sequence: readonly (readonly [Program, number])[],
  stopwatch: Stopwatch,
  ceilings: Ceilings,
): Promise<TimedKernel[]> {
  const places = new Map<string, { program: Program; index: number; kernel: Kernel; launches: number }>();
  for (const [program, times] of sequence)
    program.plan.dispatches.forEach(({ kernel }, index) => {
      const known = places.get(kernel.name);
      if (known) known.launches += times;
      else places.set(kernel.name, { program, index, kernel, launches: times });
    });
  const timed: TimedKernel[] = [];
  for (const { program, index, kernel, launches } of places.values()) {
    const least = roofline(ceilings, kernel).ms;
    const time = async (count: number): Promise<number> => {
      const { gpu, wall } = await stopwatch.time((pass) => {
        for (let i = 0; i < count; i++) program.encode(pass, index, index + 1);
      });
      return (gpu ?? wall) / count;
    };
    const once = await time(1);
    const ms = await time(Math.max(1, Math.min(MOST, Math.ceil(PASS / Math.max(once, 0.01)))));
    const { name, flops, bytes } = kernel;
    timed.push({
      name,
      family: familyOf(name),
      launches,
      ms,
      flops,
      bytes,
      share: ms > 0 ? least / ms : NaN,
    });
  }
  return timed.sort((a, b) => b.launches * b.ms - a.launches * a.ms);
}
