/** Options that several commands have. */
import { findPreset, presetNames, type Preset } from "../../training/presets.js";
import { LARGEST_BUDGET_GB } from "../runs/config.js";
import { ArgumentError, nearestName, type Option } from "../../terminal/arguments.js";

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

export const memoryBudgetOption = {
  type: "float",
  min: 0,
  max: LARGEST_BUDGET_GB,
  help: "GB (10^9 bytes) of the device that training may take: chooses the micro-batch",
  defaultText: "the device's limits",
} as const satisfies Option;

/** A preset by name. @throws ArgumentError */
export function requirePreset(name: string): Preset {
  const preset = findPreset(name);
  if (preset) return preset;
  const near = nearestName(name, presetNames);
  throw new ArgumentError(
    `--preset: got "${name}"; expected one of ${presetNames.join(", ")}.${near ? ` Did you mean ${near}?` : ""}`,
  );
}
