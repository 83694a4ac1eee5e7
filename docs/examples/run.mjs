/**
 * Runs the examples as strangers would: packs the library, copies each example into a folder of its own, installs the
 * tarball and the example's pinned packages there, builds it, and opens its page in Chromium or runs its program.
 *
 *   node docs/examples/run.mjs [name ...]     default: all; `vite@7` runs one of several versions
 *
 * What an example's package.json says under "example": `page`, the folder to serve, and `query`, what to add to its
 * address; `server`, a script that serves it; `versions`, the versions of a package
 * to run it with. A page is right when its element #result begins with "loss", a program when it prints such a line.
 */
import { execFile, spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import * as esbuild from "esbuild";

const run = promisify(execFile);
const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "../..");
const RIGHT = /^loss \d+\.\d+/m;
const TYPES = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".css": "text/css",
};
const PATIENCE_MS = 120_000;

/** Every example with every version that it names: `node@22`, `webpack`. */
export function listExamples() {
  return readdirSync(here, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap(({ name }) => {
      const manifest = JSON.parse(readFileSync(join(here, name, "package.json"), "utf8"));
      const [[dependency, versions] = []] = Object.entries(manifest.example.versions ?? {});
      if (!versions) return [{ title: name, name, manifest }];
      return versions.map((version) => ({
        title: `${name}@${version.startsWith("0.") || name === "typescript" ? version.split(".").slice(0, 2).join(".") : version.split(".")[0]}`,
        name,
        manifest: {
          ...manifest,
          devDependencies: { ...manifest.devDependencies, [dependency]: version },
        },
      }));
    });
}

/** Packs the library as it would be published, or with the files of the last build. @returns the tarball */
export async function packLibrary(folder, { built = false } = {}) {
  if (!built) await run("npm", ["run", "build"], { cwd: root });
  const { stdout } = await run("npm", ["pack", "--ignore-scripts", "--json", "--pack-destination", folder], {
    cwd: root,
  });
  return join(folder, JSON.parse(stdout)[0].filename);
}

/** Serves a folder on a free port of this machine. */
function serve(folder) {
  const server = createServer(async (request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, "http://localhost").pathname));
    const file = join(folder, path.endsWith("/") ? `${path}index.html` : path);
    const bytes = file.startsWith(folder) ? await readFile(file).catch(() => null) : null;
    if (!bytes) return response.writeHead(path === "/favicon.ico" ? 204 : 404).end();
    response.setHeader("content-type", TYPES[extname(file)] ?? "application/octet-stream").end(bytes);
  });
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
}

/** Opens a page and waits for its result. @throws Error with the page's errors if the result is not right */
async function checkPage(browser, address) {
  const page = await browser.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  try {
    await page.goto(address);
    const text = () => document.querySelector("#result")?.textContent ?? "";
    await page
      .waitForFunction(() => /^(loss|failed)/.test(document.querySelector("#result")?.textContent ?? ""), {
        timeout: PATIENCE_MS,
      })
      .catch(async (error) => {
        throw new Error(`${error.message}; #result is "${await page.evaluate(text)}"; ${errors.join("; ")}`);
      });
    const result = await page.evaluate(text);
    if (!RIGHT.test(result)) throw new Error(`#result is "${result}"; ${errors.join("; ")}`);
    return result;
  } finally {
    await page.close();
  }
}

