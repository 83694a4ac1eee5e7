/** What the commands share: options, the device, presets, output. */
import { AdapterError, type Device } from "../../engine/index.js";
import { listAdapters, openNodeDevice } from "../../engine/node/index.js";
import { printable } from "../format_value.js";
import { findPreset, presetNames, type Preset } from "../training/presets.js";
import { ArgumentError, nearestName, type Option } from "./options/arguments.js";
import { LARGEST_BUDGET_GB } from "./runs/config.js";

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

/** Bytes of the unit in which people give and get memory. */
export const GB = 1e9;

/** Two digits after the point; `0.00 GB` is said in MB. */
export const formatGB = (bytes: number): string =>
  bytes < 1e7 ? `${(bytes / 1e6).toFixed(2)} MB` : `${(bytes / GB).toFixed(2)} GB`;

export const memoryBudgetOption = {
  type: "float",
  min: 0,
  max: LARGEST_BUDGET_GB,
  help: "GB (10^9 bytes) of the device that training may take: chooses the micro-batch",
  defaultText: "the device's limits",
} as const satisfies Option;

/** Writes a line to stderr, where everything but results goes; foreign text in it gives the terminal no commands. */
export function say(line: string): void {
  process.stderr.write(`${printable(line, { color: true })}\n`);
}

/** Writes a result for people: to stdout, or to stderr where stdout is kept for JSON. */
export function show(text: string, { json }: { readonly json: boolean }): void {
  (json ? process.stderr : process.stdout).write(`${printable(text, { color: true })}\n`);
}

/** How this command line is typed here. */
export const invocation = (): string => (process.env["npm_lifecycle_event"] ? "npm run hrm --" : "hrm");

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
