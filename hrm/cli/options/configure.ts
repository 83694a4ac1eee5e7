/** Applies the options and the config file to a preset. */
import {
  ConfigError,
  isModelField,
  isTrainField,
  modelConfig,
  trainConfig,
  type HrmConfig,
  type TrainConfig,
} from "../../model/config.js";
import { TASK_FIELDS, type TaskField } from "../../model/task_fields.js";
import { FIELD_CHOICES, FIELD_HELP } from "../../model/field_help.js";
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
  arch: choice(FIELD_HELP.arch, ...FIELD_CHOICES.arch),
  hidden_size: integer(FIELD_HELP.hidden_size),
  num_heads: integer(FIELD_HELP.num_heads),
  expansion: number(FIELD_HELP.expansion),
  swiglu_multiple: integer(FIELD_HELP.swiglu_multiple),
  H_cycles: integer(FIELD_HELP.H_cycles),
  L_cycles: integer(FIELD_HELP.L_cycles),
  bp_steps: integer(FIELD_HELP.bp_steps),
  H_layers: integer(FIELD_HELP.H_layers),
  L_layers: integer(FIELD_HELP.L_layers),
  mlp_t: flag(FIELD_HELP.mlp_t),
  pos_encodings: choice(FIELD_HELP.pos_encodings, ...FIELD_CHOICES.pos_encodings),
  pos_init_scale: number(FIELD_HELP.pos_init_scale),
  rope_theta: number(FIELD_HELP.rope_theta),
  rope_frequency: number(FIELD_HELP.rope_frequency),
  rms_norm_eps: number(FIELD_HELP.rms_norm_eps),
  causal: flag(FIELD_HELP.causal),
  puzzle_emb_ndim: integer(FIELD_HELP.puzzle_emb_ndim),
  puzzle_emb_len: integer(FIELD_HELP.puzzle_emb_len),
  num_puzzle_identifiers: integer(FIELD_HELP.num_puzzle_identifiers),
  halt_max_steps: integer(FIELD_HELP.halt_max_steps),
  inference_segments: integer(FIELD_HELP.inference_segments),
  keep_best_answer: flag(FIELD_HELP.keep_best_answer),
  halt_exploration_prob: number(FIELD_HELP.halt_exploration_prob),
  halt_only: flag(FIELD_HELP.halt_only),
  carry_latents: flag(FIELD_HELP.carry_latents),
  loss_type: choice(FIELD_HELP.loss_type, ...FIELD_CHOICES.loss_type),
  lr_schedule: choice(FIELD_HELP.lr_schedule, ...FIELD_CHOICES.lr_schedule),
  lr_warmup_steps: integer(FIELD_HELP.lr_warmup_steps),
  lr_min_ratio: number(FIELD_HELP.lr_min_ratio),
  lr_decay_start: number(FIELD_HELP.lr_decay_start),
  weight_decay: number(FIELD_HELP.weight_decay),
  beta1: number(FIELD_HELP.beta1),
  beta2: number(FIELD_HELP.beta2),
  puzzle_emb_lr: number(FIELD_HELP.puzzle_emb_lr),
  puzzle_emb_weight_decay: number(FIELD_HELP.puzzle_emb_weight_decay),
  ema_decay: number(FIELD_HELP.ema_decay),
  ema_warmup: flag(FIELD_HELP.ema_warmup),
  staggered_starts: flag(FIELD_HELP.staggered_starts),
  augment: flag(FIELD_HELP.augment),
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
