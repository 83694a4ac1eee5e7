/** Replays one fixture folder, whichever kind it is. */
import { DeviceLostError, type Device } from "../../engine/index.js";
import { createChecker, type CheckRow } from "./check.js";
import type { ReadFile } from "./format.js";
import { replayModel } from "./model_replay.js";
import { replayPrimitives } from "./primitive_replay.js";

/** A folder with one of these files claims to be a fixture. */
export const FIXTURE_FILES: readonly string[] = [
  "primitives.json",
  "primitives.safetensors",
  "segment.safetensors",
  "train.safetensors",
  "eval.safetensors",
];

/**
 * Every comparison of a folder. A fixture that cannot be replayed (a file torn or missing, a configuration that
 * cannot be) is a failed comparison after those that went before. @throws DeviceLostError
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
