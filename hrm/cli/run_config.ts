/** What a run is, as its folder's config.json keeps it: enough to go on with it. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { modelConfig, trainConfig, type HrmConfig, type TrainConfig } from "../config.js";
import { ArgumentError } from "./arguments.js";
import { reasonOf } from "./run_folder.js";
import { shown } from "../shown.js";

/** Precisions of matrix products. */
export const PRECISIONS = ["f32", "mixed"] as const;
export type Precision = (typeof PRECISIONS)[number];

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
  readonly model: HrmConfig;
  readonly train: TrainConfig;
}

/** Name of the file in the run's folder. */
export const RUN_CONFIG_FILE = "config.json";

/** Reads a run's configuration. @throws ArgumentError where the folder is no run's */
export async function readRunConfig(folder: string): Promise<RunConfig> {
  const bad = (reason: string): ArgumentError =>
    new ArgumentError(
      `--resume "${folder}": ${RUN_CONFIG_FILE} ${reason}; expected the folder of a run that hrm train made.`,
    );
  let text: string;
  try {
    text = await readFile(join(folder, RUN_CONFIG_FILE), "utf8");
  } catch (error) {
    throw bad(`cannot be read (${reasonOf(error)})`);
  }
  try {
    return checked(JSON.parse(text));
  } catch (error) {
    throw bad(`cannot be used (${(error as Error).message})`);
  }
}

function checked(value: unknown): RunConfig {
  const fields = Object(value) as Record<string, unknown>;
  const expect = <T>(name: string, test: (v: unknown) => v is T, expected: string): T => {
    if (!test(fields[name])) throw new Error(`${name}: got ${shown(fields[name])}; expected ${expected}`);
    return fields[name];
  };
  const isText = (v: unknown): v is string => typeof v === "string";
  const isTextOrNull = (v: unknown): v is string | null => v === null || isText(v);
  const isCount = (v: unknown): v is number => Number.isSafeInteger(v) && (v as number) >= 0;
  const isCountOrNull = (v: unknown): v is number | null => v === null || isCount(v);
  const isFraction = (v: unknown): v is number => typeof v === "number" && v >= 0 && v <= 1;
  // Absent in folders of before there was a choice, which then was what null or false stands for.
  const isCountOrAbsent = (v: unknown): v is number | null | undefined => v === undefined || isCountOrNull(v);
  const isFlagOrAbsent = (v: unknown): v is boolean | undefined => v === undefined || typeof v === "boolean";
  const isPrecisionOrAbsent = (v: unknown): v is Precision | undefined =>
    v === undefined || PRECISIONS.includes(v as Precision);
  const isObject = (v: unknown): v is Record<string, never> => typeof v === "object" && v !== null;
  return {
    preset: expect("preset", isText, "a preset's name"),
    seed: expect("seed", isCount, "a seed"),
    adapter: expect("adapter", isText, "an adapter's name"),
    stopAt: expect("stopAt", isFraction, "a number from 0 to 1"),
    evalEvery: expect("evalEvery", isCount, "a number of steps"),
    evalLimit: expect("evalLimit", isCount, "a number of puzzles"),
    patience: expect("patience", isCountOrNull, "a number of looks or null"),
    keep: expect("keep", isCount, "a number of checkpoints"),
    microBatch: expect("microBatch", isCountOrAbsent, "a number of rows or null") ?? null,
    memoryBudget: expect("memoryBudget", isCountOrAbsent, "a number of bytes or null") ?? null,
    autotune: expect("autotune", isFlagOrAbsent, "true or false") ?? false,
    precision: expect("precision", isPrecisionOrAbsent, `one of ${PRECISIONS.join(", ")}`) ?? "f32",
    data: expect("data", isTextOrNull, "a path or null"),
    test: expect("test", isTextOrNull, "a path or null"),
    model: modelConfig(expect("model", isObject, "a model configuration")),
    train: trainConfig(expect("train", isObject, "a training configuration")),
  };
}
