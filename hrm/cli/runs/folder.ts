/** A run's folder on disk: made once, never overwritten, each file whole or absent. */
import { access, constants } from "node:fs/promises";
import { join } from "node:path";
import { ArgumentError } from "../../../terminal/arguments.js";
import { codeOf, nodeFileSystem, type FileSystem } from "../disk/file_system.js";
import { makeFolder } from "../disk/make_folder.js";
import { reasonOf } from "../disk/output.js";

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
