/**
 * The machine on which pickles are read (pickle.ts): a place in the bytes, a stack, and kept values. Work and memory are
 * bounded: every value is paid for from a budget before it is made, and so is every copy.
 */
import { formatValue } from "../../format_value.js";
import { FileFormatError } from "../file_format_error.js";
import {
  isDict,
  isGlobal,
  isObject,
  isOpaque,
  isTuple,
  type PickleDict,
  type PickleOpaque,
  type PickleValue,
} from "./pickle_values.js";

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
export const MARK = Symbol("mark");
type Slot = PickleValue | typeof MARK;

/** The machine: a place in the bytes, a stack, kept values, and what is left of the budget. */
export class PickleMachine {
  /** What the pickle stands for, once it has stopped. */
  result: PickleValue | undefined = undefined;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  readonly #options: PickleOptions;
  readonly #stack: Slot[] = [];
  readonly #memo = new Map<number, PickleValue>();
  #at = 0;
  #opcodeAt = 0;
  #left: number;

  constructor(bytes: Uint8Array, options: PickleOptions) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#options = options;
    this.#left = options.budget ?? Math.max(SMALLEST_BUDGET, 64 * bytes.length);
  }

  /** The next opcode, which is what errors speak of until the one after it. */
  nextOpcode(): number {
    this.#opcodeAt = this.#at;
    this.pay(COST.value);
    return this.u8();
  }

  refuse(what: string, cause?: unknown): FileFormatError {
    return new FileFormatError(
      FORMAT,
      what,
      { offset: this.#opcodeAt },
      cause === undefined ? {} : { cause },
    );
  }

  /** Takes from the budget, in bytes. */
  pay(cost: number): void {
    if ((this.#left -= cost) < 0)
      throw this.refuse(
        `reading it takes far more work and memory than its ${this.#bytes.length} bytes can need`,
      );
  }

  // Reading the bytes.

  /** Where the next `length` bytes begin. */
  take(length: number): number {
    if (!(this.#at + length <= this.#bytes.length))
      throw this.refuse("the pickle ends in the middle of an opcode");
    this.#at += length;
    return this.#at - length;
  }

  u8(): number {
    return this.#bytes[this.take(1)]!;
  }

  u16(): number {
    return this.#view.getUint16(this.take(2), true);
  }

  u32(): number {
    return this.#view.getUint32(this.take(4), true);
  }

  /** The length of something in 8 bytes. */
  u64(): number {
    return this.u32() + 2 ** 32 * this.u32();
  }

  i32(): number {
    return this.#view.getInt32(this.take(4), true);
  }

  f64(): number {
    return this.#view.getFloat64(this.take(8));
  }

  raw(length: number): Uint8Array {
    const from = this.take(length);
    return this.#bytes.subarray(from, from + length);
  }

  text(length: number): string {
    const from = this.raw(length);
    this.pay(2 * length);
    try {
      return this.#utf8.decode(from);
    } catch (cause) {
      throw this.refuse("a string is not UTF-8", cause);
    }
  }

  line(): string {
    const end = this.#bytes.indexOf(10, this.#at);
    if (end === -1) throw this.refuse("the pickle ends in the middle of an opcode");
    const text = this.text(end - this.#at);
    this.#at++;
    return text;
  }

  /** An integer in `length` bytes, the low ones first. */
  long(length: number): PickleValue {
    const from = this.raw(length);
    if (length > 8) return this.opaque("int");
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(from[i]!);
    return this.integer(BigInt.asIntN(8 * length, value));
  }

  decimal(text: string): PickleValue {
    if (!/^[+-]?\d{1,16}$/.test(text)) {
      if (/^[+-]?\d+$/.test(text)) return this.opaque("int");
      throw this.refuse(`${formatValue(text)} is no integer`);
    }
    return this.integer(Number(text));
  }

  /** A number if it is one exactly; else an opaque value, for readers that do not need the integer. */
  integer(value: bigint | number): PickleValue {
    return Number.isSafeInteger(Number(value)) ? Number(value) : this.opaque("int");
  }

  /** The end of the pickle: its one value is the result. */
  stop(): void {
    const result = this.pop();
    if (this.#stack.length > 0) throw this.refuse("it stops with values left over");
    if (this.#at !== this.#bytes.length)
      throw this.refuse(`${this.#bytes.length - this.#at} bytes follow its end`);
    this.result = result;
  }

  // The stack.

  push(value: Slot): void {
    this.#stack.push(value);
  }

  pop(): PickleValue {
    const top = this.peek();
    this.#stack.pop();
    return top;
  }

  /** Takes a value or a mark from the stack. */
  drop(): void {
    if (this.#stack.pop() === undefined)
      throw this.refuse("an opcode takes more values than the stack holds");
  }

  peek(): PickleValue {
    const top = this.#stack.at(-1);
    if (top === undefined || top === MARK)
      throw this.refuse("an opcode takes more values than the stack holds");
    return top;
  }

  /** The values since the last mark, which are taken from the stack with it. */
  popMark(): PickleValue[] {
    const mark = this.#stack.lastIndexOf(MARK);
    if (mark === -1) throw this.refuse("an opcode goes back to a mark that is not there");
    this.pay(8 * (this.#stack.length - mark));
    return this.#stack.splice(mark).slice(1) as PickleValue[];
  }

  /** Keeps the top of the stack under a number; the next one if none is given. */
  memoize(key = this.#memo.size): void {
    this.pay(2 * COST.value);
    this.#memo.set(key, this.peek());
  }

  recall(key: number): void {
    const value = this.#memo.get(key);
    if (value === undefined) throw this.refuse(`it recalls value ${key}, which it never kept`);
    this.push(value);
  }

  // Making values.

  opaque(name: string): PickleOpaque {
    this.pay(COST.list);
    return { kind: "opaque", name, entries: null, state: null };
  }

  pushTuple(items: PickleValue[]): void {
    this.pay(COST.list);
    this.push({ kind: "tuple", items });
  }

  pushList(items: PickleValue[]): void {
    this.pay(COST.list);
    this.push(items);
  }

  dict(): PickleDict {
    this.pay(COST.dict);
    return { kind: "dict", entries: new Map() };
  }

  /** Sets keys and values that follow each other. */
  set(target: PickleValue, pairs: readonly PickleValue[]): void {
    if (pairs.length % 2 !== 0) throw this.refuse("SETITEM of a key without a value");
    let entries: Map<PickleValue, PickleValue>;
    if (isDict(target)) entries = target.entries;
    else if (isOpaque(target)) entries = target.entries ??= this.dict().entries;
    else throw this.refuse("SETITEM on something that is no dict");
    this.pay(20 * pairs.length);
    for (let i = 0; i < pairs.length; i += 2) entries.set(pairs[i]!, pairs[i + 1]!);
  }

  append(target: PickleValue, items: readonly PickleValue[]): void {
    if (isOpaque(target)) return;
    if (!Array.isArray(target)) throw this.refuse("APPEND on something that is no list");
    if (target.length === 0) this.pay(2 * COST.list);
    this.pay(16 * items.length);
    for (const item of items) target.push(item);
  }

  pushName(module: PickleValue, attribute: PickleValue): void {
    if (typeof attribute !== "string" || typeof module !== "string")
      throw this.refuse("a name that is no string");
    const length = module.length + attribute.length;
    if (length > LONGEST_NAME)
      throw this.refuse(`a name of ${length} characters; expected at most ${LONGEST_NAME}`);
    this.pay(2 * length);
    this.push({ kind: "global", name: `${module} ${attribute}` });
  }

  call(target: PickleValue, args: PickleValue): void {
    if (isOpaque(target)) return this.push(this.opaque(target.name));
    if (!isGlobal(target)) throw this.refuse("it calls something that is no name");
    const made = this.#options.globals.get(target.name);
    if (!made) return this.push(this.opaque(target.name));
    if (!isTuple(args))
      throw this.refuse(`it calls ${formatValue(target.name)} without a tuple of arguments`);
    this.push(this.#attempt(formatValue(target.name), () => made(args.items, (bytes) => this.pay(bytes))));
  }

  pushPersistent(id: PickleValue): void {
    this.push(this.#attempt("a persistent id that cannot be", () => this.#options.persistent(id)));
  }

  /** What a function of the caller's makes; its errors become those of the format. */
  #attempt(what: string, make: () => PickleValue): PickleValue {
    try {
      return make();
    } catch (cause) {
      if (cause instanceof FileFormatError) throw cause;
      throw this.refuse(`${what}: ${(cause as Error).message}`, cause);
    }
  }

  /** Sets attributes. Those of a dict (a state dict's `_metadata`) or a tensor are dropped. */
  build(target: PickleValue, state: PickleValue): void {
    if (isOpaque(target)) target.state = state;
    else if (!isDict(target) && !isObject(target))
      throw this.refuse("BUILD sets attributes of something that has none");
  }

  /** The number of a kept value as text. */
  keptNumber(): number {
    const key = this.decimal(this.line());
    if (typeof key !== "number") throw this.refuse("a number of a kept value that cannot be");
    return key;
  }
}
