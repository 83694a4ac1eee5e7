/** Values in Python pickles, and what they are. */
import { formatText } from "../../format_value.js";

/** A value in a pickle that was read. */
export type PickleValue =
  | null
  | boolean
  | number
  | string
  | Uint8Array
  | PickleTuple
  | PickleValue[]
  | PickleDict
  | PickleGlobal
  | PickleOpaque
  | PickleObject;

/** An immutable sequence; `[...]` stands for Python's list. */
export interface PickleTuple {
  readonly kind: "tuple";
  readonly items: readonly PickleValue[];
}

/** A dict or OrderedDict. */
export interface PickleDict {
  readonly kind: "dict";
  readonly entries: Map<PickleValue, PickleValue>;
}

/** A name, not yet called. */
export interface PickleGlobal {
  readonly kind: "global";
  /** `torch FloatStorage` */
  readonly name: string;
}

/** An object of a class, or a result of a function, that is not among the names that the caller lists. */
export interface PickleOpaque {
  readonly kind: "opaque";
  /** `argparse Namespace`; `int` for an integer beyond 2^53, `set` for a set. */
  readonly name: string;
  /** The items of a subclass of dict; null if it has none. */
  entries: Map<PickleValue, PickleValue> | null;
  /** Its attributes, usually in a dict; null if it has none. */
  state: PickleValue;
}

/** The result of an allowed function or of the persistent loader. */
export interface PickleObject {
  readonly kind: "object";
  readonly value: unknown;
}

export const isDict = (value: PickleValue | undefined): value is PickleDict => kindOf(value) === "dict";
export const isTuple = (value: PickleValue | undefined): value is PickleTuple => kindOf(value) === "tuple";
export const isGlobal = (value: PickleValue | undefined): value is PickleGlobal => kindOf(value) === "global";
export const isOpaque = (value: PickleValue | undefined): value is PickleOpaque => kindOf(value) === "opaque";
export const isObject = (value: PickleValue | undefined): value is PickleObject => kindOf(value) === "object";

function kindOf(value: PickleValue | undefined): string | undefined {
  return typeof value === "object" && value !== null && "kind" in value ? value.kind : undefined;
}

/** The items of a dict or of an object that behaves as one; of another object its attributes; null of anything else. */
export function entriesOf(value: PickleValue | undefined): ReadonlyMap<PickleValue, PickleValue> | null {
  if (isDict(value)) return value.entries;
  if (!isOpaque(value)) return null;
  return value.entries ?? (isDict(value.state) ? value.state.entries : null);
}

/** What a value is, in a word or two for a message. */
export function kindOfValue(value: PickleValue | undefined): string {
  if (value === null || value === undefined) return "None";
  if (isOpaque(value)) return `an object of ${formatText(value.name.replace(" ", "."))}`;
  if (isGlobal(value)) return `the name ${formatText(value.name.replace(" ", "."))}`;
  if (Array.isArray(value)) return "a list";
  if (value instanceof Uint8Array) return "bytes";
  if (isObject(value)) return "an object";
  return typeof value === "object" ? `a ${value.kind}` : `a ${typeof value}`;
}
