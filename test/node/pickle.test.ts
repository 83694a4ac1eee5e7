import { assert } from "chai";
import { FileFormatError } from "../../hrm/files/index.js";
import { readPickle } from "../../hrm/files/tensors/pickle.js";
import { joined, latin1, utf8 } from "../support/bytes.js";

describe("pickle", () => {
  const options = { globals: new Map(), persistent: () => null };
  const refused: [what: string, pickle: Uint8Array, message: RegExp][] = [
    ["INST", utf8("(ios\nsystem\n."), /opcode INST \(0x69\)/],
    ["OBJ", utf8("(o."), /opcode OBJ \(0x6f\)/],
    ["an extension code", joined([0x82, 1, 0x2e]), /opcode EXT1 \(0x82\)/],
    ["an opcode that is none", joined([0xfe]), /opcode unknown \(0xfe\)/],
    [
      "REDUCE on something that is no name",
      joined([0x4e, 0x29, 0x52, 0x2e]),
      /calls something that is no name/,
    ],
    ["BUILD on something that is no dict", joined([0x5d, 0x7d, 0x62, 0x2e]), /BUILD sets attributes/],
    ["an empty stack", joined([0x2e]), /more values than the stack holds/],
    ["a missing mark", joined([0x4e, 0x74, 0x2e]), /a mark that is not there/],
    ["a value never kept", joined([0x68, 3, 0x2e]), /recalls value 3/],
    ["values left over", joined([0x4e, 0x4e, 0x2e]), /values left over/],
    ["bytes after the end", joined([0x4e, 0x2e, 0]), /1 bytes follow/],
    ["a string past the end", joined([0x58, 255, 255, 255, 255, 65]), /ends in the middle/],
    ["a later protocol", joined([0x80, 9]), /protocol 9/],
    [
      "an item of a number",
      joined([0x4b, 1, 0x4e, 0x4e, 0x73, 0x2e]),
      /SETITEM on something that is no dict/,
    ],
    ["a long name", joined([0x63], new Uint8Array(600).fill(97), utf8("\nb\n.")), /a name of 601 characters/],
  ];
  for (const [what, pickle, message] of refused) {
    it(`refuses ${what}`, () => {
      assert.throws(() => readPickle(pickle, options), FileFormatError, message);
    });
  }

  const opaque = (name: string) => ({ kind: "opaque", name, entries: null, state: null });
  const carried: [what: string, pickle: Uint8Array, value: unknown][] = [
    ["os.system", utf8("cos\nsystem\n(S'echo owned'\ntR."), opaque("os system")],
    [
      "builtins.eval by STACK_GLOBAL",
      joined([0x80, 4, 0x8c, 8], utf8("builtins"), [0x8c, 4], utf8("eval"), [0x93, 0x29, 0x52, 0x2e]),
      opaque("builtins eval"),
    ],
    ["what an opaque object returns", utf8("cm\nmake\n)R)R."), opaque("m make")],
    ["NEWOBJ_EX", joined(utf8("cm\nC\n"), [0x29, 0x7d, 0x92, 0x2e]), opaque("m C")],
    ["a set", joined([0x8f, 0x28, 0x4b, 1, 0x4b, 2, 0x90, 0x2e]), opaque("set")],
    ["a frozenset", joined([0x28, 0x4b, 1, 0x91, 0x2e]), opaque("frozenset")],
    ["a huge integer", joined([0x8a, 8, 0, 0, 0, 0, 0, 0, 0, 64, 0x2e]), opaque("int")],
    ["an integer of 16 bytes", joined([0x8a, 16], new Uint8Array(16), [0x2e]), opaque("int")],
    [
      "attributes of an object",
      latin1("cm\nC\n)\x81}X\x01\x00\x00\x00aK\x05sb."),
      { ...opaque("m C"), state: { kind: "dict", entries: new Map([["a", 5]]) } },
    ],
    [
      "items of a subclass of dict",
      latin1("cm\nC\n)\x81X\x01\x00\x00\x00aK\x05s."),
      { ...opaque("m C"), entries: new Map([["a", 5]]) },
    ],
    [
      "None as a key",
      joined([0x7d, 0x4e, 0x4b, 1, 0x73, 0x2e]),
      { kind: "dict", entries: new Map([[null, 1]]) },
    ],
    ["text of protocol 0", utf8("(lp0\nI7\naI01\naL8L\naF1.5\naVx\nag0\na0N."), null],
  ];
  for (const [what, pickle, value] of carried) {
    it(`carries along, and runs nothing: ${what}`, () => {
      assert.deepEqual(readPickle(pickle, options), value as never);
    });
  }

  const bombs: [what: string, pickle: Uint8Array][] = [
    [
      "REDUCE whose function copies a list",
      joined(
        // A list of 20,000 pairs, kept, then given to OrderedDict again and again.
        [0x5d, 0x28, ...Array.from({ length: 20_000 }, () => [0x4e, 0x4e, 0x86]).flat(), 0x65, 0x85, 0x71, 0],
        utf8("cm\ndict\n"),
        [0x71, 1, 0x30],
        Array.from({ length: 20_000 }, () => [0x68, 1, 0x68, 0, 0x52, 0x30]).flat(),
        [0x2e],
      ),
    ],
    [
      "STACK_GLOBAL that joins long names",
      joined(
        [0x58, 0x90, 1, 0, 0, ...new Uint8Array(400).fill(97), 0x71, 0],
        Array.from({ length: 200_000 }, () => [0x68, 0, 0x29, 0x30, 0x8c, 1, 97, 0x93, 0x30]).flat(),
        [0x2e],
      ),
    ],
    ["empty dicts", new Uint8Array(1_000_000).fill(0x7d)],
    ["sets", new Uint8Array(2_000_000).fill(0x8f)],
    ["lists of one item", Uint8Array.from({ length: 3_000_000 }, (_, i) => [0x5d, 0x4e, 0x61][i % 3]!)],
    ["dicts of one item", Uint8Array.from({ length: 3_000_000 }, (_, i) => [0x7d, 0x4e, 0x4e, 0x73][i % 4]!)],
    ["values kept", Uint8Array.from({ length: 5_000_000 }, (_, i) => [0x4e, 0x94][i % 2]!)],
  ];
  for (const [what, pickle] of bombs) {
    it(`refuses to work without a bound: ${what}`, () => {
      const globals = new Map([
        [
          "m dict",
          (args: readonly unknown[], pay: (cost: number) => void) => {
            pay(64 * (args[0] as unknown[]).length);
            return null;
          },
        ],
      ]);
      const budget = 1 << 26;
      assert.throws(
        () => readPickle(pickle, { globals, persistent: () => null, budget }),
        FileFormatError,
        /far more work and memory/,
      );
    });
  }

  it("reads plain values of protocols 2 to 5", () => {
    // pickle.dumps([1, -2, 300, 70000, 2**40, True, None, 1.5, "é", (), (1,), {"a": 3}], protocol=2)
    const protocol2 = joined(
      [0x80, 2, 0x5d, 0x71, 0, 0x28, 0x4b, 1, 0x4a, 0xfe, 0xff, 0xff, 0xff, 0x4d, 0x2c, 1],
      [0x4a, 0x70, 0x11, 1, 0, 0x8a, 6, 0, 0, 0, 0, 0, 1, 0x88, 0x4e, 0x47, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0],
      [0x58, 2, 0, 0, 0, 0xc3, 0xa9, 0x71, 1, 0x29, 0x4b, 1, 0x85, 0x71, 2, 0x7d, 0x71, 3],
      [0x58, 1, 0, 0, 0, 0x61, 0x71, 4, 0x4b, 3, 0x73, 0x65, 0x2e],
    );
    assert.deepEqual(readPickle(protocol2, options), [
      ...[1, -2, 300, 70000, 2 ** 40, true, null, 1.5, "é"],
      { kind: "tuple", items: [] },
      { kind: "tuple", items: [1] },
      { kind: "dict", entries: new Map([["a", 3]]) },
    ]);
    // pickle.dumps(["x", "x"], protocol=4), with a frame and memoised strings
    const protocol4 = joined([
      0x80, 4, 0x95, 12, 0, 0, 0, 0, 0, 0, 0, 0x5d, 0x94, 0x28, 0x8c, 1, 0x78, 0x94, 0x68, 1, 0x65, 0x2e,
    ]);
    assert.deepEqual(readPickle(protocol4, options), ["x", "x"]);
  });
});
