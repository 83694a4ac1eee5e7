/** Where the golden fixtures are. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

/** Folders beside the checkout with golden tensors of the official code: of HRM and of TRM. */
const ROOTS = ["../shared/fixtures", "../shared/fixtures-trm"];

/**
 * Names of all fixtures, sorted within their root; no two roots share a name.
 * @returns {Promise<string[]>}
 */
export async function listFixtures() {
  return (await Promise.all(ROOTS.map((root) => fixtureFolders(root)))).flat();
}

/**
 * A file of a fixture by its path below a root; null if no root has it.
 * @param {string} path
 * @returns {Promise<Uint8Array | null>}
 */
export async function readFixture(path) {
  for (const root of ROOTS) {
    const bytes = await readFile(join(root, path)).catch(() => null);
    if (bytes) return new Uint8Array(bytes);
  }
  return null;
}

/**
 * Folders below `root` that hold a fixture, relative to it and sorted; none where `root` is absent.
 * @param {string} root
 * @returns {Promise<string[]>}
 */
async function fixtureFolders(root, folder = "") {
  const entries = await readdir(join(root, folder), { withFileTypes: true }).catch(() => []);
  const here = entries.some((e) => e.name === "segment.safetensors" || e.name === "primitives.json");
  const below = await Promise.all(
    entries
      .filter((e) => e.isDirectory())
      .map((e) => fixtureFolders(root, folder ? `${folder}/${e.name}` : e.name)),
  );
  return [...(here ? [folder] : []), ...below.flat()].sort();
}
