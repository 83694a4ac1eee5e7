/** Opens the peers under Node, on the driver of the adapter that was chosen. */
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { promisify } from "node:util";
import { globals } from "webgpu";
import { requestAdapter, type DriverSource } from "../engine/node/dawn.js";
import { listAdapters } from "../engine/node/index.js";
import type { Device } from "../engine/index.js";
import type { NamedPeer, Peer } from "./core/peer.js";

/** Library, module in bench/peers, and what `open` of that module takes. */
const PEERS = [
  { name: "tfjs", module: "tfjs.mjs", options: [] },
  { name: "jax-js", module: "jax.mjs", options: ["webgpu"] },
] as const;

/** Folder bench/peers, from build/bench/main.js. */
const folder = join(dirname(fileURLToPath(import.meta.url)), "../../bench/peers");

/** Opens every peer on an adapter of the same driver as `device`; those that cannot say why. */
export async function openPeers(device: Device): Promise<NamedPeer[]> {
  if (!existsSync(join(folder, "node_modules"))) {
    const reason = "not installed; run: npm ci --ignore-scripts --prefix bench/peers";
    return PEERS.map(({ name }) => ({ name, peer: { reason } }));
  }
  await installGlobals(device);
  const opened: NamedPeer[] = [];
  for (const { name, module, options } of PEERS) {
    try {
      const { open } = (await import(pathToFileURL(join(folder, module)).href)) as {
        open: (...options: readonly string[]) => Promise<Peer>;
      };
      const peer = await open(...options);
      opened.push({ name: `${name} ${peer.version}`, peer });
    } catch (error) {
      opened.push({ name, peer: { reason: String((error as Error).message ?? error) } });
    }
  }
  return opened;
}

/** What browsers have and the peers expect: navigator.gpu, WebGPU's constants, iterator helpers. */
async function installGlobals(device: Device): Promise<void> {
  Object.assign(globalThis, globals);
  const chosen = (await listAdapters()).find(
    (a) => a.vendor === device.adapter.vendor && a.architecture === device.adapter.architecture,
  );
  const source: DriverSource = chosen?.source ?? "system";
  const gpu = {
    async requestAdapter() {
      // An adapter makes one device only, so each peer gets a fresh one.
      for (const options of [
        { powerPreference: "high-performance" },
        { forceFallbackAdapter: true },
        {},
      ] as const) {
        const adapter = await requestAdapter(source, [], options);
        if (adapter?.info.architecture === device.adapter.architecture) return adapter;
      }
      return null;
    },
    getPreferredCanvasFormat: () => "bgra8unorm",
    wgslLanguageFeatures: new Set<string>(),
  };
  Object.defineProperty(globalThis, "navigator", {
    configurable: true,
    value: { gpu, userAgent: "Node", hardwareConcurrency: 2, platform: "Node" },
  });
  installIteratorHelpers();
}

/** Iterator.prototype.map and friends, which Node 20 lacks and jax-js uses. */
function installIteratorHelpers(): void {
  type Helpers = Record<string, unknown>;
  const prototype = Object.getPrototypeOf(Object.getPrototypeOf([].values())) as Helpers;
  const helpers: Helpers = {
    *map(this: Iterable<unknown>, f: (value: unknown, i: number) => unknown) {
      let i = 0;
      for (const value of this) yield f(value, i++);
    },
    *filter(this: Iterable<unknown>, f: (value: unknown, i: number) => boolean) {
      let i = 0;
      for (const value of this) if (f(value, i++)) yield value;
    },
    *take(this: Iterable<unknown>, n: number) {
      if (n > 0)
        for (const value of this) {
          yield value;
          if (--n === 0) return;
        }
    },
    toArray(this: Iterable<unknown>) {
      return [...this];
    },
    some(this: Iterable<unknown>, f: (value: unknown) => boolean) {
      for (const value of this) if (f(value)) return true;
      return false;
    },
    every(this: Iterable<unknown>, f: (value: unknown) => boolean) {
      for (const value of this) if (!f(value)) return false;
      return true;
    },
    find(this: Iterable<unknown>, f: (value: unknown) => boolean) {
      for (const value of this) if (f(value)) return value;
      return undefined;
    },
    reduce(this: Iterable<unknown>, f: (a: unknown, b: unknown) => unknown, ...start: unknown[]) {
      return start.length > 0 ? [...this].reduce(f, start[0]) : [...this].reduce(f);
    },
  };
  for (const [name, value] of Object.entries(helpers))
    if (!(name in prototype))
      Object.defineProperty(prototype, name, { value, writable: true, configurable: true });
}

/** What bench/peers/torch_step.py printed (JSON lines), or why it did not run. */
export async function runTorch(): Promise<{ lines: string[] } | { reason: string }> {
  try {
    const { stdout } = await promisify(execFile)("python3", [join(folder, "torch_step.py")], {
      timeout: 600_000,
    });
    return { lines: stdout.trim().split("\n") };
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    return { reason: (stderr?.trim().split("\n").at(-1) || message).slice(0, 200) };
  }
}
