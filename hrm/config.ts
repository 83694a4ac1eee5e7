/** The configuration, under the official names, checked before anything is built from it. */

import { shown } from "./shown.js";

/** A configuration that cannot be: which field, what was given, what was expected. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  constructor(
    readonly field: string,
    readonly got: unknown,
    readonly expected: string,
  ) {
    super(`config.${field}: got ${shown(got)}; expected ${expected}.`);
  }
}

/** The model; names, meanings and defaults are those of the official implementation (hrm_act_v1.py). */
export interface HrmConfig {
  readonly batch_size: number;
  readonly seq_len: number;
  readonly vocab_size: number;
  /** Width of the puzzle embedding; 0 for none. */
  readonly puzzle_emb_ndim: number;
  readonly num_puzzle_identifiers: number;
  readonly H_cycles: number;
  readonly L_cycles: number;
  readonly H_layers: number;
  readonly L_layers: number;
  readonly hidden_size: number;
  readonly expansion: number;
  readonly num_heads: number;
  readonly pos_encodings: "rope" | "learned";
  /** Ours: learned positions start with this times their official standard deviation; official 1. */
  readonly pos_init_scale: number;
  readonly rms_norm_eps: number;
  readonly rope_theta: number;
  readonly halt_max_steps: number;
  readonly halt_exploration_prob: number;
  /** False in every published model. */
  readonly causal: boolean;
  readonly loss_type: "stablemax_cross_entropy" | "softmax_cross_entropy";
  /** Ours: the SwiGLU inner size is rounded up to a multiple of this; official 256. */
  readonly swiglu_multiple: number;
  /** Ours: halt on q_halt > 0 and learn no q_continue, which saves the second forward; official false. */
  readonly halt_only: boolean;
}

/** The official defaults; sizes that have none there are those of the 27M Sudoku model. */
export const defaultConfig: HrmConfig = {
  batch_size: 384,
  seq_len: 81,
  vocab_size: 11,
  puzzle_emb_ndim: 0,
  num_puzzle_identifiers: 1,
  H_cycles: 2,
  L_cycles: 2,
  H_layers: 4,
  L_layers: 4,
  hidden_size: 512,
  expansion: 4,
  num_heads: 8,
  pos_encodings: "rope",
  pos_init_scale: 1,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  halt_max_steps: 16,
  halt_exploration_prob: 0.1,
  causal: false,
  loss_type: "stablemax_cross_entropy",
  swiglu_multiple: 256,
  halt_only: false,
};

/** How the model is trained; official names where there are such. */
export interface TrainConfig {
  readonly lr: number;
  /** Fraction of lr at the end. */
  readonly lr_min_ratio: number;
  readonly lr_warmup_steps: number;
  readonly total_steps: number;
  readonly weight_decay: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly puzzle_emb_lr: number;
  readonly puzzle_emb_weight_decay: number;
  /** `cosine` is official; `linear` stays constant until `lr_decay_start` of the steps, then falls linearly. */
  readonly lr_schedule: "cosine" | "linear";
  readonly lr_decay_start: number;
  /** Ours: decay of the moving average of the weights, warmed up as min(d, (1 + t) / (10 + t)); 0 for none. */
  readonly ema_decay: number;
  /** Ours: train on random symmetric images of the puzzles, drawn for every batch; official data are augmented beforehand. */
  readonly augment: boolean;
}

/** The official training defaults (pretrain.py, config/cfg_pretrain.yaml). */
export const defaultTrainConfig: TrainConfig = {
  lr: 1e-4,
  lr_min_ratio: 1,
  lr_warmup_steps: 2000,
  total_steps: 10000,
  weight_decay: 0.1,
  beta1: 0.9,
  beta2: 0.95,
  puzzle_emb_lr: 1e-2,
  puzzle_emb_weight_decay: 0.1,
  lr_schedule: "cosine",
  lr_decay_start: 0.8,
  ema_decay: 0,
  augment: false,
};

/** Sizes that follow from a configuration. */
export interface Derived {
  /** Prefix positions that hold the puzzle embedding: ceil(puzzle_emb_ndim / hidden_size). */
  readonly puzzleLength: number;
  /** seq_len plus the prefix. */
  readonly totalLength: number;
  readonly headDim: number;
  /** Inner size of SwiGLU. */
  readonly innerSize: number;
}

/** Sizes that follow from a configuration. */
export function derive(config: HrmConfig): Derived {
  const puzzleLength = Math.ceil(config.puzzle_emb_ndim / config.hidden_size);
  const inner = Math.round((config.expansion * config.hidden_size * 2) / 3);
  return {
    puzzleLength,
    totalLength: config.seq_len + puzzleLength,
    headDim: config.hidden_size / config.num_heads,
    innerSize: Math.ceil(inner / config.swiglu_multiple) * config.swiglu_multiple,
  };
}

