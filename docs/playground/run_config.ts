/** The run that the page shows, as its address has it: `#preset=sudoku4&seed=3&lr=0.004`. */
import {
  ConfigError,
  isModelField,
  isTrainField,
  modelConfig,
  trainConfig,
  type HrmConfig,
  type TrainConfig,
} from "../../hrm/model/config.js";
import { TASK_FIELDS } from "../../hrm/model/task_fields.js";
import { hasTooFewClasses } from "../../hrm/puzzles/splits.js";
import type { Task } from "../../hrm/puzzles/tasks/task.js";
import type { Checkpoint } from "../../hrm/files/checkpoints/checkpoint.js";
import type { SessionSnapshot } from "../../hrm/training/session.js";
import { findPreset, withPuzzles, type Preset } from "../../hrm/training/presets.js";
import { EXAMPLE, EXAMPLE_RECIPE } from "./puzzles/mirror_example.js";

/** Presets for a page: puzzles that need no file. The first is the default. */
export const playgroundPresets = [
  "sudoku4",
  "maze7",
  "sudoku6",
  "sudoku9-easy",
  "maze10",
  "sudoku4-official",
] as const;

/** What a preset is called on the page, and how many minutes a run takes on a software adapter with two cores. */
export const PRESET_TEXTS: Readonly<
  Record<(typeof playgroundPresets)[number], { readonly title: string; readonly minutes: number }>
> = {
  sudoku4: { title: "Sudoku 4×4", minutes: 1 },
  maze7: { title: "Mazes 7×7", minutes: 20 },
  sudoku6: { title: "Sudoku 6×6", minutes: 30 },
  "sudoku9-easy": { title: "Sudoku 9×9, easy", minutes: 40 },
  maze10: { title: "Mazes 10×10", minutes: 60 },
  "sudoku4-official": { title: "Sudoku 4×4, official recipe", minutes: 4 },
};

/** A preset that the page offers; undefined for any other name. */
export function offeredPreset(name: string): Preset | undefined {
  return (playgroundPresets as readonly string[]).includes(name) ? findPreset(name) : undefined;
}

/** How matrix products are computed: in f32 by default kernels, by those measured to be fastest here, or from f16 operands. */
export const PRODUCTS = ["f32", "measured", "mixed"] as const;

/**
 * What a run tests besides the preset: `whole` is the preset's model; `one-segment` answers after a single segment; `flat`
 * has no hierarchy: one network with the layers of both updates one state.
 */
export const VARIANTS = ["whole", "one-segment", "flat"] as const;

/** All that decides a run. */
export interface RunConfig {
  readonly preset: string;
  readonly seed: number;
  /** Peak learning rate. */
  readonly lr: number;
  /** Puzzles in a batch. */
  readonly batch: number;
  /** Planned steps; the schedule ends there. */
  readonly steps: number;
  /** Validation exact accuracy that ends training, a fraction. */
  readonly target: number;
  readonly products: (typeof PRODUCTS)[number];
  readonly variant: (typeof VARIANTS)[number];
  /** Whose puzzles: empty for the preset's, `example` for the worked example of docs/data.md, `NAME~HASH` for a file. */
  readonly data: string;
  /** Other fields of model and training that depart from the preset, by their official names. */
  readonly fields: Fields;
}

/** Values of configuration fields by name. */
export type Fields = Readonly<Record<string, number | boolean | string>>;

/** A run as its preset has it. */
export function presetRun(name: string): RunConfig {
  const { name: preset, model, train, stopAt } = offeredPreset(name) ?? findPreset(playgroundPresets[0])!;
  return {
    preset,
    seed: 0,
    lr: train.lr,
    batch: model.batch_size,
    steps: train.total_steps,
    target: stopAt,
    products: "f32",
    variant: "whole",
    data: "",
    fields: {},
  };
}

/** Fields that a run has under a name of its own, and those that its puzzles decide. */
const TAKEN: readonly string[] = [
  ...["batch_size", "lr", "total_steps", "num_puzzle_identifiers"],
  ...TASK_FIELDS,
];

/** True for a field that {@link RunConfig.fields} may have. */
export const isFreeField = (name: string): boolean =>
  (isModelField(name) || isTrainField(name)) && !TAKEN.includes(name);

/** What the preset has in a field. */
export function presetField(preset: string, name: string): number | boolean | string {
  const { model, train } = findPreset(preset)!;
  const values: Partial<HrmConfig & TrainConfig> = { ...model, ...train };
  return values[name as keyof typeof values]!;
}

/** A text as the value of a field; a sentence if the field cannot have it. */
export function readField(
  preset: string,
  name: string,
  text: string,
): { readonly value: number | boolean | string } | { readonly problem: string } {
  const usual = presetField(preset, name);
  const trimmed = text.trim();
  const value =
    typeof usual === "number" && trimmed !== "" && !Number.isNaN(Number(trimmed))
      ? Number(trimmed)
      : typeof usual === "boolean" && /^(true|false)$/.test(trimmed)
        ? trimmed === "true"
        : trimmed;
  try {
    // A field by itself: what it must have in common with others is judged by `configuredPreset`.
    if (isModelField(name)) modelConfig({ ...LOOSE, [name]: value });
    else trainConfig({ [name]: value });
    return { value };
  } catch (error) {
    if (error instanceof ConfigError && error.field === name && !WITH_OTHERS.test(error.expected))
      return { problem: error.message.replace(/^config\./, "") };
    if (error instanceof ConfigError) return { value };
    throw error;
  }
}

