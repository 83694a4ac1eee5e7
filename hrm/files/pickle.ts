/**
 * Python pickles, read by a machine that executes nothing. Pickle is a program: its opcodes name functions and call
 * them. Here only the names that the caller lists mean anything, each a plain TypeScript function; any other name, any
 * opcode outside the list below and anything out of order is refused, by name, before something is done with it.
 *
 * Memory stays bounded: every opcode makes at most one value, their number has a limit, strings are as long as their
 * bytes, and containers hold references.
 */
import { FileFormatError } from "./file_format_error.js";

/** What a pickle may hold once read. Integers beyond 2^53 are refused. */
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
  | PickleObject;

/** An immutable sequence; `[...]` stands for Python's list. */
export interface PickleTuple {
  readonly kind: "tuple";
  readonly items: readonly PickleValue[];
}

/** A dict or OrderedDict. */
export interface PickleDict {
  readonly kind: "dict";
  readonly entries: Map<string | number, PickleValue>;
}

/** A name that the caller allows, not yet called. */
export interface PickleGlobal {
  readonly kind: "global";
  /** `torch FloatStorage` */
  readonly name: string;
}

/** Whatever an allowed function or the persistent loader made. */
export interface PickleObject {
  readonly kind: "object";
  readonly value: unknown;
}

/** What an allowed name does when it is called; null: it is a mere name. Throws Error on arguments it cannot take. */
export type PickleFunction = ((args: readonly PickleValue[]) => PickleValue) | null;

export interface PickleOptions {
  /** By `module name`. */
  readonly globals: ReadonlyMap<string, PickleFunction>;
  /** Resolves a persistent id. Throws Error on one it cannot take. */
  readonly persistent: (id: PickleValue) => PickleValue;
}

const FORMAT = "pickle";
/** A state dict takes about 30 opcodes a tensor; the smallest container that one makes takes some 200 bytes here. */
const MAX_OPCODES = 500_000;
const MARK = Symbol("mark");
type Slot = PickleValue | typeof MARK;

/** Opcodes that are read, and those that are known but never run. */
const OPCODE_NAMES: Readonly<Record<number, string>> = {
  ...{ 0x28: "MARK", 0x29: "EMPTY_TUPLE", 0x2e: "STOP", 0x30: "POP", 0x31: "POP_MARK", 0x32: "DUP" },
  ...{
    0x42: "BINBYTES",
    0x43: "SHORT_BINBYTES",
    0x46: "FLOAT",
    0x47: "BINFLOAT",
    0x49: "INT",
    0x4a: "BININT",
  },
  ...{ 0x4b: "BININT1", 0x4c: "LONG", 0x4d: "BININT2", 0x4e: "NONE", 0x50: "PERSID", 0x51: "BINPERSID" },
  ...{ 0x52: "REDUCE", 0x53: "STRING", 0x54: "BINSTRING", 0x55: "SHORT_BINSTRING", 0x56: "UNICODE" },
  ...{ 0x58: "BINUNICODE", 0x5d: "EMPTY_LIST", 0x61: "APPEND", 0x62: "BUILD", 0x63: "GLOBAL", 0x64: "DICT" },
  ...{ 0x65: "APPENDS", 0x67: "GET", 0x68: "BINGET", 0x69: "INST", 0x6a: "LONG_BINGET", 0x6c: "LIST" },
  ...{ 0x6f: "OBJ", 0x70: "PUT", 0x71: "BINPUT", 0x72: "LONG_BINPUT", 0x73: "SETITEM", 0x74: "TUPLE" },
  ...{ 0x75: "SETITEMS", 0x7d: "EMPTY_DICT", 0x80: "PROTO", 0x81: "NEWOBJ", 0x82: "EXT1", 0x83: "EXT2" },
  ...{ 0x84: "EXT4", 0x85: "TUPLE1", 0x86: "TUPLE2", 0x87: "TUPLE3", 0x88: "NEWTRUE", 0x89: "NEWFALSE" },
  ...{ 0x8a: "LONG1", 0x8b: "LONG4", 0x8c: "SHORT_BINUNICODE", 0x8d: "BINUNICODE8", 0x8e: "BINBYTES8" },
  ...{ 0x8f: "EMPTY_SET", 0x90: "ADDITEMS", 0x91: "FROZENSET", 0x92: "NEWOBJ_EX", 0x93: "STACK_GLOBAL" },
  ...{ 0x94: "MEMOIZE", 0x95: "FRAME", 0x96: "BYTEARRAY8", 0x97: "NEXT_BUFFER", 0x98: "READONLY_BUFFER" },
};

