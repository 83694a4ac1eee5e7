/** Replacing files as a whole: no crash, full disk or power cut leaves half a file. */
import { randomBytes } from "node:crypto";
import { dirname, join, resolve } from "node:path";
import { codeOf, nodeFileSystem, type FileStatus, type FileSystem } from "./file_system.js";
import { makeFolder } from "./make_folder.js";

/** The most links that a path may go through, as on Linux. */
const MOST_LINKS = 40;

/** True for the name of a file whose writer ended before the file was complete. */
export const isPartial = (name: string): boolean => name.endsWith(".partial");

/**
 * Replaces a file in one step: a reader sees the old file or the complete new file, even after a power cut. The bytes reach
 * the disk before the name does (fsync, rename, fsync of the folder). The file keeps its permissions, and its owner if the
 * system allows that. If the path is a link, its target is replaced. A path that is not a file, such as /dev/stdout, is
 * written to directly.
 */
export async function writeAtomically(
  path: string,
  bytes: Uint8Array,
  fs: FileSystem = nodeFileSystem,
): Promise<void> {
  const target = await followLinks(path, fs);
  const before = await statusOrNull(target, fs);
  if (before !== null && before.kind !== "file") return writeInPlace(target, bytes, fs);
  const folder = dirname(target);
  if (before === null) await makeFolder(folder, fs);
  const partial = join(folder, `.${process.pid}-${randomBytes(6).toString("hex")}.partial`);
  try {
    // The file is private while it is written. Then a new file gets the permissions that the user's mask allows.
    const file = await fs.open(partial, "wx", before === null ? 0o666 : 0o600);
    try {
      await file.write(bytes);
      if (before !== null) {
        // Only root may change the owner, and some file systems have no permissions. The file then stays private.
        await file.setOwner(before.uid, before.gid).catch(() => undefined);
        await file.setMode(before.mode).catch(() => undefined);
      }
      await file.sync();
    } finally {
      await file.close();
    }
    await fs.rename(partial, target);
  } catch (error) {
    await fs.remove(partial).catch(() => undefined);
    throw error;
  }
  await fs.syncFolder(folder);
}

async function writeInPlace(path: string, bytes: Uint8Array, fs: FileSystem): Promise<void> {
  const file = await fs.open(path, "w");
  try {
    await file.write(bytes);
  } finally {
    await file.close();
  }
}

/** The target of a path after all links, whether or not it exists. */
async function followLinks(path: string, fs: FileSystem): Promise<string> {
  let target = path;
  for (let links = 0; ; links++) {
    const status = await statusOrNull(target, fs, "linkStatus");
    if (status?.kind !== "link") return target;
    if (links === MOST_LINKS)
      throw Object.assign(new Error(`more than ${MOST_LINKS} links lead on from it`), { code: "ELOOP" });
    target = resolve(dirname(target), await fs.readLink(target));
  }
}

/** The status of a path; null if it does not exist. */
async function statusOrNull(
  path: string,
  fs: FileSystem,
  how: "status" | "linkStatus" = "status",
): Promise<FileStatus | null> {
  try {
    return await fs[how](path);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return null;
    throw error;
  }
}