type Rule = readonly [test: (value: unknown) => boolean, expected: string];

const isNumber = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);
const positiveInteger: Rule = [(v) => isNumber(v) && Number.isInteger(v) && v > 0, "a positive integer"];
const natural: Rule = [(v) => isNumber(v) && Number.isInteger(v) && v >= 0, "an integer of at least 0"];
const positive: Rule = [(v) => isNumber(v) && v > 0, "a number above 0"];
const notNegative: Rule = [(v) => isNumber(v) && v >= 0, "a number of at least 0"];
const fraction: Rule = [(v) => isNumber(v) && v >= 0 && v <= 1, "a number from 0 to 1"];
const belowOne: Rule = [(v) => isNumber(v) && v >= 0 && v < 1, "a number of at least 0 and below 1"];
const boolean: Rule = [(v) => typeof v === "boolean", "true or false"];
const oneOf = (...values: string[]): Rule => [
  (v) => values.includes(v as string),
  values.map((v) => `"${v}"`).join(" or "),
];

const MODEL_RULES: Record<keyof HrmConfig, Rule> = {
  batch_size: positiveInteger,
  seq_len: positiveInteger,
  vocab_size: positiveInteger,
  puzzle_emb_ndim: natural,
  num_puzzle_identifiers: positiveInteger,
  H_cycles: positiveInteger,
  L_cycles: positiveInteger,
  H_layers: positiveInteger,
  L_layers: positiveInteger,
  hidden_size: positiveInteger,
  expansion: positive,
  num_heads: positiveInteger,
  pos_encodings: oneOf("rope", "learned"),
  pos_init_scale: positive,
  rms_norm_eps: positive,
  rope_theta: positive,
  halt_max_steps: positiveInteger,
  halt_exploration_prob: fraction,
  causal: boolean,
  loss_type: oneOf("stablemax_cross_entropy", "softmax_cross_entropy"),
  swiglu_multiple: positiveInteger,
  halt_only: boolean,
};

const TRAIN_RULES: Record<keyof TrainConfig, Rule> = {
  lr: positive,
  lr_min_ratio: fraction,
  lr_warmup_steps: natural,
  total_steps: positiveInteger,
  weight_decay: notNegative,
  beta1: belowOne,
  beta2: belowOne,
  puzzle_emb_lr: notNegative,
  puzzle_emb_weight_decay: notNegative,
  lr_schedule: oneOf("cosine", "linear"),
  lr_decay_start: fraction,
  ema_decay: belowOne,
  augment: boolean,
};

function checked<T extends object>(given: Partial<T>, defaults: T, rules: Record<keyof T, Rule>): T {
  for (const [field, value] of Object.entries(given)) {
    if (!(field in rules)) throw new ConfigError(field, value, `one of ${Object.keys(rules).join(", ")}`);
  }
  const complete = { ...defaults, ...given };
  for (const [field, [test, expected]] of Object.entries(rules) as [keyof T & string, Rule][]) {
    if (!test(complete[field])) throw new ConfigError(field, complete[field], expected);
  }
  return complete;
}

/** A whole model configuration from some of its fields. @throws ConfigError */
export function modelConfig(given: Partial<HrmConfig>): HrmConfig {
  const config = checked(given, defaultConfig, MODEL_RULES);
  if (config.hidden_size % config.num_heads !== 0) {
    throw new ConfigError("num_heads", config.num_heads, `a divisor of hidden_size (${config.hidden_size})`);
  }
  if (config.pos_encodings === "rope" && (config.hidden_size / config.num_heads) % 2 !== 0) {
    throw new ConfigError(
      "num_heads",
      config.num_heads,
      `an even head size for rope, not ${config.hidden_size / config.num_heads}`,
    );
  }
  return config;
}

/** A whole training configuration from some of its fields. @throws ConfigError */
export function trainConfig(given: Partial<TrainConfig>): TrainConfig {
  return checked(given, defaultTrainConfig, TRAIN_RULES);
}

/** True for a field of the model configuration. */
export const isModelField = (field: string): field is keyof HrmConfig => field in MODEL_RULES;
/** True for a field of the training configuration. */
export const isTrainField = (field: string): field is keyof TrainConfig => field in TRAIN_RULES;

/** True for a number of rows that makes up the batch in equal parts. */
export const isMicroBatch = (rows: number, { batch_size }: Pick<HrmConfig, "batch_size">): boolean =>
  Number.isInteger(rows) && rows > 0 && batch_size % rows === 0;
