/** `hrm plan`: estimates the memory that training needs with each micro-batch, without running anything. */
import { LimitError, type Target } from "../../../engine/index.js";
import { mixedPrecisionTarget, withMixedPrecision } from "../../../engine/mixed_precision.js";
import { inferenceSegments, levelUpdates } from "../../model/config.js";
import { countParameters } from "../../model/parameters.js";
import {
  defaultTraits,
  microBatches,
  runFlops,
  isTooLong,
  targetOf,
  trainingNeeds,
  type DeviceTraits,
  type MemoryNeeds,
  type RunFlops,
  type EstimateOptions,
} from "../../training/memory_estimate.js";
import type { PuzzleSet } from "../../puzzles/puzzle_set.js";
import { parseArguments, type Command, type Option } from "../../terminal/arguments.js";
import { configure, fieldOptions } from "../options/configure.js";
import { PRECISIONS } from "../runs/config.js";
import { adapterOptions, jsonOption, memoryBudgetOption, requirePreset } from "../options/common.js";
import { formatFlops, formatGB, GB, printJson, show } from "../output/console.js";
import { openAnnounced } from "../runs/open_device.js";

const options = {
  preset: { type: "string", help: "what to train", placeholder: "name", default: "sudoku-extreme-1k" },
  batch: { type: "int", min: 1, help: "puzzles in a batch", defaultText: "the preset's" },
  puzzles: { type: "int", min: 1, max: 10_000_000, help: "puzzles of the training set", default: 1000 },
  "memory-budget": { ...memoryBudgetOption, defaultText: "none" },
  limits: {
    type: "choice",
    choices: ["default", "none"],
    default: "default",
    help: "without --adapter: the limits that every WebGPU device has, or none",
  },
  adapter: { ...adapterOptions.adapter, defaultText: "none: --limits decides" },
  precision: {
    type: "choice",
    choices: PRECISIONS,
    default: "f32",
    help: "of matrix products; mixed stores activations in f16, and without --adapter stands for an NVIDIA GPU's matrices of 16x16x16",
  },
  config: { type: "string", help: "JSON file with config fields", placeholder: "file" },
  json: jsonOption,
  ...fieldOptions,
} as const satisfies Record<string, Option>;

const command: Command<typeof options> = {
  name: "hrm plan",
  summary:
    "Says what memory training needs with each micro-batch, by compiling it for a device that only counts, and which is the largest that fits.",
  options,
};

/** One micro-batch: the memory that it needs, or the reason why it is impossible. */
type Row = { readonly microBatch: number; readonly parts: number } & (
  (MemoryNeeds & { readonly refused: null }) | { readonly refused: string }
);

/** Runs `hrm plan`. Returns exit code 1 if no micro-batch fits. */
export async function planCommand(argv: readonly string[]): Promise<number> {
  const parsed = parseArguments(command, argv);
  if (parsed.kind === "help") {
    process.stdout.write(parsed.text);
    return 0;
  }
  const { values } = parsed;
  const preset = await configure(requirePreset(values.preset), values);
  const { model: config, train, task } = preset;
  const data = emptyPuzzles(values.puzzles, config.seq_len);
  const budget = (values["memory-budget"] ?? Infinity) * GB;
  const { target, close } = await plannedTarget(values.adapter, values.limits, values.precision === "mixed");
  const rows: Row[] = [];
  let chosen: number | null = null;
  let longer: number | null = null;
  let flops: RunFlops;
  try {
    const { symmetry } = task;
    const planned = {
      target,
      config,
      train,
      data,
      validation: data,
      symmetry,
    };
    for (const microBatch of microBatches(config.batch_size)) {
      const parts = config.batch_size / microBatch;
      try {
        rows.push({ ...trainingNeeds(planned, microBatch), parts, refused: null });
      } catch (error) {
        if (!(error instanceof LimitError)) throw error;
        rows.push({ microBatch, parts, refused: error.message });
      }
    }
    chosen =
      rows.find((row) => row.refused === null && row.peak <= budget && !isTooLong(row, target))?.microBatch ??
      null;
    longer = longerGradient(planned, chosen);
    flops = runFlops({ config, train, data, validation: data, symmetry });
  } finally {
    close();
  }
  const json = values.json;
  const segments = inferenceSegments(config);
  const paramCount = countParameters(config);
  const { maxBufferSize = Infinity } = target;
  const { maxStorageBufferBindingSize } = target.capabilities;
  show(
    [
      `${preset.name}: ${paramCount} parameters, ${config.batch_size} puzzles a step, of ${data.count}`,
      `limits: ${formatLimit(maxBufferSize)} a buffer, ${formatLimit(maxStorageBufferBindingSize)} a binding${budget < Infinity ? `; budget ${formatGB(budget)}` : ""}`,
      "",
      ["micro-batch", "parts", "state", "programs", "held", "while saving", "host", ""].map(column).join(""),
      ...rows.map((row) => tableLine(row, budget, target)),
      "",
      chosen === null
        ? "No micro-batch fits: choose a smaller model or batch, or a larger budget."
        : `The largest micro-batch that fits is ${chosen}.`,
      `A training step does ${formatFlops(flops.step)}, and answering a puzzle in ${segments} ${segments === 1 ? "segment" : "segments"} ${formatFlops(segments * flops.segment)}.`,
      ...(longer === null
        ? []
        : [
            `The gradient runs through the last ${config.bp_steps} updates (bp_steps): ${formatGB(longer)} of it are for those before the last 2, with which it officially ends.`,
          ]),
    ].join("\n"),
    { json },
  );
  if (json)
    printJson({
      ...{ preset: preset.name, batch: config.batch_size, paramCount, chosen, rows },
      ...{ stepFlops: flops.step, segmentFlops: flops.segment, segments },
      ...(longer !== null && { longerGradientBytes: longer }),
    });
  return chosen === null ? 1 : 0;
}

