/**
 * Runs the tests: `node test/run.mjs [node|browser|page] [--fast] [--grep TITLE] [--file NAME]`; default all three.
 * `--fast` leaves out titles with @slow, `--grep` takes a regular expression, `--file` a part of a file's name.
 * GPU suites (test/gpu) run unchanged under Node and in Chromium; test/node is for Node alone; test/page drives the
 * pages in Chromium from Node. As many run at a time as there are cores, up to four: processes that take one file after
 * another, and one that runs the browser. A file's results are printed when it is through.
 */
import { fork } from "node:child_process";
import { createServer } from "node:http";
import { readdirSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import * as esbuild from "esbuild";
import { build } from "../esbuild.config.mjs";
import { listFixtures, readFixture } from "./support/fixtures.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
process.chdir(root);
const USAGE = "usage: node test/run.mjs [node|browser|page] [--fast] [--grep TITLE] [--file NAME]";
const [only, { fast, grep, file: named = "" }] = parse();

/** The place to run in, if not all three, and the options. Anything else ends the process with a message. */
function parse() {
  try {
    const options = { fast: { type: "boolean" }, grep: { type: "string" }, file: { type: "string" } };
    const { positionals, values } = parseArgs({ options, allowPositionals: true });
    if (positionals.length > 1 || !["node", "browser", "page", undefined].includes(positionals[0]))
      throw new Error(`got "${positionals.join(" ")}"`);
    return [positionals[0], values];
  } catch (error) {
    console.error(`${error.message}\n${USAGE}`);
    return process.exit(2);
  }
}

/** What the titles of the tests in Node's processes match. */
const pattern = `${fast ? "^(?!.*@slow).*" : ""}${grep ?? ""}`;
const seed = process.env.TEST_SEED ?? String(Date.now() % 2 ** 31);

const suites = (folder) =>
  readdirSync(join(root, "test", folder))
    .filter((f) => f.endsWith(".test.ts") && f.includes(named))
    .sort()
    .map((f) => `./test/${folder}/${f}`);
const out = join(root, "build/test");

const bundle = (options) =>
  esbuild.build({
    bundle: true,
    format: "esm",
    target: "es2022",
    sourcemap: "inline",
    logLevel: "warning",
    ...options,
  });

/** Every file for Node by itself, and what they share, such as the device, in chunks. */
const bundleForNode = (files) =>
  bundle({
    entryPoints: [
      ...[...files, "./test/support/random.ts"].map((path) => ({
        in: path,
        out: path.slice("./test/".length, -".ts".length),
      })),
      { in: "./bench/browser/launch.ts", out: "launch_browser" },
    ],
    platform: "node",
    packages: "external",
    splitting: true,
    outdir: out,
  });

const total = { passed: 0, skipped: 0, failed: [] };

function add({ passed, skipped, failed }) {
  total.passed += passed;
  total.skipped += skipped;
  total.failed.push(...failed);
}

/** Files that take minutes go first, so that no core idles at the end. */
const LONGEST = [
  "matmul",
  "kill_resume",
  "attention",
  "cli_runs",
  "autotune",
  "mixed_precision",
  "attention_matrices",
  "resume",
  "goldens",
  "training",
  "bench",
  "learning",
  "kernels",
  "micro_batches",
  "bench_cli",
  "f16_storage_in_programs",
  "watch",
];
const rank = (file) => LONGEST.indexOf(file.slice(file.lastIndexOf("/") + 1, -".test.ts".length)) + 1 || 99;

/** A process that runs files one at a time; `run` answers when the file is through, also where the process died of it. */
function startWorker() {
  const child = fork(join(root, "test/worker.mjs"), [out, pattern], {
    env: { ...process.env, TEST_SEED: seed },
  });
  const ended = new Promise((resolve) =>
    child.once("exit", (code, signal) => resolve({ ended: signal ?? `exit code ${code}` })),
  );
  // What cannot be sent any more is answered by the end of the process.
  child.on("error", () => {});
  const message = () => Promise.race([new Promise((resolve) => child.once("message", resolve)), ended]);
  const ready = message();
  return {
    async run(file) {
      await ready;
      const answer = message();
      child.send(file.replace("./test/", "").replace(/\.ts$/, ".js"));
      const result = await answer;
      if (!result.ended) return result;
      const failed = `${file}: the process that ran it ended with ${result.ended}`;
      return { ...result, passed: 0, skipped: 0, failed: [failed], printed: `  ✘ ${failed}\n` };
    },
    stop: () => child.connected && child.disconnect(),
  };
}

/** Takes jobs from the list until it is empty: test files, and functions that do all by themselves. */
async function lane(jobs) {
  let worker = null;
  for (let job = jobs.shift(); job; job = jobs.shift()) {
    if (typeof job === "function") {
      await job();
      continue;
    }
    worker ??= startWorker();
    const result = await worker.run(job);
    process.stdout.write(result.printed);
    add(result);
    if (result.ended) worker = null;
  }
  worker?.stop();
}

const TYPES = {
  ".html": "text/html",
  ".mjs": "text/javascript",
  ".js": "text/javascript",
  ".css": "text/css",
};

/** Serves the page, the bundle and the fixtures. */
function serve() {
  const page = `<!doctype html><title>tests</title><div id="mocha"></div><script src="/mocha.js"></script><script type="module">
    mocha.setup({ ui: "bdd", timeout: 120000, reporter: "spec"${grep ? `, grep: new RegExp(${JSON.stringify(grep)})` : ""} });
    try {
      await import("/browser.mjs");
      mocha.run().on("pass", (t) => report("pass", t.fullTitle(), "", t.duration))
        .on("fail", (t, e) => report("fail", t.fullTitle(), String(e.stack ?? e)))
        .on("pending", (t) => report("skip", t.fullTitle()))
        .on("end", () => report("end"));
    } catch (e) { report("fail", "loading the suites", String(e.stack ?? e)); report("end"); }
  </script>`;
  const server = createServer(async (request, response) => {
    const path = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
    const file =
      path === "/mocha.js"
        ? join(root, "node_modules/mocha/mocha.js")
        : path === "/browser.mjs"
          ? join(out, "browser.mjs")
          : null;
    if (path === "/") return response.setHeader("content-type", "text/html").end(page);
    if (path === "/favicon.ico") return response.writeHead(204).end();
    if (path === "/fixtures/")
      return response.setHeader("content-type", "application/json").end(JSON.stringify(await listFixtures()));
    const isFixture = path.startsWith("/fixtures/");
    const bytes = isFixture
      ? await readFixture(normalize(path.slice(9)))
      : file && (await readFile(file).catch(() => null));
    // A missing fixture is an answer, not an error on the console.
    if (!bytes) return response.writeHead(isFixture ? 204 : 404).end();
    response
      .setHeader("content-type", TYPES[path.slice(path.lastIndexOf("."))] ?? "application/octet-stream")
      .end(bytes);
  });
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
}

/** The GPU suites in Chromium; prints when it is through where others print meanwhile. */
async function runBrowser() {
  const lines = [];
  const print = only === "browser" ? console.log : (line) => lines.push(line);
  const alias = {
    name: "platform",
    setup: (b) =>
      b.onResolve({ filter: /\/platform\.js$/ }, () => ({
        path: join(root, "test/support/platform_browser.ts"),
      })),
  };
  await bundle({
    stdin: {
      contents: suites("gpu")
        .map((f) => `import ${JSON.stringify(f)};`)
        .join("\n"),
      resolveDir: root,
      loader: "ts",
    },
    platform: "browser",
    plugins: [alias],
    // "sideEffects": false in package.json would drop the bare imports of the suites.
    ignoreAnnotations: true,
    outfile: join(out, "browser.mjs"),
  });
  const { launchBrowser } = await import("../build/test/launch_browser.js");
  const server = await serve();
  const browser = await launchBrowser();
  try {
    const page = await browser.newPage();
    print(`\nChromium ${await browser.version()}`);
    const fail = (title, detail = "") => {
      total.failed.push(`Chromium: ${title}${detail && `\n    ${detail}`}`);
      print(`  ✘ ${title}${detail && `\n    ${detail}`}`);
    };
    const finished = new Promise((resolve) => {
      void page.exposeFunction("report", (kind, title, detail, duration) => {
        if (kind === "end") return resolve();
        if (kind === "fail") return fail(title, detail);
        total[kind === "pass" ? "passed" : "skipped"]++;
        print(`  ${kind === "pass" ? "✔" : "-"} ${title}${duration > 1000 ? ` (${duration} ms)` : ""}`);
      });
      page.on("pageerror", (error) => {
        fail(`page error: ${error}`);
        resolve();
      });
      page.on("console", (message) => {
        // An error that a test causes on purpose says so in its text, or in the address that cannot be loaded.
        const isPlanned =
          /test error/.test(message.text()) || /test-error/.test(message.location().url ?? "");
        if (message.type() === "error" && !isPlanned) fail(`console error: ${message.text()}`);
      });
      page.on("error", (error) => {
        fail(`the page crashed: ${error}`);
        resolve();
      });
      browser.on("disconnected", () => {
        fail("the browser went away");
        resolve();
      });
    });
    await page.goto(`http://127.0.0.1:${server.address().port}/?seed=${seed}`);
    await finished;
    browser.removeAllListeners("disconnected");
  } finally {
    await browser.close();
    server.close();
    if (lines.length > 0) console.log(lines.join("\n"));
  }
}

await rm(out, { recursive: true, force: true });
const wanted = (kind) => (!only || only === kind) && (kind === "node" || !fast);
const files = [
  ...(wanted("page") ? suites("page") : []),
  ...(wanted("node") ? [...suites("gpu"), ...suites("node")].sort((a, b) => rank(a) - rank(b)) : []),
];
await Promise.all([build(["library", "cli"]), bundleForNode(files)]);
console.log(`test seed ${seed} (TEST_SEED)`);
const jobs = [...(wanted("browser") ? [runBrowser] : []), ...files];
await Promise.all(Array.from({ length: Math.min(4, availableParallelism()) }, () => lane(jobs)));
// Again at the end, where a log that is cut still has it: what failed, why, and the seed that repeats it.
for (const failure of total.failed) console.log(`✘ ${failure}`);
if (total.failed.length > 0) console.log(`test seed ${seed} (TEST_SEED)`);
console.log(
  `${total.passed} passed, ${total.failed.length} failed${total.skipped ? `, ${total.skipped} skipped` : ""}`,
);
process.exit(total.failed.length > 0 || total.passed === 0 ? 1 : 0);
