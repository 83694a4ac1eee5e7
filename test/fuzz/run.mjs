/** Bundles and runs the fuzzers: `node test/fuzz/run.mjs [--count N] [--seed S] [--only NAME]`. */
import { spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const outfile = join(root, "build/test/fuzz.mjs");
await esbuild.build({
  absWorkingDir: root,
  entryPoints: ["test/fuzz/main.ts"],
  bundle: true,
  platform: "node",
  format: "esm",
  target: "es2022",
  packages: "external",
  sourcemap: "inline",
  outfile,
  logLevel: "warning",
});
const { status } = spawnSync(process.execPath, ["--enable-source-maps", outfile, ...process.argv.slice(2)], {
  stdio: "inherit",
});
process.exit(status ?? 1);
