/** `npm run bench -- --browser`: bundles the page and the peers, serves them, and opens them in headless Chromium. */
import { build } from "esbuild";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, extname, join, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { launchBrowser } from "./launch.js";
import { PEERS, type PeerPins } from "../core/peer_list.js";
import { startTorch } from "../torch.js";
import type { Bridge, Message, Outcome, Request } from "./protocol.js";

/** The repository, from build/bench/main.js. */
const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const peerFolder = join(root, "bench/peers");

const TYPES: Readonly<Record<string, string>> = {
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};
/** Turns off Chromium's watchdog, which would end the page during a step of a slow peer. */
const FLAGS = ["--disable-gpu-watchdog"];

export interface BrowserRun {
  /** `Chrome/147.0.0` */
  readonly browser: string;
  readonly outcome: Outcome;
}

/** Runs the request in a browser; `receive` gets the messages of the page. */
export async function runInBrowser(
  { peers, ...options }: Omit<Request, "peers"> & { readonly peers: boolean },
  receive: (message: Message) => void,
): Promise<BrowserRun> {
  const folder = await mkdtemp(join(tmpdir(), "bench-page-"));
  const installed = peers && existsSync(join(peerFolder, "node_modules"));
  await bundle(folder, installed);
  const torch = peers ? startTorch(join(peerFolder, "torch_peer.py"), { files: false }) : null;
  const request: Request = {
    ...options,
    peers: torch && {
      pins: installed
        ? (JSON.parse(await readFile(join(peerFolder, "package.json"), "utf8")) as PeerPins)
        : null,
      torch: await torch.greeting.catch((error: Error) => ({ reason: error.message })),
    },
  };
  const server = await serve(folder);
  const browser = await launchBrowser({ flags: FLAGS });
  try {
    const page = await browser.newPage();
    const outcome = await new Promise<Outcome>((resolve, reject) => {
      const failed = (what: string) => (error: unknown) =>
        reject(new Error(`${what}: ${String((error as Error | undefined)?.message ?? error)}`));
      page.on("pageerror", failed("error in the page"));
      page.on("error", failed("the page crashed"));
      browser.on("disconnected", () => reject(new Error("the browser went away")));
      const post = (message: Message): void => {
        if (message.type === "outcome") resolve(message.outcome);
        else if (message.type === "failure") reject(new Error(message.message));
        else receive(message);
      };
      const askTorch: Bridge["askTorch"] = async (question) =>
        torch!.ask<object>(question).catch((error: Error) => ({ error: error.message }));
      (async () => {
        await page.exposeFunction("postToDriver", post);
        await page.exposeFunction("askTorch", askTorch);
        await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
        await page.waitForFunction(() => "startBench" in globalThis);
        await page.evaluate((given) => (globalThis as unknown as Bridge).startBench(given), request);
      })().catch(reject);
    });
    return { browser: await browser.version(), outcome };
  } finally {
    browser.removeAllListeners("disconnected");
    await browser.close();
    server.close();
    await rm(folder, { recursive: true, force: true });
  }
}

async function bundle(folder: string, peers: boolean): Promise<void> {
  const modules = peers ? [...new Set(PEERS.map((entry) => join(peerFolder, entry.module)))] : [];
  await build({
    entryPoints: [join(root, "bench/browser/page.ts"), ...modules].map((path) => ({
      in: path,
      out: path.slice(path.lastIndexOf(sep) + 1).replace(/\.m?[jt]s$/, ""),
    })),
    bundle: true,
    format: "esm",
    target: "es2022",
    platform: "browser",
    // Modules that libraries import only under Node.
    external: ["node:*", "module", "fs", "worker_threads"],
    outdir: folder,
    logLevel: "error",
  });
}

const PAGE = `<!doctype html><title>benchmark</title><script type="module" src="/page.js"></script>`;

/** Serves the bundles and the peers' files, isolated, so that WebAssembly may share memory between threads. */
async function serve(folder: string): Promise<Server> {
  const packages = join(peerFolder, "node_modules");
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? "/", "http://localhost").pathname);
    response.setHeader("cross-origin-opener-policy", "same-origin");
    response.setHeader("cross-origin-embedder-policy", "require-corp");
    if (path === "/") {
      response.setHeader("content-type", "text/html").end(PAGE);
      return;
    }
    const inPackages = path.startsWith("/node_modules/");
    const [base, rest] = inPackages ? [packages, path.slice("/node_modules".length)] : [folder, path];
    const file = join(base, rest);
    const bytes = file.startsWith(base + sep) ? readFile(file).catch(() => null) : Promise.resolve(null);
    void bytes.then((content) => {
      if (content) response.setHeader("content-type", TYPES[extname(file)] ?? "application/octet-stream");
      response.writeHead(content ? 200 : path === "/favicon.ico" ? 204 : 404).end(content ?? undefined);
    });
  });
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
}
