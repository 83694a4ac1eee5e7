/** The run that the page shows, as its address has it: `#preset=sudoku4&seed=3&lr=0.004`. */
import { modelConfig, trainConfig } from "../../hrm/model/config.js";
import { findPreset, type Preset } from "../../hrm/training/presets.js";

/** Presets for a page: Sudoku that needs no file and learns while one watches. The first is the default. */
export const playgroundPresets = ["sudoku4", "sudoku4-official", "sudoku6"] as const;

/** A preset that the page offers; undefined for any other name. */
export function offeredPreset(name: string): Preset | undefined {
  return (playgroundPresets as readonly string[]).includes(name) ? findPreset(name) : undefined;
}

/** How matrix products are computed: in f32 by default kernels, by those measured to be fastest here, or from f16 operands. */
export const PRODUCTS = ["f32", "measured", "mixed"] as const;

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

const FIELDS: Readonly<Record<Exclude<keyof RunConfig, "preset" | "products">, Field>> = {
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
  /** Number of the validation puzzle, from 0. */
  readonly puzzle: number;
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
  const products = given.get("products");
  if (isProducts(products)) run.products = products;
  else if (products !== undefined) problems.push(`products=${products}: expected ${PRODUCTS.join(", ")}.`);
  const puzzle = read("puzzle", whole(0, 2 ** 31)) ?? 0;
  for (const name of given.keys())
    if (!["preset", "puzzle", "products"].includes(name) && !Object.hasOwn(FIELDS, name))
      problems.push(`${name}: expected preset, puzzle, products, ${fieldNames.join(", ")}.`);
  return { run: run as unknown as RunConfig, puzzle, problems };
}

/** The hash that {@link readPlace} reads back: preset and seed always, the rest where it departs from the preset. */
export function formatPlace({ run, puzzle }: Pick<Place, "run" | "puzzle">): string {
  const usual = presetRun(run.preset);
  const entries = fieldNames
    .filter((name) => name === "seed" || run[name] !== usual[name])
    .map((name): [string, string] => [name, String(run[name])]);
  if (run.products !== usual.products) entries.push(["products", run.products]);
  if (puzzle !== 0) entries.push(["puzzle", String(puzzle)]);
  return `#${new URLSearchParams([["preset", run.preset], ...entries]).toString()}`;
}

export function isProducts(value: string | undefined): value is RunConfig["products"] {
  return (PRODUCTS as readonly (string | undefined)[]).includes(value);
}

/** Whether a field may have a value, as the page's inputs ask. */
export function acceptsField(name: keyof typeof FIELDS, value: number): boolean {
  return FIELDS[name].accepts(value);
}

/** The preset with what the run changes. @throws ConfigError on a configuration that cannot be */
export function configuredPreset(run: RunConfig): Preset {
  const preset = findPreset(run.preset)!;
  return {
    ...preset,
    model: modelConfig({ ...preset.model, batch_size: run.batch }),
    train: trainConfig({ ...preset.train, lr: run.lr, total_steps: run.steps }),
    stopAt: run.target,
  };
}
