/** What a run is, as its folder's config.json keeps it: enough to go on with it. */
import { join } from "node:path";
import {
  isMicroBatch,
  LARGEST_COUNT,
  modelConfig,
  trainConfig,
  type HrmConfig,
  type TrainConfig,
} from "../../model/config.js";
import { ArgumentError, nearestName } from "../../../terminal/arguments.js";
import { readJsonObject } from "../inputs/json_file.js";
import { writeFileSafely } from "../disk/output.js";
import { formatValue } from "../../format_value.js";

/** Precisions of matrix products. */
export const PRECISIONS = ["f32", "mixed"] as const;
export type Precision = (typeof PRECISIONS)[number];

/** What validation may look at: puzzles that are held out, examples of training puzzles that are, or training puzzles. */
export const VALIDATIONS = ["puzzles", "examples", "none"] as const;
export type Validation = (typeof VALIDATIONS)[number];

/** The most gigabytes that a memory budget can have; its bytes are counted exactly. */
export const LARGEST_BUDGET_GB = 1e6;

const count = { type: "int", min: 1, max: LARGEST_COUNT } as const;

/** Numbers of a run, as options and config.json both may have them. */
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

/** Everything that decides a run. */
export interface RunConfig {
  readonly preset: string;
  readonly seed: number;
  /** Where it started; a resumed run may be elsewhere. */
  readonly adapter: string;
  readonly stopAt: number;
  readonly evalEvery: number;
  readonly evalLimit: number;
  /** Looks at the validation set without a better one that end training; null for no limit. */
  readonly patience: number | null;
  /** Checkpoints kept, besides the best. */
  readonly keep: number;
  /** Rows of a micro-batch; null for the largest that fits. */
  readonly microBatch: number | null;
  /** Bytes that training may take; null for no budget. */
  readonly memoryBudget: number | null;
  /** Kernels are chosen by measurement before the first step. */
  readonly autotune: boolean;
  /** Of matrix products; `mixed` rounds their operands to f16. */
  readonly precision: Precision;
  /** Files that the puzzles came from; null where the preset made them. */
  readonly data: string | null;
  readonly test: string | null;
  /** Task that the files' puzzles were said to be of; null if the files told. */
  readonly task: string | null;
  /** `--columns` as it was given: which columns of the files hold the puzzles; null if the files tell. */
  readonly columns: string | null;
  /** What was held out for validation; null for what suits the puzzles. */
  readonly validation: Validation | null;
  readonly model: HrmConfig;
  readonly train: TrainConfig;
}

/** Name of the file in the run's folder. */
export const RUN_CONFIG_FILE = "config.json";

/** Writes a run's configuration. @throws OutputError */
export async function writeRunConfig(folder: string, config: RunConfig): Promise<void> {
  await writeFileSafely(join(folder, RUN_CONFIG_FILE), `${JSON.stringify(config, null, 2)}\n`);
}

/**
 * Reads a run's configuration, and holds it to the same rules as the command line.
 * @throws ArgumentError if the folder is not that of a run
 */
export async function readRunConfig(folder: string): Promise<RunConfig> {
  const bad = (reason: string): ArgumentError =>
    new ArgumentError(
      `--resume "${folder}": ${RUN_CONFIG_FILE} ${reason}; expected the folder of a run that hrm train made.`,
    );
  const fields = await readJsonObject(join(folder, RUN_CONFIG_FILE), bad);
  try {
    return checked(fields);
  } catch (error) {
    throw bad(`cannot be used (${(error as Error).message})`);
  }
}

type Reader<T> = (value: unknown) => T | Wrong;

/** What a field should have been. */
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
  model: object,
  train: object,
};

/** Absent in folders from before there was a choice, which then was this. */
const FORMER = {
  ...{ microBatch: null, memoryBudget: null, autotune: false, precision: "f32" },
  ...{ task: null, columns: null, validation: null },
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
