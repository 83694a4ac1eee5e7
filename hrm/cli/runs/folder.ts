/** The folder of a run. It is made once and never overwritten. */
import { access, constants } from "node:fs/promises";
import { join } from "node:path";
import { ArgumentError } from "../../terminal/arguments.js";
import { codeOf, nodeFileSystem, type FileSystem } from "../disk/file_system.js";
import { makeFolder } from "../disk/make_folder.js";
import { reasonOf } from "../disk/output.js";

/** Makes the folder that holds the folders of runs. @throws ArgumentError if no folder can be made in it */
export async function openParent(parent: string, fs: FileSystem = nodeFileSystem): Promise<void> {
  try {
    await makeFolder(parent, fs);
    await access(parent, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw noFolder(parent, error);
  }
}

/**
 * Makes a new folder `parent/name`, or `parent/name-2` and so on if the name is taken. Two processes never get the same folder.
 * @throws ArgumentError if no folder can be made in `parent`
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