/** Under these values a field is judged alone, unless what is expected of it begins like this. */
const LOOSE = { pos_encodings: "none", num_heads: 1, puzzle_emb_len: 0 } as const;
const WITH_OTHERS = /^(a divisor|at most|0)/;

interface Field {
  readonly accepts: (value: number) => boolean;
  readonly expected: string;
}

const whole = (low: number, high: number): Field => ({
  accepts: (v) => Number.isInteger(v) && v >= low && v <= high,
  expected: `a whole number from ${low} to ${high}`,
});

const FIELDS: Readonly<
  Record<Exclude<keyof RunConfig, "preset" | "products" | "variant" | "data" | "fields">, Field>
> = {
  seed: whole(0, 2 ** 32 - 1),
  lr: { accepts: (v) => v > 0 && v <= 1, expected: "a number above 0, at most 1" },
  batch: whole(1, 1024),
  steps: whole(1, 1_000_000),
  target: { accepts: (v) => v >= 0 && v <= 1, expected: "a fraction from 0 to 1" },
};

const fieldNames = Object.keys(FIELDS) as (keyof typeof FIELDS)[];

/** A run and the puzzle shown, read from an address. */
export interface Place {
  readonly run: RunConfig;
  /** Number of the held-out puzzle, from 1; null if the page may choose. */
  readonly puzzle: number | null;
  /** What the address asks for that cannot be, one sentence each; defaults stand in for it. */
  readonly problems: readonly string[];
}

const KNOWN = ["preset", "puzzle", "products", "variant", "data"];

