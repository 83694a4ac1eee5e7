/**
 * Parses declared command-line options with node:util's tokenizer. The parser is pure: it returns values or the help text, or
 * throws ArgumentError; it prints nothing and never exits.
 */
import { parseArgs } from "node:util";
import { EngineError } from "../../engine/errors.js";

/** The command line is wrong. Says what was given and what was expected. Programs exit with code 2. */
export class ArgumentError extends EngineError {
  override readonly name = "ArgumentError";
  constructor(message: string) {
    super("argument", message);
  }
}

interface OptionBase {
  /** One phrase for `--help`. */
  readonly help: string;
  /** One letter for the short form. */
  readonly short?: string;
  /** Words for a default that is not fixed, for help: `the preset's`. */
  readonly defaultText?: string;
}

export interface StringOption extends OptionBase {
  readonly type: "string";
  readonly default?: string;
  /** Name of the value in help; default `text`. */
  readonly placeholder?: string;
}

export interface NumberOption extends OptionBase {
  /** `int` takes decimal integers, `float` decimal numbers with or without exponent. */
  readonly type: "int" | "float";
  readonly default?: number;
  /** Smallest and largest value allowed. */
  readonly min?: number;
  readonly max?: number;
}

/** `--name` sets true, `--no-name` false. */
export interface BooleanOption extends OptionBase {
  readonly type: "bool";
  readonly default?: boolean;
}

export interface ChoiceOption<C extends string = string> extends OptionBase {
  readonly type: "choice";
  readonly choices: readonly C[];
  readonly default?: NoInfer<C>;
}

export type Option = StringOption | NumberOption | BooleanOption | ChoiceOption;

export interface Positional {
  readonly name: string;
  readonly help: string;
  readonly required?: boolean;
  /** Takes all remaining arguments; only the last positional may. */
  readonly variadic?: boolean;
}

/** A command. Its options are listed by long name (without dashes), in the order of the help text. */
export interface Command<O extends Readonly<Record<string, Option>> = Readonly<Record<string, Option>>> {
  /** The program and its subcommand as typed. */
  readonly name: string;
  /** What it does, in a sentence or two. */
  readonly summary: string;
  readonly options: O;
  readonly positionals?: readonly Positional[];
}

type Value<T extends Option> = T extends { type: "int" | "float" }
  ? number
  : T extends { type: "bool" }
    ? boolean
    : T extends { type: "choice"; choices: readonly (infer C)[] }
      ? C
      : string;

/** Types of the values by option name. A value may be undefined only if its option has no default. */
export type Values<O extends Readonly<Record<string, Option>>> = {
  readonly [K in keyof O]: O[K] extends { readonly default: string | number | boolean }
    ? Value<O[K]>
    : Value<O[K]> | undefined;
};

export type Parsed<O extends Readonly<Record<string, Option>>> =
  | { readonly kind: "help"; readonly text: string }
  | { readonly kind: "run"; readonly values: Values<O>; readonly positionals: readonly string[] };

const HELP: BooleanOption = { type: "bool", short: "h", help: "show this help" };

/**
 * Parses the arguments after the command's name. `--help` or `-h` anywhere returns the help text. Options are written
 * `--name value` or `--name=value`. If an option is repeated, the last value counts. `--` ends the options.
 * @throws ArgumentError
 */
