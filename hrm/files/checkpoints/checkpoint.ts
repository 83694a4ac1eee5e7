/**
 * Checkpoints: safetensors files with the raw weights under their official names and all other tensors under prefixes
 * (docs/checkpoints.md), sealed with a checksum.
 */
import { hostTensor, type HostTensor, type Shape } from "../../../engine/index.js";
import { isMicroBatch, modelConfig, trainConfig, type HrmConfig } from "../../model/config.js";
import { FileFormatError } from "../file_format_error.js";
import { type SafetensorsTensor, writeSafetensors } from "../tensors/safetensors.js";
import { readSealed, seal, UNSEALED } from "./seal.js";
import {
  nonFiniteNumbers,
  parameterSpecs,
  PUZZLE_EMBEDDING,
  type StateDict,
} from "../../model/parameters.js";
import type { SessionSnapshot } from "../../training/session.js";
import { PREFIX, snapshotWeights, type Origin, type RunIdentity } from "../../training/snapshot.js";
import { VERSION } from "../../version.js";
import { formatValue } from "../../format_value.js";

const FORMAT = "checkpoint";
const BEST = "best.";

/** A checkpoint in memory. */
export interface Checkpoint {
  /** The model's configuration. */
  readonly config: HrmConfig;
  /** Name of the preset or of the task. */
  readonly task: string;
  /** The file of the puzzles; absent if a preset made them. */
  readonly data?: string;
  /** Characters of the tokens in the order of their numbers, if they are known. */
  readonly vocabulary?: readonly string[];
  /** Finished steps of the run. */
  readonly step: number;
  /** The run's seed, which decides the split and so which puzzles stay unseen. Null if the file does not say. */
  readonly seed: number | null;
  /** Weights as they were trained, by official name. */
  readonly raw: StateDict;
  /** The moving average of every parameter; null if no average was kept. */
  readonly ema: StateDict | null;
  /** The run that can continue; absent if the file holds only weights. */
  readonly run?: SessionSnapshot;
}

/** A checkpoint of a whole run, from which it can be resumed. */
export function runCheckpoint(
  run: SessionSnapshot,
  { task, data, vocabulary }: Pick<Checkpoint, "task" | "data" | "vocabulary">,
): Checkpoint {
  const { config, step, seed } = run;
  const origin = { task, ...(data !== undefined && { data }), ...(vocabulary && { vocabulary }) };
  return { config, ...origin, step, seed, ...snapshotWeights(run), run };
}

/** What a run has besides tensors. */
type RunRecord = Omit<SessionSnapshot, "config" | "state" | "best"> & {
  readonly best: Omit<NonNullable<SessionSnapshot["best"]>, "weights"> | null;
};

type Choices = Pick<RunIdentity, "kernels" | "microBatch" | "precision">;

/** Choices in the form of the file: one map of kernels, in which micro-batch and precision are further entries. */
const choicesToJson = ({ kernels, microBatch, precision }: Choices): Record<string, string> => ({
  ...kernels,
  ...(microBatch !== null && { "micro-batch": String(microBatch) }),
  ...(precision !== null && { precision }),
});

/** @throws Error if the micro-batch does not divide the batch */
function choicesFromJson(json: Record<string, string>, config: HrmConfig): Choices {
  const { "micro-batch": rows, precision = null, ...kernels } = json;
  const microBatch = rows === undefined ? null : Number(rows);
  if (microBatch !== null && !isMicroBatch(microBatch, config))
    throw new Error(
      `its micro-batch is ${formatValue(rows)}; expected a divisor of batch_size (${config.batch_size})`,
    );
  return { kernels, microBatch, precision };
}

