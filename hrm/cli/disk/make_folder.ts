/** Making folders on any file system. */
import { dirname } from "node:path";
import { codeOf, nodeFileSystem, type FileSystem } from "./file_system.js";

/**
 * Makes a folder and its missing parents, and resolves when they are on the disk. Node's own recursive mkdir never returns if
 * a file system refuses with ENOENT.
 */
export async function makeFolder(path: string, fs: FileSystem = nodeFileSystem): Promise<void> {
  const missing = await makeOne(path, fs);
  if (!missing) return;
  const above = dirname(path);
  if (above === path) throw missing;
  await makeFolder(above, fs);
  const stillMissing = await makeOne(path, fs);
  if (stillMissing) throw stillMissing;
}

/** Makes a folder unless it exists. Returns the error if its parent may be missing; throws any other error. */
async function makeOne(path: string, fs: FileSystem): Promise<Error | null> {
  try {
    await fs.makeFolder(path);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return error as Error;
    if (codeOf(error) !== "EEXIST" || (await fs.status(path)).kind !== "folder") throw error;
    return null;
  }
  await fs.syncFolder(dirname(path));
  return null;
}
