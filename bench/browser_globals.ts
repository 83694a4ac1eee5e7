/** Globals that Node lacks and the peers need, because they are written for browsers. */
import { resolveObjectURL } from "node:buffer";
import { availableParallelism } from "node:os";
import { Worker as Thread } from "node:worker_threads";
import { globals } from "webgpu";
import { requestAdapter, type DriverSource } from "../engine/node/dawn.js";
import { listAdapters } from "../engine/node/index.js";
import type { Device } from "../engine/index.js";

/** Installs what browsers have and the peers expect: navigator.gpu, WebGPU's constants, workers, iterator helpers. */
export async function installBrowserGlobals(device: Device): Promise<void> {
  Object.assign(globalThis, globals);
  copyWrites();
  const chosen = (await listAdapters()).find(
    (a) => a.vendor === device.adapter.vendor && a.architecture === device.adapter.architecture,
  );
  const source: DriverSource = chosen?.source ?? "system";
  const gpu = {
    async requestAdapter() {
      // An adapter makes only one device, so that each peer gets a fresh adapter.
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
    value: { gpu, userAgent: "Node", hardwareConcurrency: availableParallelism(), platform: "Node" },
  });
  Object.assign(globalThis, { Worker: BlobWorker });
  installIteratorHelpers();
}

/** Copies views of shared memory before they are written: multi-threaded WebAssembly has them, and Dawn for Node refuses them. */
function copyWrites(): void {
  const { prototype } = GPUQueue;
  // eslint-disable-next-line @typescript-eslint/unbound-method -- called with its queue below
  const write = prototype.writeBuffer;
  prototype.writeBuffer = function (buffer, bufferOffset, data, dataOffset = 0, size) {
    const unit = "BYTES_PER_ELEMENT" in data ? (data as Uint8Array).BYTES_PER_ELEMENT : 1;
    const [whole, start] = ArrayBuffer.isView(data) ? [data.buffer, data.byteOffset] : [data, 0];
    const bytes = size === undefined ? data.byteLength - dataOffset * unit : size * unit;
    const copy = new Uint8Array(whole, start + dataOffset * unit, bytes).slice();
    write.call(this, buffer, bufferOffset, copy);
  };
}

/** A `Worker` as jax-js needs it: a script from a blob, and messages both ways. */
class BlobWorker {
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onerror: ((error: Error) => void) | null = null;
  readonly #thread: Promise<Thread>;

  constructor(url: string) {
    // Node's workers do not take blob addresses. The script must be read before its address is revoked.
    this.#thread = resolveObjectURL(url)!
      .text()
      .then((script) => {
        const thread = new Thread(`${WORKER_PRELUDE}\n${script}`, { eval: true });
        thread.on("message", (data: unknown) => this.onmessage?.({ data }));
        thread.on("error", (error) => this.onerror?.(error));
        thread.unref();
        return thread;
      });
  }

  postMessage(message: unknown): void {
    void this.#thread.then((thread) => thread.postMessage(message));
  }

  terminate(): void {
    void this.#thread.then((thread) => thread.terminate());
  }
}

/** Gives a thread of Node the functions that a browser's worker calls. */
const WORKER_PRELUDE = `
const { parentPort } = require("node:worker_threads");
const self = globalThis;
const postMessage = (message) => parentPort.postMessage(message);
parentPort.on("message", (data) => self.onmessage({ data }));`;

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
