/**
 * Builds what runs: the library (`dist/`, one file per entry point, shared code in chunks), the command line
 * (`dist/cli.js`), the benchmarks (`build/bench/`) and the playground with the benchmark page, a folder that any web
 * server can serve (`build/playground/`). Declarations come from tsc (`npm run build`).
 *
 *   node esbuild.config.mjs [library] [cli] [bench] [playground] [bench-page]     default: library cli
 *   node esbuild.config.mjs declarations     completes the declarations that tsc wrote
 *
 * Silent on stdout, since `npm run hrm -- ... --json` promises JSON there.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import * as esbuild from "esbuild";

export const root = dirname(fileURLToPath(import.meta.url));

/** Entry points of the published library, without suffix; package.json's `exports` names the same. */
export const libraryEntries = [
  "index",
  "engine/index",
  "engine/autotune",
  "engine/check_gradient",
  "engine/custom_op",
  "engine/mixed_precision",
  "engine/muon",
  "engine/norms",
  "engine/operations",
  "engine/optimizers",
  "engine/planning",
  "engine/run_kernel",
  "engine/sampling",
  "kernels/index",
  "kernels/cpu/index",
  "kernels/gpu/index",
  "hrm/index",
  "hrm/solve",
  "hrm/solve_official",
  "hrm/puzzles/index",
  "hrm/files/index",
  "hrm/files/checkpoints/checkpoint",
  "hrm/training/memory_estimate",
  "hrm/files/puzzles/index",
  "hrm/files/checkpoints/official",
  "hrm/training/statistics",
  "engine/browser/index",
  "engine/node/index",
];

/** What a bundle may leave to be resolved when it runs: Node itself and packages that are optional at run time. */
export const external = ["node:*", "webgpu", "@sparticuz/chromium"];

/** @type {esbuild.BuildOptions} */
const common = {
  absWorkingDir: root,
  bundle: true,
  format: "esm",
  target: "es2022",
  sourcemap: true,
  external,
  logLevel: "warning",
  write: false,
};

/** Entry points that exist, as paths; names the others on stderr. */
function present(entries) {
  return entries
    .map((entry) => `${entry}.ts`)
    .filter((file) => {
      const there = existsSync(join(root, file));
      if (!there) process.stderr.write(`build: ${file} is not there, skipped\n`);
      return there;
    });
}

/** Writes only what changed, each file in one step: a program that starts meanwhile sees old or new, never half. */
async function emit({ outputFiles }) {
  for (const { path, contents } of outputFiles) {
    const old = await readFile(path).catch(() => null);
    if (old && old.equals(contents)) continue;
    await mkdir(dirname(path), { recursive: true });
    const partial = `${path}.${process.pid}.partial`;
    await writeFile(partial, contents, { mode: path.endsWith("/dist/cli.js") ? 0o755 : 0o644 });
    await rename(partial, path);
  }
}

/** Removes chunks of earlier builds, which would be published with the package or the site. */
async function dropOldChunks({ outputFiles }, outdir) {
  const folder = join(root, outdir, "chunks");
  const current = new Set(outputFiles.map(({ path }) => path));
  for (const name of await readdir(folder).catch(() => [])) {
    const path = join(folder, name);
    if (!current.has(path)) await rm(path, { recursive: true });
  }
}

const targets = {
  library: () => ({
    ...common,
    entryPoints: present(libraryEntries),
    platform: "neutral",
    splitting: true,
    outdir: "dist",
    outbase: ".",
    chunkNames: "chunks/[hash]",
  }),
  cli: () => ({
    ...common,
    entryPoints: present(["hrm/cli/main"]).map((path) => ({ in: path, out: "cli" })),
    platform: "node",
    // Its modules for browsers: those for Node are CommonJS, which a module of ES cannot bundle.
    alias: { yaml: "./node_modules/yaml/browser/dist/index.js" },
    outdir: "dist",
    banner: { js: "#!/usr/bin/env node" },
  }),
  bench: () => ({
    ...common,
    entryPoints: present(["bench/main"]),
    platform: "node",
    packages: "external",
    outdir: "build",
    outbase: ".",
  }),
  playground: () => ({
    ...common,
    entryPoints: [
      { in: "docs/playground/main.tsx", out: "main" },
      { in: "docs/playground/worker/worker.ts", out: "worker" },
      ...["index.html", "style.css", "models/shipped.safetensors", "models/recording.json"].map((name) => ({
        in: `docs/playground/${name}`,
        out: name.replace(/\.[a-z]+$/, ""),
      })),
    ],
    platform: "browser",
    minify: true,
    // What page and worker share is loaded once; what few visitors look at is loaded when they do.
    splitting: true,
    chunkNames: "chunks/[name]-[hash]",
    loader: { ".html": "copy", ".safetensors": "copy", ".json": "copy" },
    outdir: "build/playground",
  }),
  "bench-page": () => ({
    ...common,
    entryPoints: ["main.ts", "worker.ts", "index.html", "style.css"].map((name) => `docs/bench/${name}`),
    platform: "browser",
    minify: true,
    loader: { ".html": "copy" },
    define: { BUILD_COMMIT: JSON.stringify(commit()) },
    outdir: "build/playground/bench",
    outbase: "docs/bench",
  }),
};

/** The sources' commit, which reports name; empty outside a git checkout. */
function commit() {
  const { stdout, status } = spawnSync("git", ["rev-parse", "--short=12", "HEAD"], { cwd: root });
  return status === 0 ? String(stdout).trim() : "";
}

/**
 * Lets the published declarations bring WebGPU's types along. TypeScript 6 and newer have them; for older ones,
 * package.json's `imports` name a file that refers to the package @webgpu/types.
 */
async function completeDeclarations() {
  const file = join(root, "dist/engine/host_types.d.ts");
  const text = await readFile(file, "utf8");
  const line = 'import "#webgpu-types";\n';
  if (!text.startsWith(line)) await writeFile(file, line + text);
  await writeFile(
    join(root, "dist/webgpu_of_package.d.ts"),
    '/// <reference types="@webgpu/types" />\nexport {};\n',
  );
  await writeFile(join(root, "dist/webgpu_of_typescript.d.ts"), "export {};\n");
}

/** Builds the named targets. */
export async function build(names) {
  await Promise.all(
    names.map(async (name) => {
      if (name === "declarations") return completeDeclarations();
      const target = targets[name];
      if (!target)
        throw new Error(`build: unknown target "${name}"; expected ${Object.keys(targets).join(", ")}`);
      const options = target();
      if (options.entryPoints.length === 0) return;
      const result = await esbuild.build(options);
      await emit(result);
      if (options.splitting) await dropOldChunks(result, options.outdir);
    }),
  );
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const names = process.argv.slice(2);
  await build(names.length > 0 ? names : ["library", "cli"]).catch((error) => {
    // esbuild has already printed what is wrong with the sources
    if (!error.errors) process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  });
}
