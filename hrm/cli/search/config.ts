/** The file of a search: its fields, and the options that they define. */
import { isModelField, isTrainField, LARGEST_COUNT } from "../../model/config.js";
import type { Preset } from "../../training/presets.js";
import { formatValue, formatText } from "../../format_value.js";
import { hostRandom } from "../../puzzles/random.js";
import { ArgumentError, nearestName } from "../../terminal/arguments.js";
import { nearestField, withFields } from "../options/configure.js";
import { RUN_NUMBERS } from "../runs/config.js";

/** Values of some configuration fields. */
export type Fields = Readonly<Record<string, unknown>>;

/** The length of training up to a rung, in steps or in TFLOP. */
export type Rung = { readonly steps: number } | { readonly tflop: number };

export const MEASURES = ["exact", "cells"] as const;
export type Measure = (typeof MEASURES)[number];

/** A search after all checks that do not need its preset. */
export interface Sweep {
  readonly preset: string;
  /** Files of the puzzles; null if the preset makes them. */
  readonly data: string | null;
  readonly test: string | null;
  /** Fields that all options share. */
  readonly base: Fields;
  /** The fields that each option sets, and their place in the file. */
  readonly options: readonly { readonly fields: Fields; readonly place: string }[];
  readonly seeds: readonly number[];
  readonly rungs: readonly Rung[];
  /** Share of the options that go on to the next rung. */
  readonly keep: number;
  readonly measure: Measure;
  /** Validation puzzles that a rung scores; null for all. */
  readonly puzzles: number | null;
}

const NAMES = [
  ...["preset", "data", "test", "base", "options", "trials", "sample", "seed"],
  ...["seeds", "rungs", "keep", "measure", "puzzles"],
];
/** The most trials (options times seeds). More are taken for a mistake in the file. */
const MOST_TRIALS = 10_000;
const TFLOP = /^(\d+(?:\.\d+)?|\.\d+) ?TFLOP$/;

/** Checks a sweep; `where` begins the message of every error. @throws ArgumentError */
export function parseSweep(given: Fields, where: string): Sweep {
  const file = new SweepFile(given, where);
  file.requireKnownNames();
  const preset = file.text("preset", "the name of a preset");
  const data = file.optionalText("data", "a file, folder or address of puzzles");
  const test = file.optionalText("test", "a file, folder or address of puzzles");
  if (test !== null && data === null) throw file.bad("test", test, 'puzzles to train on in "data", too');
  const base = given["base"] === undefined ? {} : file.fields(given["base"], "base");
  const seeds = file.list(given["seeds"] ?? [0], "seeds", "seeds").map((seed) => {
    if (!isInteger(seed, RUN_NUMBERS.seed.min, RUN_NUMBERS.seed.max))
      throw file.bad("seeds", seed, `integers from ${RUN_NUMBERS.seed.min} to ${RUN_NUMBERS.seed.max}`);
    return seed;
  });
  const options = parseOptions(file, base, seeds.length);
  const rungs = parseRungs(file);
  const keep = given["keep"] ?? 0.5;
  if (typeof keep !== "number" || !(keep > 0 && keep <= 1))
    throw file.bad("keep", keep, "a number above 0 and at most 1: the share of options that go on");
  const measure = given["measure"] ?? "exact";
  if (!MEASURES.includes(measure as Measure))
    throw file.bad("measure", measure, `one of ${MEASURES.join(", ")}`);
  const puzzles = given["puzzles"] ?? null;
  if (puzzles !== null && !isInteger(puzzles, 1, LARGEST_COUNT))
    throw file.bad("puzzles", puzzles, "a positive integer: the validation puzzles that a rung scores");
  return {
    ...{ preset, data, test, base, options, seeds, rungs, keep },
    ...{ measure: measure as Measure, puzzles: puzzles },
  };
}

const isInteger = (value: unknown, min: number, max: number): value is number =>
  Number.isInteger(value) && (value as number) >= min && (value as number) <= max;

/** The fields of the file, and the errors that name them. */
class SweepFile {
  constructor(
    readonly given: Fields,
    readonly where: string,
  ) {}

  error(message: string): ArgumentError {
    return new ArgumentError(`${this.where}: ${message}`);
  }

  bad(field: string, got: unknown, expected: string): ArgumentError {
    return this.error(`${field}: got ${formatValue(got)}; expected ${expected}.`);
  }

