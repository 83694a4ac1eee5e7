/**
 * Runs that the browser keeps: their configuration, curves and newest checkpoint, until the visitor deletes them. Tabs share
 * them: a tab holds a lock on its run, so that no other tab goes on with it or deletes it, and tells the others what changed.
 */
import { createStore, del, get, getMany, keys, setMany, type UseStore } from "idb-keyval";
import { signal } from "@preact/signals";
import type { PuzzleFile } from "../protocol.js";
import { presetRun, type RunConfig } from "../run_config.js";
import { completeCurves, type Curves } from "./curves.js";

/** What is kept of a run, without its checkpoint. */
export interface KeptRun {
  readonly id: string;
  /** A name that a person can remember. */
  readonly name: string;
  readonly run: RunConfig;
  readonly step: number;
  readonly curves: Curves;
  /** Milliseconds since 1970. */
  readonly keptAt: number;
  /** Bytes of its checkpoint. */
  readonly bytes: number;
}

/** All kept runs, the newest first. */
export const keptRuns = signal<readonly KeptRun[]>([]);
/** Ids of runs that other tabs have under way. */
export const elsewhere = signal<ReadonlySet<string>>(new Set());
/** Why the browser keeps nothing; null while it does. */
export const keepProblem = signal<string | null>(null);

const RECORD = "run:";
const CHECKPOINT = "checkpoint:";
const PUZZLES = "puzzles:";
let store: UseStore | null = null;
const theStore = (): UseStore => (store ??= createStore("hrm-playground", "runs"));

const ADJECTIVES = [
  "brave",
  "calm",
  "clever",
  "eager",
  "gentle",
  "keen",
  "lucky",
  "patient",
  "quick",
  "quiet",
  "sunny",
  "tidy",
];
const ANIMALS = [
  "badger",
  "beaver",
  "crane",
  "falcon",
  "fox",
  "heron",
  "hare",
  "lynx",
  "otter",
  "owl",
  "robin",
  "swan",
];

/** Identifies the run under way; a new one for each run that begins. */
let identity = newIdentity();

function newIdentity(): { id: string; name: string } {
  const random = crypto.getRandomValues(new Uint32Array(3));
  const pick = (list: readonly string[], i: number): string => list[random[i]! % list.length]!;
  return { id: `${Date.now()}-${random[2]!}`, name: `${pick(ADJECTIVES, 0)} ${pick(ANIMALS, 1)}` };
}

/** The run under way, as the list of runs has it. */
export const runIdentity = signal(identity);

/** Begins a new run, or goes on with a kept one. */
export function nameRun(kept: Pick<KeptRun, "id" | "name"> | null): void {
  identity = kept ? { id: kept.id, name: kept.name } : newIdentity();
  runIdentity.value = identity;
  void claim(identity.id).then(() => {
    for (const [id, release] of claims) if (id !== identity.id) release();
    tell(identity.id);
  });
}

const LOCK = "hrm-run:";
/** Runs that this tab holds, and how it lets go of them. */
const claims = new Map<string, () => void>();

/** Holds a run for this tab; false if another tab has it. The run before is let go once the next one begins. */
export function claim(id: string): Promise<boolean> {
  if (claims.has(id)) return Promise.resolve(true);
  return new Promise((resolve) => {
    void navigator.locks.request(LOCK + id, { ifAvailable: true }, (lock) => {
      resolve(lock !== null);
      if (!lock) return;
      return new Promise<void>((end) =>
        claims.set(id, () => {
          claims.delete(id);
          end();
        }),
      );
    });
  });
}

let channel: BroadcastChannel | null = null;
const tell = (id: string): void => channel?.postMessage(id);

/** Follows what other tabs keep, delete and have under way. */
export function followOtherTabs(): void {
  channel = new BroadcastChannel("hrm-playground");
  channel.addEventListener("message", ({ data: id }: MessageEvent<string>) => {
    void readRun(id).then(findElsewhere);
  });
  void findElsewhere();
}