/** Starts a server of the example's, opens its page, and ends the server. */
async function checkServer(browser, folder, args, port) {
  const child = spawn("npm", args, { cwd: folder, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
  try {
    const address = `http://127.0.0.1:${port}/`;
    for (let tries = 0; ; tries++) {
      if (
        await fetch(address).then(
          ({ ok }) => ok,
          () => false,
        )
      )
        break;
      if (tries > 600 || child.exitCode !== null) throw new Error(`no server at ${address}: ${output}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    return await checkPage(browser, address);
  } finally {
    try {
      process.kill(-child.pid);
    } catch {
      // It has ended by itself.
    }
  }
}

/** A port that was free a moment ago. */
async function freePort() {
  const server = await serve(here);
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Installs, builds and runs an example. @returns what it showed */
export async function runExample({ title, name, manifest }, tarball, folder, browser) {
  const place = join(folder, title);
  await cp(join(here, name), place, { recursive: true });
  const { example, scripts = {}, ...rest } = manifest;
  const dependencies = { ...rest.dependencies, "hrm-webgpu": pathToFileURL(tarball).href };
  await writeFile(join(place, "package.json"), JSON.stringify({ ...rest, scripts, dependencies }, null, 2));
  const npm = (...args) =>
    run("npm", args, { cwd: place, maxBuffer: 2 ** 26 }).catch((error) => {
      throw new Error(`npm ${args.join(" ")}: ${error.stdout}${error.stderr}`);
    });
  await npm("install", "--no-audit", "--no-fund", "--loglevel=error");
  // On machines without a GPU, programs find the software adapter of this repository.
  const software = join(root, "node_modules/@sparticuz");
  if (existsSync(software)) await symlink(software, join(place, "node_modules/@sparticuz"));
  const shown = [];
  if (scripts.build) await npm("run", "build");
  if (example.page) {
    const server = await serve(join(place, example.page));
    shown.push(
      await checkPage(await browser(), `http://127.0.0.1:${server.address().port}/${example.query ?? ""}`),
    );
    server.close();
  }
  if (scripts.dev || example.server) {
    const port = await freePort();
    const args = ["run", example.server ?? "dev", "--", "--port", String(port), ...(example.host ?? [])];
    shown.push(await checkServer(await browser(), place, args, port));
  } else if (scripts.start) {
    const { stdout } = await npm("run", "--silent", "start");
    if (!RIGHT.test(stdout)) throw new Error(`printed "${stdout}"`);
    shown.push(RIGHT.exec(stdout).input.trim());
  }
  await rm(place, { recursive: true });
  return shown.join(" | ") || "type-checks";
}

/** Opens Chromium once, if asked for. */
export function lazyBrowser() {
  let opened = null;
  const open = async () => {
    const outfile = join(root, "build/examples/launch_browser.mjs");
    const entryPoints = [join(root, "bench/browser/launch.ts")];
    await esbuild.build({
      entryPoints,
      bundle: true,
      platform: "node",
      packages: "external",
      format: "esm",
      outfile,
    });
    return (await import(pathToFileURL(outfile).href)).launchBrowser();
  };
  return {
    get: () => (opened ??= open()),
    close: async () => (await opened)?.close(),
  };
}

async function main(names) {
  const examples = listExamples();
  const unknown = names.filter((n) => !examples.some(({ name, title }) => n === name || n === title));
  if (unknown.length > 0) {
    process.stderr.write(
      `no example ${unknown.join(", ")}; there are ${examples.map((e) => e.title).join(", ")}\n`,
    );
    return 2;
  }
  const wanted = examples.filter(
    ({ name, title }) => names.length === 0 || names.includes(name) || names.includes(title),
  );
  const folder = await mkdtemp(join(tmpdir(), "hrm-examples-"));
  const browser = lazyBrowser();
  let failed = 0;
  try {
    process.stdout.write("packing the library\n");
    const tarball = await packLibrary(folder);
    for (const example of wanted) {
      try {
        process.stdout.write(
          `ok    ${example.title.padEnd(16)} ${await runExample(example, tarball, folder, browser.get)}\n`,
        );
      } catch (error) {
        failed++;
        process.stdout.write(`FAIL  ${example.title.padEnd(16)} ${error.message}\n`);
      }
    }
  } finally {
    await browser.close();
    await rm(folder, { recursive: true, force: true });
  }
  process.stdout.write(`${wanted.length - failed} of ${wanted.length} examples work\n`);
  return failed > 0 ? 1 : 0;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href)
  process.exit(await main(process.argv.slice(2)));
