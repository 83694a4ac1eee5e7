/** Training state in host memory. A fresh trainer that takes a snapshot repeats the run to the bit. */
import { EngineError } from "../../engine/errors.js";
import { hostTensor, type Device, type TypedArray, type Variable } from "../../engine/index.js";
import { isInGrid, type HrmConfig, type TrainConfig } from "../model/config.js";
import { isGridField } from "../model/task_fields.js";
import { parameterSpecs, type StateDict } from "../model/parameters.js";
import type { PuzzleSet } from "../puzzles/puzzle_set.js";
import { VERSION } from "../version.js";

/** Prefixes of the variables' names. Weights have no prefix. */
export const PREFIX = {
  ema: "ema.",
  expAvg: "exp_avg.",
  expAvgSq: "exp_avg_sq.",
  carry: "carry.",
} as const;

/** Where a state was computed. Results repeat to the bit only if every field is the same. */
export interface Origin {
  /** Name of the adapter. */
  readonly adapter: string;
  /** Its vendor, as WebGPU says it. */
  readonly vendor: string;
  /** Its architecture, as WebGPU says it. */
  readonly architecture: string;
  /** Browser or Node with its version; empty if the runtime does not say. */
  readonly runtime: string;
  /** This package's version. */
  readonly version: string;
}

/** The run to which a state belongs. */
export interface RunIdentity {
  /** The model's configuration. */
  readonly config: HrmConfig;
  /** The configuration of training. */
  readonly train: TrainConfig;
  /** Fingerprint of the training set; see {@link fingerprint}. */
  readonly data: string;
  /** Where the run was computed. */
  readonly origin: Origin;
  /** Variants of the step's kernels, by kernel name. */
  readonly kernels: Readonly<Record<string, string>>;
  /** Rows of a micro-batch; null if the batch was computed at once. */
  readonly microBatch: number | null;
  /** Name of the mixed precision of matrix products; null for f32. */
  readonly precision: string | null;
}

/** Everything that determines the rest of a run. */
export interface TrainingSnapshot extends RunIdentity {
  /** The run's seed. */
  readonly seed: number;
  /** Finished steps. */
  readonly step: number;
  /** Steps whose metrics have been read. */
  readonly fetched: number;
  /**
   * Every variable: weights by official name, `ema.*`, `exp_avg.*`, `exp_avg_sq.*`, `carry.*`, `metrics` (the ring), and
   * `counter`, u32 [seed, step], from which data order and draws follow.
   */
  readonly state: StateDict;
}

/** A snapshot does not fit this run. Says what the snapshot has and what was expected. */
export class ResumeError extends EngineError {
  override readonly name = "ResumeError";
  constructor(what: string, got: string, expected: string) {
    super("resume", `Cannot resume: ${what} is ${got} in the snapshot; expected ${expected}.`);
  }
}

/** The origin of what a device computes. */
export function originOf({ adapter }: Device): Origin {
  // Node before version 21 has no navigator.
  const runtime = (globalThis.navigator as Navigator | undefined)?.userAgent ?? "";
  const { name, vendor, architecture } = adapter;
  return { adapter: name, vendor, architecture, runtime, version: VERSION };
}

/** True if all fields of the origins are equal. */
export function sameOrigin(a: Origin, b: Origin): boolean {
  return (Object.keys(a) as (keyof Origin)[]).every((field) => a[field] === b[field]);
}

/** A text that differs between puzzle sets: number of puzzles, cells, and a hash of all their values (FNV-1a over words, folded). */
export function fingerprint({ count, length, inputs, labels, identifiers, groups }: PuzzleSet): string {
  const structure = groups ? [groups.puzzleIndices, groups.groupIndices] : [];
  let hash = 0x811c9dc5;
  for (const words of [inputs, labels, identifiers, ...structure])
    for (const word of words) {
      hash = Math.imul(hash ^ word, 0x01000193);
      hash ^= hash >>> 15;
    }
  return `${count}x${length}:${(hash >>> 0).toString(16).padStart(8, "0")}`;
}

/**
 * Reads all variables as they are at one moment: all copies are queued before the first is awaited, so that steps submitted
 * in between do not mix two states.
 */
export async function readVariables(variables: ReadonlyMap<string, Variable>): Promise<StateDict> {
  const entries = [...variables].map(
    async ([name, v]) => [name, hostTensor(await v.read(), v.whole.shape)] as const,
  );
  return new Map(await Promise.all(entries));
}

/** Writes a snapshot's state into the variables of the same names. @throws ResumeError before any variable is written */
export function writeVariables(variables: ReadonlyMap<string, Variable>, state: StateDict): void {
  const values: [Variable, TypedArray][] = [];
  for (const [name, v] of variables) {
    const value = state.get(name);
    const spec = (t: { dtype: string; shape: readonly number[] }): string =>
      `${t.dtype}[${t.shape.join(", ")}]`;
    if (!value || spec(value) !== spec(v.whole))
      throw new ResumeError(name, value ? spec(value) : "missing", spec(v.whole));
    values.push([v, value.data]);
  }
  for (const [v, data] of values) v.write(data);
}

/**
 * The reasons why a run that continues here will differ from the same run without a stop, one sentence each. Empty if it
 * will repeat that run to the bit.
 * @throws ResumeError if the model differs, so that the run cannot continue
 */
export function resumeDifferences(before: RunIdentity, now: RunIdentity): string[] {
  const usesGrid = isInGrid(before.config);
  for (const field of Object.keys(before.config) as (keyof HrmConfig)[]) {
    // Old snapshots, from before the grid fields existed, have zeros in them.
    if (!usesGrid && isGridField(field)) continue;
    const [got, expected] = [before.config[field], now.config[field]];
    if (got !== expected) throw new ResumeError(`config.${field}`, String(got), String(expected));
  }
  const reasons: string[] = [];
  const compare = (what: string, was: unknown, is: unknown): void => {
    if (was !== is) reasons.push(`${what} was ${String(was)} and is ${String(is)}`);
  };
  for (const [field, what] of [
    ["adapter", "the adapter"],
    ["vendor", "its vendor"],
    ["architecture", "its architecture"],
    ["runtime", "the runtime"],
    ["version", "the version of hrm-webgpu"],
  ] as const)
    compare(what, before.origin[field], now.origin[field]);
  for (const field of Object.keys(before.train) as (keyof TrainConfig)[])
    compare(`train.${field}`, before.train[field], now.train[field]);
  for (const name of new Set([...Object.keys(before.kernels), ...Object.keys(now.kernels)]))
    compare(
      `the variant of kernel ${name}`,
      before.kernels[name] ?? "not chosen",
      now.kernels[name] ?? "not chosen",
    );
  compare("the micro-batch", before.microBatch ?? "the whole batch", now.microBatch ?? "the whole batch");
  compare("the precision", before.precision ?? "f32", now.precision ?? "f32");
  compare("the training set", before.data, now.data);
  return reasons;
}

/** The weights of a snapshot, by official name: the raw weights, and the moving average or null if no average was kept. */
export function snapshotWeights({ config, state }: TrainingSnapshot): {
  raw: StateDict;
  ema: StateDict | null;
} {
  const names = parameterSpecs(config).map((p) => p.name);
  const raw = new Map(names.map((name) => [name, state.get(name)!]));
  const ema = names.flatMap((name) => {
    const average = state.get(PREFIX.ema + name);
    return average ? [[name, average] as const] : [];
  });
  return { raw, ema: ema.length > 0 ? new Map([...raw, ...ema]) : null };
}
