/** The folder of a run as other commands read it: configuration, puzzles and the best weights. Nothing in it is changed. */
import { join } from "node:path";
import { decodeCheckpoint, type Checkpoint } from "../../files/checkpoints/checkpoint.js";
import { FileFormatError } from "../../files/file_format_error.js";
import type { StateDict } from "../../model/parameters.js";
import type { Preset } from "../../training/presets.js";
import { ArgumentError } from "../../terminal/arguments.js";
import { codeOf, nodeFileSystem, readWhole } from "../disk/file_system.js";
import { reasonOf } from "../disk/output.js";
import { say } from "../output/console.js";
import { newestCheckpoint } from "./checkpoint_store.js";
import { readRunConfig, type RunConfig } from "./config.js";
import { presetOfRun } from "./job.js";
import { BEST_FILE, CHECKPOINT_FOLDER } from "./store.js";

/** A run whose folder was read. */
export interface OpenedRun {
  readonly folder: string;
  readonly run: RunConfig;
  /** The run's preset with its options. `splits(seed)` makes its puzzles. */
  readonly preset: Preset;
  readonly checkpoint: Checkpoint;
  /** File of the checkpoint. */
  readonly path: string;
}

/**
 * Opens a run: its best checkpoint, or the newest before the first look.
 * @throws ArgumentError if the folder is not that of a run, or has no checkpoint that can be read
 */
export async function openRunFolder(folder: string, option = "<run>"): Promise<OpenedRun> {
  const run = await readRunConfig(folder, option);
  const { checkpoint, path } = (await bestOf(folder, option)) ?? (await newestOf(folder, option));
  return { folder, run, preset: await presetOfRun(run, folder, option), checkpoint, path };
}

async function bestOf(
  folder: string,
  option: string,
): Promise<{ checkpoint: Checkpoint; path: string } | null> {
  const path = join(folder, BEST_FILE);
  try {
    return { checkpoint: decodeCheckpoint(await readWhole(nodeFileSystem, path)), path };
  } catch (error) {
    if (codeOf(error) === "ENOENT") return null;
    if (error instanceof FileFormatError)
      throw new ArgumentError(`${option} "${folder}": ${BEST_FILE} cannot be used (${error.message}).`);
    throw new ArgumentError(`${option} "${folder}": ${BEST_FILE} cannot be read (${reasonOf(error)}).`);
  }
}

async function newestOf(folder: string, option: string): Promise<{ checkpoint: Checkpoint; path: string }> {
  try {
    const { checkpoint, path, skipped } = await newestCheckpoint(join(folder, CHECKPOINT_FOLDER));
    for (const { path: broken, problem } of skipped) say(`warning   ${broken} is not used: ${problem}`);
    return { checkpoint, path };
  } catch (error) {
    throw new ArgumentError(`${option} "${folder}": ${(error as Error).message}`);
  }
}

/** The weights that were asked for; by default the moving average if there is one. @throws ArgumentError if there is no average */
export function weightsOf(
  { checkpoint: { ema, raw }, path }: Pick<OpenedRun, "checkpoint" | "path">,
  which: "ema" | "raw" | undefined,
): { readonly state: StateDict; readonly which: "ema" | "raw" } {
  if (which === "ema" && !ema)
    throw new ArgumentError(`--weights: got "ema"; expected "raw", as ${path} keeps no moving average.`);
  return which === "raw" || !ema ? { state: raw, which: "raw" } : { state: ema, which: "ema" };
}
