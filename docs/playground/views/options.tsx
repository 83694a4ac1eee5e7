/** The options of a run, as a draft: nothing changes the run under way until they are applied as a new one. */
import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { countParameters } from "../../../hrm/model/parameters.js";
import { ConfigError } from "../../../hrm/model/config.js";
import { departures } from "../../../hrm/training/departures.js";
import { findPreset, SUDOKU4_NOTE } from "../../../hrm/training/presets.js";
import {
  configuredPreset,
  playgroundPresets,
  presetRun,
  PRESET_TEXTS,
  problemOfField,
  PRODUCTS,
  sameRun,
  type RunConfig,
} from "../run_config.js";
import { prepare } from "../state/client.js";
import { draft, run } from "../state/page_state.js";

const open = signal(false);
/** Texts of the number fields that are not numbers that may be. */
const problems = signal<Readonly<Record<string, string>>>({});

export function openOptions(): void {
  open.value = true;
}

const NUMBERS = [
  ["seed", "Seed", "Decides the puzzles, the first weights and every draw."],
  ["lr", "Learning rate", "How far each step moves the weights."],
  ["batch", "Batch size", "Puzzles in a step."],
  ["steps", "Steps", "The plan ends there."],
  ["target", "Target", "Share of unseen puzzles solved that ends training, from 0 to 1."],
] as const;

const VARIANT_TEXTS: Readonly<Record<RunConfig["variant"], string>> = {
  whole: "Planner and worker, several rounds",
  "one-segment": "One round only",
  flat: "No hierarchy: one network, one state",
};
const PRODUCT_TEXTS: Readonly<Record<RunConfig["products"], string>> = {
  f32: "In f32, usual kernels",
  measured: "In f32, the fastest kernels (measures for 10 seconds)",
  mixed: "From f16 operands (needs subgroup matrices)",
};

function change(part: Partial<RunConfig>): void {
  draft.value = { ...draft.value, ...part };
}

/** Parameters of the draft, or why there can be no such model. */
export function sizeOfDraft(next: RunConfig): string {
  try {
    return `${countParameters(configuredPreset(next).model).toLocaleString("en")} numbers to learn.`;
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
}

export function Options() {
  const dialog = useRef<HTMLDialogElement>(null);
  // Read here, so that the component renders again, and the effect runs, when it changes.
  const isOpen = open.value;
  useEffect(() => {
    if (isOpen && !dialog.current!.open) dialog.current!.showModal();
    if (!isOpen && dialog.current!.open) dialog.current!.close();
  }, [isOpen]);
  const next = draft.value;
  const preset = findPreset(next.preset)!;
  const bad = Object.keys(problems.value).length > 0;
  const close = (): void => {
    open.value = false;
  };
  return (
    <dialog ref={dialog} id="options-sheet" aria-labelledby="options-title" onClose={close}>
      <form
        method="dialog"
        onSubmit={(event) => {
          event.preventDefault();
          if (bad) return;
          close();
          if (!sameRun(draft.value, run.value)) prepare(draft.value);
        }}
      >
        <h2 id="options-title">Options of the next run</h2>
        <label>
          Puzzles
          <select
            id="preset"
            value={next.preset}
            onChange={(event) => {
              problems.value = {};
              change({ ...presetRun(event.currentTarget.value), seed: next.seed, variant: next.variant });
            }}
          >
            {playgroundPresets.map((name) => (
              <option key={name} value={name}>
                {PRESET_TEXTS[name].title}
              </option>
            ))}
          </select>
          <small>
            About {PRESET_TEXTS[next.preset as keyof typeof PRESET_TEXTS].minutes} min without a GPU.{" "}
            {preset.status.kind === "unproven" ? "Not yet trained to its end on this project's engine." : ""}
          </small>
        </label>
        <label>
          Model
          <select
            id="variant"
            value={next.variant}
            onChange={(event) => change({ variant: event.currentTarget.value as RunConfig["variant"] })}
          >
            {Object.entries(VARIANT_TEXTS).map(([name, text]) => (
              <option key={name} value={name}>
                {text}
              </option>
            ))}
          </select>
          <small>
            {sizeOfDraft(next)} Test the claim: train without rounds, or without hierarchy, and compare.
          </small>
        </label>
        {NUMBERS.map(([name, label, help]) => (
          <label key={name}>
            {label}
            <input
              id={name}
              inputMode="decimal"
              defaultValue={String(next[name])}
              key={`${name} ${next.preset}`}
              aria-invalid={name in problems.value}
              aria-describedby={`${name}-help`}
              onInput={(event) => {
                const text = event.currentTarget.value;
                const problem = problemOfField(name, text);
                const { [name]: _, ...rest } = problems.value;
                problems.value = problem ? { ...rest, [name]: problem } : rest;
                if (!problem) change({ [name]: Number(text) });
              }}
            />
            <small id={`${name}-help`} class={name in problems.value ? "bad" : ""}>
              {problems.value[name] ?? help}
            </small>
          </label>
        ))}
        <label>
          Matrix products
          <select
            id="products"
            value={next.products}
            onChange={(event) => change({ products: event.currentTarget.value as RunConfig["products"] })}
          >
            {PRODUCTS.map((name) => (
              <option key={name} value={name}>
                {PRODUCT_TEXTS[name]}
              </option>
            ))}
          </select>
        </label>
        <details>
          <summary>Where this recipe departs from the paper</summary>
          <ul>
            {departures(preset, preset.recipe).map((text) => (
              <li key={text}>{text}</li>
            ))}
          </ul>
          {preset.task.name === "sudoku4" && <p>{SUDOKU4_NOTE}</p>}
        </details>
        <div class="buttons">
          <button
            type="submit"
            class="main"
            id="apply-options"
            aria-disabled={bad || sameRun(next, run.value)}
          >
            Apply as a new run
          </button>
          <button type="button" id="close-options" onClick={close}>
            Close
          </button>
        </div>
        <p class="soft">The run under way is kept; you find it under Runs.</p>
      </form>
    </dialog>
  );
}
