/** Node's half of the platform; the browser bundle takes platform_browser.ts in its place. */
import { runInNewContext } from "node:vm";
import { requestAdapter } from "../../engine/node/dawn.js";
import { openNodeDevice } from "../../engine/node/index.js";
import type { Device } from "../../engine/index.js";

export { listFixtures, readFixture } from "./fixtures.mjs";

/**
 * Opens the adapter named by TEST_ADAPTER, default the software adapter, so that every machine tests the same; without
 * Dawn's bounds checks and with its experimental features, as the command line does. Browsers have the checks.
 */
export async function openTestDevice(): Promise<Device> {
  return openNodeDevice({ adapter: process.env["TEST_ADAPTER"] ?? "software", robustness: false });
}

/** TEST_SEED, or a fresh one. */
export const testSeed = Number(process.env["TEST_SEED"] ?? Date.now() % 2 ** 31);

/**
 * Whether emulated kernels run here, and the sweep makes pipelines and not only modules: both take a software adapter a while,
 * so one runtime has them.
 */
export const compilesAll = true;

/** The globals of another context, whose classes differ from those of this context. */
export async function otherRealm(): Promise<typeof globalThis> {
  return Promise.resolve(runInNewContext("globalThis") as typeof globalThis);
}

/** A GPUDevice as a host has one, without the engine on it. */
export async function openTestGpu(): Promise<GPUDevice> {
  const adapter = (await requestAdapter("npm", [], {})) ?? (await requestAdapter("system", [], {}));
  return adapter!.requestDevice();
}
