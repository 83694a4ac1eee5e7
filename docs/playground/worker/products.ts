/** Which kernels multiply matrices in a run: chosen before its programs are compiled. */
import { autotune, choicesKey } from "../../../engine/autotune.js";
import { readChoices, StoreError, writeChoices } from "../../../engine/browser/index.js";
import type { Device, Target } from "../../../engine/index.js";
import { mixedPrecisionTarget, subgroupMatrices } from "../../../engine/mixed_precision.js";
import { trainingKernels } from "../../../hrm/training/memory_estimate.js";
import type { Preset } from "../../../hrm/training/presets.js";
import { VERSION } from "../../../hrm/version.js";
import type { RunConfig } from "../run_config.js";

/**
 * The target whose kernels multiply as the run asks, and what to tell the visitor. What is measured is kept in the browser
 * for later runs on this device.
 * @throws AdapterError where the device has no matrices for mixed precision
 */
export async function chooseProducts(
  device: Device,
  { products, seed }: RunConfig,
  preset: Preset,
): Promise<{ target: Target; products: string }> {
  if (products === "mixed") {
    const target = await mixedPrecisionTarget(device);
    const { M, N, K } = subgroupMatrices(device);
    return { target, products: `products of f16 operands (${M}x${N}x${K})` };
  }
  const { model: config, train, task } = preset;
  const { train: data, validation } = preset.splits(seed);
  const needs = { target: device.target, config, train, data, validation, symmetry: task.symmetry };
  const kernels = trainingKernels(needs, config.batch_size);
  const key = choicesKey(device, VERSION);
  const known = await readChoices(key).catch(nothingKept);
  const { choices, target, measured } = await autotune(device, kernels, { known });
  if (measured.length > 0) await writeChoices(key, choices).catch(nothingKept);
  const changed = measured.filter(({ gain }) => gain > 1).length;
  const recalled = Object.keys(choices).length - measured.length;
  return {
    target,
    products: `${measured.length} kernels measured, ${changed} faster than by default, ${recalled} known from before`,
  };
}

/** Where the browser keeps nothing, kernels are measured again next time. */
function nothingKept(error: unknown): Record<string, string> {
  if (error instanceof StoreError) return {};
  throw error;
}
