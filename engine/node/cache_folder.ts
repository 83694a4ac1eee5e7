/** Where this package keeps files between processes. */
import { mkdir, rm, stat, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";

/**
 * A folder that only this user writes to: below `$XDG_CACHE_HOME`, `~/.cache`, or in the temporary folder.
 * @throws Error where none of them can be written to
 */
export async function cacheFolder(): Promise<string> {
  const user = process.getuid?.() ?? 0;
  const candidates = [
    process.env["XDG_CACHE_HOME"] && join(process.env["XDG_CACHE_HOME"], "hrm-webgpu"),
    join(homedir(), ".cache", "hrm-webgpu"),
    join(tmpdir(), `hrm-webgpu-${user}`),
  ];
  let reason: unknown;
  for (const folder of candidates) {
    if (!folder) continue;
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      // libraries are loaded from here: another user's folder will not do
      if ((await stat(folder)).uid !== user && process.getuid) continue;
      const probe = join(folder, `.probe-${process.pid}`);
      await writeFile(probe, "");
      await rm(probe);
      return folder;
    } catch (error) {
      reason = error;
    }
  }
  throw new Error(
    `no writable cache folder among ${candidates.filter(Boolean).join(", ")}: ${String(reason)}`,
  );
}
