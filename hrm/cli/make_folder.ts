/** Folders on disk, on file systems of every temper. */
import { mkdir, stat } from "node:fs/promises";
import { dirname } from "node:path";

/** A folder with those above it. Node's own recursive mkdir never returns where a file system refuses with ENOENT. */
export async function makeFolder(path: string): Promise<void> {
  const missing = await makeOne(path);
  if (!missing) return;
  const above = dirname(path);
  if (above === path) throw missing;
  await makeFolder(above);
  const stillMissing = await makeOne(path);
  if (stillMissing) throw stillMissing;
}

/** Makes a folder, or finds it there. Returns the error where the one above it may be missing; throws any other. */
async function makeOne(path: string): Promise<NodeJS.ErrnoException | null> {
  try {
    await mkdir(path);
  } catch (caught) {
    const error = caught as NodeJS.ErrnoException;
    if (error.code === "ENOENT") return error;
    if (error.code !== "EEXIST" || !(await stat(path)).isDirectory()) throw error;
  }
  return null;
}
