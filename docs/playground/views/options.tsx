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
import { EXAMPLE, EXAMPLE_RECIPE } from "../puzzles/mirror_example.js";
import { prepare, takePuzzles } from "../state/client.js";
import { fileBeingRead, fileProblem, puzzleFiles, taskOfRun } from "../state/own_puzzles.js";
import { draft, run } from "../state/page_state.js";

const open = signal(false);
/** The visitor chose to bring a file, and has not brought it yet. */
const wantsFile = signal(false);
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

type NumberName = (typeof NUMBERS)[number][0];

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
    return `${countParameters(configuredPreset(next, taskOfRun(next)).model).toLocaleString("en")} numbers to learn.`;
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
}

/** Choices of the field of puzzles that are no preset. */
const OWN_FILE = "file";

/** The preset whose recipe suits puzzles of a task. */
export function recipeFor(task: string): (typeof playgroundPresets)[number] {
  const maze = /^maze-(\d+)x/.exec(task);
  if (maze) return Number(maze[1]) > 7 ? "maze10" : "maze7";
  if (task === "sudoku6") return "sudoku6";
  return task === "sudoku9" ? "sudoku9-easy" : "sudoku4";
}

/** Steps of the worked example, as docs/data.md has them. */
const EXAMPLE_STEPS = 1000;

function choosePuzzles(choice: string): void {
  const { seed, variant } = draft.value;
  problems.value = {};
  wantsFile.value = choice === OWN_FILE;
  if (choice === OWN_FILE) return;
  const preset = choice === EXAMPLE ? EXAMPLE_RECIPE : choice;
  const own = choice === EXAMPLE ? { data: EXAMPLE, steps: EXAMPLE_STEPS } : {};
  draft.value = { ...presetRun(preset), seed, variant, ...own };
}

function chooseFile(file: File | undefined): void {
  if (!file) return;
  void takePuzzles(file, ({ id, task }) => {
    const { seed, variant } = draft.value;
    draft.value = { ...presetRun(recipeFor(task)), seed, variant, data: id };
  });
}

function PuzzlesField() {
  const next = draft.value;
  const isFile = wantsFile.value || (next.data !== "" && next.data !== EXAMPLE);
  const preset = findPreset(next.preset)!;
  return (
    <>
      <label>
        Puzzles
        <select
          id="preset"
          value={isFile ? OWN_FILE : next.data || next.preset}
          onChange={(event) => choosePuzzles(event.currentTarget.value)}
        >
          {playgroundPresets.map((name) => (
            <option key={name} value={name}>
              {PRESET_TEXTS[name].title}
            </option>
          ))}
          <option value={EXAMPLE}>Reverse a row: the example of the guide</option>
          <option value={OWN_FILE}>A file of your own…</option>
        </select>
        <small>
          {next.data === EXAMPLE
            ? "2,000 grids whose answer is their first row in reverse. About a minute without a GPU."
            : `About ${PRESET_TEXTS[next.preset as keyof typeof PRESET_TEXTS].minutes} min without a GPU. `}
          {preset.status.kind === "unproven" && next.data === ""
            ? "Not yet trained to its end on this project's engine."
            : ""}
        </small>
      </label>
      {isFile && <FileField />}
    </>
  );
}

/** The visitor's file, and the preset whose recipe trains on it. */
function FileField() {
  const next = draft.value;
  const info = puzzleFiles.value[next.data];
  return (
    <>
      <label>
        Your file
        <input
          type="file"
          id="puzzle-file"
          accept=".csv,.tsv,.txt,.jsonl,.ndjson,.json,.npz"
          aria-describedby="puzzle-file-help"
          onChange={(event) => chooseFile(event.currentTarget.files?.[0])}
        />
        <small id="puzzle-file-help" class={fileProblem.value ? "bad" : ""} role="status">
          {fileBeingRead.value
            ? `Reading ${fileBeingRead.value}…`
            : (fileProblem.value ??
              (info
                ? `${info.name}: ${info.count.toLocaleString("en")} puzzles of ${info.task}. ${info.notes.join(" ")}`
                : "A table of puzzles and answers (CSV), or one object a line (JSONL). It never leaves this device."))}
        </small>
      </label>
      {info && (
        <label>
          Recipe
          <select
            id="recipe"
            value={next.preset}
            onChange={(event) =>
              change({ ...presetRun(event.currentTarget.value), seed: next.seed, data: next.data })
            }
          >
            {playgroundPresets.map((name) => (
              <option key={name} value={name}>
                As for {PRESET_TEXTS[name].title}
              </option>
            ))}
          </select>
          <small>Decides the size of the model and how it is trained.</small>
        </label>
      )}
    </>
  );
}

function VariantField() {
  const next = draft.value;
  return (
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
  );
}

function NumberField({ name, label, help }: { name: NumberName; label: string; help: string }) {
  const problem = problems.value[name];
  return (
    <label>
      {label}
      <input
        id={name}
        inputMode="decimal"
        defaultValue={String(draft.value[name])}
        aria-invalid={problem !== undefined}
        aria-describedby={`${name}-help`}
        onInput={(event) => {
          const text = event.currentTarget.value;
          const wrong = problemOfField(name, text);
          const { [name]: _, ...rest } = problems.value;
          problems.value = wrong ? { ...rest, [name]: wrong } : rest;
          if (!wrong) change({ [name]: Number(text) });
        }}
      />
      <small id={`${name}-help`} class={problem ? "bad" : ""}>
        {problem ?? help}
      </small>
    </label>
  );
}

function ProductsField() {
  return (
    <label>
      Matrix products
      <select
        id="products"
        value={draft.value.products}
        onChange={(event) => change({ products: event.currentTarget.value as RunConfig["products"] })}
      >
        {PRODUCTS.map((name) => (
          <option key={name} value={name}>
            {PRODUCT_TEXTS[name]}
          </option>
        ))}
      </select>
      <small>
        Most of a step is the multiplication of matrices. f32 and f16 are numbers of 32 and of 16 bits; a
        kernel is a program for the GPU.
      </small>
    </label>
  );
}

function Departures() {
  const preset = findPreset(draft.value.preset)!;
  return (
    <details>
      <summary>Where this recipe departs from the paper</summary>
      <ul>
        {departures(preset, preset.recipe).map((text) => (
          <li key={text}>{text}</li>
        ))}
      </ul>
      {preset.task.name === "sudoku4" && <p>{SUDOKU4_NOTE}</p>}
    </details>
  );
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
        <PuzzlesField />
        <VariantField />
        {NUMBERS.map(([name, label, help]) => (
          // The key gives a field its new start when other puzzles are chosen.
          <NumberField key={`${name} ${next.preset} ${next.data}`} {...{ name, label, help }} />
        ))}
        <ProductsField />
        <Departures />
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
