/** What stands in folders of runs: the state of each run, its best look, and what to do next. Nothing in the folders is changed. */
import { basename, join } from "node:path";
import { ArgumentError } from "../../terminal/arguments.js";
import type { Scores } from "../../training/evaluation.js";
import type { EndReason } from "../../training/session.js";
import { readSafetensorsHeader } from "../../files/tensors/safetensors.js";
import { codeOf, nodeFileSystem, readWhole, type FileSystem } from "../disk/file_system.js";
import { reasonOf } from "../disk/output.js";
import { SEARCH_FILE } from "../search/log.js";
import { storedSteps } from "./checkpoint_store.js";
import { readRunConfig, RUN_CONFIG_FILE, type RunConfig } from "./config.js";
import { lockHolder, type Holder, type LockOptions } from "./lock.js";
import { METRICS_FILE, type MetricsLine } from "./log.js";
import { BEST_FILE, CHECKPOINT_FOLDER } from "./store.js";

/**
 * State of a run: `training`, a process works in the folder; `stopped`, it can go on; `untested`, training ended before the
 * look at the test set; `finished`; `broken`, the folder cannot be used as it is.
 */
export type RunState = "training" | "stopped" | "untested" | "finished" | "broken";

/** Accuracies at a look, as metrics.jsonl holds them. */
export type Look = { readonly step: number } & Pick<Scores, "count" | "exactAccuracy" | "cellAccuracy">;

/** A run's folder at a moment. */
export interface RunOverview {
  readonly folder: string;
  readonly state: RunState;
  /** Name of the preset, seed and last step of the plan; null if the configuration cannot be read. */
  readonly preset: string | null;
  readonly seed: number | null;
  readonly totalSteps: number | null;
  /** Step of the newest checkpoint; null if there is none. */
  readonly step: number | null;
  /** Why training ended; null if it can go on. */
  readonly ended: EndReason | null;
  /** The best look at the validation set; null before the first. */
  readonly best: Look | null;
  /** The look at the test set; null before it. */
  readonly test: Look | null;
  /** The process that works in the folder; null if there is none. */
  readonly process: Holder | "unknown" | null;
  /** What is wrong, one clause each. */
  readonly problems: readonly string[];
  /** What to do next: the arguments after `hrm`, or null if there is nothing to run. */
  readonly next: readonly string[] | null;
}

/** Runs of a folder, and its other folders. */
export interface FolderOverview {
  readonly runs: readonly RunOverview[];
  /** Folders that hold searches, which hrm search continues. */
  readonly searches: readonly string[];
  /** Folders that hold neither. */
  readonly others: readonly string[];
}

/**
 * The runs in a folder, by name, or the folder itself if it is a run.
 * @throws ArgumentError if the folder cannot be read
 */
export async function overviewOf(folder: string, options: LockOptions = {}): Promise<FolderOverview> {
  const { fs = nodeFileSystem } = options;
  const names = await fs.list(folder).catch((error: unknown) => {
    throw new ArgumentError(
      `[folder]: cannot read "${folder}" (${reasonOf(error)}); expected a folder of runs, such as the --out of hrm train.`,
    );
  });
  if (names.includes(RUN_CONFIG_FILE))
    return { runs: [await runOverview(folder, options)], searches: [], others: [] };
  const [runs, searches, others]: [RunOverview[], string[], string[]] = [[], [], []];
  for (const name of names.sort(byNumber)) {
    const path = join(folder, name);
    const inside: string[] | null = await fs
      .list(path)
      .catch((error: unknown) => (codeOf(error) === "ENOTDIR" ? null : []));
    if (inside === null) continue;
    if (inside.includes(RUN_CONFIG_FILE)) runs.push(await runOverview(path, options));
    else (inside.includes(SEARCH_FILE) ? searches : others).push(path);
  }
  return { runs, searches, others };
}

/** `run-2` comes before `run-10`. */
const byNumber = (a: string, b: string): number => a.localeCompare(b, "en", { numeric: true });

