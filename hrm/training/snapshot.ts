/** Training state in host memory: taken from a running trainer, put into a fresh one, which then goes on to the bit. */
import { EngineError } from "../../engine/errors.js";
import { hostTensor, type Device, type TypedArray, type Variable } from "../../engine/index.js";
import { isGridField, isInGrid, type HrmConfig, type TrainConfig } from "../model/config.js";
import { parameterSpecs, type StateDict } from "../model/parameters.js";
import type { PuzzleSet } from "../puzzles/puzzle_set.js";
import { VERSION } from "../version.js";

/** Prefixes of the names under which variables are kept; the weights have none. */
export const PREFIX = {
  ema: "ema.",
  expAvg: "exp_avg.",
  expAvgSq: "exp_avg_sq.",
  carry: "carry.",
} as const;

/** Where a state was computed: bits are promised only where all of this stays the same. */
export interface Origin {
  readonly adapter: string;
  readonly vendor: string;
  readonly architecture: string;
  /** Browser or Node and its version, where it says so. */
  readonly runtime: string;
  /** This package's version. */
  readonly version: string;
}

/** What a state belongs to. */
export interface RunIdentity {
  readonly config: HrmConfig;
  readonly train: TrainConfig;
  /** Which puzzles are trained on; see {@link fingerprint}. */
  readonly data: string;
  readonly origin: Origin;
  /** Choices of the plan (kernel variants, micro-batch, precision), by name. */
  readonly choices: Readonly<Record<string, string>>;
}

/** Everything that decides how training goes on. */
export interface TrainingSnapshot extends RunIdentity {
  readonly seed: number;
  /** Finished steps. */
  readonly step: number;
  /** Steps whose metrics were handed out. */
  readonly fetched: number;
  /**
   * Every variable: weights by official name, `ema.*`, `exp_avg.*`, `exp_avg_sq.*`, `carry.*`, `metrics` (the ring), and
   * `counter`, u32 [seed, step], from which data order and draws follow.
   */
  readonly state: StateDict;
}

/** Name under which the choices keep the rows of a micro-batch. */
export const MICRO_BATCH = "micro-batch";

/** The rows of a micro-batch that a snapshot was computed with; undefined for the whole batch. */
export function microBatchOf({ choices }: Pick<RunIdentity, "choices">): number | undefined {
  const rows = choices[MICRO_BATCH];
  return rows === undefined ? undefined : Number(rows);
}

/** A snapshot that cannot go on here: what it has, what is expected. */
export class ResumeError extends EngineError {
  override readonly name = "ResumeError";
  constructor(what: string, got: string, expected: string) {
    super("resume", `Cannot resume: ${what} is ${got} in the snapshot; expected ${expected}.`);
  }
}

/** Where a device computes. */
export function originOf({ adapter }: Device): Origin {
  // Absent in Node before 21.
  const runtime = (globalThis.navigator as Navigator | undefined)?.userAgent ?? "";
  const { name, vendor, architecture } = adapter;
  return { adapter: name, vendor, architecture, runtime, version: VERSION };
}

/** True where everything that an origin names is the same. */
export function sameOrigin(a: Origin, b: Origin): boolean {
  return (Object.keys(a) as (keyof Origin)[]).every((field) => a[field] === b[field]);
}

/** Tells puzzle sets apart: their number, cells, and a hash of everything in them (FNV-1a over words, folded). */
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
 * Reads all variables at one moment: every copy is queued before the first is awaited, so steps submitted meanwhile do
 * not tear the state.
 */
export async function readVariables(variables: ReadonlyMap<string, Variable>): Promise<StateDict> {
  const entries = [...variables].map(
    async ([name, v]) => [name, hostTensor(await v.read(), v.whole.shape)] as const,
  );
  return new Map(await Promise.all(entries));
}

/** Writes a snapshot's state into the variables of the same names. @throws ResumeError before anything is written */
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
 * Why going on here will not repeat, bit for bit, what the run would have computed without a stop; one sentence each,
 * none where it will.
 * @throws ResumeError where the model differs, so that going on makes no sense
 */
export function resumeDifferences(before: RunIdentity, now: RunIdentity): string[] {
  const usesGrid = isInGrid(before.config);
  for (const field of Object.keys(before.config) as (keyof HrmConfig)[]) {
    // Runs of before there were grid fields have zeros there.
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
  for (const name of new Set([...Object.keys(before.choices), ...Object.keys(now.choices)]))
    compare(`the plan's ${name}`, before.choices[name] ?? "not chosen", now.choices[name] ?? "not chosen");
  compare("the training set", before.data, now.data);
  return reasons;
}

/** The weights of a snapshot, by official name: raw, or the moving average where one was kept. */
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
