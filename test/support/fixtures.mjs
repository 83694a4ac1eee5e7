/** Where the golden fixtures are. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";

/**
 * Folders below `root` that hold a fixture, relative to it and sorted; none where `root` is absent.
 * @param {string} root
 * @returns {Promise<string[]>}
 */
export async function fixtureFolders(root, folder = "") {
  const entries = await readdir(join(root, folder), { withFileTypes: true }).catch(() => []);
  const here = entries.some((e) => e.name === "segment.safetensors" || e.name === "primitives.json");
  const below = await Promise.all(
    entries
      .filter((e) => e.isDirectory())
      .map((e) => fixtureFolders(root, folder ? `${folder}/${e.name}` : e.name)),
  );
  return [...(here ? [folder] : []), ...below.flat()].sort();
}
