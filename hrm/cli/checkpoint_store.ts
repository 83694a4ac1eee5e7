/** Checkpoints of a run on disk: written so that no crash leaves half a file, the last few kept, the newest good one found. */
import { open, readdir, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { decodeCheckpoint, type Checkpoint } from "../checkpoint.js";
import { EngineError } from "../../engine/errors.js";
import { makeFolder } from "./make_folder.js";

/** A folder without a checkpoint that can be read. */
export class NoCheckpointError extends EngineError {
  override readonly name = "NoCheckpointError";
  constructor(message: string) {
    super("no-checkpoint", message);
  }
}

const SUFFIX = ".safetensors";
const NAME = /^step-(\d+)\.safetensors$/;

/**
 * Replaces a file in one step: a reader, also one after a power cut, sees the old file or the whole new one. The bytes
 * reach the disk before the name does (fsync, rename, fsync of the folder).
 */
export async function writeAtomically(path: string, bytes: Uint8Array): Promise<void> {
  const folder = dirname(path);
  await makeFolder(folder);
  const partial = `${path}.${process.pid}.partial`;
  try {
    const file = await open(partial, "w");
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
  await syncFolder(folder);
}

/** Makes a rename in the folder durable, where the system lets folders be synced (Windows does not). */
async function syncFolder(folder: string): Promise<void> {
  if (process.platform === "win32") return;
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Writes `step-00000125.safetensors`, then removes all but the newest `keep`. Returns the path. */
export async function storeCheckpoint(
  folder: string,
  step: number,
  bytes: Uint8Array,
  { keep }: { keep: number },
): Promise<string> {
  const path = join(folder, `step-${String(step).padStart(8, "0")}${SUFFIX}`);
  await writeAtomically(path, bytes);
  const old = (await storedSteps(folder)).slice(keep);
  // Files that a killed writer left behind, too.
  const partial = (await readdir(folder)).filter((name) => name.endsWith(".partial"));
  for (const name of [...old.map(({ name }) => name), ...partial])
    await rm(join(folder, name), { force: true });
  return path;
}

/** The checkpoint to go on with. */
export interface NewestCheckpoint {
  readonly path: string;
  readonly checkpoint: Checkpoint;
  /** Newer files that could not be used, newest first: worth a warning. */
  readonly skipped: readonly { readonly path: string; readonly problem: string }[];
}

/**
 * The newest checkpoint of a folder that is whole.
 * @throws NoCheckpointError where there is none, naming what is wrong with each file
 */
export async function newestCheckpoint(folder: string): Promise<NewestCheckpoint> {
  const skipped: { path: string; problem: string }[] = [];
  for (const { name } of await storedSteps(folder)) {
    const path = join(folder, name);
    try {
      return { path, checkpoint: decodeCheckpoint(new Uint8Array(await readFile(path))), skipped };
    } catch (error) {
      skipped.push({ path, problem: (error as Error).message });
    }
  }
  const found = skipped.map(({ path, problem }) => `\n  ${path}: ${problem}`).join("");
  throw new NoCheckpointError(
    `No usable checkpoint in ${folder}: got ${skipped.length === 0 ? "no file step-*.safetensors" : `only broken ones:${found}`}; expected one that hrm train wrote.`,
  );
}

/** Stored checkpoints, newest first. */
async function storedSteps(folder: string): Promise<{ name: string; step: number }[]> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return [];
    throw error;
  });
  return names
    .flatMap((name) => {
      const match = NAME.exec(name);
      return match ? [{ name, step: Number(match[1]) }] : [];
    })
    .sort((a, b) => b.step - a.step);
}
