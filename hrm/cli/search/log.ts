/** The record of a search: search.jsonl, with one line for each trial at each rung. A stopped search continues from it. */
import { join } from "node:path";
import { formatValue } from "../../format_value.js";
import { ArgumentError } from "../../terminal/arguments.js";
import { codeOf, nodeFileSystem, readWhole, type FileSystem } from "../disk/file_system.js";
import { OutputError } from "../disk/output.js";
import type { Fields } from "./config.js";
import type { TrialScore } from "./ranking.js";

/** Name of the file in the search's folder. */
export const SEARCH_LOG_FILE = "search.jsonl";

/** Name of the file in the search's folder that lists its options. */
export const SEARCH_FILE = "search.json";

/** A trial at a rung. */
export interface TrialLine extends TrialScore {
  /** Number of the rung, from 0. */
  readonly rung: number;
  /** The fields that the option sets, without the search's base. */
  readonly fields: Fields;
  /** Steps that the trial has trained, and their cost. */
  readonly step: number;
  readonly tflop: number;
  /** Seconds that the process which finished this rung of the trial spent on it. */
  readonly seconds: number;
  readonly exactAccuracy: number | null;
  /** 95% Wilson interval. */
  readonly exactInterval: readonly [number, number] | null;
  /** Mean loss of a puzzle over the last steps of training; null if the process that finished the rung trained no step. */
  readonly loss: number | null;
  readonly meanSteps: number | null;
  readonly adapter: string;
  readonly version: string;
}

/** Lines of a search that was started before. */
export interface FoundLines {
  readonly lines: readonly TrialLine[];
  /** Bytes of complete lines. The rest of the file is a line that a killed writer did not finish. */
  readonly whole: number;
  readonly torn: boolean;
}

/** The trials of the search, with which every line must agree. */
export interface PlannedTrials {
  readonly options: readonly { readonly fields: Fields }[];
  readonly seeds: readonly number[];
  /** Step of each rung, by option. */
  readonly steps: readonly (readonly number[])[];
}

/**
 * Reads the record without changing it.
 * @throws ArgumentError if a line is damaged, belongs to another search, or occurs twice
 */
export async function readSearchLog(
  folder: string,
  planned: PlannedTrials,
  fs: FileSystem = nodeFileSystem,
): Promise<FoundLines> {
  const path = join(folder, SEARCH_LOG_FILE);
  const bytes = await readWhole(fs, path).catch((error: unknown) => {
    if (codeOf(error) === "ENOENT") return new Uint8Array(0);
    throw new ArgumentError(
      `--resume: "${path}" cannot be read (${(error as Error).message}); expected the record of a search.`,
    );
  });
  const whole = bytes.lastIndexOf(10) + 1;
  const seen = new Set<string>();
  const lines = new TextDecoder()
    .decode(bytes.subarray(0, whole))
    .split("\n")
    .slice(0, -1)
    .map((text, i) => {
      const bad = (problem: string): ArgumentError =>
        new ArgumentError(
          `--resume: ${path}, line ${i + 1}: ${problem}; expected the lines that this search wrote. Nothing was changed.`,
        );
      const line = trialLine(text, bad);
      const { option, seed, rung, step, fields } = line;
      const expected = planned.options[option];
      if (!expected || !planned.seeds.includes(seed) || planned.steps[option]?.[rung] === undefined)
        throw bad(`got option ${option}, seed ${seed}, rung ${rung}, which the search does not have`);
      if (JSON.stringify(fields) !== JSON.stringify(expected.fields))
        throw bad(`got other fields than those of option ${option}`);
      if (line.divergedAt === null && step !== planned.steps[option][rung])
        throw bad(`got step ${step} for rung ${rung}, which is step ${planned.steps[option][rung]}`);
      const key = [option, seed, rung].join();
      if (seen.has(key)) throw bad(`got option ${option}, seed ${seed}, rung ${rung} a second time`);
      seen.add(key);
      return line;
    });
  return { lines, whole, torn: whole < bytes.length };
}

function trialLine(text: string, bad: (problem: string) => ArgumentError): TrialLine {
  let line: Record<string, unknown>;
  try {
    line = Object(JSON.parse(text)) as Record<string, unknown>;
  } catch {
    throw bad(`got ${formatValue(text)}, which is not JSON`);
  }
  const isNumber = (value: unknown): boolean => typeof value === "number" && value >= 0;
  const required = (name: string, test: (value: unknown) => boolean): void => {
    if (!test(line[name])) throw bad(`got ${formatValue(line[name])} as its ${name}`);
  };
  for (const name of ["option", "seed", "rung", "step", "count", "exact"])
    required(name, Number.isSafeInteger);
  for (const name of ["tflop", "seconds", "cellAccuracy"]) required(name, isNumber);
  required("divergedAt", (value) => value === null || Number.isSafeInteger(value));
  for (const name of ["adapter", "version"]) required(name, (value) => typeof value === "string");
  required("fields", (value) => typeof value === "object" && value !== null);
  const { count, exact, divergedAt } = line as unknown as TrialLine;
  if (divergedAt === null && !(count > 0 && exact >= 0 && exact <= count))
    throw bad(`got ${exact} exact of ${count} puzzles`);
  return line as unknown as TrialLine;
}

/** Cuts off everything after the complete lines. @throws OutputError */
export async function dropTornLine(
  folder: string,
  whole: number,
  fs: FileSystem = nodeFileSystem,
): Promise<void> {
  await changing(folder, "r+", fs, (file) => file.truncate(whole));
}

/** Appends a line, and resolves when it is on the disk. @throws OutputError */
export async function appendTrial(
  folder: string,
  line: TrialLine,
  fs: FileSystem = nodeFileSystem,
): Promise<void> {
  const bytes = new TextEncoder().encode(`${JSON.stringify(line)}\n`);
  await changing(folder, "a", fs, (file) => file.write(bytes));
}

type OpenFile = Awaited<ReturnType<FileSystem["open"]>>;

async function changing(
  folder: string,
  how: "a" | "r+",
  fs: FileSystem,
  change: (file: OpenFile) => Promise<void>,
): Promise<void> {
  const path = join(folder, SEARCH_LOG_FILE);
  try {
    const file = await fs.open(path, how);
    try {
      await change(file);
      await file.sync();
    } finally {
      await file.close();
    }
    await fs.syncFolder(folder);
  } catch (error) {
    throw new OutputError(path, error);
  }
}
