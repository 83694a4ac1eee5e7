/** Folders on disk, on file systems of every temper. */
import { dirname } from "node:path";
import { codeOf, nodeFileSystem, type FileSystem } from "./file_system.js";

/**
 * A folder with those above it; what was made is on the disk when this returns. Node's own recursive mkdir never
 * returns if a file system refuses with ENOENT.
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

/** Makes a folder, or finds it there. Returns the error if the one above it may be missing; throws any other. */
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