/** The state of one run. */
export async function runOverview(folder: string, options: LockOptions = {}): Promise<RunOverview> {
  const { fs = nodeFileSystem } = options;
  const problems: string[] = [];
  const attempt = async <T>(work: () => Promise<T>): Promise<T | null> => {
    try {
      return await work();
    } catch (error) {
      problems.push(error instanceof ArgumentError ? error.message : reasonOf(error));
      return null;
    }
  };
  const config = await attempt(() => readRunConfig(folder, ""));
  const holder = await attempt(() => lockHolder(folder, options));
  const saved = await attempt(() => newestHeader(folder, fs));
  problems.push(...(saved?.problems ?? []));
  const looks = (await attempt(() => looksOf(folder, fs))) ?? { best: null, test: null };
  const [step, ended] = [saved?.step ?? null, saved?.ended ?? null];
  // A run saves before its first step: a history without a checkpoint is a loss, which hrm train --resume refuses, too.
  const lost = step === null && (looks.best !== null || (saved?.problems.length ?? 1) > 0);
  if (lost && problems.length === 0)
    problems.push(`${METRICS_FILE} tells of looks, but there is no checkpoint`);
  const state: RunState =
    holder !== null
      ? "training"
      : config === null || lost
        ? "broken"
        : ended === null
          ? "stopped"
          : looks.test === null
            ? "untested"
            : "finished";
  return {
    folder,
    state,
    ...{ preset: config?.preset ?? null, seed: config?.seed ?? null },
    totalSteps: config?.train.total_steps ?? null,
    ...{ step, ended },
    ...looks,
    process: holder,
    problems,
    next: nextOf({ folder, state, config }),
  };
}

function nextOf({
  folder,
  state,
  config,
}: {
  folder: string;
  state: RunState;
  config: RunConfig | null;
}): string[] | null {
  if (state === "stopped" || state === "untested") return ["train", "--resume", folder];
  if (state !== "finished") return null;
  const best = join(folder, BEST_FILE);
  return [
    "eval",
    "--checkpoint",
    best,
    ...(!config || config.data === null ? [] : ["--data", config.test ?? config.data]),
  ];
}

/**
 * Step and end of the newest checkpoint that has a sound header and all its bytes. Weights are not read, so that their checksum
 * is not known.
 */
async function newestHeader(
  folder: string,
  fs: FileSystem,
): Promise<{ step: number | null; ended: EndReason | null; problems: string[] }> {
  const problems: string[] = [];
  for (const { name, step } of await storedSteps(join(folder, CHECKPOINT_FOLDER), fs)) {
    const path = join(folder, CHECKPOINT_FOLDER, name);
    try {
      const metadata = await metadataOf(path, fs);
      const { ended } = JSON.parse(metadata["run"] ?? "{}") as { ended?: EndReason | null };
      if (ended === undefined) throw new Error("it holds weights alone, not a run");
      return { step, ended, problems };
    } catch (error) {
      problems.push(`${basename(path)} is not used: ${reasonOf(error)}`);
    }
  }
  return { step: null, ended: null, problems };
}

/** The metadata of a safetensors file that has as many bytes as its header says. */
async function metadataOf(path: string, fs: FileSystem): Promise<Readonly<Record<string, string>>> {
  const { size: got } = await fs.status(path);
  const file = await fs.open(path, "r");
  try {
    const length = await file.read(0, 8);
    const bytes = length.length < 8 ? 0 : new DataView(length.buffer, length.byteOffset).getUint32(0, true);
    const { metadata, size } = readSafetensorsHeader(await file.read(0, Math.min(got, 8 + bytes)));
    if (got !== size) throw new Error(`it has ${got} bytes; its header promises ${size}`);
    return metadata;
  } finally {
    await file.close();
  }
}

/** The best look and the look at the test set of a run's history. Lines that are not understood are skipped. */
async function looksOf(folder: string, fs: FileSystem): Promise<{ best: Look | null; test: Look | null }> {
  const bytes = await readWhole(fs, join(folder, METRICS_FILE)).catch((error: unknown) => {
    if (codeOf(error) === "ENOENT") return new Uint8Array(0);
    throw error;
  });
  let [best, test]: (Look | null)[] = [null, null];
  for (const line of new TextDecoder().decode(bytes).split("\n")) {
    const look = lookOf(line);
    if (look?.kind === "test") test = look.look;
    // The trials of a search do not say which look is the best; the last one decides there.
    else if (look && look.best !== false) best = look.look;
  }
  return { best: best!, test: test! };
}

function lookOf(line: string): { kind: "validation" | "test"; best?: boolean; look: Look } | null {
  // Nearly all lines are of training.
  if (!/^\{"kind":"(validation|test)"/.test(line)) return null;
  try {
    const { kind, best, step, count, exactAccuracy, cellAccuracy } = JSON.parse(line) as Extract<
      MetricsLine,
      { kind: "validation" | "test" }
    >;
    const look = { step, count, exactAccuracy, cellAccuracy };
    if (!Object.values(look).every((value) => Number.isFinite(value))) return null;
    return { kind, ...(best !== undefined && { best }), look };
  } catch {
    return null;
  }
}
