/** Checkpoints: safetensors with the raw weights under the official names and the moving average beside them. */
import { hostTensor } from "../engine/index.js";
import { modelConfig, type HrmConfig } from "./config.js";
import { FileFormatError } from "./files/file_format_error.js";
import { readSafetensors, writeSafetensors, type SafetensorsTensor } from "./files/safetensors.js";
import { parameterSpecs, type StateDict } from "./parameters.js";

/** Prefix of the moving average's names. */
const EMA = "ema.";

/** A checkpoint in memory. */
export interface Checkpoint {
  readonly config: HrmConfig;
  /** Name of the task, as presets have it. */
  readonly task: string;
  readonly step: number;
  /** The run's seed, which decides the split: with it, test puzzles stay unseen. Null in a file that does not say. */
  readonly seed: number | null;
  readonly raw: StateDict;
  /** The moving average, every parameter; null where none was kept. */
  readonly ema: StateDict | null;
}

/** The file's bytes. */
export function encodeCheckpoint({
  config,
  task,
  step,
  seed,
  raw,
  ema,
}: Checkpoint): Uint8Array<ArrayBuffer> {
  const entry =
    (prefix: string) =>
    ([name, { shape, data }]: readonly [string, { shape: readonly number[]; data: unknown }]) =>
      [`${prefix}${name}`, { dtype: "F32", shape, data: data as Float32Array } as SafetensorsTensor] as const;
  const trained = new Set(
    parameterSpecs(config)
      .filter((p) => p.update === "adam")
      .map((p) => p.name),
  );
  return writeSafetensors(
    [...[...raw].map(entry("")), ...[...(ema ?? [])].filter(([name]) => trained.has(name)).map(entry(EMA))],
    {
      format: "hrm-webgpu",
      config: JSON.stringify(config),
      task,
      step: String(step),
      ...(seed !== null && { seed: String(seed) }),
    },
  );
}

/** Reads a checkpoint. @throws FileFormatError on anything that is none */
export function decodeCheckpoint(bytes: Uint8Array): Checkpoint {
  const { tensors, metadata } = readSafetensors(bytes);
  const { config: json, task, step, seed } = metadata;
  if (json === undefined || task === undefined) {
    throw new FileFormatError(
      "checkpoint",
      "no configuration in the file's metadata; expected a checkpoint written by hrm train",
      {},
    );
  }
  let config: HrmConfig;
  try {
    config = modelConfig(JSON.parse(json) as Partial<HrmConfig>);
  } catch (error) {
    throw new FileFormatError(
      "checkpoint",
      `its configuration cannot be used: ${String((error as Error).message)}`,
      {},
    );
  }
  const raw = new Map(parameterSpecs(config).flatMap(({ name }) => stateEntry(tensors.get(name), name)));
  const ema = new Map(
    parameterSpecs(config).flatMap(({ name }) => stateEntry(tensors.get(`${EMA}${name}`), name)),
  );
  return {
    config,
    task,
    step: Number(step ?? 0),
    seed: seed !== undefined && /^\d+$/.test(seed) ? Number(seed) : null,
    raw,
    ema: ema.size > 0 ? new Map([...raw, ...ema]) : null,
  };
}

function stateEntry(
  tensor: SafetensorsTensor | undefined,
  name: string,
): [string, ReturnType<typeof hostTensor>][] {
  return tensor?.dtype === "F32" ? [[name, hostTensor(tensor.data, tensor.shape)]] : [];
}
