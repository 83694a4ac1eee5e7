/** Shows the progress of a run. */
import type { Preset } from "../../training/presets.js";
import type { EndReason, Session, SessionEvent } from "../../training/session.js";
import { formatPercent } from "../../training/statistics.js";
import type { Interruption } from "../runs/interrupt.js";
import { formatDuration } from "../../format_duration.js";
import { progressLine, type TextStream } from "./render.js";

/** Values of the progress line; NaN before the first value. */
export interface ProgressState {
  readonly step: number;
  readonly totalSteps: number;
  readonly loss: number;
  /** Validation accuracies, as fractions. */
  readonly cells: number;
  readonly exact: number;
  /** Mean ACT segments of finished puzzles. */
  readonly actSteps: number;
  readonly stepsPerSecond: number;
}

/** The progress line, with fewer words on a narrow terminal. */
export function progressText(state: ProgressState, columns = Infinity): string {
  const { step, totalSteps, loss, cells, exact, actSteps, stepsPerSecond: rate } = state;
  const percent = (value: number): string => (Number.isNaN(value) ? "-" : formatPercent(value));
  const act = Number.isNaN(actSteps) ? "-" : actSteps.toFixed(2);
  const speed = rate >= 10 ? rate.toFixed(0) : rate.toPrecision(2);
  const left = formatDuration((totalSteps - step) / rate);
  const long = `step ${step}/${totalSteps}  loss ${loss.toFixed(3)}  validation cells ${percent(cells)} exact ${percent(exact)}  ACT steps ${act}  ${speed} steps/s  at most ${left} left`;
  if (long.length <= columns) return long;
  return `${step}/${totalSteps} loss ${loss.toFixed(3)} cells ${percent(cells)} exact ${percent(exact)} ACT ${act} ${speed}/s ${left} left`;
}

/** Estimates the time of the remaining steps from the timed steps, and says what the estimate leaves out. */
export function estimateText({
  steps,
  seconds,
  timed,
  adapter,
}: {
  /** Remaining steps. */
  readonly steps: number;
  /** Seconds that `timed` steps took. */
  readonly seconds: number;
  readonly timed: number;
  readonly adapter: string;
}): string {
  const left = formatDuration((seconds / timed) * steps);
  return `estimate  about ${left} for ${steps.toLocaleString("en")} steps on ${adapter}, by the pace of ${timed} steps; looks at the validation set come on top, and training ends early if it reaches its target`;
}

export interface FollowOptions {
  readonly session: Session;
  /** Name of the adapter that computes. */
  readonly adapter: string;
  readonly preset: Preset;
  readonly interruption: Interruption;
  readonly stream: TextStream;
  /** Runs after each event, before training goes on. */
  readonly onEvent: (event: SessionEvent) => Promise<void>;
}

/** Runs a session and shows its progress. Returns why the run ended; null if it was stopped before its last step. */
export async function follow(options: FollowOptions): Promise<EndReason | null> {
  const { session, adapter, preset, interruption, stream, onEvent } = options;
  const line = progressLine({ stream });
  const columns = stream.isTTY ? (stream.columns || 80) - 1 : Infinity;
  const { step: first } = session.trainer;
  const started = performance.now();
  /** Step and time of the first event, until the estimate is printed. The steps before it warm up the device and are not timed. */
  let warm: { step: number; at: number } | null | undefined;
  let scores = { cellAccuracy: NaN, exactAccuracy: NaN };
  let ending: EndReason | null = null;
  try {
    for await (const event of session.events()) {
      if (event.kind === "steps") {
        const state: ProgressState = {
          step: event.step,
          totalSteps: event.totalSteps,
          ...event.training,
          cells: scores.cellAccuracy,
          exact: scores.exactAccuracy,
          stepsPerSecond: (event.step - first) / ((performance.now() - started) / 1000),
        };
        line.update(progressText(state, columns));
        const now = performance.now();
        if (warm) {
          const timed = { timed: event.step - warm.step, seconds: (now - warm.at) / 1000 };
          const steps = event.totalSteps - event.step;
          if (steps > 0) line.note(estimateText({ ...timed, steps, adapter }));
          warm = null;
        } else if (warm === undefined) warm = { step: event.step, at: now };
      } else if (event.kind === "validation") {
        scores = event.scores;
        line.note(
          `step ${event.step}: validation cells ${formatPercent(scores.cellAccuracy)} exact ${formatPercent(scores.exactAccuracy)} (${event.scores.count} puzzles)`,
        );
      } else {
        line.end();
        ending = event.reason;
        stream.write(`${endText(event, preset)}\n`);
      }
      await onEvent(event);
      if (interruption.signal !== null) break;
    }
  } finally {
    line.end();
  }
  return ending;
}

function endText({ step, reason }: Extract<SessionEvent, { kind: "end" }>, { stopAt }: Preset): string {
  const target = `${formatPercent(stopAt)} exact on validation`;
  if (reason === "target") return `target    ${target}, reached at step ${step}`;
  const cause =
    reason === "last_step"
      ? `the last step, ${step}, was done`
      : `patience ended at step ${step}, with the best look kept,`;
  return `missed    ${cause} without reaching the target of ${target}; more --steps or another --seed may reach it`;
}
