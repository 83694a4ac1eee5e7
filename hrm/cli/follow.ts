/** Shows a run's progress while it goes on. */
import type { Preset } from "../presets.js";
import type { Session } from "../session.js";
import { formatPercent } from "../statistics.js";
import type { Interruption } from "./interrupt.js";
import { formatDuration, progressLine, type TextStream } from "./render.js";

/** What the progress line tells; NaN where there is nothing yet. */
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

/** One line, with fewer words where the terminal has fewer columns. */
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

/** Where a run ended: at the target, at the end of its plan, or earlier because it was asked to. */
export type Ending = "reached" | "planEnded" | "interrupted";

/** Runs a session and shows its progress until it ends or is interrupted. */
export async function follow(
  session: Session,
  preset: Preset,
  interruption: Interruption,
  stream: TextStream,
): Promise<Ending> {
  const line = progressLine({ stream });
  const columns = stream.isTTY ? (stream.columns || 80) - 1 : Infinity;
  const { step: first } = session.trainer;
  const started = performance.now();
  let scores = { cellAccuracy: NaN, exactAccuracy: NaN };
  let ending: Ending = "interrupted";
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
      } else if (event.kind === "validation") {
        scores = event.scores;
        line.note(
          `step ${event.step}: validation cells ${formatPercent(scores.cellAccuracy)} exact ${formatPercent(scores.exactAccuracy)} (${event.scores.count} puzzles)`,
        );
      } else {
        line.end();
        ending = event.reached ? "reached" : "planEnded";
        const target = `${formatPercent(preset.stopAt)} exact on validation`;
        stream.write(
          event.reached
            ? `target    ${target}, reached at step ${event.step}\n`
            : `missed    the plan ended at step ${event.step} without reaching the target of ${target}; more --steps or another --seed may reach it\n`,
        );
      }
      if (interruption.signal !== null && ending === "interrupted") break;
    }
  } finally {
    line.end();
  }
  return ending;
}
