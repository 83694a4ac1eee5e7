/** Files of puzzles that the visitor gave: they stay in this browser, for runs that train on them. */
import { signal } from "@preact/signals";
import { findTask } from "../../../hrm/puzzles/tasks/registry.js";
import type { Look, PuzzleFile, PuzzleFileInfo, Report } from "../protocol.js";
import { EXAMPLE, EXAMPLE_TASK } from "../puzzles/mirror_example.js";
import type { OwnPuzzles, RunConfig } from "../run_config.js";
import { keptPuzzles, keepPuzzles } from "./kept_runs.js";

/** What is known of each file, by id. */
export const puzzleFiles = signal<Readonly<Record<string, PuzzleFileInfo>>>({});
/** Why the last file cannot be used. */
export const fileProblem = signal<string | null>(null);
/** The file that is being read. */
export const fileBeingRead = signal<string | null>(null);

const files = new Map<string, PuzzleFile>();
let arrived: (info: PuzzleFileInfo) => void = () => undefined;

const hex = (bytes: ArrayBuffer): string =>
  Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** The name of a file in a run's `data`. */
export const nameOfPuzzles = (id: string): string =>
  id === EXAMPLE ? "the worked example" : id.replace(/~[0-9a-f]{8}$/, "");

/** Takes a file that the visitor chose; `then` hears of it once the worker has read it. */
export async function takePuzzleFile(
  file: File,
  ask: (look: Look) => void,
  then: (info: PuzzleFileInfo) => void,
): Promise<void> {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const hash = hex(await crypto.subtle.digest("SHA-256", bytes)).slice(0, 8);
  const taken = { id: `${file.name}~${hash}`, name: file.name, bytes };
  files.set(taken.id, taken);
  fileProblem.value = null;
  fileBeingRead.value = file.name;
  arrived = then;
  ask({ type: "puzzles", file: taken });
}

/** Takes what the worker found in a file. */
export function receivePuzzles(report: Extract<Report, { type: "puzzles" }>): void {
  fileBeingRead.value = null;
  if ("problem" in report) {
    fileProblem.value = report.problem;
    return;
  }
  const { info } = report;
  puzzleFiles.value = { ...puzzleFiles.value, [info.id]: info };
  arrived(info);
}

/** The file of a run: the one that was given, or the one that this browser kept; null if neither is there. */
export async function fileOfRun({ data }: RunConfig): Promise<PuzzleFile | null> {
  const given = files.get(data);
  if (given) {
    await keepPuzzles(given);
    return given;
  }
  const kept = (await keptPuzzles(data).catch(() => undefined)) ?? null;
  if (kept) files.set(kept.id, kept);
  return kept;
}

/** The task of a run's file, as far as the page has heard of it; its puzzles are the worker's. */
export function taskOfRun({ data }: RunConfig): OwnPuzzles | null {
  const name = data === EXAMPLE ? EXAMPLE_TASK : puzzleFiles.value[data]?.task;
  const task = name === undefined ? undefined : findTask(name);
  return task
    ? {
        task,
        splits: () => {
          throw new Error("Only the worker splits puzzles.");
        },
      }
    : null;
}
