/** The configuration of a run, kept in config.json in its folder, from which the run can continue. */
import { join } from "node:path";
import {
  isMicroBatch,
  LARGEST_COUNT,
  modelConfig,
  trainConfig,
  type HrmConfig,
  type TrainConfig,
} from "../../model/config.js";
import { ArgumentError, nearestName } from "../../terminal/arguments.js";
import { readJsonObject } from "../inputs/json_file.js";
import { writeFileSafely } from "../disk/output.js";
import { formatValue } from "../../format_value.js";

/** Precisions of matrix products. */
export const PRECISIONS = ["f32", "mixed"] as const;
export type Precision = (typeof PRECISIONS)[number];

/** What validation scores: held-out puzzles, held-out examples of training puzzles, or training puzzles (`none` held out). */
export const VALIDATIONS = ["puzzles", "examples", "none"] as const;
export type Validation = (typeof VALIDATIONS)[number];

/** The largest memory budget in GB. Its number of bytes is an exact integer. */
export const LARGEST_BUDGET_GB = 1e6;

const count = { type: "int", min: 1, max: LARGEST_COUNT } as const;

/** Ranges of a run's numbers, for options and for config.json. */
export const RUN_NUMBERS = {
  seed: { type: "int", min: 0, max: 2 ** 32 - 1 },
  stopAt: { type: "float", min: 0, max: 1 },
  evalEvery: count,
  evalLimit: count,
  patience: count,
  keep: count,
  microBatch: count,
  memoryBudget: { type: "int", min: 0, max: LARGEST_BUDGET_GB * 1e9 },
} as const;

/** Everything that determines a run. */
export interface RunConfig {
  readonly preset: string;
  readonly seed: number;
  /** Adapter on which the run started; a resume may use another. */
  readonly adapter: string;
  readonly stopAt: number;
  readonly evalEvery: number;
  readonly evalLimit: number;
  /** Number of looks without an improvement after which training ends; null for no limit. */
  readonly patience: number | null;
  /** Number of newest checkpoints to keep, besides the best. */
  readonly keep: number;
  /** Rows of a micro-batch; null for the largest micro-batch that fits. */
  readonly microBatch: number | null;
  /** Bytes that training may take; null for no budget. */
  readonly memoryBudget: number | null;
  /** Whether kernels are chosen by measurement before the first step. */
  readonly autotune: boolean;
  /** Precision of matrix products; `mixed` rounds their operands to f16. */
  readonly precision: Precision;
  /** Files of the puzzles; null if the preset makes them. */
  readonly data: string | null;
  readonly test: string | null;
  /** Task that `--task` named; null if the files say which task they belong to. */
  readonly task: string | null;
  /** `--columns` as given: the columns of the files that hold the puzzles; null if they are recognised. */
  readonly columns: string | null;
  /** What is held out for validation; null for the default that suits the puzzles. */
  readonly validation: Validation | null;
  /** Weights that the run starts from; null for the official initialisation. */
  readonly init: RunStart | null;
  readonly model: HrmConfig;
  readonly train: TrainConfig;
}

/** The checkpoint whose weights a run starts from. */
export interface RunStart {
  /** Its path or address, as it was given. */
  readonly checkpoint: string;
  readonly weights: "ema" | "raw";
  /** CRC-32 of the file, eight hexadecimal digits. */
  readonly crc32: string;
  /** What was not taken as it is, one clause for each parameter. */
  readonly notes: readonly string[];
}

/** Name of the file in the run's folder. */
export const RUN_CONFIG_FILE = "config.json";

/** Writes a run's configuration. @throws OutputError */
export async function writeRunConfig(folder: string, config: RunConfig): Promise<void> {
  await writeFileSafely(join(folder, RUN_CONFIG_FILE), `${JSON.stringify(config, null, 2)}\n`);
}

/**
 * Reads a run's configuration, and checks it by the same rules as the command line. `option` is what named the folder, for the
 * error.
 * @throws ArgumentError if the folder does not belong to a run
 */
export async function readRunConfig(folder: string, option = "--resume"): Promise<RunConfig> {
  const bad = (reason: string): ArgumentError =>
    new ArgumentError(
      `${option && `${option} `}"${folder}": ${RUN_CONFIG_FILE} ${reason}; expected the folder of a run that hrm train made.`,
    );
  const fields = await readJsonObject(join(folder, RUN_CONFIG_FILE), bad);
  try {
    return checked(fields);
  } catch (error) {
    throw bad(`cannot be used (${(error as Error).message})`);
  }
}

