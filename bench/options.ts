/** The command line of the benchmark. */
import type { Command } from "../hrm/terminal/arguments.js";

export const options = {
  quick: {
    type: "bool",
    default: false,
    help: "a part of the suite in under two minutes on a software adapter; fewer samples",
  },
  filter: {
    type: "string",
    placeholder: "words",
    help: 'only lines whose kernel and shape contain every word: "matmul small"',
  },
  adapter: {
    type: "string",
    placeholder: "name",
    defaultText: "the best found",
    help: '"gpu", "software", an index or part of a name',
  },
  variants: {
    type: "bool",
    default: false,
    help: "also time, interleaved, the variants that the engine would not choose here",
  },
  precision: {
    type: "choice",
    choices: ["f32", "mixed"],
    default: "f32",
    help: "of matrix products; mixed: f16 operands and f32 sums on subgroup matrices (experimental), with f32 beside it under --variants",
  },
  unchecked: {
    type: "bool",
    default: false,
    help: "under Node: without the bounds checks that Dawn adds to shaders, as `hrm train` runs; mixed precision always does",
  },
  kernel: {
    type: "string",
    placeholder: "file.ts",
    help: "check and time the kernel cases that this file exports by default, instead of the suite",
  },
  peers: {
    type: "bool",
    default: false,
    help: "instead of the suite: TensorFlow.js, jax-js, ONNX Runtime Web and PyTorch beside ours; see docs/benchmarking.md",
  },
  browser: {
    type: "bool",
    default: false,
    help: "in headless Chromium on its own adapter instead of Node; with --peers too",
  },
  budget: {
    type: "float",
    min: 0,
    defaultText: "1.5 with --quick, else 30",
    help: "longest single run in seconds, by estimate; longer work is skipped and named",
  },
  patience: {
    type: "float",
    min: 1,
    default: 180,
    help: "with --peers: seconds that a library may take for one answer before it is left out and named",
  },
  seed: { type: "int", min: 0, defaultText: "fresh", help: "repeats the inputs of a run" },
  csv: { type: "bool", default: false, help: "print CSV instead of the table" },
  json: { type: "bool", default: false, help: "print the report as one JSON object as the last line" },
  compare: {
    type: "string",
    placeholder: "old.json",
    help: "print ratios to an earlier --json run, with their uncertainty",
  },
  list: { type: "bool", default: false, help: "print the names of the suite's lines and stop" },
} as const;

export const command: Command<typeof options> = {
  name: "npm run bench --",
  summary:
    "Measures what this adapter can do, then compares every kernel and whole training steps with that. Results go to " +
    "stdout, progress to stderr. The exit code is 1 if a kernel computes a wrong result, and 2 for a wrong command line.",
  options,
};
