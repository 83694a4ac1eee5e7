/** Node's half of the platform; the browser bundle takes platform_browser.ts in its place. */
import { readFile } from "node:fs/promises";
import { openNodeDevice } from "../../engine/node/index.js";
import { fixtureFolders } from "./fixtures.mjs";
import type { Device } from "../../engine/index.js";

/**
 * Opens the adapter named by TEST_ADAPTER, default the software adapter, so that every machine tests the same; without
 * Dawn's bounds checks and with its experimental features, as the command line does. Browsers have the checks.
 */
export async function openTestDevice(): Promise<Device> {
  return openNodeDevice({ adapter: process.env["TEST_ADAPTER"] ?? "software", robustness: false });
}

/** A file below ../shared/fixtures; null where it is absent. */
export async function readFixture(path: string): Promise<Uint8Array | null> {
  return readFile(`../shared/fixtures/${path}`).then(
    (bytes) => new Uint8Array(bytes),
    () => null,
  );
}

/** Folders below ../shared/fixtures that hold a fixture. */
export async function listFixtures(): Promise<string[]> {
  return fixtureFolders("../shared/fixtures");
}

/** TEST_SEED, or a fresh one. */
export const testSeed = Number(process.env["TEST_SEED"] ?? Date.now() % 2 ** 31);

/**
 * Whether emulated kernels run here, and the sweep makes pipelines and not only modules: both take a software adapter a while,
 * so one runtime has them.
 */
export const compilesAll = true;
