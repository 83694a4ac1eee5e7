/** The history of a run on disk: metrics.jsonl, and the same scalars for TensorBoard (docs/cli.md lists the fields). */
import { join } from "node:path";
import type { TrainConfig } from "../../model/config.js";
import type { Scores } from "../../training/evaluation.js";
import { fileHeader, restartRecord, scalarRecord } from "../../files/tensorboard.js";
import { learningRate } from "../../training/schedule.js";
import type { SessionEvent } from "../../training/session.js";
import { codeOf, nodeFileSystem, type FileSystem } from "../disk/file_system.js";
import { lastKept, NEWLINE } from "./last_lines.js";
import { OutputError } from "../disk/output.js";

/** True for a folder whose metrics are not empty. */
export async function hasHistory(folder: string, fs: FileSystem = nodeFileSystem): Promise<boolean> {
  return fs.status(join(folder, METRICS_FILE)).then(
    ({ size }) => size > 0,
    () => false,
  );
}

/** Name of the file in the run's folder. */
export const METRICS_FILE = "metrics.jsonl";

/** One line of metrics.jsonl. All numbers are means, rates or fractions, never sums. */
export type MetricsLine = { readonly step: number; readonly seconds: number } & (
  | {
      readonly kind: "train";
      /** Loss per puzzle, lm + 0.5 (q_halt + q_continue), and its parts: means since the last line. */
      readonly loss: number;
      readonly lmLoss: number;
      readonly qHaltLoss: number;
      readonly qContinueLoss: number;
      /** Mean number of segments of the puzzles that finished; null if no puzzle finished. */
      readonly actSteps: number | null;
      readonly learningRate: number;
      /** L2 norm of the gradient of the weights without the puzzle embedding: the mean and the maximum over the steps. */
      readonly gradientNorm: number;
      readonly gradientNormMax: number;
    }
  | (Pick<Scores, "count" | "exactAccuracy" | "cellAccuracy" | "qHaltAccuracy" | "meanSteps"> & {
      readonly kind: "validation" | "test";
      /** In lines of validation: whether this look is the best so far. */
      readonly best?: boolean;
    })
);

/** Appends to a run's history. */
export interface RunLog {
  write(line: MetricsLine): Promise<void>;
  /** Resolves when everything written so far is on the disk. */
  sync(): Promise<void>;
}

/** The line of a training event. */
export function trainLine(
  event: Extract<SessionEvent, { kind: "steps" }>,
  { batchSize, train, seconds }: { batchSize: number; train: TrainConfig; seconds: number },
): MetricsLine {
  const { step, metrics, training } = event;
  const norms = metrics.map((row) => row.gradientNorm);
  const mean = (name: "lm_loss" | "q_halt_loss" | "q_continue_loss"): number =>
    metrics.reduce((sum, row) => sum + row[name], 0) / (metrics.length * batchSize);
  return {
    kind: "train",
    step,
    seconds,
    loss: training.loss,
    lmLoss: mean("lm_loss"),
    qHaltLoss: mean("q_halt_loss"),
    qContinueLoss: mean("q_continue_loss"),
    actSteps: Number.isNaN(training.actSteps) ? null : training.actSteps,
    learningRate: learningRate(train, train.lr, step),
    gradientNorm: norms.reduce((a, b) => a + b) / norms.length,
    gradientNormMax: Math.max(...norms),
  };
}

/** The line of scores. */
export function scoresLine(
  kind: "validation" | "test",
  { step, seconds, scores }: { step: number; seconds: number; scores: Scores },
  extra: { best?: boolean } = {},
): MetricsLine {
  const { count, exactAccuracy, cellAccuracy, qHaltAccuracy, meanSteps } = scores;
  return { kind, step, seconds, count, exactAccuracy, cellAccuracy, qHaltAccuracy, meanSteps, ...extra };
}

/**
 * Opens the history of a run that is at `step`. Lines of later steps at the end of the file, from before a crash, and a torn
 * last line are cut off, so that no step occurs twice; everything before them stays. `warn` receives a message if the last
 * line is kept although it is not understood.
 * @throws OutputError if the history cannot be read or written; it is then unchanged
 */