/** Writes a checkpoint as the bytes of a file. */
export function encodeCheckpoint(checkpoint: Checkpoint): Uint8Array<ArrayBuffer> {
  const { config, task, data: file, vocabulary, step, seed, raw, ema, run } = checkpoint;
  const trained = parameterSpecs(config).filter((p) => p.update !== "fixed");
  // TRM does not average the puzzle embedding, so its `ema` holds the raw tensor.
  const averages = trained.flatMap(({ name }) =>
    ema && ema.get(name) !== raw.get(name) ? [[PREFIX.ema + name, ema.get(name)!] as const] : [],
  );
  const tensors = new Map<string, HostTensor>([...raw, ...averages, ...(run?.state ?? [])]);
  for (const [name, value] of run?.best?.weights ?? []) tensors.set(BEST + name, value);
  const metadata: Record<string, string> = {
    ...UNSEALED,
    format: "hrm-webgpu",
    version: VERSION,
    config: JSON.stringify(config),
    task,
    step: String(step),
    ...(seed !== null && { seed: String(seed) }),
    ...(file !== undefined && { data: file }),
    ...(vocabulary && { vocabulary: JSON.stringify(vocabulary) }),
  };
  if (run) {
    const { train, fetched, data, origin, validatedAt, looksSinceBest, ended } = run;
    const best = run.best && {
      step: run.best.step,
      exactAccuracy: run.best.exactAccuracy,
      cellAccuracy: run.best.cellAccuracy,
    };
    metadata["run"] = JSON.stringify({
      ...{ train, seed: run.seed, step: run.step, fetched, data, origin, choices: choicesToJson(run) },
      ...{ validatedAt, looksSinceBest, best, ended },
    });
  }
  return seal(writeSafetensors([...tensors].map(safetensorsEntry), metadata));
}

const DTYPES = { f32: "F32", i32: "I32", u32: "U32" } as const;

function safetensorsEntry([name, { shape, dtype, data }]: readonly [string, HostTensor]): [
  string,
  SafetensorsTensor,
] {
  return [name, { dtype: DTYPES[dtype], shape, data } as SafetensorsTensor];
}

/** Reads a checkpoint. @throws FileFormatError if the file is not a checkpoint, or was damaged */
export function decodeCheckpoint(bytes: Uint8Array): Checkpoint {
  const { tensors, metadata } = readSealed(bytes, FORMAT);
  const { config: json, task } = metadata;
  if (json === undefined || task === undefined)
    throw broken("no configuration in the file's metadata; expected a checkpoint written by hrm train");
  const config = understood("configuration", () => modelConfig(parsed(json) as Partial<HrmConfig>));
  const vocabulary =
    metadata["vocabulary"] === undefined
      ? undefined
      : understood("vocabulary", () => strings(parsed(metadata["vocabulary"]!)));
  if (vocabulary && vocabulary.length !== config.vocab_size)
    throw broken(`its vocabulary has ${vocabulary.length} tokens; expected ${config.vocab_size}`);
  // The number of tensors bounds the work of parameterSpecs.
  const layersOfH = config.arch === "hrm" ? config.H_layers : 0;
  if (layersOfH + config.L_layers > tensors.size)
    throw broken(
      `its configuration has ${layersOfH} + ${config.L_layers} layers, more than its ${tensors.size} tensors can be`,
    );
  const all = new Map([...tensors].flatMap(([name, t]) => hostEntry(name, t)));
  const specs = parameterSpecs(config);
  const state = (prefix: string): Map<string, HostTensor> =>
    new Map(specs.map(({ name, shape }) => [name, parameter(all, prefix + name, shape)]));
  const raw = state("");
  const trained = specs.filter((p) => p.update !== "fixed");
  const ema = trained.some(({ name }) => all.has(PREFIX.ema + name))
    ? new Map([
        ...raw,
        ...trained
          .filter(({ name }) => name !== PUZZLE_EMBEDDING || all.has(PREFIX.ema + name))
          .map(({ name, shape }) => [name, parameter(all, PREFIX.ema + name, shape)] as const),
      ])
    : null;
  const step = natural(Number(metadata["step"]), "step");
  const seed = metadata["seed"] === undefined ? null : natural(Number(metadata["seed"]), "seed");
  const file = metadata["data"];
  const origin = { task, ...(file !== undefined && { data: file }), ...(vocabulary && { vocabulary }) };
  const base = { config, ...origin, step, seed, raw, ema };
  if (metadata["run"] === undefined) return base;
  const record = understood("run", () => runRecord(parsed(metadata["run"]!), config));
  requireConsistent(record, step, all);
  const isBest = ([name]: readonly [string, unknown]): boolean => name.startsWith(BEST);
  const run: SessionSnapshot = {
    ...record,
    config,
    state: new Map([...all].filter((entry) => !isBest(entry))),
    best: record.best && { ...record.best, weights: state(BEST) },
  };
  return { ...base, run };
}

