/** `--autotune`: measures which kernels are fastest for a run, and keeps the result for later runs on the same device. */
import { autotune, choicesKey } from "../../../engine/autotune.js";
import type { Device, Target } from "../../../engine/index.js";
import { readChoices, writeChoices } from "../../../engine/node/index.js";
import { trainingKernels } from "../../training/memory_estimate.js";
import type { Preset } from "../../training/presets.js";
import type { PuzzleSplits } from "../../puzzles/puzzle_set.js";
import { VERSION } from "../../version.js";
import { say } from "../output/console.js";

/** A run whose kernels are to be chosen. */
export interface RunToTune {
  readonly device: Device;
  /** What the run is compiled for. */
  readonly target: Target;
  readonly preset: Preset;
  readonly splits: PuzzleSplits;
  /** Rows of a micro-batch. */
  readonly microBatch: number;
  /** Seconds that measuring may take; undefined for the tuner's default. */
  readonly seconds?: number | undefined;
}

/** Measures kernels without a known result, prints the outcome, and returns the target with the fastest variants. */
export async function chooseKernels({
  device,
  target,
  preset,
  splits,
  microBatch,
  seconds: limit,
}: RunToTune): Promise<Target> {
  const { model: config, train, task } = preset;
  const { train: data, validation } = splits;
  const run = { config, train, data, validation, symmetry: task.symmetry };
  const kernels = trainingKernels({ ...run, target }, microBatch);
  const key = choicesKey(device, VERSION);
  const { choices: known, warning } = await readChoices(key);
  if (warning !== null) say(`warning   kernels chosen before: ${warning}`);
  say("kernels   measuring variants of matmul and attention");
  const report = await autotune(device, kernels, {
    ...{ target, known },
    ...(limit !== undefined && { seconds: limit }),
  });
  const { choices, measured, unmeasured, seconds } = report;
  for (const { kernel, chosen, gain, variants } of measured)
    say(
      `          ${kernel}: ${gain === 1 ? `${chosen} stays` : `${chosen} ${gain.toFixed(2)}x as fast as ${variants[0]!.variant}`}, of ${variants.length}`,
    );
  const recalled = Object.keys(choices).length - measured.length;
  const count = (n: number, what: string): string[] => (n > 0 ? [`${n} ${what}`] : []);
  say(
    `kernels   ${[
      `${measured.length} kernels measured in ${seconds.toFixed(1)} s`,
      ...count(recalled, "known from before"),
      ...count(unmeasured.length, "keep their default, as time was up"),
    ].join(", ")}`,
  );
  if (measured.length === 0) return report.target;
  try {
    await writeChoices(key, choices);
  } catch (error) {
    say(`warning   the choices were not kept for later runs: ${(error as Error).message}`);
  }
  return report.target;
}
