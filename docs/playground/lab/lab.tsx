/** Every option of the model and of its training, judged while it is typed, and what the run would need. */
import { effect, signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { FIELD_CHOICES, FIELD_HELP } from "../../../hrm/model/field_help.js";
import { ConfigError, isModelField } from "../../../hrm/model/config.js";
import {
  configuredPreset,
  isFreeField,
  presetField,
  readField,
  sameRun,
  type RunConfig,
} from "../run_config.js";
import { prepare, wantEstimate } from "../state/client.js";
import { taskOfRun } from "../state/own_puzzles.js";
import { adapter, draft, estimate, phase, run, stepsPerSecond } from "../state/page_state.js";
import { openOptions } from "../views/options.js";
import { count } from "../views/start.js";
import { bytesText, flopsText, secondsOfRun, secondsText } from "./amounts.js";

type FieldName = keyof typeof FIELD_HELP;
const NAMES = (Object.keys(FIELD_HELP) as FieldName[]).filter(isFreeField);

/** Texts that cannot be the value of their field, by field. */
const problems = signal<Readonly<Record<string, string>>>({});

function change(name: FieldName, text: string): void {
  const { preset, fields } = draft.value;
  const { [name]: _, ...others } = problems.value;
  const usual = String(presetField(preset, name));
  if (text.trim() === "" || text.trim() === usual) {
    const { [name]: __, ...rest } = fields;
    problems.value = others;
    draft.value = { ...draft.value, fields: rest };
    return;
  }
  const read = readField(preset, name, text);
  problems.value = "problem" in read ? { ...others, [name]: read.problem } : others;
  if ("value" in read) draft.value = { ...draft.value, fields: { ...fields, [name]: read.value } };
}

/** What is wrong with the drafted configuration as a whole: the field and a sentence; null if it can be. */
function problemOfDraft(next: RunConfig): { readonly field: string; readonly text: string } | null {
  try {
    configuredPreset(next, taskOfRun(next));
    return null;
  } catch (error) {
    if (error instanceof ConfigError) return { field: error.field, text: error.message };
    throw error;
  }
}

function FieldInput({ name, wrong }: { name: FieldName; wrong: string | undefined }) {
  const { preset, fields } = draft.value;
  const usual = presetField(preset, name);
  const choices =
    typeof usual === "boolean"
      ? ["true", "false"]
      : name in FIELD_CHOICES
        ? FIELD_CHOICES[name as keyof typeof FIELD_CHOICES]
        : null;
  const changed = name in fields;
  const described = `lab-${name}-help`;
  const value = String(fields[name] ?? usual);
  return (
    <label class={changed ? "changed" : ""}>
      <code>{name}</code>
      {choices ? (
        <select
          id={`lab-${name}`}
          value={value}
          aria-describedby={described}
          onChange={(event) => change(name, event.currentTarget.value)}
        >
          {choices.map((choice) => (
            <option key={choice}>{choice}</option>
          ))}
        </select>
      ) : (
        <input
          id={`lab-${name}`}
          inputMode="decimal"
          defaultValue={value}
          aria-invalid={wrong !== undefined}
          aria-describedby={described}
          onInput={(event) => change(name, event.currentTarget.value)}
        />
      )}
      <small id={described} class={wrong ? "bad" : ""}>
        {wrong ?? FIELD_HELP[name]}
        {changed ? ` (preset: ${String(usual)})` : ""}
      </small>
    </label>
  );
}

function Fields({ of, wrong }: { of: "model" | "training"; wrong: ReturnType<typeof problemOfDraft> }) {
  const names = NAMES.filter((name) => isModelField(name) === (of === "model"));
  return (
    <fieldset class="fields">
      <legend>{of === "model" ? "The model" : "Its training"}</legend>
      {names.map((name) => (
        <FieldInput
          key={`${name} ${draft.value.preset}`}
          name={name}
          wrong={problems.value[name] ?? (wrong?.field === name ? wrong.text : undefined)}
        />
      ))}
    </fieldset>
  );
}

/** What the drafted run would need here. */
function Needs() {
  const found = estimate.value;
  if (!found || !sameRun(found.run, draft.value)) return <p class="soft">Estimating…</p>;
  if (found.refused !== null)
    return (
      <p class="bad" role="status">
        {found.refused}
      </p>
    );
  const { parameters, flops, memory } = found;
  const seconds = secondsOfRun(found, {
    stepsPerSecond: stepsPerSecond.value,
    software: adapter.value?.software ?? false,
  });
  return (
    <dl class="needs" id="needs">
      <div>
        <dt>Numbers to learn</dt>
        <dd>{count(parameters)}</dd>
      </div>
      <div>
        <dt>Work of a step</dt>
        <dd>{flopsText(flops)}</dd>
      </div>
      <div>
        <dt>GPU memory</dt>
        <dd>
          {bytesText(memory!.held)}, {bytesText(memory!.peak)} while it is saved
        </dd>
      </div>
      <div>
        <dt>All {count(draft.value.steps)} steps</dt>
        <dd>
          {seconds === null ? "Train a few steps first: then their time is known." : secondsText(seconds)}
        </dd>
      </div>
    </dl>
  );
}

/** Milliseconds after the last change before the run is estimated. */
const PATIENCE = 300;

export function Lab() {
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stop = effect(() => {
      const next = draft.value;
      void run.value;
      clearTimeout(timer);
      if (phase.value === "failed") return;
      timer = setTimeout(() => wantEstimate(next), PATIENCE);
    });
    return () => {
      clearTimeout(timer);
      stop();
    };
  }, []);
  const wrong = problemOfDraft(draft.value);
  const bad = wrong !== null || Object.keys(problems.value).length > 0;
  const same = sameRun(draft.value, run.value);
  return (
    <>
      <p>
        Here is every option of the model and of its training, under its official name. Puzzles, seed,
        learning rate, batch and steps are under{" "}
        <button type="button" class="link" onClick={openOptions}>
          Options
        </button>
        . The run under way stays as it is until you apply a new one.
      </p>
      {wrong && (
        <p class="bad" id="lab-problem" role="status">
          {wrong.text}
        </p>
      )}
      {!wrong && <Needs />}
      <details id="lab-fields">
        <summary>All {NAMES.length} options</summary>
        <Fields of="model" wrong={wrong} />
        <Fields of="training" wrong={wrong} />
      </details>
      <div class="buttons">
        <button
          type="button"
          id="lab-apply"
          aria-disabled={bad || same}
          onClick={() => !bad && !same && prepare(draft.value)}
        >
          Apply as a new run
        </button>
        <button
          type="button"
          id="lab-reset"
          aria-disabled={same}
          onClick={() => {
            problems.value = {};
            draft.value = run.value;
          }}
        >
          Back to the run&apos;s options
        </button>
      </div>
    </>
  );
}
