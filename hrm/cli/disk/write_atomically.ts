/** Files that are replaced whole: no crash, full disk or power cut leaves half of one. */
import { randomBytes } from "node:crypto";
import { dirname, join, resolve } from "node:path";
import { codeOf, nodeFileSystem, type FileStatus, type FileSystem } from "./file_system.js";
import { makeFolder } from "./make_folder.js";

/** How many links one path may lead through, as on Linux. */
const MOST_LINKS = 40;

/** True for the name of a file that was being written when its writer ended. */
export const isPartial = (name: string): boolean => name.endsWith(".partial");

/**
 * Replaces a file in one step: a reader, also one after a power cut, sees the old file or the whole new one. The bytes
 * reach the disk before the name does (fsync, rename, fsync of the folder). The file keeps its permissions, and its owner
 * if the system lets it. If the path is a link, the file that it leads to is replaced. A path that is no file, such as
 * /dev/stdout, is written to as it is.
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
    // Nobody else reads a private file while it is written; a new file gets the permissions that the user's mask leaves.
    const file = await fs.open(partial, "wx", before === null ? 0o666 : 0o600);
    try {
      await file.write(bytes);
      if (before !== null) {
        // Only root may give files away, and some file systems keep no permissions: then the file stays private.
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

/** The path that a path leads to through links, whether something is there or not. */
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

/** The status of a path; null if nothing is there. */
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