export async function openRunLog(
  folder: string,
  step: number,
  { warn = () => undefined, fs = nodeFileSystem }: RunLogOptions = {},
): Promise<RunLog> {
  const metrics = join(folder, METRICS_FILE);
  await written(metrics, () => cutHistory(metrics, step, warn, fs));
  const now = Date.now() / 1000;
  const events = join(folder, await freeName(folder, Math.floor(now), fs));
  const start = step > 0 ? [fileHeader(now), restartRecord(now, step + 1)] : [fileHeader(now)];
  for (const record of start) await append(events, record, fs);
  await written(folder, () => fs.syncFolder(folder));
  return {
    async write(line) {
      await append(metrics, new TextEncoder().encode(`${JSON.stringify(line)}\n`), fs);
      const scalarsOfLine = { wallTime: Date.now() / 1000, step: line.step, scalars: scalars(line) };
      await append(events, scalarRecord(scalarsOfLine), fs);
    },
    async sync() {
      for (const path of [metrics, events]) await written(path, () => syncFile(path, fs));
    },
  };
}

export interface RunLogOptions {
  readonly warn?: (message: string) => void;
  readonly fs?: FileSystem;
}

/** Cuts lines after a step off the end of metrics.jsonl. Makes the file if it is missing. */
async function cutHistory(
  path: string,
  step: number,
  warn: (message: string) => void,
  fs: FileSystem,
): Promise<void> {
  const { size } = await fs.status(path).catch((error: unknown) => {
    if (codeOf(error) === "ENOENT") return { size: 0 };
    throw error;
  });
  if (size === 0) return (await fs.open(path, "a")).close();
  const file = await fs.open(path, "r+");
  try {
    const { keep, line, ended } = await lastKept(file, size, (bytes, whole) => {
      const at = metricsLine(bytes);
      return at === null ? !whole && isTorn(bytes) : at.step > step || at.kind === "test";
    });
    if (keep > 0 && (line === null || metricsLine(line) === null))
      warn(
        `the line of ${path} that ends at byte ${keep} is not of a run; it stays, and so does all before it`,
      );
    if (keep < size) await file.truncate(keep);
    if (!ended) await append(path, Uint8Array.of(NEWLINE), fs);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** True for an incomplete line, which a killed writer leaves, and for zeros, which a power cut leaves. */
function isTorn(bytes: Uint8Array): boolean {
  const begins = [...LINE_BEGINS].every((byte, i) => i >= bytes.length || bytes[i] === byte);
  return begins || bytes.every((byte) => byte === 0);
}

const LINE_BEGINS = new TextEncoder().encode('{"kind":"');

/** The step and kind of a line; null if this program did not write it. */
function metricsLine(bytes: Uint8Array): Pick<MetricsLine, "step" | "kind"> | null {
  try {
    const { step, kind } = Object(JSON.parse(new TextDecoder().decode(bytes))) as Record<string, unknown>;
    if (!Number.isSafeInteger(step) || (kind !== "train" && kind !== "validation" && kind !== "test"))
      return null;
    return { step: step as number, kind };
  } catch {
    return null;
  }
}

/** The lines of a history that this program wrote, in order; others are left out. */
export function metricsOf(bytes: Uint8Array): MetricsLine[] {
  return new TextDecoder()
    .decode(bytes)
    .split("\n")
    .flatMap((line) => {
      const known = metricsLine(new TextEncoder().encode(line));
      if (!known) return [];
      const fields = JSON.parse(line) as MetricsLine;
      const needed =
        fields.kind === "train" ? [fields.loss] : [fields.count, fields.exactAccuracy, fields.cellAccuracy];
      return needed.every((value) => typeof value === "number") ? [fields] : [];
    });
}

/** A name for an event file that no other start of the run uses, even with the same process number in the same second. */
async function freeName(folder: string, second: number, fs: FileSystem): Promise<string> {
  const taken = await written(folder, () => fs.list(folder));
  for (let i = 0; ; i++) {
    const name = `events.out.tfevents.${second}.hrm.${process.pid}${i === 0 ? "" : `.${i}`}`;
    if (!taken.includes(name)) return name;
  }
}

async function append(path: string, content: Uint8Array, fs: FileSystem): Promise<void> {
  await written(path, async () => {
    const file = await fs.open(path, "a");
    try {
      await file.write(content);
    } finally {
      await file.close();
    }
  });
}

async function syncFile(path: string, fs: FileSystem): Promise<void> {
  const file = await fs.open(path, "r+");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Runs a change of a file. Any error becomes an OutputError that names the path. */
async function written<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof OutputError ? error : new OutputError(path, error);
  }
}

/** The numbers of a line, by TensorBoard tag. */
function scalars(line: MetricsLine): Record<string, number> {
  const { kind, step: _step, seconds: _seconds, ...values } = line;
  return Object.fromEntries(
    Object.entries(values)
      .filter((entry): entry is [string, number] => typeof entry[1] === "number")
      .map(([name, value]) => [`${kind}/${name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`)}`, value]),
  );
}
