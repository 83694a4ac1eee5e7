/** The size budget: gzip of each entry point's minified bundle with everything that it imports, the kernels included. */
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import * as esbuild from "esbuild";
import { external } from "../esbuild.config.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
/** KB (1,000 bytes) by entry point. */
const BUDGET = {
  "kernels/index": 20,
  "kernels/cpu/index": 8,
  "kernels/gpu/index": 9,
  // Of these, gradients of gradients through the blocks of a transformer take 1.
  "engine/index": 46,
  "engine/autotune": 12,
  // Reached from here alone: the kernels on subgroup matrices, and what chooses halves.
  "engine/mixed_precision": 20,
  "engine/check_gradient": 26,
  "engine/custom_op": 6,
  "engine/muon": 15,
  "engine/norms": 12,
  "engine/operations": 24,
  "engine/optimizers": 14,
  "engine/planning": 12,
  "engine/run_kernel": 4,
  "engine/sampling": 12,
  // Of these, gradients of gradients take 1. The preset arc-toy brings the task of a plain grid along.
  "hrm/index": 69,
  // Presets bring the tasks and the generators of their puzzles along.
  index: 80,
  // A page should spend 30 KB on it. A third is kernels for GPUs and for software adapters, the rest engine, model and files.
  "hrm/solve": 46,
  // Readers of pickles, zip archives and YAML take 14.
  "hrm/solve_official": 65,
  "hrm/puzzles/index": 15,
  "hrm/files/index": 15,
  "hrm/files/checkpoints/checkpoint": 25,
  "hrm/training/memory_estimate": 54,
  "hrm/files/puzzles/index": 27,
  "hrm/files/checkpoints/official": 27,
  "hrm/training/statistics": 2,
  "engine/browser/index": 5,
  "engine/node/index": 30,
};

let failed = false;
for (const [entry, budget] of Object.entries(BUDGET)) {
  const { outputFiles } = await esbuild.build({
    entryPoints: [join(root, `${entry}.ts`)],
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    platform: "neutral",
    external,
    write: false,
    logLevel: "warning",
  });
  const kilobytes = gzipSync(outputFiles[0].contents, { level: 9 }).length / 1000;
  if (kilobytes > budget) failed = true;
  console.log(
    `${kilobytes > budget ? "over" : "ok  "}  ${entry.padEnd(18)} ${kilobytes.toFixed(1).padStart(5)} of ${budget} KB gzip`,
  );
}
process.exit(failed ? 1 : 0);