export function parseArguments<const O extends Readonly<Record<string, Option>>>(
  command: Command<O>,
  argv: readonly string[],
): Parsed<O> {
  const options: Readonly<Record<string, Option>> = { ...command.options, help: HELP };
  const { tokens } = parseArgs({
    args: [...argv],
    strict: false,
    tokens: true,
    options: Object.fromEntries(
      Object.entries(options).map(([name, { type, short }]) => [
        name,
        { type: type === "bool" ? ("boolean" as const) : ("string" as const), ...(short ? { short } : {}) },
      ]),
    ),
  });
  if (tokens.some((token) => token.kind === "option" && token.name === "help")) {
    return { kind: "help", text: helpText(command) };
  }
  const values: Record<string, unknown> = {};
  for (const [name, option] of Object.entries(command.options)) values[name] = option.default;
  const positionals: string[] = [];
  for (const token of tokens) {
    if (token.kind === "positional") positionals.push(token.value);
    if (token.kind !== "option") continue;
    const { name, negated } = resolve(token.name, token.rawName, options, command.name);
    const option = options[name]!;
    if (option.type === "bool") {
      if (token.value !== undefined) {
        throw new ArgumentError(`${token.rawName}: got ${quote(token.value)}; expected no value.`);
      }
      values[name] = !negated;
      continue;
    }
    // "--seed --json" is a forgotten value; "--seed -1" is a value out of range and says so.
    const swallowed = !token.inlineValue && /^-[^\d.]/.test(token.value ?? "");
    if (token.value === undefined || swallowed) {
      const hint = swallowed
        ? ` To pass ${quote(token.value!)} itself, write ${token.rawName}=${token.value}.`
        : "";
      throw new ArgumentError(`${token.rawName}: got no value; expected ${expectation(option)}.${hint}`);
    }
    values[name] = convert(token.rawName, token.value, option);
  }
  requirePositionals(command, positionals);
  return { kind: "run", values: values as Values<O>, positionals };
}

/** The text of `--help`, with a newline at the end. */
export function helpText(command: Command): string {
  const positionals = command.positionals ?? [];
  const usage = positionals.map(({ name, required, variadic }) => {
    const body = `${name}${variadic ? " ..." : ""}`;
    return required ? ` <${body}>` : ` [${body}]`;
  });
  const rows: [string, string][] = Object.entries({ ...command.options, help: HELP }).map(
    ([name, option]) => {
      const value = placeholder(option);
      return [
        `${option.short ? `-${option.short}, ` : "    "}--${name}${value ? ` ${value}` : ""}`,
        describe(option),
      ];
    },
  );
  const sections = [
    `Usage: ${command.name} [options]${usage.join("")}`,
    command.summary,
    ...(positionals.length > 0 ? [table(positionals.map(({ name, help }) => [name, help]))] : []),
    `Options:\n${table(rows)}`,
  ];
  return `${sections.join("\n\n")}\n`;
}

/** The candidate that a misspelt name most likely means; undefined if no candidate is near. */
export function nearestName(given: string, candidates: Iterable<string>): string | undefined {
  const plain = (name: string): string => name.toLowerCase().replace(/[-_]/g, "");
  let best: { name: string; distance: number } | undefined;
  for (const name of candidates) {
    const [a, b] = [plain(given), plain(name)];
    const begins = a.length >= 3 && (b.startsWith(a) || a.startsWith(b));
    const distance = Math.min(editDistance(a, b), begins ? 1 : Infinity);
    if (distance <= Math.max(1, Math.floor(b.length / 3)) && distance < (best?.distance ?? Infinity)) {
      best = { name, distance };
    }
  }
  return best?.name;
}

function resolve(
  name: string,
  rawName: string,
  options: Readonly<Record<string, Option>>,
  command: string,
): { name: string; negated: boolean } {
  if (Object.hasOwn(options, name)) return { name, negated: false };
  const positive = name.replace(/^no-/, "");
  if (positive !== name && Object.hasOwn(options, positive) && options[positive]!.type === "bool") {
    return { name: positive, negated: true };
  }
  const nearest = nearestName(name, Object.keys(options));
  throw new ArgumentError(
    `got the unknown option ${quote(rawName)}${nearest ? `; did you mean --${nearest}?` : ";"} ` +
      `${nearest ? "All" : "all"} options: ${command} --help.`,
  );
}

