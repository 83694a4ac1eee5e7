/**
 * Runs the tests: `node test/run.mjs [node|browser|page] [--fast] [--grep X]`; default all three.
 * GPU suites (test/gpu) run unchanged under Node and in Chromium; test/node is for Node alone; test/page drives the
 * pages in Chromium from Node.
 */
import { createServer } from "node:http";
import { readdirSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";
import { build } from "../esbuild.config.mjs";
import { fixtureFolders } from "./support/fixtures.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
process.chdir(root);
const args = process.argv.slice(2);
const only = args.find((a) => ["node", "browser", "page"].includes(a));
const fast = args.includes("--fast");
const grep = args.includes("--grep") ? args[args.indexOf("--grep") + 1] : undefined;

const suites = (folder) =>
  readdirSync(join(root, "test", folder))
    .filter((f) => f.endsWith(".test.ts"))
    .sort()
    .map((f) => `./test/${folder}/${f}`);
const out = join(root, "build/test");

function bundle(name, files, options) {
  return esbuild.build({
    stdin: {
      contents: files.map((f) => `import ${JSON.stringify(f)};`).join("\n"),
      resolveDir: root,
      loader: "ts",
    },
    bundle: true,
    format: "esm",
    target: "es2022",
    sourcemap: "inline",
    outfile: join(out, name),
    // "sideEffects": false in package.json would drop the bare imports of the suites.
    ignoreAnnotations: true,
    logLevel: "warning",
    ...options,
  });
}

const total = { passed: 0, failed: 0, skipped: 0 };

/** Bundles suites and runs them in this process. */
async function runHere(name, files) {
  await bundle(name, files, { platform: "node", packages: "external" });
  const { default: Mocha } = await import("mocha");
  const mocha = new Mocha({
    timeout: 120_000,
    ui: "bdd",
    reporter: "spec",
    ...((grep || fast) && { grep: new RegExp(`${fast ? "^(?!.*@slow).*" : ""}${grep ?? ""}`) }),
  });
  mocha.addFile(join(out, name));
  await mocha.loadFilesAsync();
  await new Promise((resolve) => {
    const runner = mocha.run(() => resolve());
    count(runner);
  });
}

function count(runner) {
  runner.on("pass", () => total.passed++);
  runner.on("fail", () => total.failed++);
  runner.on("pending", () => total.skipped++);
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
          : path.startsWith("/fixtures/")
            ? join(root, "../shared/fixtures", normalize(path.slice(9)))
            : null;
    if (path === "/") return response.setHeader("content-type", "text/html").end(page);
    if (path === "/favicon.ico") return response.writeHead(204).end();
    if (path === "/fixtures/")
      return response
        .setHeader("content-type", "application/json")
        .end(JSON.stringify(await fixtureFolders(join(root, "../shared/fixtures"))));
    const bytes = file && (await readFile(file).catch(() => null));
    // A missing fixture is an answer, not an error on the console.
    if (!bytes) return response.writeHead(path.startsWith("/fixtures/") ? 204 : 404).end();
    response
      .setHeader("content-type", TYPES[path.slice(path.lastIndexOf("."))] ?? "application/octet-stream")
      .end(bytes);
  });
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
}

async function runBrowser() {
  const alias = {
    name: "platform",
    setup: (b) =>
      b.onResolve({ filter: /\/platform\.js$/ }, () => ({
        path: join(root, "test/support/platform_browser.ts"),
      })),
  };
  await bundle("browser.mjs", suites("gpu"), { platform: "browser", plugins: [alias] });
  const { launchBrowser } = await import("../build/test/launcher.mjs");
  const server = await serve();
  const browser = await launchBrowser();
  try {
    const page = await browser.newPage();
    console.log(`\nChromium ${await browser.version()}`);
    const finished = new Promise((resolve) => {
      void page.exposeFunction("report", (kind, title, detail, duration) => {
        if (kind === "end") return resolve();
        total[{ pass: "passed", fail: "failed", skip: "skipped" }[kind]]++;
        console.log(
          `  ${{ pass: "✔", fail: "✘", skip: "-" }[kind]} ${title}${duration > 1000 ? ` (${duration} ms)` : ""}${detail ? `\n    ${detail}` : ""}`,
        );
      });
      page.on("pageerror", (error) => {
        total.failed++;
        console.log(`  ✘ page error: ${error}`);
        resolve();
      });
      page.on("console", (message) => {
        if (message.type() !== "error" || /test error/.test(message.text())) return;
        total.failed++;
        console.log(`  ✘ console error: ${message.text()}`);
      });
      page.on("error", (error) => {
        total.failed++;
        console.log(`  ✘ the page crashed: ${error}`);
        resolve();
      });
      browser.on("disconnected", () => {
        total.failed++;
        console.log("  ✘ the browser went away");
        resolve();
      });
    });
    await page.goto(
      `http://127.0.0.1:${server.address().port}/${process.env.TEST_SEED ? `?seed=${process.env.TEST_SEED}` : ""}`,
    );
    await finished;
    browser.removeAllListeners("disconnected");
  } finally {
    await browser.close();
    server.close();
  }
}

await rm(out, { recursive: true, force: true });
await build(["library", "cli"]);
await bundle("launcher.mjs", [], {
  platform: "node",
  packages: "external",
  stdin: undefined,
  entryPoints: ["test/support/browser.ts"],
});
if (!only || only === "node") await runHere("node.mjs", [...suites("gpu"), ...suites("node")]);
if ((!only || only === "browser") && !fast) await runBrowser();
if ((!only || only === "page") && !fast) await runHere("page.mjs", suites("page"));
console.log(
  `${total.passed} passed, ${total.failed} failed${total.skipped ? `, ${total.skipped} skipped` : ""}`,
);
process.exit(total.failed > 0 || total.passed === 0 ? 1 : 0);
