/** Checkpoints of a run on disk. No crash leaves half a file, the newest few are kept, and the newest good checkpoint is found. */
import { join } from "node:path";
import { decodeCheckpoint, type Checkpoint } from "../../files/checkpoints/checkpoint.js";
import { EngineError } from "../../../engine/errors.js";
import { codeOf, nodeFileSystem, readWhole, type FileSystem } from "../disk/file_system.js";
import { isPartial, writeAtomically } from "../disk/write_atomically.js";

/** A folder has no checkpoint that can be read. */
export class NoCheckpointError extends EngineError {
  override readonly name = "NoCheckpointError";
  constructor(message: string) {
    super("no-checkpoint", message);
  }
}

const SUFFIX = ".safetensors";
const NAME = /^step-(\d+)\.safetensors$/;

export interface StoreOptions {
  /** Number of checkpoints to keep, at least 1. */
  readonly keep: number;
  /**
   * Which files of the folder are whole, by name, as far as they were read. The store adds to the map, so that each file is
   * read once if every call gets the same map.
   */
  readonly usable?: Map<string, boolean>;
  /** See {@link Wanted}. */
  readonly wanted?: Wanted;
  readonly fs?: FileSystem;
}

/** Returns the reason why a whole checkpoint does not serve the caller's purpose; null if it does. */
export type Wanted = (checkpoint: Checkpoint) => string | null;

/** Accepts checkpoints from which a run can continue. */
export const ofRun: Wanted = ({ run }) => (run ? null : "it holds weights alone, not a run");

const anyCheckpoint: Wanted = () => null;

/**
 * Writes `step-00000125.safetensors`, then removes older checkpoints until `keep` are left, including the new one. Only files
 * from which a run can continue are counted and removed; damaged files stay. Returns the path.
 */
export async function storeCheckpoint(
  folder: string,
  step: number,
  bytes: Uint8Array,
  { keep, usable = new Map<string, boolean>(), wanted = anyCheckpoint, fs = nodeFileSystem }: StoreOptions,
): Promise<string> {
  const written = `step-${String(step).padStart(8, "0")}${SUFFIX}`;
  const path = join(folder, written);
  await writeAtomically(path, bytes, fs);
  usable.set(written, true);
  let kept = 1;
  for (const { name } of await storedSteps(folder, fs)) {
    if (name === written) continue;
    if (!usable.has(name)) usable.set(name, !("problem" in (await readStored(folder, name, wanted, fs))));
    if (!usable.get(name)) continue;
    if (kept < keep) kept++;
    else {
      await fs.remove(join(folder, name));
      usable.delete(name);
    }
  }
  // Removes files that a killed writer left behind, too.
  for (const name of await fs.list(folder)) if (isPartial(name)) await fs.remove(join(folder, name));
  return path;
}

/** The checkpoint to continue from. */
export interface NewestCheckpoint {
  readonly path: string;
  readonly checkpoint: Checkpoint;
  /** Newer files that could not be used, newest first, for a warning. */
  readonly skipped: readonly { readonly path: string; readonly problem: string }[];
}

/**
 * The newest checkpoint of a folder that is whole and wanted.
 * @throws NoCheckpointError if there is no such checkpoint; it says what is wrong with each file
 */
export async function newestCheckpoint(
  folder: string,
  { wanted = anyCheckpoint, fs = nodeFileSystem }: Pick<StoreOptions, "wanted" | "fs"> = {},
): Promise<NewestCheckpoint> {
  const skipped: { path: string; problem: string }[] = [];
  for (const { name } of await storedSteps(folder, fs)) {
    const path = join(folder, name);
    const read = await readStored(folder, name, wanted, fs);
    if ("checkpoint" in read) return { path, checkpoint: read.checkpoint, skipped };
    skipped.push({ path, problem: read.problem });
  }
  const found = skipped.map(({ path, problem }) => `\n  ${path}: ${problem}`).join("");
  throw new NoCheckpointError(
    `No usable checkpoint in ${folder}: got ${skipped.length === 0 ? "no file step-*.safetensors" : `only broken ones:${found}`}; expected one that hrm train wrote.`,
  );
}

/** Reads one file of the folder, or returns the reason why it cannot be used. */
async function readStored(
  folder: string,
  name: string,
  wanted: Wanted,
  fs: FileSystem,
): Promise<{ checkpoint: Checkpoint } | { problem: string }> {
  try {
    const checkpoint = decodeCheckpoint(await readWhole(fs, join(folder, name)));
    const problem =
      checkpoint.step === Number(NAME.exec(name)![1])
        ? wanted(checkpoint)
        : `its name is that of another step; it holds step ${checkpoint.step}`;
    return problem === null ? { checkpoint } : { problem };
  } catch (error) {
    return { problem: (error as Error).message };
  }
}

/**
 * Stored checkpoints, newest first; an empty list if there is no folder.
 * @throws the file system's error if the folder cannot be read, since its files are not known to be missing
 */
export async function storedSteps(
  folder: string,
  fs: FileSystem = nodeFileSystem,
): Promise<{ name: string; step: number }[]> {
  const names = await fs.list(folder).catch((error: unknown) => {
    if (codeOf(error) === "ENOENT") return [];
    throw error;
  });
  return names
    .flatMap((name) => {
      const match = NAME.exec(name);
      return match ? [{ name, step: Number(match[1]) }] : [];
    })
    .sort((a, b) => b.step - a.step);
}