type Reader<T> = (value: unknown) => T | Wrong;

/** Says that a field is wrong, and what was expected. */
class Wrong {
  constructor(readonly expected: string) {}
}

const text: Reader<string> = (v) => (typeof v === "string" ? v : new Wrong("a text"));
const flag: Reader<boolean> = (v) => (typeof v === "boolean" ? v : new Wrong("true or false"));
const object: Reader<object> = (v) =>
  typeof v === "object" && v !== null && !Array.isArray(v) ? v : new Wrong("a JSON object");

function orNull<T>(reader: Reader<T>): Reader<T | null> {
  return (value) => {
    const read = value === null ? null : reader(value);
    return read instanceof Wrong ? new Wrong(`${read.expected} or null`) : read;
  };
}

function number(name: keyof typeof RUN_NUMBERS): Reader<number> {
  const { type, min, max } = RUN_NUMBERS[name];
  return (v) =>
    typeof v === "number" && v >= min && v <= max && (type === "float" || Number.isInteger(v))
      ? v
      : new Wrong(`${type === "int" ? "an integer" : "a number"} from ${min} to ${max}`);
}

const READERS: { readonly [K in keyof RunConfig]: Reader<unknown> } = {
  preset: text,
  seed: number("seed"),
  adapter: text,
  stopAt: number("stopAt"),
  evalEvery: number("evalEvery"),
  evalLimit: number("evalLimit"),
  patience: orNull(number("patience")),
  keep: number("keep"),
  microBatch: orNull(number("microBatch")),
  memoryBudget: orNull(number("memoryBudget")),
  autotune: flag,
  precision: (v) => (PRECISIONS.includes(v as Precision) ? v : new Wrong(`one of ${PRECISIONS.join(", ")}`)),
  data: orNull(text),
  test: orNull(text),
  task: orNull(text),
  columns: orNull(text),
  validation: orNull((v) =>
    VALIDATIONS.includes(v as Validation) ? v : new Wrong(`one of ${VALIDATIONS.join(", ")}`),
  ),
  init: orNull((v) => (isStart(v) ? v : new Wrong("an object with checkpoint, weights, crc32 and notes"))),
  model: object,
  train: object,
};

function isStart(value: unknown): value is RunStart {
  if (typeof value !== "object" || value === null) return false;
  const { checkpoint, weights, crc32, notes } = value as Record<keyof RunStart, unknown>;
  const named = typeof checkpoint === "string" && (weights === "ema" || weights === "raw");
  return (
    named &&
    /^[0-9a-f]{8}$/.test(String(crc32)) &&
    Array.isArray(notes) &&
    notes.every((n) => typeof n === "string")
  );
}

/** Values of fields that old folders do not have. */
const FORMER = {
  ...{ microBatch: null, memoryBudget: null, autotune: false, precision: "f32" },
  ...{ task: null, columns: null, validation: null, init: null },
} as const;

function checked(given: Readonly<Record<string, unknown>>): RunConfig {
  const names = Object.keys(READERS);
  for (const name of Object.keys(given)) {
    if (names.includes(name)) continue;
    const near = nearestName(name, names);
    throw new Error(`got the unknown field ${formatValue(name)}${near ? `; did you mean ${near}?` : ""}`);
  }
  const fields: Record<string, unknown> = { ...FORMER, ...given };
  for (const [name, reader] of Object.entries(READERS)) {
    const read = reader(fields[name]);
    if (read instanceof Wrong)
      throw new Error(`${name}: got ${formatValue(fields[name])}; expected ${read.expected}`);
  }
  const run = {
    ...(fields as unknown as RunConfig),
    model: modelConfig(fields["model"] as Partial<HrmConfig>),
    train: trainConfig(fields["train"] as Partial<TrainConfig>),
  };
  const { microBatch, memoryBudget, data, test, model } = run;
  if (test !== null && data === null)
    throw new Error(`test: got ${formatValue(test)} without data; expected both`);
  if (microBatch !== null && memoryBudget !== null)
    throw new Error(
      "got a microBatch and a memoryBudget; expected one of them, as a budget chooses the micro-batch",
    );
  if (microBatch !== null && !isMicroBatch(microBatch, model))
    throw new Error(`microBatch: got ${microBatch}; expected a divisor of batch_size (${model.batch_size})`);
  return run;
}
