/** Plans an ablation as a search of one rung: each variant gets the steps that make its training as expensive as the others. */
import { isModelField, isTrainField } from "../../model/config.js";
import { runFlops } from "../../training/memory_estimate.js";
import type { Preset } from "../../training/presets.js";
import type { PuzzleSplits } from "../../puzzles/puzzle_set.js";
import { formatValue } from "../../format_value.js";
import { ArgumentError, nearestName } from "../../terminal/arguments.js";
import { formatFlops } from "../output/console.js";
import type { Fields } from "../search/config.js";
import { variantNames, variantsOf, type Variant } from "./variants.js";

const BUDGET = /^(\d+(?:\.\d+)?|\.\d+) ?([MGTP])FLOP$/i;
const UNITS: Readonly<Record<string, number>> = { M: 1e6, G: 1e9, T: 1e12, P: 1e15 };

/** Operations from a text such as `10TFLOP`. @throws ArgumentError */
export function parseBudget(text: string): number {
  const [, number, unit] = BUDGET.exec(text) ?? [];
  const flops = Number(number ?? NaN) * UNITS[(unit ?? "M").toUpperCase()]!;
  if (!(flops >= 1e6 && flops <= 1e21))
    throw new ArgumentError(
      `--budget: got ${formatValue(text)}; expected the operations of one training run, such as 500GFLOP or 10TFLOP, from 1MFLOP to 1000000PFLOP.`,
    );
  return flops;
}

/**
 * The variants to compare: those named, in the order of all, else all. Of variants with the same fields the first counts, and
 * those that change nothing are the preset. @throws ArgumentError
 */
export function chosenVariants(
  { name, model }: Pick<Preset, "name" | "model">,
  names?: string,
): { variants: Variant[]; left: string[] } {
  if (model.arch !== "hrm")
    throw new ArgumentError(
      `--preset: got ${name} with arch ${model.arch}; expected arch hrm, from whose two levels the variants are made.`,
    );
  const all = variantNames(model);
  const wanted = names?.split(",").map((one) => one.trim()) ?? all;
  for (const one of wanted)
    if (!all.includes(one)) {
      const near = nearestName(one, all);
      throw new ArgumentError(
        `--variants: got ${formatValue(one)}; expected some of ${all.join(", ")}.${near ? ` Did you mean ${near}?` : ""}`,
      );
    }
  const seen = new Map<string, string>();
  const left: string[] = [];
  const variants = variantsOf(model).flatMap((variant) => {
    if (!wanted.includes(variant.name)) return [];
    const own = Object.entries(variant.fields).filter(
      ([field, value]) => model[field as keyof typeof model] !== value,
    );
    const key = JSON.stringify(own);
    const same = seen.get(key);
    if (same !== undefined) {
      left.push(`${variant.name} is the same as ${same}`);
      return [];
    }
    seen.set(key, variant.name);
    return [{ ...variant, fields: Object.fromEntries(own) }];
  });
  if (variants.length < 2)
    throw new ArgumentError(
      `--variants: got ${formatValue(names ?? "")}, which is ${variants.length === 0 ? "none" : "one"}; expected at least two different variants to compare.`,
    );
  return { variants, left };
}

/** An ablation as the fields of a search, with the steps of each variant. */
export interface AblationPlan {
  /** The content of `search.json`. */
  readonly fields: Fields;
  /** Operations of a step and steps, by variant. */
  readonly costs: readonly { readonly flops: number; readonly steps: number }[];
}

/**
 * The search that trains each variant for `budget` operations, over its own whole schedule: `total_steps` differ, so that the
 * costs are equal to within half a step.
 * @param base fields in which the preset was changed @throws ArgumentError
 */
export function planAblation(
  { preset, base, splits }: { preset: Preset; base: Fields; splits: PuzzleSplits },
  variants: readonly Variant[],
  { budget, seeds, puzzles, data }: AblationOptions,
): AblationPlan {
  const { train, validation } = splits;
  const costs = variants.map(({ name, fields }) => {
    const config = { ...preset.model, ...fields };
    const symmetry = preset.task.symmetry;
    const { step: flops } = runFlops({ config, train: preset.train, data: train, validation, symmetry });
    const steps = Math.round(budget / flops);
    if (steps < 1)
      throw new ArgumentError(
        `--budget: got ${formatFlops(budget)}; expected at least ${formatFlops(flops)}, which one step of ${name} does.`,
      );
    return { flops, steps };
  });
  const trials = variants.map(({ fields }, i) => ({ ...base, ...fields, total_steps: costs[i]!.steps }));
  return {
    costs,
    fields: {
      preset: preset.name,
      ...(data !== undefined && { data }),
      ...{ trials, seeds, keep: 1, measure: "exact" },
      rungs: [`${(budget / 1e12).toFixed(9)} TFLOP`],
      ...(puzzles !== undefined && { puzzles }),
    },
  };
}

/** Choices of the command line besides the variants. */
export interface AblationOptions {
  /** Operations of training of each trial. */
  readonly budget: number;
  readonly seeds: readonly number[];
  /** Validation puzzles that each trial scores; undefined for all. */
  readonly puzzles: number | undefined;
  readonly data: string | undefined;
}

/** The fields of the model and of training in which a preset was changed, without the length of training. */
export function changedFields(changed: Preset, preset: Preset): Fields {
  const [own, usual] = [changed, preset].map(({ model, train }): Fields => ({ ...model, ...train }));
  return Object.fromEntries(
    Object.entries(own!).filter(
      ([field, value]) =>
        (isModelField(field) || isTrainField(field)) && field !== "total_steps" && value !== usual![field],
    ),
  );
}