/** Extra bytes of a gradient through more than the official two updates; null if the gradient runs through two. */
function longerGradient(planned: EstimateOptions, microBatch: number | null): number | null {
  const { config } = planned;
  if (microBatch === null || config.bp_steps <= 2 || levelUpdates(config) <= 2) return null;
  const [ours, official] = [
    trainingNeeds(planned, microBatch),
    trainingNeeds({ ...planned, config: { ...config, bp_steps: 2 } }, microBatch),
  ];
  return ours.programs - official.programs;
}

const column = (text: string): string => text.padStart(14);
const formatLimit = (bytes: number): string => (bytes > 2 ** 40 ? "any size" : formatGB(bytes));

function tableLine(row: Row, budget: number, target: Target): string {
  const { microBatch, parts } = row;
  const head = [microBatch, parts].map((n) => column(String(n))).join("");
  if (row.refused !== null) return `${head}  ${row.refused.split(": ").at(-1)}`;
  const { variables, programs, held, peak, host } = row;
  return `${head}${[variables, programs, held, peak, host].map((bytes) => column(formatGB(bytes))).join("")}${peak > budget ? "  over the budget" : isTooLong(row, target) ? "  a dispatch of over a second" : ""}`;
}

/** The matrices that `--precision mixed` assumes without an adapter. */
const MATRICES = { M: 16, N: 16, K: 16, component: "f16", subgroupSize: 32 } as const;

/** The target of the estimate, in mixed precision if `mixed` is set. */
async function plannedTarget(
  adapter: string | undefined,
  limits: string,
  mixed: boolean,
): Promise<{ target: Target; close: () => void }> {
  if (adapter !== undefined) {
    const device = await openAnnounced(adapter);
    const close = (): void => device.destroy();
    try {
      return { target: mixed ? await mixedPrecisionTarget(device) : device.target, close };
    } catch (error) {
      close();
      throw error;
    }
  }
  const none = limits === "none" && { maxBufferSize: 2 ** 41, maxStorageBufferBindingSize: 2 ** 41 };
  const traits = { ...defaultTraits, limits: { ...defaultTraits.limits, ...none } };
  const close = (): void => undefined;
  if (!mixed) return { target: targetOf(traits), close };
  const size = MATRICES.subgroupSize;
  const gpu: DeviceTraits = {
    limits: { ...traits.limits, maxComputeWorkgroupStorageSize: 49152 },
    features: new Set<string>(["shader-f16", "subgroups"]),
    adapterInfo: { ...traits.adapterInfo, subgroupMinSize: size, subgroupMaxSize: size },
  };
  return { target: withMixedPrecision(targetOf(gpu), MATRICES), close };
}

/** A set of `count` puzzles of `length` cells, all zeros: only its size matters. */
function emptyPuzzles(count: number, length: number): PuzzleSet {
  const cells = (): Int32Array => new Int32Array(count * length);
  return { count, length, inputs: cells(), labels: cells(), identifiers: new Int32Array(count) };
}
