/** Replays one fixture folder, whichever kind it is. */
import type { Device } from "../../engine/index.js";
import { createChecker, type CheckRow } from "./check.js";
import { readJson, type ReadFile } from "./format.js";
import { replayModel } from "./model_replay.js";
import { replayPrimitives } from "./primitive_replay.js";

/** Every comparison of a folder. */
export async function replayFixture(
  device: Device,
  name: string,
  read: ReadFile,
): Promise<readonly CheckRow[]> {
  const check = createChecker(name);
  if (await readJson(read, "primitives.json")) await replayPrimitives(device, read, check);
  else await replayModel(device, read, check);
  return check.rows;
}
