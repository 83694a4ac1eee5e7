/** Applies the options and the config file to a preset. */
import {
  ConfigError,
  isModelField,
  isTrainField,
  modelConfig,
  TASK_FIELDS,
  trainConfig,
  type HrmConfig,
  type TaskField,
  type TrainConfig,
} from "../../model/config.js";
import type { Preset } from "../../training/presets.js";
import { ArgumentError, nearestName, type Option, type Values } from "../../terminal/arguments.js";
import { readJsonObject } from "../inputs/json_file.js";
import { formatValue, formatNames, formatText } from "../../format_value.js";
import { isOfficial, looksLikeJson, officialFields, parseYaml } from "../inputs/official_config.js";
import { say } from "../output/console.js";
import { parseStrictJson } from "../inputs/strict_json.js";

/** Fields with an option of another name (or the same), and fields that the task fixes, which have no option. */
type Renamed = "batch_size" | "total_steps" | "lr" | TaskField;
type Field = Exclude<keyof HrmConfig | keyof TrainConfig, Renamed>;

const defaultText = "the preset's";
const integer = (help: string) => ({ type: "int", help, defaultText }) as const;
const number = (help: string) => ({ type: "float", help, defaultText }) as const;
const flag = (help: string) => ({ type: "bool", help, defaultText }) as const;
const choice = <const C extends string>(help: string, ...choices: readonly C[]) =>
  ({ type: "choice", help, choices, defaultText }) as const;

/** Options for configuration fields, under their config names. */
export const fieldOptions = {
  arch: choice(
    "networks: hrm, trm (one network for both levels), trm_singlez (one latent)",
    "hrm",
    "trm",
    "trm_singlez",
  ),
  hidden_size: integer("width of the model"),
  num_heads: integer("attention heads; a divisor of hidden_size"),
  expansion: number("SwiGLU inner size, as a multiple of hidden_size before the factor 2/3"),
  swiglu_multiple: integer("the SwiGLU inner size is rounded up to a multiple of this"),
  H_cycles: integer("updates of the H module in a segment"),
  L_cycles: integer("updates of the L module for each of the H module"),
  bp_steps: integer("updates at the end of a segment that carry gradient"),
  H_layers: integer("blocks in the H module"),
  L_layers: integer("blocks in the L module"),
  mlp_t: flag("mix positions by a SwiGLU along the sequence instead of attention"),
  pos_encodings: choice(
    "positions: rotary, learned, rotary by row and column, rotary by row, column and Sudoku box, or none",
    "rope",
    "learned",
    "rope2d",
    "rope2d_boxes",
    "none",
  ),
  pos_init_scale: number("learned positions start with this times their official standard deviation"),
  rope_theta: number("base of the rotary angles"),
  rope_frequency: number("rope, rope2d: angle of the fastest pair from one position to the next"),
  rms_norm_eps: number("added to the mean square in RMSNorm"),
  causal: flag("attend to earlier cells only"),
  puzzle_emb_ndim: integer("width of the puzzle embedding, 0 for none"),
  puzzle_emb_len: integer("prefix positions of the puzzle embedding, 0 for as few as it needs"),
  num_puzzle_identifiers: integer("rows of the puzzle embedding"),
  halt_max_steps: integer("ACT segments at most"),
  inference_segments: integer("ACT segments in evaluation and solving, 0 for halt_max_steps"),
  halt_exploration_prob: number("share of rows that must think for a random number of segments"),
  halt_only: flag("halt on q_halt > 0: no q_continue, no second forward"),
  loss_type: choice("loss of a cell", "stablemax_cross_entropy", "softmax_cross_entropy"),
  lr_schedule: choice("how the learning rate falls after the warm-up", "cosine", "linear"),
  lr_warmup_steps: integer("steps over which the learning rate rises"),
  lr_min_ratio: number("learning rate at the end, as a fraction of the peak"),
  lr_decay_start: number("linear: the fraction of the plan after which it falls"),
  weight_decay: number("weight decay of Adam-atan2"),
  beta1: number("decay of the first moment"),
  beta2: number("decay of the second moment"),
  puzzle_emb_lr: number("learning rate of the puzzle embedding"),
  puzzle_emb_weight_decay: number("weight decay of the puzzle embedding"),
  ema_decay: number("decay of the moving average of the weights, 0 for none"),
  ema_warmup: flag("raise the average's decay from 2/11 at the first step; no for TRM's constant decay"),
  staggered_starts: flag("rows of the first batch start at different segments, so that batches mix depths"),
  augment: flag("train on random symmetric images of the puzzles"),
} as const satisfies Record<Field, Option>;

