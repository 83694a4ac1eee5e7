/**
 * `npm run gpu-report`: everything that a machine with a GPU can tell about this project, in one call of about nine
 * minutes. Correctness first (golden tensors, kernels against float64), then times, then two presets trained to their
 * targets. Prints a table and writes the figures as JSON. A part that runs out of its time is cut off and says so.
 *
 *   node bench/gpu_report.mjs [--adapter gpu] [--out gpu-report.json] [--only part,part]
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { build, root } from "../esbuild.config.mjs";

const { values } = parseArgs({
  options: {
    adapter: { type: "string", default: "gpu" },
    out: { type: "string", default: "gpu-report.json" },
    only: { type: "string" },
  },
});
const { adapter } = values;
const runs = await mkdtemp(join(tmpdir(), "hrm-gpu-report-"));
const cli = join(root, "dist/cli.js");
const bench = join(root, "build/bench/main.js");
const fixtures = ["../shared/fixtures", "../shared/fixtures-trm"]
  .map((f) => join(root, f))
  .filter(existsSync);

const percent = (share) => `${(100 * share).toFixed(1)}%`;
const training = (preset, seconds) => ({
  name: preset,
  seconds,
  args: [cli, "train", "--preset", preset, "--seed", "11", "--adapter", adapter, "--out", runs, "--json"],
  figures: ({ exactAccuracy, steps, seconds: took }) =>
    `${exactAccuracy === null ? "no test" : `${percent(exactAccuracy)} of the test puzzles`} after ${steps} steps, ${took.toFixed(0)} s`,
});

/** Each part: a command that prints one JSON object as its last line, and how long it may take. */
const PARTS = [
  {
    name: "verify",
    seconds: 60,
    skip: fixtures.length === 0 ? "no golden tensors beside the checkout" : null,
    args: [cli, "verify", ...fixtures, "--adapter", adapter, "--json"],
    figures: ({ passed, failed }) => `${passed} comparisons passed, ${failed} failed`,
    keep: ({ adapter, passed, failed, rows }) => ({
      ...{ adapter, passed, failed },
      failures: rows.filter((row) => !row.passed),
    }),
  },
  {
    name: "kernels",
    seconds: 150,
    args: [bench, "--quick", "--unchecked", "--adapter", adapter, "--json"],
    figures: ({ results, refused }) => `${results.length} lines checked and timed, ${refused.length} wrong`,
  },
  {
    name: "steps",
    seconds: 110,
    args: [bench, "--filter", "training_step", "--unchecked", "--adapter", adapter, "--json"],
    figures: ({ results }) =>
      results
        .map(({ shape, ms, gflops }) => `${shape} ${ms.toFixed(2)} ms (${gflops.toFixed(0)} GFLOP/s)`)
        .join("; "),
  },
  training("sudoku4", 30),
  training("maze7", 95),
  training("sudoku9-easy", 95),
];

/** Runs a part; its process group ends with it. */
function run({ args, seconds }) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, {
      stdio: ["ignore", "pipe", "pipe"],
      cwd: root,
      detached: true,
    });
    const output = { stdout: "", stderr: "" };
    for (const stream of ["stdout", "stderr"])
      child[stream].setEncoding("utf8").on("data", (text) => (output[stream] += text));
    let cutOff = false;
    const timer = setTimeout(() => {
      cutOff = true;
      process.kill(-child.pid, "SIGKILL");
    }, 1000 * seconds);
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ ...output, code, cutOff });
    });
  });
}

function lastObject(stdout) {
  try {
    return JSON.parse(stdout.trim().split("\n").at(-1));
  } catch {
    return null;
  }
}

const wanted = values.only?.split(",");
const unknown = wanted?.filter((name) => !PARTS.some((part) => part.name === name)) ?? [];
if (unknown.length > 0) {
  console.error(
    `--only: got "${unknown.join(",")}"; expected some of ${PARTS.map((p) => p.name).join(",")}.`,
  );
  process.exit(2);
}
await build(["cli", "bench"]);
const report = { date: new Date().toISOString(), adapter: null, parts: {} };
let failed = false;
for (const part of PARTS) {
  if (wanted && !wanted.includes(part.name)) continue;
  if (part.skip) {
    console.log(`${part.name.padEnd(14)} skipped: ${part.skip}`);
    report.parts[part.name] = { state: "skipped", reason: part.skip };
    continue;
  }
  const start = performance.now();
  const { code, cutOff, stdout, stderr } = await run(part);
  const seconds = (performance.now() - start) / 1000;
  const found = lastObject(stdout);
  const named = found?.adapter?.name ?? found?.adapter;
  report.adapter ??= named ?? null;
  const state = cutOff ? "cut off" : code === 0 ? "done" : `exit code ${code}`;
  if (state !== "done") failed = true;
  const figures = found ? part.figures(found) : (stderr.trim().split("\n").at(-1) ?? "");
  console.log(`${part.name.padEnd(14)} ${state}, ${seconds.toFixed(0)} s: ${figures}`);
  report.parts[part.name] = {
    ...{ state, seconds, command: part.args.slice(1), figures },
    result: found && (part.keep ?? ((all) => all))(found),
    ...(state !== "done" && { stderr: stderr.slice(-4000) }),
  };
  await writeFile(values.out, `${JSON.stringify(report, null, 1)}\n`);
}
await rm(runs, { recursive: true, force: true });
console.log(`\nadapter ${report.adapter ?? "unknown"}, ${report.date}; figures in ${values.out}`);
process.exitCode = failed ? 1 : 0;
