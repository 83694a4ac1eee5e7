/** Reads the files of golden fixtures, safetensors and config.json, into plain records. */
import { hostTensor, type HostTensor } from "../../engine/index.js";
import { readSafetensors } from "../files/tensors/safetensors.js";
import { modelConfig, trainConfig, type HrmConfig, type TrainConfig } from "../model/config.js";

/** Reads a file of one fixture folder by name; returns null if it is absent. */
export type ReadFile = (name: string) => Promise<Uint8Array | null>;

/** Tensors of one file by name. */
export type Tensors = ReadonlyMap<string, HostTensor>;

/** Reads a file of tensors; returns an empty map if it is absent. */
export async function readTensors(read: ReadFile, name: string): Promise<Tensors> {
  const bytes = await read(name);
  if (!bytes) return new Map();
  return new Map(
    [...readSafetensors(bytes).tensors].map(
      ([key, { shape, data }]) => [key, hostTensor(data as Float32Array | Int32Array, shape)] as const,
    ),
  );
}

/** Reads a JSON file; returns null if it is absent. */
export async function readJson(read: ReadFile, name: string): Promise<unknown> {
  const bytes = await read(name);
  return bytes && JSON.parse(new TextDecoder().decode(bytes));
}

/** The content of a fixture's config.json. */
export interface FixtureConfig {
  readonly model: HrmConfig;
  readonly train: TrainConfig;
  readonly margins: Margins;
}

/** Distance of the reference's discrete decisions from a tie, if recorded. */
export interface Margins {
  readonly segment?: Readonly<Record<string, number>>;
  readonly train?: readonly Readonly<Record<string, number>>[];
}

/** Parses config.json. Fields that do not change the mathematics here (forward_dtype) are dropped. */
export function fixtureConfig(json: unknown): FixtureConfig {
  const {
    arch = "hrm",
    config,
    loss_type,
    train_config,
    margins,
  } = json as {
    arch?: HrmConfig["arch"];
    config: Record<string, unknown>;
    loss_type: string;
    train_config: Record<string, unknown>;
    margins?: Margins;
  };
  const { forward_dtype: _, no_ACT_continue, H_layers, ...model } = config;
  const { ema, ema_rate, ...training } = train_config;
  const train = Object.fromEntries(Object.entries(training).filter(([, value]) => value !== null));
  const ofArch =
    arch === "hrm"
      ? { H_layers }
      : // One network differentiates its whole last cycle, and has no layers of its own for H.
        { halt_only: no_ACT_continue, bp_steps: Number(config["L_cycles"]) + 1 };
  return {
    model: modelConfig({ ...model, ...ofArch, arch, loss_type } as Partial<HrmConfig>),
    train: trainConfig({ ...train, ...(ema === true && { ema_decay: Number(ema_rate), ema_warmup: false }) }),
    margins: margins ?? {},
  };
}