  requireKnownNames(): void {
    for (const name of Object.keys(this.given)) {
      if (NAMES.includes(name)) continue;
      const near = nearestName(name, NAMES);
      throw this.error(
        `got the unknown field ${formatValue(name)}; expected some of ${NAMES.join(", ")}.${near ? ` Did you mean ${near}?` : ""}`,
      );
    }
  }

  text(field: string, expected: string): string {
    const value = this.given[field];
    if (typeof value !== "string" || value === "") throw this.bad(field, value, expected);
    return value;
  }

  optionalText(field: string, expected: string): string | null {
    return this.given[field] === undefined ? null : this.text(field, expected);
  }

  /** A list of different items, not empty. */
  list(value: unknown, field: string, of: string): readonly unknown[] {
    if (!Array.isArray(value)) throw this.bad(field, value, `a list of ${of}`);
    if (value.length === 0) throw this.bad(field, value, `at least one of ${of}`);
    const seen = new Set<string>();
    for (const item of value as unknown[]) {
      const key = canonical(item);
      if (seen.has(key))
        throw this.bad(field, value, `different ${of}, but ${formatValue(item)} stands there twice`);
      seen.add(key);
    }
    return value as unknown[];
  }

  /** An object whose keys are fields of a configuration. */
  fields(value: unknown, place: string): Fields {
    if (typeof value !== "object" || value === null || Array.isArray(value))
      throw this.bad(place, value, "an object of configuration fields");
    for (const name of Object.keys(value)) {
      if (isModelField(name) || isTrainField(name)) continue;
      const near = nearestField(name);
      throw this.error(
        `${place}: got the unknown field ${formatValue(name)}; expected fields of the model and of training.${near ? ` Did you mean ${near}?` : ""}`,
      );
    }
    return value as Fields;
  }
}

/** The options of a sweep: its trials as they are listed, or combinations of values. */
function parseOptions(file: SweepFile, base: Fields, seeds: number): Sweep["options"] {
  const { options: grid, trials, sample, seed } = file.given;
  if ((grid === undefined) === (trials === undefined))
    throw file.error(
      `got ${grid === undefined ? "neither" : "both"} of options and trials; expected one of them: a list of values for each field, or a list of objects of fields.`,
    );
  if (seed !== undefined && sample === undefined)
    throw file.bad("seed", seed, 'no seed without "sample": it decides which options are drawn');
  if (trials !== undefined && sample !== undefined)
    throw file.bad("sample", sample, 'no sample with "trials": each of them is run');
  const requireFew = (count: number): void => {
    if (count * seeds > MOST_TRIALS)
      throw file.error(
        `got ${count} options with ${seeds} seeds each; expected at most ${MOST_TRIALS} trials. "sample" draws some of the combinations.`,
      );
  };
  const options =
    trials === undefined
      ? combinationsOf(file, requireFew).map((fields) => ({ fields, place: "options" }))
      : file.list(trials, "trials", "objects of fields").map((trial, i) => ({
          fields: file.fields(trial, `trials[${i}]`),
          place: `trials[${i}]`,
        }));
  requireFew(options.length);
  for (const { fields, place } of options)
    for (const name of Object.keys(fields))
      if (Object.hasOwn(base, name))
        throw file.bad(`base.${name}`, base[name], `it in one place, but ${place} has the field, too`);
  return options;
}

/** Every combination of the values in `options`, or as many as `sample` says. */
function combinationsOf(file: SweepFile, requireFew: (count: number) => void): Fields[] {
  const { options: grid, sample, seed } = file.given;
  const axes = Object.entries(file.fields(grid, "options")).map(
    ([name, values]) => [name, file.list(values, `options.${name}`, "values")] as const,
  );
  if (axes.length === 0) throw file.bad("options", grid, "at least one field with a list of values");
  const combinations = axes.reduce((product, [, values]) => product * values.length, 1);
  if (sample !== undefined && !isInteger(sample, 1, Math.min(combinations, LARGEST_COUNT)))
    throw file.bad("sample", sample, `an integer from 1 to ${combinations}, the number of combinations`);
  if (seed !== undefined && !isInteger(seed, 0, Number.MAX_SAFE_INTEGER))
    throw file.bad("seed", seed, "an integer from 0 to 2^53 - 1");
  const count = sample ?? combinations;
  requireFew(count);
  return sample === undefined ? everyCombination(axes) : drawn(axes, count, seed ?? 0);
}