function hostEntry(name: string, tensor: SafetensorsTensor): [string, HostTensor][] {
  if (tensor.dtype !== "F32" && tensor.dtype !== "I32" && tensor.dtype !== "U32") return [];
  return [[name, hostTensor(tensor.data, tensor.shape)]];
}

/** @throws FileFormatError unless the run's counter, step and schedule agree and its state is finite, as continuing requires */
function requireConsistent({ seed, step, train }: RunRecord, claimed: number, all: StateDict): void {
  const counter = all.get("counter")?.data;
  if (step !== claimed) throw broken(`its run is at step ${step}, but its metadata says step ${claimed}`);
  if (counter && (counter[0] !== seed || counter[1] !== step))
    throw broken(
      `its counter says seed ${counter[0]}, step ${counter[1]}; its run says seed ${seed}, step ${step}`,
    );
  if (step > train.total_steps) throw broken(`its step ${step} is past its last step ${train.total_steps}`);
  for (const [name, { data }] of all) {
    const lost = name === "metrics" ? 0 : nonFiniteNumbers(data);
    if (lost > 0)
      throw new FileFormatError(
        FORMAT,
        `${lost} of its ${data.length} numbers are NaNs or infinities, so that the run cannot go on; use an earlier file`,
        { tensor: name },
      );
  }
}

/** A weight with the shape of the configuration. @throws FileFormatError */
function parameter(all: ReadonlyMap<string, HostTensor>, name: string, shape: Shape): HostTensor {
  const value = all.get(name);
  if (value?.dtype === "f32" && value.shape.join() === shape.join()) return value;
  const got = value ? `is ${value.dtype} ${formatValue(value.shape)}` : "is missing";
  throw new FileFormatError(FORMAT, `${got}; expected f32 ${formatValue(shape)}`, { tensor: name });
}

function runRecord(value: unknown, config: HrmConfig): RunRecord {
  const { train, seed, step, fetched, data, origin, choices, validatedAt, looksSinceBest, best, ...rest } =
    record(value);
  const look = best === null ? null : record(best);
  // Files of version 0.1 before November 2026 say "plan" for a run that did its last step.
  const ended = rest["ended"] === "plan" ? "last_step" : rest["ended"];
  if (ended !== null && ended !== "target" && ended !== "last_step" && ended !== "patience")
    throw new Error(`ended is ${formatValue(ended)}`);
  return {
    train: trainConfig(record(train)),
    seed: natural(seed, "seed"),
    step: natural(step, "step"),
    fetched: natural(fetched, "fetched"),
    data: text(data),
    origin: texts(origin) as unknown as Origin,
    ...choicesFromJson(texts(choices), config),
    validatedAt: natural(validatedAt, "validatedAt"),
    looksSinceBest: natural(looksSinceBest, "looksSinceBest"),
    best: look && {
      step: natural(look["step"], "best.step"),
      exactAccuracy: fraction(look["exactAccuracy"], "best.exactAccuracy"),
      cellAccuracy: fraction(look["cellAccuracy"], "best.cellAccuracy"),
    },
    ended: ended,
  };
}

/** Runs a reader of metadata. Any error becomes a FileFormatError that names the part. */
function understood<T>(part: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw broken(`its ${part} cannot be used: ${(cause as Error).message}`, { cause });
  }
}

function parsed(json: string): unknown {
  return JSON.parse(json) as unknown;
}

function record(value: unknown): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new Error(`got ${formatValue(value)}; expected an object`);
  return value as Record<string, unknown>;
}

function text(value: unknown): string {
  if (typeof value !== "string") throw new Error(`got ${formatValue(value)}; expected a string`);
  return value;
}

function texts(value: unknown): Record<string, string> {
  return Object.fromEntries(Object.entries(record(value)).map(([key, v]) => [key, text(v)]));
}

function strings(value: unknown): string[] {
  if (!Array.isArray(value)) throw new Error("expected a list of strings");
  return value.map(text);
}

function natural(value: unknown, what: string): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0)
    throw broken(`its ${what} is ${formatValue(value)}; expected an integer of at least 0`);
  return value as number;
}

function fraction(value: unknown, what: string): number {
  if (typeof value !== "number" || !(value >= 0 && value <= 1))
    throw broken(`its ${what} is ${formatValue(value)}; expected a number from 0 to 1`);
  return value;
}

function broken(problem: string, options?: ErrorOptions): FileFormatError {
  return new FileFormatError(FORMAT, problem, {}, options);
}
