/**
 * Reads Python pickles by a machine that executes nothing. A pickle is a program: its opcodes name functions and call
 * them. Only names that the caller lists have an effect here; each is a plain TypeScript function. Every other name, and every
 * result of its calls, is an opaque value that is passed along unopened. Opcodes outside the table below, and opcodes in an
 * impossible order, are refused.
 */
import { MARK, PickleMachine, type PickleOptions } from "./pickle_machine.js";
import type { PickleValue } from "./pickle_values.js";

/** Reads one pickle that ends with the bytes. @throws FileFormatError */
export function readPickle(bytes: Uint8Array, options: PickleOptions): PickleValue {
  const machine = new PickleMachine(bytes, options);
  while (machine.result === undefined) {
    const opcode = machine.nextOpcode();
    const run = OPCODES[opcode];
    if (!run)
      throw machine.refuse(
        `opcode ${NEVER_RUN[opcode] ?? "unknown"} (0x${opcode.toString(16).padStart(2, "0")}) has no place in a tensor file`,
      );
    run(machine);
  }
  return machine.result;
}

/** Opcodes that are known but never run. */
const NEVER_RUN: Readonly<Record<number, string>> = {
  ...{ 0x50: "PERSID", 0x69: "INST", 0x6f: "OBJ", 0x82: "EXT1", 0x83: "EXT2", 0x84: "EXT4" },
  ...{ 0x97: "NEXT_BUFFER", 0x98: "READONLY_BUFFER" },
};

type Opcode = (machine: PickleMachine) => void;

/** Pushes what a function reads or makes. */
const pushes =
  (value: (machine: PickleMachine) => PickleValue): Opcode =>
  (m) =>
    m.push(value(m));

/** Takes a value off the stack, then does something with it and with what is below. */
const pops =
  (run: (machine: PickleMachine, top: PickleValue) => void): Opcode =>
  (m) =>
    run(m, m.pop());

/** Takes the values since the last mark, then does something with them. */
const popsMark =
  (run: (machine: PickleMachine, items: PickleValue[]) => void): Opcode =>
  (m) =>
    run(m, m.popMark());

/** Pushes as many of the topmost values as one tuple. */
const tupleOf =
  (count: number): Opcode =>
  (m) => {
    const items: PickleValue[] = [];
    for (let i = 0; i < count; i++) items.unshift(m.pop());
    m.pushTuple(items);
  };

/** Calls the name below the arguments. */
const reduce = pops((m, args) => m.call(m.pop(), args));

