/** Runs the missing trials of a search one after another, each with its line in the record. */
import type { Device } from "../../../engine/index.js";
import { formatDuration } from "../../format_duration.js";
import { formatPercent, formatProportion, wilsonInterval } from "../../training/statistics.js";
import { VERSION } from "../../version.js";
import { say } from "../output/console.js";
import { progressLine } from "../output/render.js";
import { watchInterrupt, type Interruption } from "../runs/interrupt.js";
import { describeFields } from "./config.js";
import { appendTrial, type TrialLine } from "./log.js";
import type { Prepared } from "./prepare.js";
import { runTrial, trialFolder } from "./trial.js";
import { flopsLeft, stateOf, type SearchState } from "./trials.js";

/** A search that runs. */
export interface Search extends Prepared {
  readonly device: Device;
  readonly folder: string;
  /** Lines of finished trials; new lines are appended. */
  readonly lines: TrialLine[];
  /** What messages call an option, by its number. */
  readonly nameOf: (option: number) => string;
}

/** The name of an option by its number and fields. */
export const optionName =
  ({ options }: Prepared["plan"]) =>
  (option: number): string =>
    `option ${option} (${describeFields(options[option]!.fields)})`;

/**
 * Runs what is missing. Returns the exit code if a signal stopped it, else null. `onRung` hears of each finished rung but the
 * last.
 */
export async function runTrials(
  search: Search,
  onRung: (state: SearchState) => void = () => undefined,
): Promise<number | null> {
  const { plan, folder, lines } = search;
  const interruption = watchInterrupt(() =>
    say(
      "\nstopping  after the steps under way and the trial's save; Ctrl-C again ends at once and saves nothing",
    ),
  );
  const started = performance.now();
  const pace = { flops: 0 };
  try {
    let state = stateOf(plan, lines);
    for (let told = state.rankings.length; state.missing.length > 0; told = state.rankings.length) {
      const line = await nextTrial(search, { interruption, pace, started });
      if (line === null) {
        say(`stopped   after ${lines.length} finished trials`);
        return interruption.exitCode;
      }
      await appendTrial(folder, line);
      lines.push(line);
      state = stateOf(plan, lines);
      if (state.rankings.length > told && state.missing.length > 0) onRung(state);
    }
    return null;
  } finally {
    interruption.dispose();
  }
}

interface Watched {
  readonly interruption: Interruption;
  /** Floating-point operations of training that this process has done. */
  readonly pace: { flops: number };
  /** Start of this process's work, in milliseconds of performance.now(). */
  readonly started: number;
}

/** Runs the next missing trial. Returns null if it was interrupted. */
async function nextTrial(
  { plan, splits, device, folder, lines, nameOf }: Search,
  { interruption, pace, started }: Watched,
): Promise<TrialLine | null> {
  if (interruption.signal !== null) return null;
  const { sweep, options: planned } = plan;
  const state = stateOf(plan, lines);
  const { rung, missing } = state;
  const { option, seed } = missing[0]!;
  const { preset, fields, flops, steps } = planned[option]!;
  const until = steps[rung]!;
  const left = flopsLeft(plan, state);
  const name = `${nameOf(option)}, seed ${seed}`;
  const begun = performance.now();
  const progress = progressLine({ stream: process.stderr });
  let [first, before]: [number?, number?] = [];
  try {
    const result = await runTrial({
      ...{ device, preset, splits: splits(seed), seed, data: sweep.data, test: sweep.test },
      ...{ folder: trialFolder(folder, option, seed), until, puzzles: sweep.puzzles, interruption },
      onSteps(step, training) {
        first ??= step;
        pace.flops += flops * (step - (before ?? step));
        before = step;
        if (training === null) return;
        const elapsed = (performance.now() - started) / 1000;
        const remaining = left - flops * (step - (rung > 0 ? steps[rung - 1]! : 0));
        progress.update(
          `rung ${rung + 1}/${sweep.rungs.length}, ${missing.length} ${missing.length === 1 ? "trial" : "trials"} left in it: ${name}: step ${step}/${until}  loss ${training.loss.toFixed(3)}  about ${formatDuration((elapsed / pace.flops) * remaining)} left in all`,
        );
      },
    });
    progress.end();
    if (result === null) return null;
    const seconds = (performance.now() - begun) / 1000;
    const shared = {
      ...{ option, seed, rung, fields, step: result.step, tflop: (result.step * flops) / 1e12, seconds },
      ...{ adapter: device.adapter.name, version: VERSION },
    };
    if (result.kind === "diverged") {
      say(
        `trial     rung ${rung + 1}, ${name}: left the finite numbers at step ${result.step}; a lower lr usually helps`,
      );
      return {
        ...{ ...shared, count: 0, exact: 0, exactAccuracy: null, exactInterval: null, cellAccuracy: 0 },
        ...{ loss: null, meanSteps: null, divergedAt: result.step },
      };
    }
    const { count, exact, exactAccuracy, cellAccuracy, meanSteps } = result.scores;
    const { low, high } = wilsonInterval(exact, count);
    say(
      `trial     rung ${rung + 1}, ${name}, step ${result.step}: exact ${formatProportion(exact, count)} of ${count}, cells ${formatPercent(cellAccuracy)}; ${formatDuration(seconds)}`,
    );
    return {
      ...{ ...shared, count, exact, exactAccuracy, exactInterval: [low, high], cellAccuracy },
      ...{ loss: result.loss, meanSteps, divergedAt: null },
    };
  } finally {
    progress.end();
  }
}
