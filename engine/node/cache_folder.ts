/** Where this package keeps files between processes. */
import { chmod, lstat, mkdir, mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { EngineError } from "../errors.js";

/** A cache folder that cannot be used, or a package that cannot be unpacked into one. */
export class CacheError extends EngineError {
  override readonly name = "CacheError";
  constructor(message: string, options?: ErrorOptions) {
    super("cache", message, options);
  }
}

/** The reason why a folder is skipped. */
class UnusableFolder extends Error {}

/**
 * A folder that only this user reads and writes (mode 0700): below `$XDG_CACHE_HOME`, `~/.cache`, or in the temporary
 * folder. Shared libraries are loaded from this folder, so that a folder or link of another user is skipped. A folder of
 * this user that others could write to is closed and emptied first.
 * @throws CacheError if no folder can be used, with the reasons and what to do
 */
export async function cacheFolder(): Promise<string> {
  const user = process.getuid?.() ?? 0;
  const base = process.env["XDG_CACHE_HOME"];
  const candidates = [
    ...(base ? [join(base, "hrm-webgpu")] : []),
    join(homedir(), ".cache", "hrm-webgpu"),
    join(tmpdir(), `hrm-webgpu-${user}`),
  ];
  const reasons: string[] = [];
  for (const folder of candidates) {
    try {
      await makePrivate(folder);
      return folder;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === undefined && !(error instanceof UnusableFolder)) throw error;
      reasons.push(`${folder} (${code ?? message})`);
    }
  }
  throw new CacheError(
    `No cache folder can be used: ${reasons.join("; ")}. Set XDG_CACHE_HOME to a folder that belongs to you and can be written to.`,
  );
}

/** Makes a folder that belongs to this user and is closed to others. */
async function makePrivate(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  // Windows has no numeric owners; its profile folders are closed to other users.
  if (process.getuid) {
    const user = process.getuid();
    const link = await lstat(folder);
    const { uid, mode } = await stat(folder);
    for (const [owner, what] of [
      [link.uid, link.isSymbolicLink() ? "a link" : "a folder"],
      [uid, "a folder"],
    ] as const)
      if (owner !== user)
        throw new UnusableFolder(`${what} of the user with id ${owner}; this user has the id ${user}`);
    if ((mode & 0o077) !== 0) await chmod(folder, 0o700);
    // Other users may have put files there that look like ours, including their checksums.
    if ((mode & 0o022) !== 0)
      for (const name of await readdir(folder)) await rm(join(folder, name), { recursive: true });
  }
  await rm(await mkdtemp(join(folder, ".probe-")), { recursive: true });
}
