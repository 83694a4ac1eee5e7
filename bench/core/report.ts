/** The report of a run as one JSON object, and the check of a report that is read back. */
import type { Ceilings } from "./ceilings.js";
import type { Summary } from "./statistics.js";

/** Version of the report's shape. */
export const REPORT_VERSION = 1;

export interface ReportAdapter {
  readonly name: string;
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  /** The driver, if the platform tells. */
  readonly driver: string;
  /** The graphics API below WebGPU, if the platform tells. */
  readonly backend: string;
  readonly software: boolean;
  readonly features: readonly string[];
  readonly limits: Readonly<Record<string, number>>;
}

export interface ReportEnvironment {
  /** ISO 8601, UTC. */
  readonly date: string;
  /** Commit of the sources, with `+` if they were changed; empty if unknown. */
  readonly commit: string;
  /** `Node 20.20.2`, or the browser. */
  readonly runtime: string;
  /** `webgpu 0.6.2 (Dawn)`, or the browser's own. */
  readonly webgpu: string;
  readonly system: string;
  readonly processors: number;
  /** Options of the run. */
  readonly flags: readonly string[];
  /** The seed that reproduces the inputs. */
  readonly seed: number;
}

/** Where a training step's time goes, by kernel family. */
export interface SplitRow {
  readonly kernel: string;
  readonly dispatches: number;
  readonly ms: number;
  /** Of the sum over all kernels. */
  readonly share: number;
  readonly gflops: number;
  readonly ceilingFraction: number;
}

/** Details of whole training steps. */
export interface StepDetails {
  readonly dispatches: number;
  /** Host time to encode and submit a step, median, in ms. */
  readonly jsMs: number;
  /** Largest number of bytes that the step's program and state held at once. */
  readonly peakBytes: number;
  /** Time per kernel family, from one pass per dispatch with timestamps; empty without timestamp queries. */
  readonly split: readonly SplitRow[];
}

/** One measured line; times in ms per run. */
export interface Result {
  readonly kernel: string;
  readonly variant: string;
  readonly shape: string;
  /** Full name of the kernel that ran, which tells its tiles; empty for whole steps and peers. */
  readonly name: string;
  readonly n: number;
  /** Median. */
  readonly ms: number;
  readonly p10: number;
  readonly p90: number;
  /** The clock that measured `ms`. */
  readonly clock: "timestamp" | "wall";
  /** Median by the wall clock of a drained queue, submission and latency included. */
  readonly wallMs: number;
  /** Pipeline creation and the first run; null if the pipeline existed before. */
  readonly coldMs: number | null;
  /** Runs inside one timed pass. */
  readonly repeats: number;
  readonly gflops: number;
  readonly gbps: number;
  /** Least time by the measured ceilings over `ms`; above 1 if caches beat the copy. */
  readonly ceilingFraction: number;
  readonly bound: "arithmetic" | "memory";
  readonly flops: number;
  readonly bytes: number;
  /** Largest |actual - expected| / scale among the compared elements. */
  readonly maxError: number;
  /** The largest allowed `maxError`. */
  readonly tolerance: number;
  /** Elements compared with float64. */
  readonly compared: number;
  readonly step?: StepDetails;
}

/** A peer's line, with the library that computed it. */
export interface PeerResult extends Result {
  readonly peer: string;
}

/** A line that was not measured, with the reason. */
export interface Omission {
  readonly kernel: string;
  readonly variant: string;
  readonly shape: string;
  readonly reason: string;
}

export interface Report {
  readonly version: typeof REPORT_VERSION;
  readonly adapter: ReportAdapter;
  readonly environment: ReportEnvironment;
  readonly ceilings: Ceilings;
  readonly results: readonly Result[];
  readonly peers: readonly PeerResult[];
  /** Lines above the budget, or beyond the device's limits. */
  readonly skipped: readonly Omission[];
  /** Kernels with a wrong result; they were not timed. */
  readonly refused: readonly Omission[];
}

/** A file that is not a report. */
export class ReportError extends Error {
  override readonly name = "ReportError";
}

const NUMBERS = [
  "n",
  "ms",
  "p10",
  "p90",
  "wallMs",
  "repeats",
  "gflops",
  "gbps",
  "ceilingFraction",
  "flops",
  "bytes",
  "maxError",
  "tolerance",
  "compared",
] as const satisfies readonly (keyof Result)[];
const CEILINGS = [
  "fmaF32",
  "copy",
  "copyBytes",
  "dispatch",
  "dependentDispatch",
  "submit",
  "readback",
] as const satisfies readonly (keyof Ceilings)[];

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/**
 * Reads a report from JSON text, or from the output of a run whose last line it is.
 * @throws ReportError that names the first field that is missing or has the wrong type
 */
export function parseReport(text: string): Report {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    try {
      value = JSON.parse(text.trimEnd().split("\n").at(-1)!);
    } catch {
      throw new ReportError(
        "got text that is not JSON and does not end in a line of JSON; expected a report.",
      );
    }
  }
  const need = (condition: boolean, what: string): void => {
    if (!condition) throw new ReportError(`no benchmark report: expected ${what}.`);
  };
  need(isRecord(value), "an object");
  const report = value as Record<string, unknown>;
  need(report["version"] === REPORT_VERSION, `version ${REPORT_VERSION}, got ${String(report["version"])}`);
  for (const part of ["adapter", "environment", "ceilings"])
    need(isRecord(report[part]), `an object ${part}`);
  const ceilings = report["ceilings"] as Record<string, unknown>;
  for (const name of CEILINGS) need(Number.isFinite(ceilings[name]), `a number ceilings.${name}`);
  for (const list of ["results", "peers", "skipped", "refused"]) {
    need(Array.isArray(report[list]), `an array ${list}`);
    (report[list] as unknown[]).forEach((entry, i) => {
      const at = `${list}[${i}]`;
      need(isRecord(entry), `an object ${at}`);
      const row = entry as Record<string, unknown>;
      const texts = ["kernel", "variant", "shape"];
      if (list === "peers") texts.push("peer");
      if (list === "skipped" || list === "refused") texts.push("reason");
      for (const name of texts) need(typeof row[name] === "string", `a string ${at}.${name}`);
      if (list === "results" || list === "peers")
        for (const name of NUMBERS) need(Number.isFinite(row[name]), `a number ${at}.${name}`);
    });
  }
  return value as Report;
}

/** The timing of a line as statistics. */
export function summaryOf({ n, ms, p10, p90 }: Result): Summary {
  return { n, median: ms, p10, p90 };
}
