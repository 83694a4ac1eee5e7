/** Opens the checkpoints of visitors. Weights alone do not always say what puzzles they are for: then the visitor is asked. */
import {
  inferConfig,
  isOurs,
  officialState,
  openCheckpoint,
  readTensorFile,
  untoldFields,
  type OpenedCheckpoint,
} from "../../../hrm/files/checkpoints/official.js";
import { findPreset, presets } from "../../../hrm/training/presets.js";

/** @throws FileFormatError, ConfigError if the file cannot be opened, or not for this preset */
export function openOwn(
  bytes: Uint8Array,
  preset?: string,
): OpenedCheckpoint | { readonly presets: readonly string[] } {
  if (isOurs(bytes)) return openCheckpoint(bytes);
  const chosen = preset === undefined ? undefined : findPreset(preset);
  if (chosen) return openCheckpoint(bytes, { config: untoldFields(chosen.model), task: chosen.name });
  const { config, assumed } = inferConfig(officialState(readTensorFile(bytes)));
  if (!assumed.includes("seq_len")) return openCheckpoint(bytes);
  const fitting = presets.filter(
    ({ model }) =>
      model.vocab_size === config.vocab_size && (model.arch === "hrm") === (config.arch === "hrm"),
  );
  // Models of the same width come first: their other fields are most likely those of the file.
  const alike = fitting.filter(({ model }) => model.hidden_size === config.hidden_size);
  const names = [...alike, ...fitting.filter((other) => !alike.includes(other))].map(({ name }) => name);
  // Where no preset fits, the error says what the file lacks.
  return names.length > 0 ? { presets: names } : openCheckpoint(bytes);
}
