/** The browser's half of the platform. */
import { openDevice, type Device } from "../../engine/index.js";

/** Opens the page's adapter; experimental features are up to the browser's flags. */
export async function openTestDevice(): Promise<Device> {
  return openDevice();
}

/** A fixture from the test server; null if it is absent. */
export async function readFixture(path: string): Promise<Uint8Array | null> {
  const response = await fetch(`/fixtures/${path}`);
  // Status 204 means that the fixture is absent.
  return response.status === 200 ? new Uint8Array(await response.arrayBuffer()) : null;
}

/** Folders with a fixture, from the test server. */
export async function listFixtures(): Promise<string[]> {
  return (await (await fetch("/fixtures/")).json()) as string[];
}

/** The seed in the page's address, or a fresh one. */
export const testSeed = Number(new URLSearchParams(location.search).get("seed") ?? Date.now() % 2 ** 31);

/** Not here: their text is the same in Node. */
export const compilesAll = false;

/** The globals of another context, whose classes differ from those of this context. */
export async function otherRealm(): Promise<typeof globalThis> {
  const frame = document.createElement("iframe");
  document.body.append(frame);
  return Promise.resolve(frame.contentWindow as unknown as typeof globalThis);
}

/** A GPUDevice as a host has one, without the engine on it. */
export async function openTestGpu(): Promise<GPUDevice> {
  return (await navigator.gpu.requestAdapter())!.requestDevice();
}
