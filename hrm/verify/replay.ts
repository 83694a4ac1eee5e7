/** Replays one fixture folder of either kind. */
import { DeviceLostError, type Device } from "../../engine/index.js";
import { createChecker, type CheckRow } from "./check.js";
import type { ReadFile } from "./format.js";
import { replayModel } from "./model_replay.js";
import { replayPrimitives } from "./primitive_replay.js";

/** A folder with one of these files is taken for a fixture. */
export const FIXTURE_FILES: readonly string[] = [
  "primitives.json",
  "primitives.safetensors",
  "segment.safetensors",
  "train.safetensors",
  "eval.safetensors",
];

/**
 * All comparisons of a folder. If a fixture cannot be replayed (a file is torn or missing, or the configuration is invalid), a
 * failed comparison is added to the earlier ones. @throws DeviceLostError
 */
export async function replayFixture(
  device: Device,
  name: string,
  read: ReadFile,
): Promise<readonly CheckRow[]> {
  const check = createChecker(name);
  try {
    const primitives = (await read("primitives.json")) ?? (await read("primitives.safetensors"));
    if (primitives) await replayPrimitives(device, read, check);
    else await replayModel(device, read, check);
  } catch (error) {
    if (error instanceof DeviceLostError) throw error;
    check.bound("the whole fixture", Infinity, 0, `cannot be replayed: ${String(error)}`);
  }
  return check.rows;
}
