/**
 * Reads Python pickles by a machine that executes nothing. A pickle is a program: its opcodes name functions and call
 * them. Only names that the caller lists have an effect here; each is a plain TypeScript function. Every other name, and every
 * result of its calls, is an opaque value that is passed along unopened. Opcodes outside the list below, and opcodes in an
 * impossible order, are refused.
 *
 * Work and memory are bounded: every value is paid for from a budget before it is made, and so is every copy.
 *
 * The file is longer than 400 lines because the opcodes, the stack and the budget form one machine.
 */
import { formatValue, formatText } from "../../format_value.js";
import { FileFormatError } from "../file_format_error.js";

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

/**
 * What an allowed name does when it is called; null: it is a mere name. `pay` takes from the budget, in bytes. Throws
 * Error on arguments it cannot take.
 */
export type PickleFunction =
  ((args: readonly PickleValue[], pay: (bytes: number) => void) => PickleValue) | null;

export interface PickleOptions {
  /** By `module name`. */
  readonly globals: ReadonlyMap<string, PickleFunction>;
  /** Resolves a persistent id. Throws Error on one it cannot take. */
  readonly persistent: (id: PickleValue) => PickleValue;
  /** Bytes of memory, or as many steps of work, that reading may take; default 64 MB or 64 times the pickle. */
  readonly budget?: number;
}

const FORMAT = "pickle";
/** The least that a budget is. */
export const SMALLEST_BUDGET = 1 << 26;
/** Bytes that values take in V8, rounded up: of any value on the stack, of a list or tuple, of a dict. */
const COST = { value: 24, list: 64, dict: 250 } as const;
/** No module or class has a longer name. */
const LONGEST_NAME = 500;
const MARK = Symbol("mark");
type Slot = PickleValue | typeof MARK;

/** Opcodes that are known but never run. */
const OPCODE_NAMES: Readonly<Record<number, string>> = {
  ...{ 0x50: "PERSID", 0x69: "INST", 0x6f: "OBJ", 0x82: "EXT1", 0x83: "EXT2", 0x84: "EXT4" },
  ...{ 0x97: "NEXT_BUFFER", 0x98: "READONLY_BUFFER" },
};

