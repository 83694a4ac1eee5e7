/**
 * `npm run cycles [-- COUNT]`: creates and destroys a device, and then a program on one device, COUNT times (default 200),
 * under Node and in Chromium, and prints the memory of the processes at the beginning and at the end. Exits with 1 if
 * buffers stay alive, or if memory grows by more than 50 kB a cycle over the second half.
 */
import { fork } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import * as esbuild from "esbuild";
import { build } from "../esbuild.config.mjs";

const self = fileURLToPath(import.meta.url);
const root = join(dirname(self), "..");
const GROWTH_KB = 50;

/**
 * One cycle: a variable, a program of its own text for each size, a run and a read. Self-contained, as it also runs in
 * pages. @returns the buffers that live on the device after the cycle
 */
async function cycle({ engine, open, device: shared, k }) {
  const { assign, compile, f32, grad, matmul, mean, mul, square, sub, variable } = engine;
  const device = shared ?? (await open());
  const columns = 1 + (k % 100);
  const w = variable(device, f32(64, columns), "w");
  const program = await compile(device, { x: f32(32, 64) }, ({ x }) => {
    const loss = mean(square(sub(matmul(x, w), 1)));
    assign(w, sub(w, mul(grad(loss, w), 0.1)));
    return { loss };
  });
  const { loss } = await program.call({ x: new Float32Array(32 * 64).fill(0.1) });
  if (!(loss[0] > 0)) throw new Error(`the loss is ${loss[0]}`);
  program.destroy();
  w.destroy();
  const { buffersLive, bytesLive } = device.stats;
  if (!shared) device.destroy();
  return { buffersLive, bytesLive };
}

/** Resident memory of a process and its descendants, in kB. */
function memoryOf(pid) {
  const parents = new Map();
  for (const name of readdirSync("/proc").filter((n) => /^\d+$/.test(n)))
    try {
      const [, parent] = /^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${name}/status`, "utf8"));
      parents.set(Number(name), Number(parent));
    } catch {
      // It ended meanwhile.
    }
  let total = 0;
  for (const one of parents.keys()) {
    let at = one;
    while (at && at !== pid) at = parents.get(at) ?? 0;
    if (at !== pid) continue;
    try {
      const [, kilobytes] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${one}/status`, "utf8")) ?? [0, 0];
      total += Number(kilobytes);
    } catch {
      // It ended meanwhile.
    }
  }
  return total;
}

/** Runs cycles by `one(kind, k)` and judges the memory that `measure` tells. */
async function run(title, count, one, measure) {
  let failed = false;
  for (const kind of ["devices", "programs"]) {
    const memory = [];
    let live = null;
    for (let k = 0; k < count; k++) {
      live = await one(kind, k);
      if (live.buffersLive > 0 || live.bytesLive > 0) failed = true;
      if (k === 0 || (k + 1) % Math.max(1, count / 10) === 0) memory.push([k + 1, await measure()]);
    }
    const [[from, before], [to, after]] = [memory[Math.floor(memory.length / 2)], memory.at(-1)];
    const slope = (after - before) / Math.max(1, to - from);
    if (slope > GROWTH_KB) failed = true;
    const series = memory.map(([k, kb]) => `${k}: ${(kb / 1000).toFixed(0)}`).join("  ");
    console.log(
      `${title} ${kind.padEnd(8)} MB after cycle ${series}; ${slope.toFixed(0)} kB a cycle in the second half; ${live.buffersLive} buffers live`,
    );
  }
  return failed;
}

async function inNode(count) {
  const child = fork(self, ["child"], { execArgv: ["--expose-gc"] });
  const ask = (message) =>
    new Promise((resolve, reject) => {
      child.once("message", (answer) => (answer.error ? reject(new Error(answer.error)) : resolve(answer)));
      child.send(message);
    });
  try {
    const one = (kind, k) => ask({ kind, k });
    return await run(
      "Node    ",
      count,
      one,
      async () => (await ask({ kind: "collect" })) && memoryOf(child.pid),
    );
  } finally {
    child.kill();
  }
}

async function childProcess() {
  const engine = await import(pathToFileURL(join(root, "dist/engine/index.js")).href);
  const { openNodeDevice } = await import(pathToFileURL(join(root, "dist/engine/node/index.js")).href);
  let device = null;
  process.on("message", async ({ kind, k }) => {
    try {
      globalThis.gc();
      if (kind === "programs") device ??= await openNodeDevice();
      const shared = kind === "programs" ? device : undefined;
      process.send(
        kind === "collect" ? {} : await cycle({ engine, open: openNodeDevice, device: shared, k }),
      );
    } catch (error) {
      process.send({ error: String(error.stack) });
    }
  });
}

async function inChromium(count) {
  const outfile = join(root, "build/cycles/launch_browser.mjs");
  const entryPoints = [join(root, "bench/browser/launch.ts")];
  await esbuild.build({
    entryPoints,
    bundle: true,
    platform: "node",
    packages: "external",
    format: "esm",
    outfile,
  });
  const { launchBrowser } = await import(pathToFileURL(outfile).href);
  const server = createServer(async (request, response) => {
    const bytes = await readFile(join(root, new URL(request.url, "http://localhost").pathname)).catch(
      () => null,
    );
    if (request.url === "/")
      response.setHeader("content-type", "text/html").end("<!doctype html><title>cycles</title>");
    else response.setHeader("content-type", "text/javascript").end(bytes ?? "");
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const browser = await launchBrowser({ flags: ["--js-flags=--expose-gc"] });
  try {
    const page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    await page.evaluate(`globalThis.cycle = ${cycle};`);
    const one = (kind, k) =>
      page.evaluate(
        async (kind, k) => {
          const engine = await import("/dist/engine/index.js");
          globalThis.gc?.();
          if (kind === "programs") globalThis.shared ??= await engine.openDevice();
          const device = kind === "programs" ? globalThis.shared : undefined;
          return globalThis.cycle({ engine, open: () => engine.openDevice(), device, k });
        },
        kind,
        k,
      );
    return await run("Chromium", count, one, () => memoryOf(browser.process().pid));
  } finally {
    await browser.close();
    server.close();
  }
}

if (process.argv[2] === "child") await childProcess();
else {
  const count = Number(process.argv[2] ?? 200);
  if (!Number.isInteger(count) || count < 1) {
    console.error(`got "${process.argv[2]}"; expected a number of cycles`);
    process.exit(2);
  }
  await build(["library"]);
  const failed = [await inNode(count), await inChromium(count)].some(Boolean);
  process.exit(failed ? 1 : 0);
}