/** Finds the runs of other tabs, and notices when one is let go. */
async function findElsewhere(): Promise<void> {
  const { held = [] } = await navigator.locks.query();
  const names = held.flatMap(({ name, mode }) =>
    mode === "exclusive" && name?.startsWith(LOCK) ? [name.slice(LOCK.length)] : [],
  );
  const before = elsewhere.value;
  elsewhere.value = new Set(names.filter((id) => !claims.has(id)));
  for (const id of elsewhere.value)
    // Granted once the other tab has let go of the run, or is gone.
    if (!before.has(id))
      void navigator.locks.request(LOCK + id, { mode: "shared" }, () => void findElsewhere());
}

/** Reads one run anew. */
async function readRun(id: string): Promise<void> {
  const record = await get<KeptRun>(RECORD + id, theStore()).catch(() => undefined);
  const others = keptRuns.value.filter((kept) => kept.id !== id);
  keptRuns.value = record ? [current(record), ...others].sort(newestFirst) : others;
}

const newestFirst = (a: KeptRun, b: KeptRun): number => b.keptAt - a.keptAt;

/** Reads what is kept. */
export async function readKept(): Promise<void> {
  try {
    const names = (await keys<string>(theStore())).filter((key) => key.startsWith(RECORD));
    const records = (await getMany<KeptRun>(names, theStore())).filter((r) => r !== undefined);
    keptRuns.value = records.map(current).sort(newestFirst);
  } catch (error) {
    keepProblem.value = `This browser keeps no runs: ${(error as Error).message}`;
  }
}

/** Keeps a checkpoint of the run under way in the place of the one before, in one transaction with its curves. */
export async function keepCheckpoint(
  run: RunConfig,
  step: number,
  curves: Curves,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<void> {
  const record: KeptRun = {
    ...{ ...identity, run, step, curves: structuredClone(curves) },
    ...{ keptAt: Date.now(), bytes: bytes.byteLength },
  };
  try {
    await setMany(
      [
        [RECORD + record.id, record],
        [CHECKPOINT + record.id, bytes],
      ],
      theStore(),
    );
    keepProblem.value = null;
    keptRuns.value = [record, ...keptRuns.value.filter(({ id }) => id !== record.id)];
    tell(record.id);
  } catch (error) {
    keepProblem.value = `This browser keeps no runs: ${(error as Error).message}`;
  }
}

/** A record with what records of earlier pages lack. */
const current = (record: KeptRun): KeptRun => ({
  ...record,
  run: { ...presetRun(record.run.preset), ...record.run },
  curves: completeCurves(record.curves),
});

/** Keeps a file of puzzles, without which a run on them could not go on. */
export async function keepPuzzles(file: PuzzleFile): Promise<void> {
  await setMany([[PUZZLES + file.id, file]], theStore()).catch((error: unknown) => {
    keepProblem.value = `This browser keeps no files: ${(error as Error).message}`;
  });
}

/** A kept file of puzzles; undefined if it is gone. */
export const keptPuzzles = (id: string): Promise<PuzzleFile | undefined> =>
  get<PuzzleFile>(PUZZLES + id, theStore());

/** The checkpoint of a kept run; undefined if it is gone. */
export const keptCheckpoint = (id: string): Promise<Uint8Array<ArrayBuffer> | undefined> =>
  get<Uint8Array<ArrayBuffer>>(CHECKPOINT + id, theStore());

/** Deletes a kept run, and its file of puzzles if no other run has it; false if another tab has it under way. */
export async function forget(id: string): Promise<boolean> {
  const release = claims.get(id) ?? null;
  if (!(await claim(id))) return false;
  const data = keptRuns.value.find((kept) => kept.id === id)?.run.data;
  await Promise.all([del(RECORD + id, theStore()), del(CHECKPOINT + id, theStore())]);
  keptRuns.value = keptRuns.value.filter((kept) => kept.id !== id);
  if (data && !keptRuns.value.some(({ run }) => run.data === data)) await del(PUZZLES + data, theStore());
  if (!release) claims.get(id)?.();
  tell(id);
  return true;
}
