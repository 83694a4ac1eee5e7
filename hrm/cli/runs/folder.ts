/** A run's folder on disk: made once, never overwritten, each file whole or absent. */
import { access, constants } from "node:fs/promises";
import { join } from "node:path";
import { EngineError } from "../../../engine/errors.js";
import { ArgumentError } from "../options/arguments.js";
import { codeOf, nodeFileSystem, type FileSystem } from "../disk/file_system.js";
import { makeFolder } from "../disk/make_folder.js";
import { writeAtomically } from "../disk/write_atomically.js";

/** A file that could not be written: which, and why. */
export class OutputError extends EngineError {
  override readonly name = "OutputError";
  constructor(path: string, cause: unknown) {
    super(
      "output",
      `Cannot write "${path}": ${reasonOf(cause)}. What was saved before is untouched; free the disk or give another folder with --out.`,
      { cause },
    );
  }
}

const REASONS: Readonly<Record<string, string>> = {
  EACCES: "no permission",
  EPERM: "not permitted",
  EROFS: "the file system is read-only",
  ENOSPC: "the disk is full",
  EDQUOT: "the disk quota is used up",
  ENOENT: "there is no such file or folder",
  ENOTDIR: "a part of the path is a file",
  EISDIR: "it is a folder",
  EEXIST: "something else has that name",
  ENAMETOOLONG: "the name is too long",
  ELOOP: "links lead in a circle",
  EIO: "the disk failed",
};

/** A file system error in words. */
export function reasonOf(error: unknown): string {
  const code = codeOf(error);
  return REASONS[code] ? `${REASONS[code]}, ${code}` : String((error as Error).message ?? error);
}

/** Makes the folder in which runs get theirs. @throws ArgumentError if it takes no folder */
export async function openParent(parent: string, fs: FileSystem = nodeFileSystem): Promise<void> {
  try {
    await makeFolder(parent, fs);
    await access(parent, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw noFolder(parent, error);
  }
}

/**
 * Makes a folder that did not exist: `parent/name`, or with the next free number. Two processes never get the
 * same one. @throws ArgumentError if `parent` takes no folder
 */
export async function createRunFolder(
  parent: string,
  name: string,
  fs: FileSystem = nodeFileSystem,
): Promise<{ folder: string; taken: boolean }> {
  await openParent(parent, fs);
  for (let i = 1; ; i++) {
    const folder = join(parent, i === 1 ? name : `${name}-${i}`);
    try {
      await fs.makeFolder(folder);
      await fs.syncFolder(parent);
      return { folder, taken: i > 1 };
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw noFolder(parent, error);
    }
  }
}

function noFolder(parent: string, error: unknown): ArgumentError {
  return new ArgumentError(
    `--out: cannot make a folder in "${parent}" (${reasonOf(error)}); expected a folder that can be written.`,
  );
}

/** Replaces a file in one step. @throws OutputError */
export async function writeFileSafely(
  path: string,
  content: Uint8Array | string,
  fs: FileSystem = nodeFileSystem,
): Promise<void> {
  try {
    await writeAtomically(
      path,
      typeof content === "string" ? new TextEncoder().encode(content) : content,
      fs,
    );
  } catch (error) {
    throw new OutputError(path, error);
  }
}