/** Reads one pickle that ends with the bytes. @throws FileFormatError */
export function readPickle(
  bytes: Uint8Array,
  { globals, persistent, budget = Math.max(SMALLEST_BUDGET, 64 * bytes.length) }: PickleOptions,
): PickleValue {
  const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const stack: Slot[] = [];
  const memo = new Map<number, PickleValue>();
  let at = 0;
  let opcodeAt = 0;
  let left = budget;

  const refuse = (what: string, cause?: unknown): FileFormatError =>
    new FileFormatError(FORMAT, what, { offset: opcodeAt }, cause === undefined ? {} : { cause });
  const pay = (cost: number): void => {
    if ((left -= cost) < 0)
      throw refuse(`reading it takes far more work and memory than its ${bytes.length} bytes can need`);
  };
  const take = (length: number): number => {
    if (!(at + length <= bytes.length)) throw refuse("the pickle ends in the middle of an opcode");
    at += length;
    return at - length;
  };
  const u8 = (): number => bytes[take(1)]!;
  const u32 = (): number => view.getUint32(take(4), true);
  const raw = (length: number): Uint8Array => {
    const from = take(length);
    return bytes.subarray(from, from + length);
  };
  const decoded = (length: number): string => {
    const from = raw(length);
    pay(2 * length);
    try {
      return utf8.decode(from);
    } catch (cause) {
      throw refuse("a string is not UTF-8", cause);
    }
  };
  const line = (): string => {
    const end = bytes.indexOf(10, at);
    if (end === -1) throw refuse("the pickle ends in the middle of an opcode");
    const text = decoded(end - at);
    at++;
    return text;
  };
  /** A number if it is one exactly; else an opaque value, which is of use where nobody needs the integer. */
  const integer = (value: bigint | number): PickleValue =>
    Number.isSafeInteger(Number(value)) ? Number(value) : opaque("int");
  const long = (length: number): PickleValue => {
    const from = raw(length);
    if (length > 8) return opaque("int");
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(from[i]!);
    return integer(BigInt.asIntN(8 * length, value));
  };
  /** The length of something in 8 bytes. */
  const u64 = (): number => u32() + 2 ** 32 * u32();
  const decimal = (text: string): PickleValue => {
    if (!/^[+-]?\d{1,16}$/.test(text)) {
      if (/^[+-]?\d+$/.test(text)) return opaque("int");
      throw refuse(`${formatValue(text)} is no integer`);
    }
    return integer(Number(text));
  };
  const pop = (): PickleValue => {
    const top = stack.pop();
    if (top === undefined || top === MARK) throw refuse("an opcode takes more values than the stack holds");
    return top;
  };
  const opaque = (name: string): PickleOpaque => {
    pay(COST.list);
    return { kind: "opaque", name, entries: null, state: null };
  };
  const popMark = (): PickleValue[] => {
    const mark = stack.lastIndexOf(MARK);
    if (mark === -1) throw refuse("an opcode goes back to a mark that is not there");
    pay(8 * (stack.length - mark));
    return stack.splice(mark).slice(1) as PickleValue[];
  };
  const peek = (): PickleValue => {
    const top = stack.at(-1);
    if (top === undefined || top === MARK) throw refuse("an opcode takes more values than the stack holds");
    return top;
  };
  const tuple = (items: PickleValue[]): void => {
    pay(COST.list);
    stack.push({ kind: "tuple", items });
  };
  const dict = (): PickleDict => {
    pay(COST.dict);
    return { kind: "dict", entries: new Map() };
  };
  const set = (target: PickleValue, pairs: readonly PickleValue[]): void => {
    if (pairs.length % 2 !== 0) throw refuse("SETITEM of a key without a value");
    let entries: Map<PickleValue, PickleValue>;
    if (isDict(target)) entries = target.entries;
    else if (isOpaque(target)) entries = target.entries ??= dict().entries;
    else throw refuse("SETITEM on something that is no dict");
    pay(20 * pairs.length);
    for (let i = 0; i < pairs.length; i += 2) entries.set(pairs[i]!, pairs[i + 1]!);
  };
  const append = (target: PickleValue, items: readonly PickleValue[]): void => {
    if (isOpaque(target)) return;
    if (!Array.isArray(target)) throw refuse("APPEND on something that is no list");
    if (target.length === 0) pay(2 * COST.list);
    pay(16 * items.length);
    for (const item of items) target.push(item);
  };
  const name = (module: string, attribute: string): void => {
    if (module.length + attribute.length > LONGEST_NAME)
      throw refuse(
        `a name of ${module.length + attribute.length} characters; expected at most ${LONGEST_NAME}`,
      );
    pay(2 * (module.length + attribute.length));
    stack.push({ kind: "global", name: `${module} ${attribute}` });
  };
  const call = (target: PickleValue, args: PickleValue): void => {
    if (isOpaque(target)) return void stack.push(opaque(target.name));
    if (!isGlobal(target)) throw refuse("it calls something that is no name");
    const made = globals.get(target.name);
    if (!made) return void stack.push(opaque(target.name));
    if (!isTuple(args)) throw refuse(`it calls ${formatValue(target.name)} without a tuple of arguments`);
    try {
      stack.push(made(args.items, pay));
    } catch (cause) {
      if (cause instanceof FileFormatError) throw cause;
      throw refuse(`${formatValue(target.name)}: ${(cause as Error).message}`, cause);
    }
  };
  const memoize = (key: number): void => {
    pay(2 * COST.value);
    memo.set(key, peek());
  };
  const recall = (key: number): void => {
    const value = memo.get(key);
    if (value === undefined) throw refuse(`it recalls value ${key}, which it never kept`);
    stack.push(value);
  };

  for (;;) {
    opcodeAt = at;
    pay(COST.value);
    const opcode = u8();
    switch (opcode) {
      case 0x80: {
        const version = u8();
        if (version > 5) throw refuse(`protocol ${version}; expected at most 5`);
        break;
      }
      case 0x95: // FRAME: a hint for buffering
        take(8);
        break;
      case 0x2e: {
        const result = pop();
        if (stack.length > 0) throw refuse("it stops with values left over");
        if (at !== bytes.length) throw refuse(`${bytes.length - at} bytes follow its end`);
        return result;
      }
      case 0x28:
        stack.push(MARK);
        break;
      case 0x30:
        if (stack.pop() === undefined) throw refuse("an opcode takes more values than the stack holds");
        break;
      case 0x31:
        popMark();
        break;
      case 0x32:
        stack.push(peek());
        break;
      case 0x4e:
        stack.push(null);
        break;
      case 0x88:
      case 0x89:
        stack.push(opcode === 0x88);
        break;
      case 0x4a:
        stack.push(view.getInt32(take(4), true));
        break;
      case 0x4b:
        stack.push(u8());
        break;
      case 0x4d:
        stack.push(view.getUint16(take(2), true));
        break;
      case 0x8a:
        stack.push(long(u8()));
        break;
      case 0x8b:
        stack.push(long(u32()));
        break;
      case 0x49: {
        const text = line();
        stack.push(text === "01" || text === "00" ? text === "01" : decimal(text));
        break;
      }
      case 0x4c:
        stack.push(decimal(line().replace(/L$/, "")));
        break;
      case 0x46:
        stack.push(Number(line()));
        break;
      case 0x53:
      case 0x56: // Escapes stay as they are: names of tensors have none.
        stack.push(opcode === 0x53 ? line().replace(/^(['"])(.*)\1$/, "$2") : line());
        break;
      case 0x47:
        stack.push(view.getFloat64(take(8)));
        break;
      case 0x58:
        stack.push(decoded(u32()));
        break;
      case 0x8c:
        stack.push(decoded(u8()));
        break;
      case 0x8d:
        stack.push(decoded(u64()));
        break;
      case 0x8e:
      case 0x96:
        stack.push(raw(u64()));
        break;
      case 0x55:
      case 0x43:
        stack.push(opcode === 0x55 ? decoded(u8()) : raw(u8()));
        break;
      case 0x54:
      case 0x42:
        stack.push(opcode === 0x54 ? decoded(u32()) : raw(u32()));
        break;
      case 0x29:
        tuple([]);
        break;
      case 0x85:
      case 0x86:
      case 0x87: {
        const items: PickleValue[] = [];
        for (let i = 0; i <= opcode - 0x85; i++) items.unshift(pop());
        tuple(items);
        break;
      }
      case 0x74:
        tuple(popMark());
        break;
      case 0x5d:
        pay(COST.list);
        stack.push([]);
        break;
      case 0x6c:
        pay(COST.list);
        stack.push(popMark());
        break;
      case 0x61: {
        const item = pop();
        append(peek(), [item]);
        break;
      }
      case 0x65: {
        const items = popMark();
        append(peek(), items);
        break;
      }
      case 0x7d:
        stack.push(dict());
        break;
      case 0x64: {
        const pairs = popMark();
        const made = dict();
        set(made, pairs);
        stack.push(made);
        break;
      }
      case 0x73: {
        const value = pop();
        const key = pop();
        set(peek(), [key, value]);
        break;
      }
      case 0x75: {
        const pairs = popMark();
        set(peek(), pairs);
        break;
      }
      case 0x8f:
        stack.push(opaque("set"));
        break;
      case 0x90: {
        popMark();
        append(peek(), []);
        break;
      }
      case 0x91:
        popMark();
        stack.push(opaque("frozenset"));
        break;
      case 0x63: {
        const module = line();
        name(module, line());
        break;
      }
      case 0x93: {
        const attribute = pop();
        const module = pop();
        if (typeof attribute !== "string" || typeof module !== "string")
          throw refuse("a name that is no string");
        name(module, attribute);
        break;
      }
      case 0x52:
      case 0x81: {
        const args = pop();
        call(pop(), args);
        break;
      }
      case 0x92: {
        pop(); // Keyword arguments: no function here has any.
        const args = pop();
        call(pop(), args);
        break;
      }
      case 0x62: {
        // The attributes of a dict (a state dict's `_metadata`) or a tensor are dropped.
        const state = pop();
        const target = peek();
        if (isOpaque(target)) target.state = state;
        else if (!isDict(target) && !isObject(target))
          throw refuse("BUILD sets attributes of something that has none");
        break;
      }
      case 0x51: {
        const id = pop();
        try {
          stack.push(persistent(id));
        } catch (cause) {
          if (cause instanceof FileFormatError) throw cause;
          throw refuse(`a persistent id that cannot be: ${(cause as Error).message}`, cause);
        }
        break;
      }
      case 0x71:
        memoize(u8());
        break;
      case 0x72:
        memoize(u32());
        break;
      case 0x94:
        memoize(memo.size);
        break;
      case 0x67:
      case 0x70: {
        const key = decimal(line());
        if (typeof key !== "number") throw refuse("a number of a kept value that cannot be");
        if (opcode === 0x67) recall(key);
        else memoize(key);
        break;
      }
      case 0x68:
        recall(u8());
        break;
      case 0x6a:
        recall(u32());
        break;
      default:
        throw refuse(
          `opcode ${OPCODE_NAMES[opcode] ?? "unknown"} (0x${opcode.toString(16).padStart(2, "0")}) has no place in a tensor file`,
        );
    }
  }
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
