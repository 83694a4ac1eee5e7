/** The run that the page shows, as its address has it: `#preset=sudoku4&seed=3&lr=0.004`. */
import { modelConfig, trainConfig } from "../../hrm/model/config.js";
import type { Checkpoint } from "../../hrm/files/checkpoints/checkpoint.js";
import type { SessionSnapshot } from "../../hrm/training/session.js";
import { findPreset, type Preset } from "../../hrm/training/presets.js";

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
}

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
  };
}

interface Field {
  readonly accepts: (value: number) => boolean;
  readonly expected: string;
}

const whole = (low: number, high: number): Field => ({
  accepts: (v) => Number.isInteger(v) && v >= low && v <= high,
  expected: `a whole number from ${low} to ${high}`,
});

const FIELDS: Readonly<Record<Exclude<keyof RunConfig, "preset" | "products" | "variant">, Field>> = {
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

/** Reads an address' hash. Never throws: what cannot be used is named in `problems`. */
export function readPlace(hash: string): Place {
  const given = new Map(new URLSearchParams(hash.replace(/^#/, "")));
  const problems: string[] = [];
  const preset = given.get("preset");
  if (preset !== undefined && !offeredPreset(preset))
    problems.push(`preset=${preset}: expected ${playgroundPresets.join(" or ")}.`);
  const run: Record<keyof RunConfig, string | number> = { ...presetRun(preset ?? "") };
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
  for (const name of given.keys())
    if (!["preset", "puzzle", "products", "variant"].includes(name) && !Object.hasOwn(FIELDS, name))
      problems.push(`${name}: expected preset, puzzle, products, variant, ${fieldNames.join(", ")}.`);
  return { run: run as unknown as RunConfig, puzzle, problems };
}

/** The hash that {@link readPlace} reads back: preset and seed always, the rest where it departs from the preset. */
export function formatPlace({ run, puzzle }: Pick<Place, "run" | "puzzle">): string {
  const usual = presetRun(run.preset);
  const entries = fieldNames
    .filter((name) => name === "seed" || run[name] !== usual[name])
    .map((name): [string, string] => [name, String(run[name])]);
  for (const name of ["products", "variant"] as const)
    if (run[name] !== usual[name]) entries.push([name, run[name]]);
  if (puzzle !== null) entries.push(["puzzle", String(puzzle)]);
  return `#${new URLSearchParams([["preset", run.preset], ...entries]).toString()}`;
}

/** What is wrong with a text in an input of a field, in a sentence; null if the field may have the value. */
export function problemOfField(name: keyof typeof FIELDS, text: string): string | null {
  const { accepts, expected } = FIELDS[name];
  return text.trim() !== "" && accepts(Number(text)) ? null : `Got "${text}"; expected ${expected}.`;
}

/** True for runs with the same configuration. */
export const sameRun = (a: RunConfig, b: RunConfig): boolean =>
  (Object.keys(a) as (keyof RunConfig)[]).every((name) => a[name] === b[name]);

/** The preset with what the run changes. @throws ConfigError on a configuration that cannot be */
export function configuredPreset(run: RunConfig): Preset {
  const preset = findPreset(run.preset)!;
  const { H_layers, L_layers } = preset.model;
  const ofVariant = {
    whole: {},
    "one-segment": { halt_max_steps: 1, inference_segments: 1 },
    flat: { arch: "trm_singlez", L_layers: H_layers + L_layers },
  } as const;
  return {
    ...preset,
    model: modelConfig({ ...preset.model, ...ofVariant[run.variant], batch_size: run.batch }),
    train: trainConfig({ ...preset.train, lr: run.lr, total_steps: run.steps }),
    stopAt: run.target,
  };
}

/** The preset of a run that goes on from a checkpoint, whose model and training stay as they are. */
export const resumedPreset = (run: RunConfig, { config, train }: SessionSnapshot): Preset => ({
  ...findPreset(run.preset)!,
  model: config,
  train,
  stopAt: run.target,
});

/** The run that a checkpoint is of, so that it can go on here; null if the page has no such preset or not its puzzles. */
export function runOfCheckpoint({ task, data, run }: Checkpoint): RunConfig | null {
  if (!run || data !== undefined || !offeredPreset(task)) return null;
  const { config, train, seed } = run;
  return {
    ...presetRun(task),
    ...{ seed, lr: train.lr, batch: config.batch_size, steps: train.total_steps },
    variant: config.arch === "trm_singlez" ? "flat" : config.halt_max_steps === 1 ? "one-segment" : "whole",
  };
}
