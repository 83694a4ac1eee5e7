/** `--init`: the weights of a checkpoint as the start of a run. */
import type { Checkpoint } from "../../files/checkpoints/checkpoint.js";
import { formatNames } from "../../format_value.js";
import { StateError, type StateDict } from "../../model/parameters.js";
import { findPreset, type Preset } from "../../training/presets.js";
import { changedMeaning, inheritedFields, transferWeights } from "../../training/transfer.js";
import { ArgumentError } from "../../terminal/arguments.js";
import { loadCheckpoint } from "../inputs/checkpoint_file.js";
import { say } from "../output/console.js";
import { RUN_CONFIG_FILE, type RunConfig, type RunStart } from "./config.js";

/** A checkpoint that a run starts from. */
export interface Start {
  readonly path: string;
  readonly checkpoint: Checkpoint;
  readonly weights: "ema" | "raw";
  readonly crc32: string;
  /** The preset that it was trained by; undefined if it does not say, or if this version has no such preset. */
  readonly preset: string | undefined;
}

/** What the options say. */
interface StartValues {
  readonly init: string | undefined;
  readonly "init-weights": "ema" | "raw" | undefined;
  readonly preset: string | undefined;
}

/** Reads the checkpoint that `--init` names; null without the option. @throws ArgumentError */
export async function startOf({ init, "init-weights": weights, preset }: StartValues): Promise<Start | null> {
  if (init === undefined) return null;
  const choice = {
    checkpoint: init,
    option: "--init",
    config: undefined,
    puzzles: null,
    presetIfAlone: true,
  };
  // A checkpoint of ours says itself what it is; only for others the preset has to tell fields.
  const loaded = await loadCheckpoint({ ...choice, preset, weights: weights ?? "ema" });
  const { checkpoint, crc32, description } = loaded;
  const which = weights ?? (checkpoint.ema ? "ema" : "raw");
  if (which === "ema" && !checkpoint.ema)
    throw new ArgumentError(
      `--init-weights: got "ema"; expected "raw", as "${init}" keeps no moving average.`,
    );
  say(`weights   ${description}, ${which === "ema" ? "the moving average" : "the raw weights"}`);
  const known = findPreset(checkpoint.task) ? checkpoint.task : undefined;
  return { path: init, checkpoint, weights: which, crc32, preset: known };
}

/** The preset with the model of the weights, as far as the puzzles allow it. */
export function inheriting(preset: Preset, { checkpoint }: Start): Preset {
  return { ...preset, model: { ...preset.model, ...inheritedFields(checkpoint.config, preset.model) } };
}

/** The seed of the weights' own run if the new run has the same puzzles, so that the test stays unseen; else 0. */
export function sameSeed(
  { checkpoint }: Start,
  { data }: { readonly data: string | undefined },
  preset: Preset,
): number {
  const same = checkpoint.data === undefined ? checkpoint.task === preset.name : checkpoint.data === data;
  return (same ? checkpoint.seed : null) ?? 0;
}

/** The state that the run starts from, and its record for config.json. Prints both. @throws ArgumentError naming what does not fit */
export function transferred(
  { path, checkpoint, weights, crc32 }: Start,
  { model, task }: Pick<Preset, "model" | "task">,
  seed: number,
): { readonly state: StateDict; readonly record: RunStart } {
  const { config, ema, raw } = checkpoint;
  try {
    const state = (weights === "ema" ? ema : raw)!;
    const { state: start, taken, notes } = transferWeights({ config, state }, model, seed);
    say(`init      ${taken.length} of ${start.size} tensors are taken from ${path}`);
    for (const { name, what } of notes) say(`init      ${name}: ${what}`);
    const changed = changedMeaning(config, model);
    if (changed.length > 0)
      say(
        `warning   the weights were trained with ${formatNames(changed.map((field) => `${field} ${String(config[field])}`))}; this run has ${formatNames(changed.map((field) => String(model[field])))}`,
      );
    if (config.seq_len === model.seq_len && checkpoint.seed !== seed)
      say(
        `warning   ${checkpoint.seed === null ? "the file does not say which puzzles its weights were trained on" : `the weights were trained on the split of seed ${checkpoint.seed}`}: held-out puzzles of ${task.name} may be among them`,
      );
    const record = {
      checkpoint: path,
      weights,
      crc32,
      notes: notes.map(({ name, what }) => `${name}: ${what}`),
    };
    return { state: start, record };
  } catch (error) {
    if (!(error instanceof StateError)) throw error;
    throw new ArgumentError(`--init "${path}": ${error.message}`);
  }
}

/**
 * The start of a run that ended before its first save; null if it starts from random weights.
 * @throws ArgumentError if the checkpoint is gone or was changed
 */
export async function stateAgain(
  { init, seed, preset: name }: RunConfig,
  preset: Preset,
  folder: string,
): Promise<StateDict | null> {
  if (init === null) return null;
  const start = await startOf({ init: init.checkpoint, "init-weights": init.weights, preset: name });
  if (start!.crc32 !== init.crc32)
    throw new ArgumentError(
      `--resume "${folder}": ${init.checkpoint} was changed since the run began (CRC-32 ${start!.crc32}, not ${init.crc32} as in its ${RUN_CONFIG_FILE}); expected the file that the run starts from.`,
    );
  return transferred(start!, preset, seed).state;
}
