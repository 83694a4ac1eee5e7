/** The model of a checkpoint of any origin: this project's, safetensors, or an official PyTorch file. */
import type { Device } from "../../../engine/index.js";
import { decodeCheckpoint } from "../../../hrm/files/checkpoints/checkpoint.js";
import { FileFormatError } from "../../../hrm/files/file_format_error.js";
import { inferenceSegments } from "../../../hrm/model/config.js";
import { countParameters, createWeights } from "../../../hrm/model/parameters.js";
import { findTask } from "../../../hrm/puzzles/tasks/registry.js";
import { findPreset } from "../../../hrm/training/presets.js";
import type { Command, ModelInfo } from "../protocol.js";
import { heldOut } from "../puzzles/held_out.js";
import { runOfCheckpoint } from "../run_config.js";
import type { Subject } from "./subject.js";

/** The content of an opened file: a model to look at, or weights that fit several presets. */
export type OpenedFile =
  { readonly model: ModelInfo; readonly subject: Subject } | { readonly presets: readonly string[] };

/**
 * Opens a file, for a preset if the visitor said which.
 * @throws FileFormatError, ConfigError if it cannot be opened here
 */
export async function openFile(
  device: Device,
  { name, bytes, own, preset }: Omit<Extract<Command, { type: "open" }>, "type">,
): Promise<OpenedFile> {
  const opened = own
    ? // What reads the formats of others is loaded for files of visitors alone.
      (await import("./own_checkpoint.js")).openOwn(bytes, preset)
    : { checkpoint: decodeCheckpoint(bytes), notes: [], assumed: [] };
  if ("presets" in opened) return opened;
  const { checkpoint, notes, assumed } = opened;
  const task = findPreset(checkpoint.task)?.task ?? findTask(checkpoint.task);
  if (!task)
    throw new FileFormatError(
      "checkpoint",
      `its task is "${checkpoint.task}", which this page does not know; expected Sudoku, a maze or a grid`,
    );
  const { config } = checkpoint;
  const weights = createWeights(device, config, checkpoint.ema ?? checkpoint.raw);
  const held = heldOut(checkpoint.task, task, checkpoint.seed);
  const { run = null, stuck = null } = own ? runOfCheckpoint(checkpoint) : {};
  const model: ModelInfo = {
    source: "file",
    task: task.name,
    name,
    parameters: countParameters(config),
    step: checkpoint.step,
    segments: inferenceSegments(config),
    haltOnly: config.halt_only,
    notes: [
      ...notes,
      ...(assumed.length > 0 ? [`no file says ${assumed.join(", ")}, so the official values are used`] : []),
    ],
    held: held
      ? { count: held.set.count, inputs: held.set.inputs, labels: held.set.labels, unseen: held.unseen }
      : { count: 0, inputs: new Int32Array(), labels: new Int32Array(), unseen: false },
    ...{ run, stuck },
  };
  const subject: Subject = {
    ...{ device, target: device.target, config, weights, held: held?.set ?? null, made: {} },
    seed: checkpoint.seed ?? 0,
    step: () => checkpoint.step,
  };
  return { model, subject };
}