/** The rungs, which ascend in one unit. */
function parseRungs(file: SweepFile): readonly Rung[] {
  const given = file.given["rungs"];
  const rungs = file.list(given, "rungs", "steps or TFLOP").map((rung): Rung => {
    if (isInteger(rung, 1, LARGEST_COUNT)) return { steps: rung };
    const tflop = typeof rung === "string" ? Number(TFLOP.exec(rung)?.[1] ?? NaN) : NaN;
    if (!(tflop > 0 && tflop < Infinity))
      throw file.bad("rungs", rung, 'positive integers (steps), or texts such as "1.5 TFLOP"');
    return { tflop };
  });
  for (const [i, rung] of rungs.slice(1).entries()) {
    const before = rungs[i]!;
    if ("steps" in rung !== "steps" in before)
      throw file.bad("rungs", given, "all of them in steps, or all of them in TFLOP");
    if (extentOf(rung) <= extentOf(before))
      throw file.bad("rungs", given, "rungs that ascend: each one trains further than the one before");
  }
  return rungs;
}

const extentOf = (rung: Rung): number => ("steps" in rung ? rung.steps : rung.tflop);

/** A text that is the same for equal values, whatever the order of their keys. */
function canonical(value: unknown): string {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return JSON.stringify(value);
  return JSON.stringify(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

type Axis = readonly [name: string, values: readonly unknown[]];

/** Every combination of one value from each axis; the last axis varies fastest. */
export function everyCombination(axes: readonly Axis[]): Fields[] {
  let all: Fields[] = [{}];
  for (const [name, values] of axes)
    all = all.flatMap((fields) => values.map((value) => ({ ...fields, [name]: value })));
  return all;
}

/** Draws `count` different combinations, each with the same probability. */
export function drawn(axes: readonly Axis[], count: number, seed: number): Fields[] {
  const random = hostRandom(seed, "search");
  const found = new Map<string, Fields>();
  while (found.size < count) {
    const at = axes.map(([, values]) => random.below(values.length));
    found.set(
      at.join(),
      Object.fromEntries(axes.map(([name, values], i): [string, unknown] => [name, values[at[i]!]])),
    );
  }
  return [...found.values()];
}

/**
 * The preset of each option. Every configuration is checked before the first trial starts.
 * @throws ArgumentError that names the option
 */
export function presetsOf(sweep: Sweep, preset: Preset, where: string): Preset[] {
  return sweep.options.map(({ fields, place }) => {
    const spelling = (field: string): string => {
      if (Object.hasOwn(sweep.base, field)) return `${where}: base.${field}`;
      if (Object.hasOwn(fields, field)) return `${where}: ${place}.${field}`;
      return `${where}: ${describeFields(fields)}: the preset's ${field}`;
    };
    const changed = withFields(preset, { ...sweep.base, ...fields }, spelling);
    const { task, splitBy } = changed;
    if (changed.train.augment && (splitBy === "solution" || !task.symmetry))
      throw new ArgumentError(
        `${spelling("augment")}: got true; expected false, as ${task.symmetry ? "images of training puzzles would be among those held out" : `the task ${task.name} has no symmetries`}.`,
      );
    return changed;
  });
}

/**
 * The step of each rung for one option, whose schedule has `totalSteps` steps of `flops` operations each.
 * @throws ArgumentError if a rung is after the last step, or if two rungs are the same step
 */
export function rungSteps(
  { rungs }: Pick<Sweep, "rungs">,
  { flops, totalSteps, fields }: { flops: number; totalSteps: number; fields: Fields },
  where: string,
): number[] {
  const named = describeFields(fields);
  const steps = rungs.map((rung) =>
    "steps" in rung ? rung.steps : Math.max(1, Math.round((rung.tflop * 1e12) / flops)),
  );
  for (const [i, step] of steps.entries()) {
    const rung = rungs[i]!;
    const given = "steps" in rung ? `${step}` : `${rung.tflop} TFLOP, which is ${step} steps`;
    if (step > totalSteps)
      throw new ArgumentError(
        `${where}: rungs: got ${given} for ${named}; expected at most ${totalSteps}, the steps of the plan (total_steps), which the learning rate follows.`,
      );
    if (i > 0 && step <= steps[i - 1]!)
      throw new ArgumentError(
        `${where}: rungs: got ${given} for ${named}, and ${steps[i - 1]} steps for the rung before; expected rungs that are at least one step apart.`,
      );
  }
  return steps;
}

/** `lr 0.002, weight_decay 0.5`, or `the base` if the option sets nothing. */
export function describeFields(fields: Fields): string {
  const parts = Object.entries(fields).map(
    ([name, value]) => `${name} ${typeof value === "string" ? formatText(value) : formatValue(value)}`,
  );
  return parts.length === 0 ? "the base" : formatText(parts.join(", "), 200);
}
