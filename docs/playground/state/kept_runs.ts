/** Runs that the browser keeps: their configuration, curves and newest checkpoint, until the visitor deletes them. */
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
}

/** Reads what is kept. */
export async function readKept(): Promise<void> {
  try {
    const names = (await keys<string>(theStore())).filter((key) => key.startsWith(RECORD));
    const records = (await getMany<KeptRun>(names, theStore())).filter((r) => r !== undefined);
    keptRuns.value = records.map(current).sort((a, b) => b.keptAt - a.keptAt);
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

/** Deletes a kept run, and its file of puzzles if no other run has it. */
export async function forget(id: string): Promise<void> {
  const data = keptRuns.value.find((kept) => kept.id === id)?.run.data;
  await Promise.all([del(RECORD + id, theStore()), del(CHECKPOINT + id, theStore())]);
  keptRuns.value = keptRuns.value.filter((kept) => kept.id !== id);
  if (data && !keptRuns.value.some(({ run }) => run.data === data)) await del(PUZZLES + data, theStore());
}
