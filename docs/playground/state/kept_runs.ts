/** Runs that the browser keeps: their configuration, curves and newest checkpoint, until the visitor deletes them. */
import { createStore, del, get, getMany, keys, setMany, type UseStore } from "idb-keyval";
import { signal } from "@preact/signals";
import type { RunConfig } from "../run_config.js";
import type { Curves } from "./curves.js";

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
let current = newIdentity();

function newIdentity(): { id: string; name: string } {
  const random = crypto.getRandomValues(new Uint32Array(3));
  const pick = (list: readonly string[], i: number): string => list[random[i]! % list.length]!;
  return { id: `${Date.now()}-${random[2]!}`, name: `${pick(ADJECTIVES, 0)} ${pick(ANIMALS, 1)}` };
}

/** The name of the run under way. */
export const runName = signal(current.name);

/** Begins a new run, or goes on with a kept one. */
export function nameRun(kept: Pick<KeptRun, "id" | "name"> | null): void {
  current = kept ? { id: kept.id, name: kept.name } : newIdentity();
  runName.value = current.name;
}

/** Reads what is kept. */
export async function readKept(): Promise<void> {
  try {
    const names = (await keys<string>(theStore())).filter((key) => key.startsWith(RECORD));
    const records = (await getMany<KeptRun>(names, theStore())).filter((r) => r !== undefined);
    keptRuns.value = records.sort((a, b) => b.keptAt - a.keptAt);
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
    ...{ ...current, run, step, curves: structuredClone(curves) },
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

/** The checkpoint of a kept run; undefined if it is gone. */
export const keptCheckpoint = (id: string): Promise<Uint8Array<ArrayBuffer> | undefined> =>
  get<Uint8Array<ArrayBuffer>>(CHECKPOINT + id, theStore());

/** Deletes a kept run. */
export async function forget(id: string): Promise<void> {
  await Promise.all([del(RECORD + id, theStore()), del(CHECKPOINT + id, theStore())]);
  keptRuns.value = keptRuns.value.filter((kept) => kept.id !== id);
}