function convert(
  rawName: string,
  text: string,
  option: StringOption | NumberOption | ChoiceOption,
): string | number {
  const bad = (hint = ""): ArgumentError =>
    new ArgumentError(`${rawName}: got ${quote(text)}; expected ${expectation(option)}.${hint}`);
  if (option.type === "string") return text;
  if (option.type === "choice") {
    if (option.choices.includes(text)) return text;
    const nearest = nearestName(text, option.choices);
    throw bad(nearest ? ` Did you mean ${quote(nearest)}?` : "");
  }
  const pattern = option.type === "int" ? /^[+-]?\d+$/ : /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
  const value = Number(text);
  if (!pattern.test(text) || !Number.isFinite(value)) throw bad();
  if (option.type === "int" && !Number.isSafeInteger(value)) throw bad();
  if (value < (option.min ?? -Infinity) || value > (option.max ?? Infinity)) throw bad();
  return value;
}

function requirePositionals(command: Command, given: readonly string[]): void {
  const declared = command.positionals ?? [];
  const missing = declared.find(({ required }, i) => required && i >= given.length);
  if (missing)
    throw new ArgumentError(
      `got no <${missing.name}>; expected ${missing.help}. See ${command.name} --help.`,
    );
  if (given.length <= declared.length || declared.at(-1)?.variadic) return;
  const extra = given[declared.length]!;
  throw new ArgumentError(
    `got the extra argument ${quote(extra)}; expected ${declared.length === 0 ? "options only" : `at most ${declared.length}`}. ` +
      `See ${command.name} --help.`,
  );
}

/** The values that an option accepts, in words. */
function expectation(option: StringOption | NumberOption | ChoiceOption): string {
  if (option.type === "string") return option.placeholder ? `a value (${option.placeholder})` : "a value";
  if (option.type === "choice") return `one of ${option.choices.join(", ")}`;
  const range = rangeText(option);
  return `${option.type === "int" ? "an integer" : "a number"}${range && ` ${range.replace(/^at/, "of at")}`}`;
}

/** `from 1 to 4`, `at least 1`, `at most 4`, or nothing. */
function rangeText({ min, max }: NumberOption): string {
  if (min !== undefined && max !== undefined) return `from ${min} to ${max}`;
  if (min !== undefined) return `at least ${min}`;
  return max === undefined ? "" : `at most ${max}`;
}

function placeholder(option: Option): string {
  if (option.type === "bool") return "";
  if (option.type === "string") return `<${option.placeholder ?? "text"}>`;
  return option.type === "choice" ? `<${option.choices.join("|")}>` : `<${option.type}>`;
}

function describe(option: Option): string {
  const range = option.type === "int" || option.type === "float" ? rangeText(option) : "";
  const fallback = option.defaultText ?? option.default;
  const notes = [...(range ? [range] : []), ...(fallback === undefined ? [] : [`default: ${fallback}`])];
  return option.help + (notes.length > 0 ? ` (${notes.join("; ")})` : "");
}

/** A table of two columns. Long texts wrap in their column, and long names get their own line. */
function table(rows: readonly (readonly [string, string])[]): string {
  const left = Math.min(30, Math.max(...rows.map(([name]) => name.length)));
  const indent = " ".repeat(left + 4);
  return rows
    .map(([name, text]) => {
      const wrapped = wrapWords(text, 100 - indent.length).join(`\n${indent}`);
      return name.length > left ? `  ${name}\n${indent}${wrapped}` : `  ${name.padEnd(left)}  ${wrapped}`;
    })
    .join("\n");
}

function wrapWords(text: string, width: number): string[] {
  const lines = [""];
  for (const word of text.split(" ")) {
    const line = lines.at(-1)!;
    if (line !== "" && line.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = line === "" ? word : `${line} ${word}`;
  }
  return lines;
}

function quote(text: string): string {
  return JSON.stringify(text);
}

/** Levenshtein distance, with a swap of neighbours as one edit (optimal string alignment). */
function editDistance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = rows[i - 1]![j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      row[j] = Math.min(rows[i - 1]![j]! + 1, row[j - 1]! + 1, substitution);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        row[j] = Math.min(row[j]!, rows[i - 2]![j - 2]! + 1);
      }
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}