/** Options with their own names, and the fields that they set. */
const RENAMED = [
  ["batch", "batch_size"],
  ["lr", "lr"],
  ["steps", "total_steps"],
] as const;

/** Values of the options that change a preset. Every command has `config` and the fields; the others belong to `hrm train`. */
export type ConfigureValues = Partial<Values<typeof fieldOptions>> & {
  /** A JSON or YAML file with fields. */
  readonly config?: string | undefined;
  readonly batch?: number | undefined;
  readonly lr?: number | undefined;
  readonly steps?: number | undefined;
  readonly "stop-at"?: number | undefined;
  readonly "eval-every"?: number | undefined;
  readonly "eval-limit"?: number | undefined;
};

/**
 * Returns the preset with the fields that the config file and the options change; an option wins over the file.
 * @throws ArgumentError that names the option or the file, with the field or line
 */
export async function configure(preset: Preset, values: ConfigureValues): Promise<Preset> {
  const file = values.config;
  const fromFile = file === undefined ? {} : await readConfigFile(file);
  const fromOptions: Record<string, unknown> = {};
  for (const field of Object.keys(fieldOptions) as (keyof typeof fieldOptions)[])
    if (values[field] !== undefined) fromOptions[field] = values[field];
  for (const [option, field] of RENAMED)
    if (values[option] !== undefined) fromOptions[field] = values[option];
  const given = { ...fromFile, ...fromOptions };
  const spelling = (field: string): string =>
    Object.hasOwn(fromOptions, field)
      ? `--${RENAMED.find(([, name]) => name === field)?.[0] ?? field}`
      : Object.hasOwn(fromFile, field)
        ? `--config ${file}: ${field}`
        : `the preset's ${field}`;
  const changed = withFields(preset, given, spelling);
  return {
    ...changed,
    stopAt: values["stop-at"] ?? preset.stopAt,
    evalEvery: values["eval-every"] ?? preset.evalEvery,
    evalLimit: values["eval-limit"] ?? preset.evalLimit,
  };
}

/**
 * Returns the preset with other values for some fields of the model and of training. `spelling` returns the words with which
 * the user gave a field, for messages.
 * @throws ArgumentError if the task fixes a field, or if a value is invalid
 */
export function withFields(
  preset: Preset,
  given: Readonly<Record<string, unknown>>,
  spelling: (field: string) => string,
): Preset {
  for (const field of TASK_FIELDS) {
    if (Object.hasOwn(given, field) && given[field] !== preset.model[field])
      throw new ArgumentError(
        `${spelling(field)}: got ${formatValue(given[field])}; expected ${preset.model[field]}, which the task ${preset.task.name} fixes.`,
      );
  }
  const pick = (test: (field: string) => boolean): Record<string, unknown> =>
    Object.fromEntries(Object.entries(given).filter(([name]) => test(name)));
  try {
    return {
      ...preset,
      model: modelConfig({ ...preset.model, ...pick(isModelField) }),
      train: trainConfig({ ...preset.train, ...pick(isTrainField) }),
    };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ArgumentError(
      `${spelling(error.field)}: got ${formatValue(error.got)}; expected ${error.expected}.`,
    );
  }
}

/**
 * Reads the fields of a config file in JSON or YAML, flat or in the layout of the official all_config.yaml. Prints the names
 * of official fields that are not used. @throws ArgumentError
 */
export async function readConfigFile(file: string): Promise<Record<string, unknown>> {
  const bad = (reason: string): ArgumentError =>
    new ArgumentError(
      `--config ${file}: ${reason}; expected a JSON object of config fields, such as {"hidden_size": 64}, or the official all_config.yaml.`,
    );
  const fields = await readJsonObject(file, bad, (text) =>
    looksLikeJson(text) ? parseStrictJson(text) : parseYaml(text),
  );
  if (isOfficial(fields)) {
    const official = officialFields(fields);
    if (official.unused.length > 0)
      say(`config    of ${formatText(file, 200)} not used: ${formatNames(official.unused, 30)}`);
    return official.fields;
  }
  for (const field of Object.keys(fields)) {
    if (isModelField(field) || isTrainField(field)) continue;
    const near = nearestField(field);
    throw bad(`got the unknown field ${formatValue(field)}${near ? ` (did you mean "${near}"?)` : ""}`);
  }
  return fields;
}

/** The field that a misspelt name most likely means; undefined if no field is near. */
export const nearestField = (name: string): string | undefined =>
  nearestName(name, [...Object.keys(fieldOptions), ...RENAMED.map(([, field]) => field)]);
