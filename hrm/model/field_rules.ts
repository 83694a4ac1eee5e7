/** Rules that the fields of a configuration obey, and the error for a field that breaks its rule. */
import { EngineError } from "../../engine/errors.js";
import { formatValue } from "../format_value.js";

/** A field of the configuration has an invalid value. Says which field, what was given and what was expected. */
export class ConfigError extends EngineError {
  override readonly name = "ConfigError";
  constructor(
    /** The field that is wrong. */
    readonly field: string,
    /** Its value. */
    readonly got: unknown,
    /** What it may be, in words. */
    readonly expected: string,
  ) {
    super("config", `config.${field}: got ${formatValue(got)}; expected ${expected}.`);
  }
}

/** A test of a value, and the values that pass it, in words. */
export type Rule = readonly [test: (value: unknown) => boolean, expected: string];

/** The largest allowed count (steps, puzzles, widths), since shaders count in 32 bits. */
export const LARGEST_COUNT = 2 ** 31 - 1;

/** True for a number that is finite in f32, in which shaders compute. */
const isNumber = (value: unknown): value is number =>
  typeof value === "number" && Number.isFinite(Math.fround(value));
const isCount = (value: unknown, least: number): boolean =>
  Number.isInteger(value) && (value as number) >= least && (value as number) <= LARGEST_COUNT;
export const positiveInteger: Rule = [(v) => isCount(v, 1), `a positive integer up to ${LARGEST_COUNT}`];
export const repeats: Rule = [
  (v) => isCount(v, 1) && (v as number) <= 1024,
  "a positive integer of at most 1024",
];
export const natural: Rule = [(v) => isCount(v, 0), `an integer of at least 0, up to ${LARGEST_COUNT}`];
export const positive: Rule = [
  (v) => isNumber(v) && Math.fround(v) > 0,
  "a number above 0, in the range of f32",
];
export const notNegative: Rule = [
  (v) => isNumber(v) && v >= 0,
  "a number of at least 0, in the range of f32",
];
export const fraction: Rule = [(v) => isNumber(v) && v >= 0 && v <= 1, "a number from 0 to 1"];
export const belowOne: Rule = [(v) => isNumber(v) && v >= 0 && v < 1, "a number of at least 0 and below 1"];
export const boolean: Rule = [(v) => typeof v === "boolean", "true or false"];
export const oneOf = (...values: string[]): Rule => [
  (v) => values.includes(v as string),
  values.map((v) => `"${v}"`).join(" or "),
];

/** The defaults with the given fields. @throws ConfigError for an unknown field or a value that breaks its rule */
export function checked<T extends object>(given: Partial<T>, defaults: T, rules: Record<keyof T, Rule>): T {
  for (const [field, value] of Object.entries(given)) {
    if (!Object.hasOwn(rules, field))
      throw new ConfigError(field, value, `one of ${Object.keys(rules).join(", ")}`);
  }
  const complete = { ...defaults, ...given };
  for (const [field, [test, expected]] of Object.entries(rules) as [keyof T & string, Rule][]) {
    if (!test(complete[field])) throw new ConfigError(field, complete[field], expected);
  }
  return complete;
}