/** Reads one pickle that ends with the bytes. @throws FileFormatError */
export function readPickle(bytes: Uint8Array, { globals, persistent }: PickleOptions): PickleValue {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const stack: Slot[] = [];
  const memo = new Map<number, PickleValue>();
  let at = 0;
  let opcodeAt = 0;

  const refuse = (what: string, cause?: unknown): FileFormatError =>
    new FileFormatError(FORMAT, what, { offset: opcodeAt }, cause === undefined ? {} : { cause });
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
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(raw(length));
    } catch (cause) {
      if (cause instanceof FileFormatError) throw cause;
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
  const long = (length: number): number => {
    const from = raw(length);
    let value = 0n;
    if (length > 8) throw refuse(`an integer of ${length} bytes; expected at most 8`);
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(from[i]!);
    const signed = Number(BigInt.asIntN(8 * length, value));
    if (!Number.isSafeInteger(signed)) throw refuse("an integer beyond 2^53");
    return signed;
  };
  const pop = (): PickleValue => {
    const top = stack.pop();
    if (top === undefined || top === MARK) throw refuse("an opcode takes more values than the stack holds");
    return top;
  };
  const popMark = (): PickleValue[] => {
    const mark = stack.lastIndexOf(MARK);
    if (mark === -1) throw refuse("an opcode goes back to a mark that is not there");
    const items = stack.splice(mark).slice(1) as PickleValue[];
    return items;
  };
  const peek = (): PickleValue => {
    const top = stack.at(-1);
    if (top === undefined || top === MARK) throw refuse("an opcode takes more values than the stack holds");
    return top;
  };
  const tuple = (items: PickleValue[]): void => void stack.push({ kind: "tuple", items });
  const set = (target: PickleValue, pairs: readonly PickleValue[]): void => {
    if (!isDict(target) || pairs.length % 2 !== 0) throw refuse("SETITEM on something that is no dict");
    for (let i = 0; i < pairs.length; i += 2) {
      const key = pairs[i]!;
      if (typeof key !== "string" && typeof key !== "number")
        throw refuse("a dict key that is neither a string nor a number");
      target.entries.set(key, pairs[i + 1]!);
    }
  };
  const append = (target: PickleValue, items: readonly PickleValue[]): void => {
    if (!Array.isArray(target)) throw refuse("APPEND on something that is no list");
    for (const item of items) target.push(item);
  };
  const allowed = (module: string, name: string): void => {
    const full = `${module} ${name}`;
    if (!globals.has(full))
      throw refuse(
        `it names ${show(full)}, which is not among the names that a tensor file needs; nothing was run`,
      );
    stack.push({ kind: "global", name: full });
  };
  const call = (target: PickleValue, args: PickleValue): void => {
    const made = isGlobal(target) ? globals.get(target.name) : undefined;
    if (!made || !isTuple(args))
      throw refuse(`it calls ${isGlobal(target) ? show(target.name) : "something that is no name"}`);
    try {
      stack.push(made(args.items));
    } catch (cause) {
      throw refuse(`${show((target as PickleGlobal).name)}: ${(cause as Error).message}`, cause);
    }
  };
  const memoize = (key: number): void => void memo.set(key, peek());
  const recall = (key: number): void => {
    const value = memo.get(key);
    if (value === undefined) throw refuse(`it recalls value ${key}, which it never kept`);
    stack.push(value);
  };

  for (let count = 0; ; count++) {
    opcodeAt = at;
    if (count === MAX_OPCODES) throw refuse(`more than ${MAX_OPCODES} opcodes`);
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
      case 0x47:
        stack.push(view.getFloat64(take(8)));
        break;
      case 0x58:
        stack.push(decoded(u32()));
        break;
      case 0x8c:
        stack.push(decoded(u8()));
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
        stack.push([]);
        break;
      case 0x6c:
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
        stack.push({ kind: "dict", entries: new Map() });
        break;
      case 0x64: {
        const pairs = popMark();
        const dict: PickleDict = { kind: "dict", entries: new Map() };
        set(dict, pairs);
        stack.push(dict);
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
      case 0x63: {
        const module = line();
        allowed(module, line());
        break;
      }
      case 0x93: {
        const name = pop();
        const module = pop();
        if (typeof name !== "string" || typeof module !== "string") throw refuse("a name that is no string");
        allowed(module, name);
        break;
      }
      case 0x52:
      case 0x81: {
        const args = pop();
        call(pop(), args);
        break;
      }
      case 0x62: {
        // The attributes of a dict (a state dict's `_metadata`) are dropped; nothing else has any.
        pop();
        if (!isDict(peek())) throw refuse("BUILD sets attributes of something that is no dict");
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
export const isObject = (value: PickleValue | undefined): value is PickleObject => kindOf(value) === "object";

function kindOf(value: PickleValue | undefined): string | undefined {
  return typeof value === "object" && value !== null && "kind" in value ? value.kind : undefined;
}

function show(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}...` : text);
}
