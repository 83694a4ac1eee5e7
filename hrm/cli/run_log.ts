/** A run's history on disk: metrics.jsonl, and the same scalars for TensorBoard (docs/cli.md lists the fields). */
import { appendFile, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { TrainConfig } from "../config.js";
import type { Scores } from "../evaluate.js";
import { fileHeader, restartRecord, scalarRecord } from "../files/tensorboard.js";
import { learningRate } from "../schedule.js";
import type { SessionEvent } from "../session.js";
import { OutputError, writeFileSafely } from "./run_folder.js";

/** Name of the file in the run's folder. */
export const METRICS_FILE = "metrics.jsonl";

/** One line of metrics.jsonl; all are means, rates and fractions, never sums. */
export type MetricsLine = { readonly step: number; readonly seconds: number } & (
  | {
      readonly kind: "train";
      /** Per puzzle: lm + 0.5 (q_halt + q_continue), and its parts; means since the last line. */
      readonly loss: number;
      readonly lmLoss: number;
      readonly qHaltLoss: number;
      readonly qContinueLoss: number;
      /** Mean segments of the puzzles that finished; null where none did. */
      readonly actSteps: number | null;
      readonly learningRate: number;
      /** L2 norm of the gradient of the weights (not of the puzzle embedding): the mean of the steps, and the largest. */
      readonly gradientNorm: number;
      readonly gradientNormMax: number;
    }
  | (Pick<Scores, "count" | "exactAccuracy" | "cellAccuracy" | "qHaltAccuracy" | "meanSteps"> & {
      readonly kind: "validation" | "test";
      /** Validation: whether this look is the best so far. */
      readonly best?: boolean;
    })
);

/** Appends to a run's history. */
export interface RunLog {
  write(line: MetricsLine): Promise<void>;
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

/** Scores as a line. */
export function scoresLine(
  kind: "validation" | "test",
  { step, seconds, scores }: { step: number; seconds: number; scores: Scores },
  extra: { best?: boolean } = {},
): MetricsLine {
  const { count, exactAccuracy, cellAccuracy, qHaltAccuracy, meanSteps } = scores;
  return { kind, step, seconds, count, exactAccuracy, cellAccuracy, qHaltAccuracy, meanSteps, ...extra };
}

/**
 * Opens the history of a run that stands at `step`. Lines past it, from before a crash, are dropped, so that no step
 * stands there twice. @throws OutputError
 */
export async function openRunLog(folder: string, step: number): Promise<RunLog> {
  const metrics = join(folder, METRICS_FILE);
  const now = Date.now() / 1000;
  const events = join(folder, `events.out.tfevents.${Math.floor(now)}.hrm.${process.pid}`);
  const before = (await readFile(metrics, "utf8").catch(() => "")).split("\n").filter((line) => {
    try {
      const { step: at, kind } = JSON.parse(line) as MetricsLine;
      return at <= step && kind !== "test";
    } catch {
      // The last line of a killed run may be torn.
      return false;
    }
  });
  await writeFileSafely(metrics, before.map((line) => `${line}\n`).join(""));
  await append(events, fileHeader(now));
  if (step > 0) await append(events, restartRecord(now, step + 1));
  return {
    async write(line) {
      await append(metrics, `${JSON.stringify(line)}\n`);
      await append(
        events,
        scalarRecord({ wallTime: Date.now() / 1000, step: line.step, scalars: scalars(line) }),
      );
    },
  };
}

async function append(path: string, content: Uint8Array | string): Promise<void> {
  try {
    await appendFile(path, content);
  } catch (error) {
    throw new OutputError(path, error);
  }
}

/** A line's numbers by TensorBoard tag. */
function scalars(line: MetricsLine): Record<string, number> {
  const { kind, step: _step, seconds: _seconds, ...values } = line;
  return Object.fromEntries(
    Object.entries(values)
      .filter((entry): entry is [string, number] => typeof entry[1] === "number")
      .map(([name, value]) => [`${kind}/${name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`)}`, value]),
  );
}
