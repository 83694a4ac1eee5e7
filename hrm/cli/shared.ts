/** What the commands share: options, the device, checkpoints on disk, output. */
import { readFile } from "node:fs/promises";
import { openNodeDevice } from "../../engine/node/index.js";
import type { Device } from "../../engine/index.js";
import { decodeCheckpoint, type Checkpoint } from "../checkpoint.js";
import { createWeights, type Weights } from "../parameters.js";
import { findPreset, presetNames, type Preset } from "../presets.js";
import { ArgumentError, nearestName, type Option } from "./arguments.js";

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
  help: "print one JSON object as the last line of stdout",
} as const satisfies Option;

/** Writes a line to stderr, where everything but results goes. */
export function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Opens a device and says which. */
export async function openAnnounced(adapter: string | undefined): Promise<Device> {
  const device = await openNodeDevice(adapter === undefined ? {} : { adapter });
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
    `--preset: got "${name}"; expected ${presetNames.join(" or ")}.${near ? ` Did you mean ${near}?` : ""}`,
  );
}

/** Reads a checkpoint file. */
export async function loadCheckpoint(path: string | undefined): Promise<Checkpoint> {
  if (path === undefined)
    throw new ArgumentError("--checkpoint: got nothing; expected a .safetensors file that hrm train wrote.");
  let bytes: Uint8Array;
  try {
    bytes = new Uint8Array(await readFile(path));
  } catch (error) {
    throw new ArgumentError(
      `--checkpoint: cannot read "${path}" (${(error as NodeJS.ErrnoException).code}); expected a .safetensors file that hrm train wrote.`,
    );
  }
  return decodeCheckpoint(bytes);
}

/** The raw or averaged weights of a checkpoint, on the device. */
export function uploadWeights(device: Device, checkpoint: Checkpoint, which: "ema" | "raw"): Weights {
  if (which === "ema" && !checkpoint.ema)
    say("weights   this checkpoint keeps no EMA; using the raw weights");
  return createWeights(device, checkpoint.config, (which === "ema" && checkpoint.ema) || checkpoint.raw);
}

/** The preset whose task a checkpoint was trained on. */
export function presetOf(checkpoint: Checkpoint): Preset {
  const preset = findPreset(checkpoint.task);
  if (!preset)
    throw new ArgumentError(
      `--checkpoint: its task is "${checkpoint.task}"; this version knows ${presetNames.join(", ")}.`,
    );
  return preset;
}
