/** What the commands share: options, the device, checkpoints on disk, output. */
import { readFile } from "node:fs/promises";
import { AdapterError, type Device } from "../../engine/index.js";
import { listAdapters, openNodeDevice } from "../../engine/node/index.js";
import { decodeCheckpoint, type Checkpoint } from "../checkpoint.js";
import { FileFormatError } from "../files/file_format_error.js";
import { createWeights, type Weights } from "../parameters.js";
import { findPreset, presetNames, type Preset } from "../presets.js";
import { findTask, TASK_NAMES } from "../tasks/registry.js";
import type { Task } from "../tasks/task.js";
import { ArgumentError, nearestName, type Option } from "./arguments.js";
import { reasonOf } from "./run_folder.js";

/** Options of every command that opens a device. */
export const adapterOptions = {
  adapter: {
    type: "string",
    help: 'adapter to use: "gpu", "software", an index or part of a name (see hrm info)',
    defaultText: "the best found",
    placeholder: "name",
  },
} as const satisfies Record<string, Option>;

export const jsonOption = {
  type: "bool",
  default: false,
  help: "print one JSON object as the last line of stdout, everything else to stderr",
} as const satisfies Option;

/** Options of the commands that read a checkpoint. */
export const checkpointOptions = {
  checkpoint: { type: "string", help: "file that hrm train wrote", placeholder: "file" },
  weights: { type: "choice", choices: ["ema", "raw"], default: "ema", help: "moving average or raw weights" },
  segments: {
    type: "int",
    min: 1,
    max: 1000,
    help: "ACT segments per puzzle",
    defaultText: "the model's halt_max_steps",
  },
} as const satisfies Record<string, Option>;

/** Writes a line to stderr, where everything but results goes. */
export function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Writes a result for people: to stdout, or to stderr where stdout is kept for JSON. */
export function show(text: string, { json }: { readonly json: boolean }): void {
  (json ? process.stderr : process.stdout).write(`${text}\n`);
}

/** Writes the one line of JSON. */
export function printJson(report: object): void {
  process.stdout.write(`${JSON.stringify(report)}\n`);
}

/**
 * Opens a device and says which. Without Dawn's own bounds checks: every index in our kernels is guarded by its
 * shape, the tests run them with the checks on, and a software adapter trains a fifth faster without.
 * @throws ArgumentError where `adapter` names none of those found
 */
export async function openAnnounced(adapter: string | undefined): Promise<Device> {
  let device: Device;
  try {
    device = await openNodeDevice({ robustness: false, ...(adapter !== undefined && { adapter }) });
  } catch (error) {
    const misnamed =
      error instanceof AdapterError && adapter !== undefined && (await listAdapters()).length > 0;
    throw misnamed ? new ArgumentError(`--adapter: ${error.message}`) : error;
  }
  say(
    `adapter   ${device.adapter.name}${device.adapter.software ? " - shaders run on the CPU; a GPU would be much faster" : ""}`,
  );
  return device;
}

/** A preset by name. @throws ArgumentError */
export function requirePreset(name: string): Preset {
  const preset = findPreset(name);
  if (preset) return preset;
  const near = nearestName(name, presetNames);
  throw new ArgumentError(
    `--preset: got "${name}"; expected one of ${presetNames.join(", ")}.${near ? ` Did you mean ${near}?` : ""}`,
  );
}

/** Reads a checkpoint file. @throws ArgumentError naming the file and what is wrong with it */
export async function loadCheckpoint(path: string | undefined): Promise<Checkpoint> {
  if (path === undefined)
    throw new ArgumentError("--checkpoint: got nothing; expected a .safetensors file that hrm train wrote.");
  try {
    return decodeCheckpoint(new Uint8Array(await readFile(path)));
  } catch (error) {
    const reason = error instanceof FileFormatError ? error.message : `cannot be read (${reasonOf(error)})`;
    if (!(error instanceof FileFormatError) && (error as NodeJS.ErrnoException).code === undefined)
      throw error;
    throw new ArgumentError(
      `--checkpoint "${path}": ${reason}; expected a .safetensors file that hrm train wrote.`,
    );
  }
}

/** The raw or averaged weights of a checkpoint, on the device. */
export function uploadWeights(device: Device, checkpoint: Checkpoint, which: "ema" | "raw"): Weights {
  if (which === "ema" && !checkpoint.ema)
    say("weights   this checkpoint keeps no EMA; using the raw weights");
  return createWeights(device, checkpoint.config, (which === "ema" && checkpoint.ema) || checkpoint.raw);
}

/** The task that a checkpoint solves. @throws ArgumentError */
export function taskOf(checkpoint: Checkpoint): Task {
  const { config, task: name } = checkpoint;
  const task = findPreset(name)?.task ?? findTask(name);
  if (!task)
    throw new ArgumentError(
      `--checkpoint: its task is "${name}"; this version knows ${presetNames.join(", ")}, ${TASK_NAMES}.`,
    );
  return { ...task, numPuzzleIdentifiers: config.num_puzzle_identifiers };
}
