/** The golden fixtures' files: safetensors beside a config.json, read into plain records. */
import { hostTensor, type HostTensor } from "../../engine/index.js";
import { readSafetensors } from "../files/safetensors.js";
import { modelConfig, trainConfig, type HrmConfig, type TrainConfig } from "../config.js";

/** Reads a file of one fixture folder by name; null where it is absent. */
export type ReadFile = (name: string) => Promise<Uint8Array | null>;

/** Tensors of one file by name. */
export type Tensors = ReadonlyMap<string, HostTensor>;

/** A tensors file; an empty map where it is absent. */
export async function readTensors(read: ReadFile, name: string): Promise<Tensors> {
  const bytes = await read(name);
  if (!bytes) return new Map();
  return new Map(
    [...readSafetensors(bytes).tensors].map(
      ([key, { shape, data }]) => [key, hostTensor(data as Float32Array | Int32Array, shape)] as const,
    ),
  );
}

/** A JSON file; null where it is absent. */
export async function readJson(read: ReadFile, name: string): Promise<unknown> {
  const bytes = await read(name);
  return bytes && JSON.parse(new TextDecoder().decode(bytes));
}

/** What a fixture's config.json says. */
export interface FixtureConfig {
  readonly model: HrmConfig;
  readonly train: TrainConfig;
  readonly margins: Margins;
}

/** How far discrete decisions of the reference are from a tie, where recorded. */
export interface Margins {
  readonly segment?: Readonly<Record<string, number>>;
  readonly train?: readonly Readonly<Record<string, number>>[];
}

/** Parses config.json. Fields that do not change the mathematics here (forward_dtype) are dropped. */
export function fixtureConfig(json: unknown): FixtureConfig {
  const { config, loss_type, train_config, margins } = json as {
    config: Record<string, unknown>;
    loss_type: string;
    train_config: Record<string, unknown>;
    margins?: Margins;
  };
  const { forward_dtype: _, ...model } = config;
  const train = Object.fromEntries(Object.entries(train_config).filter(([, value]) => value !== null));
  return {
    model: modelConfig({ ...model, loss_type } as Partial<HrmConfig>),
    train: trainConfig(train),
    margins: margins ?? {},
  };
}
