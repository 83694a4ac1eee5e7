/** Reads the checkpoint that a command line names: one of ours, an official PyTorch file, or safetensors of a state dict. */
import type { Device } from "../../../engine/index.js";
import type { Checkpoint } from "../../files/checkpoints/checkpoint.js";
import { ConfigError, isModelField, type HrmConfig } from "../../model/config.js";
import { FileFormatError } from "../../files/file_format_error.js";
import { crc32 } from "../../files/archives/crc32.js";
import { isTorch } from "../../files/tensors/torch.js";
import {
  isOurs,
  openCheckpoint,
  untoldFields,
  type OpenedCheckpoint,
} from "../../files/checkpoints/official.js";
import { createWeights, type Weights } from "../../model/parameters.js";
import { findPreset, presetNames } from "../../training/presets.js";
import { findTask, TASK_NAMES } from "../../puzzles/tasks/registry.js";
import type { Task } from "../../puzzles/tasks/task.js";
import { ArgumentError, type Option } from "../../terminal/arguments.js";
import { readConfigFile } from "../options/configure.js";
import { readPuzzles, type PuzzleFile } from "./puzzle_files.js";
import { configBeside } from "./official_config.js";
import { readInput } from "./read_input.js";
import { requirePreset } from "../options/common.js";
import { say } from "../output/console.js";
import { formatValue, formatNames, formatText } from "../../format_value.js";

/** Options of the commands that read a checkpoint. */
export const checkpointOptions = {
  checkpoint: {
    type: "string",
    help: "file or address of weights: written by hrm train, by the official PyTorch code, or safetensors made of one",
    placeholder: "file",
  },
  weights: { type: "choice", choices: ["ema", "raw"], default: "ema", help: "moving average or raw weights" },
  segments: {
    type: "int",
    min: 1,
    max: 1000,
    help: "ACT segments per puzzle",
    defaultText: "those of its run, else halt_max_steps",
  },
  preset: {
    type: "string",
    help: "for a file that holds weights alone: the preset whose task they solve, and whose fields their shapes do not tell",
    placeholder: "name",
  },
  config: {
    type: "string",
    help: "for a file that holds weights alone: JSON file with config fields, or the official all_config.yaml, which win over --preset",
    defaultText: "the all_config.yaml beside the file",
    placeholder: "file",
  },
} as const satisfies Record<string, Option>;

/** A checkpoint and its description. */
export interface LoadedCheckpoint {
  readonly checkpoint: Checkpoint;
  readonly description: string;
  /** CRC-32 of the file, eight hexadecimal digits. */
  readonly crc32: string;
  /** Whether the file says itself what it is; other files hold weights alone. */
  readonly ours: boolean;
}

/** What the command line says about the checkpoint. */
export interface CheckpointChoice {
  readonly checkpoint: string | undefined;
  /** Which weights are wanted. */
  readonly weights: "ema" | "raw";
  readonly preset: string | undefined;
  readonly config: string | undefined;
  /** The option that names the checkpoint, for errors; default `--checkpoint`. */
  readonly option?: string;
  /** Whether `preset` is about something else, too, so that a file that says itself what it is does not refuse it. */
  readonly presetIfAlone?: boolean;
  /** Puzzles for the checkpoint, and the option that named them. They decide the task if nothing else does. */
  readonly puzzles: PuzzleFile | null;
}

const EXPECTED = "expected a file that hrm train or hrm convert wrote, or an official PyTorch checkpoint";

/** Reads a checkpoint file, and warns of assumptions. @throws ArgumentError that names the option or file and what is wrong */
export async function loadCheckpoint(choice: CheckpointChoice): Promise<LoadedCheckpoint> {
  const { checkpoint: path, option = "--checkpoint" } = choice;
  if (path === undefined) throw new ArgumentError(`${option}: got nothing; ${EXPECTED}.`);
  const bytes = await readInput(
    path,
    (reason) => new ArgumentError(`${option} "${path}": cannot be read (${reason}); ${EXPECTED}.`),
  );
  try {
    const opened = await open(bytes, path, choice);
    return { ...opened, crc32: crc32(bytes).toString(16).padStart(8, "0"), ours: isOurs(bytes) };
  } catch (error) {
    if (!(error instanceof FileFormatError)) throw error;
    throw new ArgumentError(`${option} "${path}": ${error.message}; ${EXPECTED}.`);
  }
}

