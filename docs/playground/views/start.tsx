/** The button that trains, what the run does at the moment, and what comes next. */
import { formatDuration } from "../../../hrm/format_duration.js";
import { formatPercent, formatProportion } from "../../../hrm/training/statistics.js";
import { ACCEPTED } from "../protocol.js";
import { PRESET_TEXTS, sameRun, type RunConfig } from "../run_config.js";
import { prepare, save, toggle } from "../state/client.js";
import { nameOfPuzzles } from "../state/own_puzzles.js";
import {
  adapter,
  compiling,
  draft,
  failure,
  pending,
  phase,
  run,
  score,
  step,
  stepsPerSecond,
  test,
} from "../state/page_state.js";
import { openOptions } from "./options.js";

export function presetText({ preset, data }: RunConfig): { title: string; minutes: number } {
  const { title, minutes } = PRESET_TEXTS[preset as keyof typeof PRESET_TEXTS];
  return { title: data === "" ? title : nameOfPuzzles(data), minutes };
}

/** A number with its thousands set apart. */
export const count = (value: number): string => value.toLocaleString("en");

/** What the run does, in a sentence; said by screen readers whenever it changes, so that it holds no running numbers. */
function statusText(): string {
  if (pending.value === "pause") return "Pausing after the steps under way…";
  switch (phase.value) {
    case "preparing":
      return pending.value === "start"
        ? "Training starts once everything is compiled."
        : "Getting ready to train.";
    case "ready":
      return step.value === 0 ? "Ready to train from zero." : "Ready to go on.";
    case "training":
      return "Training.";
    case "paused":
      return "Paused.";
    case "testing":
      return "Training has ended. Now the test: puzzles that nothing has looked at so far.";
    case "finished":
      return test.value?.reached === false
        ? "Every step is done, and the target was not reached."
        : "Target reached.";
    case "failed":
      return "Stopped by an error.";
  }
}

/** How far compiling is, in words. */
export function compilingText(): string {
  const now = compiling.value;
  if (!now) return "Opening the GPU…";
  if (now.total === 0) return `Making puzzles for ${now.what}…`;
  return `Compiling ${now.what}: ${now.done} of ${now.total} kernels, which are small programs for the GPU`;
}

export const buttonLabel = (): string =>
  phase.value === "training"
    ? "Pause"
    : phase.value === "finished"
      ? "Train a new one"
      : step.value > 0
        ? "Go on training"
        : "Start training";

/** What the main button does. */
export function pressMain(): void {
  if (pending.value) return;
  if (phase.value === "finished") return prepare({ ...run.value, seed: (run.value.seed + 1) % 2 ** 32 });
  const allowed = ACCEPTED[phase.value];
  if (allowed.includes("start") || allowed.includes("pause") || phase.value === "preparing") toggle();
}

export function MainButton() {
  const busy = pending.value !== null || phase.value === "testing" || phase.value === "failed";
  return (
    <button type="button" class="main" id="toggle" aria-disabled={busy} onClick={pressMain}>
      {buttonLabel()}
    </button>
  );
}

export function StartPanel() {
  const planned = run.value.steps;
  const { title, minutes } = presetText(run.value);
  const left = (planned - step.value) / stepsPerSecond.value;
  const changed = !sameRun(draft.value, run.value);
  return (
    <section class="start" aria-label="Training">
      <p class="soft">
        {step.value === 0 ? "Now train a model from zero. It learns " : "Your run learns "}
        <b>{title}</b>.
        {adapter.value?.software && step.value === 0 && run.value.data === ""
          ? ` Without a GPU this takes about ${minutes} ${minutes === 1 ? "minute" : "minutes"}.`
          : ""}
      </p>
      <div class="buttons">
        <MainButton />
        <button type="button" id="options" onClick={openOptions}>
          Options
        </button>
        <button
          type="button"
          id="reset"
          aria-disabled={step.value === 0}
          onClick={() => step.value > 0 && prepare(run.value)}
        >
          Start over
        </button>
        <button
          type="button"
          id="save"
          aria-disabled={!ACCEPTED[phase.value].includes("save")}
          onClick={() => ACCEPTED[phase.value].includes("save") && save("download")}
        >
          Download
        </button>
      </div>
      {changed && (
        <p class="apply">
          You changed the options. The run goes on as it is.{" "}
          <button type="button" id="apply" onClick={() => prepare(draft.value)}>
            Apply as a new run
          </button>
        </p>
      )}
      <p id="status" role="status">
        {statusText()}
      </p>
      {phase.value === "preparing" && !failure.value ? (
        <div class="progress">
          <progress
            aria-label="Kernels compiled"
            {...(compiling.value &&
              compiling.value.total > 0 && { value: compiling.value.done, max: compiling.value.total })}
          />
          <span id="compiling">{compilingText()}</span>
        </div>
      ) : (
        <div class="progress">
          <progress aria-label="Steps of the plan" value={step.value} max={planned} />
          <span>
            Step <span id="step">{count(step.value)}</span> of {count(planned)}
            {phase.value === "training" && Number.isFinite(left)
              ? `, ${stepsPerSecond.value < 10 ? stepsPerSecond.value.toFixed(1) : stepsPerSecond.value.toFixed(0)} a second, at most ${formatDuration(left)} left`
              : ""}
          </span>
        </div>
      )}
      {test.value && (
        <p id="test">
          Test: <b>{formatProportion(test.value.scores.exact, test.value.scores.count)}</b> of{" "}
          {count(test.value.scores.count)} puzzles are solved, which nothing had looked at before. Between the
          numbers in brackets lies the true share, with 95% confidence.{" "}
          {test.value.reached
            ? "Next: watch it think, try a puzzle of your own, or choose a larger task under Options."
            : "Next: train another seed, or give it more steps under Options."}
        </p>
      )}
    </section>
  );
}

/** The bar that stays at the bottom of a small screen. */
export function BottomBar() {
  const found = score.value;
  return (
    <div class="bottom-bar" role="region" aria-label="Training, in short">
      <button type="button" class="main" aria-disabled={pending.value !== null} onClick={pressMain}>
        {buttonLabel()}
      </button>
      <span>
        {found ? `${formatPercent(found.solved / Math.max(1, found.of))} solved` : "nothing learned yet"}
      </span>
      <button type="button" onClick={openOptions}>
        Options
      </button>
    </div>
  );
}