/** Reads an address' hash. Never throws: what cannot be used is named in `problems`. */
export function readPlace(hash: string): Place {
  const given = new Map(new URLSearchParams(hash.replace(/^#/, "")));
  const problems: string[] = [];
  const preset = given.get("preset");
  if (preset !== undefined && !offeredPreset(preset))
    problems.push(`preset=${preset}: expected ${playgroundPresets.join(" or ")}.`);
  const run: Record<keyof RunConfig, RunConfig[keyof RunConfig]> = { ...presetRun(preset ?? "") };
  const read = (name: string, { accepts, expected }: Field): number | undefined => {
    const text = given.get(name);
    if (text === undefined) return undefined;
    const value = text.trim() === "" ? NaN : Number(text);
    if (accepts(value)) return value;
    problems.push(`${name}=${text}: expected ${expected}.`);
    return undefined;
  };
  for (const name of fieldNames) run[name] = read(name, FIELDS[name]) ?? run[name];
  for (const [name, names] of [
    ["products", PRODUCTS],
    ["variant", VARIANTS],
  ] as const) {
    const value = given.get(name);
    if (value === undefined) continue;
    if ((names as readonly string[]).includes(value)) run[name] = value;
    else problems.push(`${name}=${value}: expected ${names.join(", ")}.`);
  }
  const puzzle = read("puzzle", whole(1, 2 ** 31)) ?? null;
  run.data = given.get("data") ?? "";
  const fields: Record<string, number | boolean | string> = {};
  for (const [name, text] of given) {
    if (KNOWN.includes(name) || Object.hasOwn(FIELDS, name)) continue;
    if (!isFreeField(name)) {
      problems.push(
        `${name}: expected ${KNOWN.join(", ")}, ${fieldNames.join(", ")}, or a field of the model.`,
      );
      continue;
    }
    const read = readField(presetRun(preset ?? "").preset, name, text);
    if ("problem" in read) problems.push(read.problem);
    else fields[name] = read.value;
  }
  run.fields = fields;
  return { run: run as unknown as RunConfig, puzzle, problems };
}

/** The hash that {@link readPlace} reads back: preset and seed always, the rest where it departs from the preset. */
export function formatPlace({ run, puzzle }: Pick<Place, "run" | "puzzle">): string {
  const usual = presetRun(run.preset);
  const entries = fieldNames
    .filter((name) => name === "seed" || run[name] !== usual[name])
    .map((name): [string, string] => [name, String(run[name])]);
  for (const name of ["products", "variant", "data"] as const)
    if (run[name] !== usual[name]) entries.push([name, run[name]]);
  for (const [name, value] of Object.entries(run.fields)) entries.push([name, String(value)]);
  if (puzzle !== null) entries.push(["puzzle", String(puzzle)]);
  return `#${new URLSearchParams([["preset", run.preset], ...entries]).toString()}`;
}

/** What is wrong with a text in an input of a field, in a sentence; null if the field may have the value. */
export function problemOfField(name: keyof typeof FIELDS, text: string): string | null {
  const { accepts, expected } = FIELDS[name];
  return text.trim() !== "" && accepts(Number(text)) ? null : `Got "${text}"; expected ${expected}.`;
}

/** True for runs with the same configuration. */
export const sameRun = (a: RunConfig, b: RunConfig): boolean => formatRun(a) === formatRun(b);

const formatRun = (run: RunConfig): string =>
  [...new URLSearchParams(formatPlace({ run, puzzle: null }).slice(1))].map(String).sort().join("&");

/** In what a run departs from another, a clause each: `lr 0.002 instead of 0.001`. */
export function differencesOf(run: RunConfig, from: RunConfig): string[] {
  const all = (of: RunConfig): Record<string, unknown> => ({
    ...{ preset: of.preset, data: of.data || "the preset's puzzles", variant: of.variant },
    ...Object.fromEntries(fieldNames.map((name) => [name, of[name]])),
    products: of.products,
    ...of.fields,
  });
  const [own, other] = [all(run), all(from)];
  const usual = (name: string, of: RunConfig): unknown => presetField(of.preset, name);
  return [...new Set([...Object.keys(own), ...Object.keys(other)])].flatMap((name) => {
    const [mine, theirs] = [own[name] ?? usual(name, run), other[name] ?? usual(name, from)];
    return mine === theirs ? [] : [`${name} ${String(mine)} instead of ${String(theirs)}`];
  });
}

/** The preset, on puzzles of a file if the run has such. */
function basePreset({ preset: name }: RunConfig, puzzles: OwnPuzzles | null): Preset {
  const preset = findPreset(name)!;
  if (!puzzles) return preset;
  const { task, splits } = puzzles;
  return withPuzzles(preset, { task, splitBy: splitOf(preset, task), splits });
}

/** Puzzles of a file as a preset takes them. */
export type OwnPuzzles = Pick<Preset, "task" | "splits">;

/** What the splits of a preset on a task never share. */
export const splitOf = ({ splitBy }: Preset, task: Task): Preset["splitBy"] =>
  hasTooFewClasses(task) ? "solution" : splitBy;

/** The preset with what the run changes. @throws ConfigError on a configuration that cannot be */
export function configuredPreset(run: RunConfig, puzzles: OwnPuzzles | null = null): Preset {
  const preset = basePreset(run, puzzles);
  const { H_layers, L_layers } = { ...preset.model, ...run.fields };
  const ofVariant = {
    whole: {},
    "one-segment": { halt_max_steps: 1, inference_segments: 1 },
    flat: { arch: "trm_singlez", L_layers: H_layers + L_layers },
  } as const;
  const ofModel = Object.entries(run.fields).filter(([name]) => isModelField(name));
  const ofTraining = Object.entries(run.fields).filter(([name]) => isTrainField(name));
  return {
    ...preset,
    model: modelConfig({
      ...preset.model,
      ...Object.fromEntries(ofModel),
      ...ofVariant[run.variant],
      batch_size: run.batch,
    }),
    train: trainConfig({
      ...preset.train,
      ...Object.fromEntries(ofTraining),
      ...{ lr: run.lr, total_steps: run.steps },
    }),
    stopAt: run.target,
  };
}

/** The preset of a run that goes on from a checkpoint, whose model and training stay as they are. */
export const resumedPreset = (
  run: RunConfig,
  { config, train }: SessionSnapshot,
  puzzles: OwnPuzzles | null = null,
): Preset => ({ ...basePreset(run, puzzles), model: config, train, stopAt: run.target });

/** The run that a checkpoint is of, so that it can go on here; or why it cannot, in a sentence. */
export function runOfCheckpoint({ task, data, run }: Pick<Checkpoint, "task" | "data" | "run">): {
  readonly run?: RunConfig;
  readonly stuck?: string;
} {
  if (!run) return { stuck: "The file holds weights alone, so that no training can go on from it." };
  const preset = data === EXAMPLE ? EXAMPLE_RECIPE : task;
  if (data !== undefined && data !== EXAMPLE)
    return { stuck: `Its run needs the puzzles of ${data}: it goes on where that file is.` };
  if (!offeredPreset(preset)) return { stuck: `Its run is of ${task}, which this page does not train.` };
  if (run.ended) return { stuck: "Its training has ended." };
  const { config, train, seed } = run;
  const usual: RunConfig = {
    ...presetRun(preset),
    ...{ seed, lr: train.lr, batch: config.batch_size, steps: train.total_steps, data: data ?? "" },
  };
  const values: Readonly<Record<string, unknown>> = { ...config, ...train };
  // The page names several variants. This picks the variant that needs the fewest other fields to describe the model.
  const candidates = VARIANTS.map((variant): RunConfig => {
    const { model, train: plan } = configuredPreset({ ...usual, data: "", variant });
    const own: Readonly<Record<string, unknown>> = { ...model, ...plan };
    const changed = Object.keys(own).filter((name) => isFreeField(name) && own[name] !== values[name]);
    return {
      ...usual,
      variant,
      fields: Object.fromEntries(changed.map((name) => [name, values[name]])) as Fields,
    };
  });
  const departures = ({ fields }: RunConfig): number => Object.keys(fields).length;
  return { run: candidates.reduce((a, b) => (departures(b) < departures(a) ? b : a)) };
}