async function open(
  bytes: Uint8Array,
  path: string,
  choice: CheckpointChoice,
): Promise<Pick<LoadedCheckpoint, "checkpoint" | "description">> {
  if (isOurs(bytes)) {
    for (const option of ["preset", "config"] as const)
      if (choice[option] !== undefined && !choice.presetIfAlone)
        throw new ArgumentError(
          `--${option}: got "${choice[option]}"; expected none, as "${path}" says itself what it is.`,
        );
    const { checkpoint } = openCheckpoint(bytes);
    return { checkpoint, description: `step ${checkpoint.step} of a run on ${formatText(checkpoint.task)}` };
  }
  const { checkpoint, assumed, averageAlone, notes } = await openWeights(bytes, path, choice);
  const { config, task, raw } = checkpoint;
  if (averageAlone && choice.weights === "raw")
    throw new ArgumentError(
      `--weights: got "raw"; expected "ema", as "${path}" holds the moving average of weights alone.`,
    );
  for (const note of notes) say(`file      ${note}`);
  if (assumed.length > 0) {
    const values = assumed.map((field) => `${field} ${String(config[field])}`).join(", ");
    say(
      `warning   the file does not tell ${values}: assumed; if that is wrong, name them with --preset or --config`,
    );
  }
  const kind = isTorch(bytes) ? "PyTorch" : "safetensors";
  return { checkpoint, description: `${raw.size} tensors of a ${kind} file, taken for ${task}` };
}

/** Opens a file of weights. Fields come from --config or the official configuration beside the file, then from the preset, the puzzles and the official defaults. */
async function openWeights(
  bytes: Uint8Array,
  path: string,
  choice: CheckpointChoice,
): Promise<OpenedCheckpoint> {
  const preset = choice.preset === undefined ? undefined : requirePreset(choice.preset);
  const configPath = choice.config ?? (await configBeside(path));
  const file = configPath === null ? {} : await readConfigFile(configPath);
  const fromFile = Object.fromEntries(Object.entries(file).filter(([field]) => isModelField(field)));
  if (configPath !== null && choice.config === undefined) {
    const told = Object.entries(fromFile).map(([field, value]) => `${field} ${formatValue(value)}`);
    say(`config    ${configPath}, found beside the checkpoint, tells ${formatNames(told, 30)}`);
  }
  const fromPreset = preset && untoldFields(preset.model);
  const { puzzles } = choice;
  const data =
    puzzles && !preset
      ? await readPuzzles(puzzles.path, puzzles.option, {
          split: "test",
          columns: puzzles.columns,
          needsAnswers: false,
        })
      : null;
  const given: Partial<HrmConfig> = {
    ...(data && { seq_len: data.task.length }),
    // Text is encoded by the task's rules. Other formats hold tokens, which may not use the whole vocabulary of the model.
    ...(data?.format === "csv" && { vocab_size: data.task.vocabSize }),
    ...fromPreset,
    ...fromFile,
  };
  const task = preset?.name ?? (data?.format === "csv" ? data.task.name : undefined);
  try {
    return openCheckpoint(bytes, { config: given, ...(task !== undefined && { task }) });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const { field, got, expected } = error;
    const source =
      field in fromFile
        ? `--config ${configPath}: ${field}`
        : preset && field in fromPreset!
          ? `--preset ${preset.name}: ${field}`
          : field in given
            ? `${puzzles!.option} "${puzzles!.path}": ${field}`
            : `--config: ${field} (assumed)`;
    throw new ArgumentError(`${source}: got ${formatValue(got)}; expected ${expected}.`);
  }
}

/** Uploads the raw or averaged weights of a checkpoint. */
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
      `--checkpoint: its task is ${formatValue(name)}; this version knows ${presetNames.join(", ")}, ${TASK_NAMES}.`,
    );
  if (task.length !== config.seq_len || task.vocabSize !== config.vocab_size)
    throw new ArgumentError(
      `--checkpoint: its weights are for ${config.seq_len} cells of ${config.vocab_size} tokens; expected ${task.length} of ${task.vocabSize} for ${name}.`,
    );
  return { ...task, numPuzzleIdentifiers: config.num_puzzle_identifiers };
}
