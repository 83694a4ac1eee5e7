/** Which kernels multiply matrices in a run: chosen before its programs are compiled. */
import { autotune, choicesKey } from "../../../engine/autotune.js";
import { readChoices, StoreError, writeChoices } from "../../../engine/browser/index.js";
import type { Device } from "../../../engine/index.js";
import { useMixedPrecision } from "../../../engine/mixed_precision.js";
import { trainingKernels } from "../../../hrm/training/memory_estimate.js";
import type { Preset } from "../../../hrm/training/presets.js";
import { VERSION } from "../../../hrm/version.js";
import type { RunConfig } from "../run_config.js";

/**
 * Lets the device multiply as the run asks. What is measured is kept in the browser for later runs on this device.
 * @returns what to tell the visitor; empty for the usual kernels
 * @throws AdapterError where the device has no matrices for mixed precision
 */
export async function chooseProducts(
  device: Device,
  { products, seed }: RunConfig,
  preset: Preset,
): Promise<string> {
  device.choose({});
  device.multiplyWith(null);
  if (products === "mixed") {
    const { M, N, K } = await useMixedPrecision(device);
    return `products of f16 operands (${M}x${N}x${K})`;
  }
  const { model: config, train, task } = preset;
  const { train: data, validation } = preset.splits(seed);
  const needs = { device: device.gpu, config, train, data, validation, symmetry: task.symmetry };
  const kernels = await trainingKernels(needs, config.batch_size);
  const key = choicesKey(device, VERSION);
  const known = await readChoices(key).catch(nothingKept);
  const { choices, measured } = await autotune(device, kernels, { known });
  device.choose(choices);
  if (measured.length > 0) await writeChoices(key, choices).catch(nothingKept);
  const changed = measured.filter(({ gain }) => gain > 1).length;
  const recalled = Object.keys(choices).length - measured.length;
  return `${measured.length} products measured, ${changed} faster than by default, ${recalled} known from before`;
}

/** Where the browser keeps nothing, kernels are measured again next time. */
function nothingKept(error: unknown): Record<string, string> {
  if (error instanceof StoreError) return {};
  throw error;
}