/** Opcodes by number, with Python's names. */
const OPCODES: Readonly<Record<number, Opcode>> = {
  /* PROTO */ 0x80: (m) => {
    const version = m.u8();
    if (version > 5) throw m.refuse(`protocol ${version}; expected at most 5`);
  },
  /* FRAME, a hint for buffering */ 0x95: (m) => void m.take(8),
  /* STOP */ 0x2e: (m) => m.stop(),
  /* MARK */ 0x28: (m) => m.push(MARK),
  /* POP */ 0x30: (m) => m.drop(),
  /* POP_MARK */ 0x31: popsMark(() => undefined),
  /* DUP */ 0x32: pushes((m) => m.peek()),

  /* NONE */ 0x4e: pushes(() => null),
  /* NEWTRUE */ 0x88: pushes(() => true),
  /* NEWFALSE */ 0x89: pushes(() => false),
  /* BININT */ 0x4a: pushes((m) => m.i32()),
  /* BININT1 */ 0x4b: pushes((m) => m.u8()),
  /* BININT2 */ 0x4d: pushes((m) => m.u16()),
  /* LONG1 */ 0x8a: pushes((m) => m.long(m.u8())),
  /* LONG4 */ 0x8b: pushes((m) => m.long(m.u32())),
  /* INT, which writes booleans as 00 and 01 */ 0x49: pushes((m) => {
    const text = m.line();
    return text === "01" || text === "00" ? text === "01" : m.decimal(text);
  }),
  /* LONG */ 0x4c: pushes((m) => m.decimal(m.line().replace(/L$/, ""))),
  /* FLOAT */ 0x46: pushes((m) => Number(m.line())),
  /* BINFLOAT */ 0x47: pushes((m) => m.f64()),

  // Escapes stay as they are: names of tensors have none.
  /* STRING */ 0x53: pushes((m) => m.line().replace(/^(['"])(.*)\1$/, "$2")),
  /* UNICODE */ 0x56: pushes((m) => m.line()),
  /* BINSTRING */ 0x54: pushes((m) => m.text(m.u32())),
  /* SHORT_BINSTRING */ 0x55: pushes((m) => m.text(m.u8())),
  /* BINUNICODE */ 0x58: pushes((m) => m.text(m.u32())),
  /* SHORT_BINUNICODE */ 0x8c: pushes((m) => m.text(m.u8())),
  /* BINUNICODE8 */ 0x8d: pushes((m) => m.text(m.u64())),
  /* BINBYTES */ 0x42: pushes((m) => m.raw(m.u32())),
  /* SHORT_BINBYTES */ 0x43: pushes((m) => m.raw(m.u8())),
  /* BINBYTES8 */ 0x8e: pushes((m) => m.raw(m.u64())),
  /* BYTEARRAY8 */ 0x96: pushes((m) => m.raw(m.u64())),

  /* EMPTY_TUPLE */ 0x29: tupleOf(0),
  /* TUPLE1 */ 0x85: tupleOf(1),
  /* TUPLE2 */ 0x86: tupleOf(2),
  /* TUPLE3 */ 0x87: tupleOf(3),
  /* TUPLE */ 0x74: popsMark((m, items) => m.pushTuple(items)),
  /* EMPTY_LIST */ 0x5d: (m) => m.pushList([]),
  /* LIST */ 0x6c: popsMark((m, items) => m.pushList(items)),
  /* APPEND */ 0x61: pops((m, item) => m.append(m.peek(), [item])),
  /* APPENDS */ 0x65: popsMark((m, items) => m.append(m.peek(), items)),
  /* EMPTY_DICT */ 0x7d: pushes((m) => m.dict()),
  /* DICT */ 0x64: popsMark((m, pairs) => {
    const made = m.dict();
    m.set(made, pairs);
    m.push(made);
  }),
  /* SETITEM */ 0x73: pops((m, value) => {
    const key = m.pop();
    m.set(m.peek(), [key, value]);
  }),
  /* SETITEMS */ 0x75: popsMark((m, pairs) => m.set(m.peek(), pairs)),
  /* EMPTY_SET */ 0x8f: pushes((m) => m.opaque("set")),
  /* ADDITEMS */ 0x90: popsMark((m) => m.append(m.peek(), [])),
  /* FROZENSET */ 0x91: popsMark((m) => m.push(m.opaque("frozenset"))),

  /* GLOBAL */ 0x63: (m) => m.pushName(m.line(), m.line()),
  /* STACK_GLOBAL */ 0x93: pops((m, attribute) => m.pushName(m.pop(), attribute)),
  /* REDUCE */ 0x52: reduce,
  /* NEWOBJ */ 0x81: reduce,
  /* NEWOBJ_EX, whose keyword arguments no function here has */ 0x92: pops(reduce),
  /* BUILD */ 0x62: pops((m, state) => m.build(m.peek(), state)),
  /* BINPERSID */ 0x51: pops((m, id) => m.pushPersistent(id)),

  /* PUT */ 0x70: (m) => m.memoize(m.keptNumber()),
  /* BINPUT */ 0x71: (m) => m.memoize(m.u8()),
  /* LONG_BINPUT */ 0x72: (m) => m.memoize(m.u32()),
  /* MEMOIZE */ 0x94: (m) => m.memoize(),
  /* GET */ 0x67: (m) => m.recall(m.keptNumber()),
  /* BINGET */ 0x68: (m) => m.recall(m.u8()),
  /* LONG_BINGET */ 0x6a: (m) => m.recall(m.u32()),
};
