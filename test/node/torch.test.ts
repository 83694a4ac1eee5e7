import { deflateRawSync } from "node:zlib";
import { assert } from "chai";
import { UsageError } from "../../engine/errors.js";
import {
  FileFormatError,
  readTorch,
  writeTorch,
  type SafetensorsDtype,
  type SafetensorsTensor,
} from "../../hrm/files/index.js";
import { crc32 } from "../../hrm/files/archives/crc32.js";
import { inflate, InflateError } from "../../hrm/files/archives/inflate.js";
import { readPickle } from "../../hrm/files/tensors/pickle.js";
import { readZip, writeZip } from "../../hrm/files/archives/zip.js";
import { hostRandom } from "../../hrm/puzzles/random.js";

const latin1 = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0));
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const join = (...parts: (Uint8Array | readonly number[])[]): Uint8Array =>
  Uint8Array.from(parts.flatMap((p) => [...p]));
const bitsOf = ({ data }: Pick<SafetensorsTensor, "data">): number[] => [
  ...new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
];

describe("inflate", () => {
  it("undoes zlib at every level and strategy, whatever the data", () => {
    const random = hostRandom(7);
    for (const size of [0, 1, 2, 257, 258, 259, 4000, 70000]) {
      for (const alphabet of [1, 3, 256]) {
        const data = Uint8Array.from({ length: size }, () => random.below(alphabet));
        for (const level of [0, 1, 6, 9]) {
          for (const strategy of [0, 2, 3, 4]) {
            const packed = new Uint8Array(deflateRawSync(data, { level, strategy }));
            assert.equal(
              Buffer.compare(inflate(packed, size), data),
              0,
              `${size} ${alphabet} ${level} ${strategy}`,
            );
          }
        }
      }
    }
  });

  it("refuses data that is cut off, damaged, or of another size than promised", () => {
    const data = utf8("the quick brown fox jumps over the lazy dog, the quick brown fox again");
    const packed = new Uint8Array(deflateRawSync(data));
    for (let length = 0; length < packed.length; length++)
      assert.throws(() => inflate(packed.subarray(0, length), data.length), InflateError);
    assert.throws(() => inflate(packed, data.length - 1), InflateError, /more than the/);
    assert.throws(() => inflate(packed, data.length + 1), InflateError, /it should hold/);
    assert.throws(() => inflate(Uint8Array.of(7), 1), InflateError, /unknown kind of block/);
  });
});

/** An archive with one entry whose header fields a test then changes. */
function oneEntry(): { bytes: Uint8Array; view: DataView; central: number; end: number } {
  const bytes = writeZip([["a/x", utf8("hello")]]);
  const end = bytes.length - 22;
  const view = new DataView(bytes.buffer);
  return { bytes, view, central: view.getUint32(end + 16, true), end };
}

/** An archive as other writers make them: a deflated entry with a data descriptor, zip64 sizes and end record. */
function otherWriters(data: Uint8Array): Uint8Array {
  const packed = new Uint8Array(deflateRawSync(data));
  const u16 = (x: number): number[] => [x & 255, (x >> 8) & 255];
  const u32 = (x: number): number[] => [...u16(x & 0xffff), ...u16(x >>> 16)];
  const u64 = (x: number): number[] => [...u32(x), 0, 0, 0, 0];
  const crc = u32(crc32(data));
  const name = utf8("d");
  const local = join(
    [...u32(0x04034b50), ...u16(45), ...u16(8), ...u16(8), ...u32(0), ...u32(0), ...u32(0), ...u32(0)],
    [...u16(1), ...u16(0)],
    name,
    packed,
    [...u32(0x08074b50), ...crc, ...u64(packed.length), ...u64(data.length)],
  );
  const extra = [...u16(1), ...u16(24), ...u64(data.length), ...u64(packed.length), ...u64(0)];
  const central = join(
    [...u32(0x02014b50), ...u16(45), ...u16(45), ...u16(8), ...u16(8), ...u32(0), ...crc],
    [...u32(0xffffffff), ...u32(0xffffffff), ...u16(1), ...u16(extra.length), ...u16(7)],
    [...u16(0), ...u16(0), ...u32(0), ...u32(0xffffffff)],
    name,
    extra,
    utf8("comment"),
  );
  const at64 = local.length + central.length;
  const end64 = [
    ...[...u32(0x06064b50), ...u64(44), ...u16(45), ...u16(45), ...u32(0), ...u32(0), ...u64(1), ...u64(1)],
    ...[...u64(central.length), ...u64(local.length)],
  ];
  const locator = [...u32(0x07064b50), ...u32(0), ...u64(at64), ...u32(1)];
  const end = [
    ...[...u32(0x06054b50), ...u16(0), ...u16(0), ...u16(0xffff), ...u16(0xffff)],
    ...[...u32(0xffffffff), ...u32(0xffffffff), ...u16(2), 0x68, 0x69],
  ];
  return join(local, central, end64, locator, end);
}

describe("zip", () => {
  it("reads what it wrote, aligned and as views", () => {
    const files: [string, Uint8Array][] = [
      ["a/data.pkl", utf8("x".repeat(100))],
      ["a/ü", new Uint8Array(0)],
      ["__proto__", Uint8Array.of(1, 2, 3)],
    ];
    const bytes = writeZip(files);
    const entries = readZip(bytes);
    assert.deepEqual(
      [...entries.keys()],
      files.map(([name]) => name),
    );
    for (const [name, content] of files) {
      const entry = entries.get(name)!;
      assert.equal(entry.offset % 64, 0, name);
      assert.deepEqual([...entry.read()], [...content], name);
      assert.equal(entry.read().buffer, bytes.buffer, "a view, not a copy");
    }
    assert.equal(readZip(writeZip([])).size, 0);
    assert.throws(() => writeZip([...files, files[0]!]), UsageError, /a name twice/);
  });

  it("reads deflated entries, data descriptors, zip64 and comments", () => {
    const data = utf8("abc".repeat(500));
    const entry = readZip(otherWriters(data)).get("d")!;
    assert.equal(entry.size, data.length);
    assert.deepEqual([...entry.read()], [...data]);
  });

  const lies: [
    what: string,
    change: (z: ReturnType<typeof oneEntry>) => Uint8Array | void,
    message: RegExp,
  ][] = [
    ["a cut-off file", ({ bytes }) => bytes.slice(0, -1), /no end-of-directory record/],
    ["nothing", () => new Uint8Array(0), /no end-of-directory record/],
    [
      "a directory past the end",
      ({ view, end }) => view.setUint32(end + 16, 1e6, true),
      /claims a directory of 1 entries/,
    ],
    [
      "more entries than bytes",
      ({ view, end }) => view.setUint16(end + 10, 9, true),
      /claims a directory of 9 entries/,
    ],
    [
      "a size past the end",
      ({ view, central }) => (
        view.setUint32(central + 20, 1e6, true),
        view.setUint32(central + 24, 1e6, true)
      ),
      /claims 1000000 bytes.*"a\/x"/,
    ],
    [
      "a size that differs",
      ({ view, central }) => view.setUint32(central + 24, 4, true),
      /stored, but claims 5 bytes for a size of 4/,
    ],
    [
      "a bomb",
      ({ view, central }) => (view.setUint16(central + 10, 8, true), view.setUint32(central + 24, 1e9, true)),
      /claims 1000000000 bytes from 5 compressed/,
    ],
    ["encryption", ({ view, central }) => view.setUint16(central + 8, 1, true), /is encrypted/],
    [
      "another method",
      ({ view, central }) => view.setUint16(central + 10, 12, true),
      /compression method 12/,
    ],
    ["another name within", ({ bytes }) => void (bytes[32] = 0x79), /another name in its own header/],
    [
      "a header elsewhere",
      ({ view, central }) => view.setUint32(central + 42, 3, true),
      /expected an entry's header/,
    ],
    [
      "zip64 sizes that are not there",
      ({ view, central }) => view.setUint32(central + 24, 0xffffffff, true),
      /zip64 field that is not there/,
    ],
    ["a name that is not UTF-8", ({ bytes, central }) => void (bytes[central + 46] = 0xff), /not UTF-8/],
  ];
  for (const [what, change, message] of lies) {
    it(`refuses ${what}`, () => {
      const made = oneEntry();
      const bytes = change(made) ?? made.bytes;
      assert.throws(() => readZip(bytes), FileFormatError, message);
    });
  }

  it("refuses an entry twice and a wrong checksum", () => {
    const bytes = writeZip([
      ["a", utf8("one")],
      ["b", utf8("two")],
    ]);
    const twice = bytes.slice();
    const central = new DataView(bytes.buffer).getUint32(bytes.length - 6, true);
    twice.set(twice.subarray(central, central + 47), central + 47);
    assert.throws(() => readZip(twice), FileFormatError, /directory twice/);
    const damaged = bytes.slice();
    damaged[readZip(bytes).get("b")!.offset]! ^= 1;
    assert.doesNotThrow(() => readZip(damaged).get("a")!.read());
    assert.throws(() => readZip(damaged).get("b")!.read(), FileFormatError, /checksum is wrong.*"b"/);
  });
});

describe("zip entries that share bytes", () => {
  it("are refused, whether one lies in the other or they overlap", () => {
    // The content of the first entry is a whole second entry, header and all: only its place tells.
    const inner = writeZip([["b", utf8("two")]], { alignment: 1 });
    const innerEnd = new DataView(inner.buffer).getUint32(inner.length - 6, true);
    const outer = writeZip(
      [
        ["a", inner.subarray(0, innerEnd)],
        ["b", utf8("two")],
      ],
      { alignment: 1 },
    );
    assert.doesNotThrow(() => readZip(outer));
    const view = new DataView(outer.buffer);
    const second = view.getUint32(outer.length - 6, true) + 46 + 1;
    // The directory's second entry now points into the first one's data.
    view.setUint32(second + 42, readZip(outer).get("a")!.offset, true);
    assert.throws(() => readZip(outer), FileFormatError, /overlaps the entry before it.*"b"/);
  });
});

describe("pickle", () => {
  const options = { globals: new Map(), persistent: () => null };
  const refused: [what: string, pickle: Uint8Array, message: RegExp][] = [
    ["INST", utf8("(ios\nsystem\n."), /opcode INST \(0x69\)/],
    ["OBJ", utf8("(o."), /opcode OBJ \(0x6f\)/],
    ["an extension code", join([0x82, 1, 0x2e]), /opcode EXT1 \(0x82\)/],
    ["an opcode that is none", join([0xfe]), /opcode unknown \(0xfe\)/],
    [
      "REDUCE on something that is no name",
      join([0x4e, 0x29, 0x52, 0x2e]),
      /calls something that is no name/,
    ],
    ["BUILD on something that is no dict", join([0x5d, 0x7d, 0x62, 0x2e]), /BUILD sets attributes/],
    ["an empty stack", join([0x2e]), /more values than the stack holds/],
    ["a missing mark", join([0x4e, 0x74, 0x2e]), /a mark that is not there/],
    ["a value never kept", join([0x68, 3, 0x2e]), /recalls value 3/],
    ["values left over", join([0x4e, 0x4e, 0x2e]), /values left over/],
    ["bytes after the end", join([0x4e, 0x2e, 0]), /1 bytes follow/],
    ["a string past the end", join([0x58, 255, 255, 255, 255, 65]), /ends in the middle/],
    ["a later protocol", join([0x80, 9]), /protocol 9/],
    ["an item of a number", join([0x4b, 1, 0x4e, 0x4e, 0x73, 0x2e]), /SETITEM on something that is no dict/],
    ["a long name", join([0x63], new Uint8Array(600).fill(97), utf8("\nb\n.")), /a name of 601 characters/],
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
      join([0x80, 4, 0x8c, 8], utf8("builtins"), [0x8c, 4], utf8("eval"), [0x93, 0x29, 0x52, 0x2e]),
      opaque("builtins eval"),
    ],
    ["what an opaque object returns", utf8("cm\nmake\n)R)R."), opaque("m make")],
    ["NEWOBJ_EX", join(utf8("cm\nC\n"), [0x29, 0x7d, 0x92, 0x2e]), opaque("m C")],
    ["a set", join([0x8f, 0x28, 0x4b, 1, 0x4b, 2, 0x90, 0x2e]), opaque("set")],
    ["a frozenset", join([0x28, 0x4b, 1, 0x91, 0x2e]), opaque("frozenset")],
    ["a huge integer", join([0x8a, 8, 0, 0, 0, 0, 0, 0, 0, 64, 0x2e]), opaque("int")],
    ["an integer of 16 bytes", join([0x8a, 16], new Uint8Array(16), [0x2e]), opaque("int")],
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
      join([0x7d, 0x4e, 0x4b, 1, 0x73, 0x2e]),
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
      join(
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
      join(
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
    const protocol2 = join(
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
    const protocol4 = join([
      0x80, 4, 0x95, 12, 0, 0, 0, 0, 0, 0, 0, 0x5d, 0x94, 0x28, 0x8c, 1, 0x78, 0x94, 0x68, 1, 0x65, 0x2e,
    ]);
    assert.deepEqual(readPickle(protocol4, options), ["x", "x"]);
  });
});

/** A torch archive around this pickle, with these storages. */
function torchFile(
  pickle: Uint8Array,
  storages: Record<string, Uint8Array>,
  more: [string, Uint8Array][] = [],
): Uint8Array {
  return writeZip([
    ["m/data.pkl", pickle],
    ...Object.entries(storages).map(([key, bytes]) => [`m/data/${key}`, bytes] as [string, Uint8Array]),
    ...more,
  ]);
}

interface ViewSpec {
  key?: string;
  type?: string;
  count?: number;
  offset?: number;
  shape: number[];
  stride: number[];
}

/** A pickle of {"name": tensor} in protocol 0 and 2 opcodes mixed, as short as it gets. */
function viewsPickle(views: Record<string, ViewSpec>): Uint8Array {
  const string = (text: string): number[] => [0x58, utf8(text).length, 0, 0, 0, ...utf8(text)];
  const integer = (x: number): number[] => [
    ...[0x8a, 8],
    ...new Uint8Array(BigInt64Array.of(BigInt(x)).buffer),
  ];
  const global = (text: string): number[] => [0x63, ...utf8(`${text.replace(" ", "\n")}\n`)];
  const tuple = (xs: number[]): number[] => [0x28, ...xs.flatMap(integer), 0x74];
  const items = Object.entries(views).map(
    ([name, { key = "0", type = "FloatStorage", count = 6, offset = 0, shape, stride }]) => [
      ...string(name),
      ...global("torch._utils _rebuild_tensor_v2"),
      ...[0x28, 0x28, ...string("storage"), ...global(`torch ${type}`), ...string(key), ...string("cuda:7")],
      ...[
        ...integer(count),
        0x74,
        0x51,
        ...integer(offset),
        ...tuple(shape),
        ...tuple(stride),
        0x89,
        0x4e,
        0x74,
        0x52,
      ],
    ],
  );
  return Uint8Array.from([0x80, 2, 0x7d, 0x28, ...items.flat(), 0x75, 0x2e]);
}

const six = new Uint8Array(Float32Array.of(0, 1, 2, 3, 4, 5).buffer);

describe("torch files", () => {
  it("reads strides, offsets, shared storages, scalars and empty tensors", () => {
    const tensors = readTorch(
      torchFile(
        viewsPickle({
          whole: { shape: [2, 3], stride: [3, 1] },
          transposed: { shape: [3, 2], stride: [1, 3] },
          column: { offset: 1, shape: [2], stride: [3] },
          row: { offset: 3, shape: [1, 3], stride: [99, 1] },
          repeated: { offset: 5, shape: [2, 2], stride: [0, 0] },
          scalar: { offset: 4, shape: [], stride: [] },
          empty: { shape: [0, 3], stride: [3, 1] },
        }),
        { 0: six },
      ),
    );
    const values = Object.fromEntries([...tensors].map(([name, { data }]) => [name, [...data]]));
    assert.deepEqual(values, {
      whole: [0, 1, 2, 3, 4, 5],
      transposed: [0, 3, 1, 4, 2, 5],
      column: [1, 4],
      row: [3, 4, 5],
      repeated: [5, 5, 5, 5],
      scalar: [4],
      empty: [],
    });
    assert.equal(tensors.get("whole")!.data.buffer, tensors.get("row")!.data.buffer, "views, not copies");
  });

  const DTYPES: [SafetensorsDtype, number][] = [
    ...([
      ["F64", 8],
      ["F32", 4],
      ["F16", 2],
      ["BF16", 2],
      ["I64", 8],
      ["I32", 4],
    ] as const),
    ...([
      ["I16", 2],
      ["I8", 1],
      ["U8", 1],
      ["BOOL", 1],
    ] as const),
  ] as [SafetensorsDtype, number][];

  it("round trip keeps names, order, dtypes, shapes and bits of every dtype it has", () => {
    const random = hostRandom(3);
    const items = DTYPES.map(([dtype, width], i): [string, SafetensorsTensor] => {
      const shape = [[3, 5], [1], [], [2, 1, 300], [0, 4]][i % 5]!;
      const bytes = Uint8Array.from({ length: width * shape.reduce((a, b) => a * b, 1) }, () =>
        random.below(256),
      );
      const data =
        dtype === "F32"
          ? new Float32Array(bytes.buffer)
          : dtype === "I32"
            ? new Int32Array(bytes.buffer)
            : bytes;
      return [`layer ${i} ü`, { dtype, shape, data } as SafetensorsTensor];
    });
    const back = readTorch(writeTorch(items));
    assert.deepEqual(
      [...back.keys()],
      items.map(([name]) => name),
    );
    for (const [name, expected] of items) {
      assert.equal(back.get(name)!.dtype, expected.dtype);
      assert.deepEqual([...back.get(name)!.shape], [...expected.shape]);
      assert.deepEqual(bitsOf(back.get(name)!), bitsOf(expected), name);
    }
    assert.deepEqual(writeTorch(items), writeTorch(items));
    assert.throws(
      () => writeTorch([["x", { dtype: "F8_E4M3", shape: [1], data: new Uint8Array(1) }]]),
      UsageError,
      /got F8_E4M3 for "x"/,
    );
    assert.throws(
      () => writeTorch([["x", { dtype: "F32", shape: [2], data: new Float32Array(1) }]]),
      UsageError,
      /got 4 bytes for "x"; expected 8/,
    );
  });

  const lies: [what: string, file: () => Uint8Array, message: RegExp][] = [
    [
      "a view past its storage",
      () => torchFile(viewsPickle({ x: { shape: [2, 4], stride: [3, 1] } }), { 0: six }),
      /reaches past its storage of 6 elements \(tensor "x"\)/,
    ],
    [
      "an offset past its storage",
      () => torchFile(viewsPickle({ x: { offset: 7, shape: [0], stride: [1] } }), { 0: six }),
      /reaches past/,
    ],
    [
      "a storage that is smaller",
      () => torchFile(viewsPickle({ x: { count: 600, shape: [600], stride: [1] } }), { 0: six }),
      /has 24 bytes; expected 2400/,
    ],
    [
      "a storage that is missing",
      () => torchFile(viewsPickle({ x: { key: "9", shape: [1], stride: [1] } }), { 0: six }),
      /storage "9" is not in the archive/,
    ],
    [
      "a storage class of another kind",
      () => torchFile(viewsPickle({ x: { type: "Size", shape: [1], stride: [1] } }), { 0: six }),
      /"torch Size" is no storage class/,
    ],
    [
      "tensors of a type that has no place here alone",
      () => torchFile(viewsPickle({ x: { type: "QInt8Storage", shape: [1], stride: [1] } }), { 0: six }),
      /its dict has no tensors; it has the keys x/,
    ],
    [
      "a negative size",
      () => torchFile(viewsPickle({ x: { shape: [-1], stride: [1] } }), { 0: six }),
      /a shape that is not an integer of at least 0/,
    ],
    [
      "a shape that overflows",
      () => torchFile(viewsPickle({ x: { shape: [2 ** 40, 2 ** 40], stride: [0, 0] } }), { 0: six }),
      /its shape is \[1099511627776/,
    ],
    [
      "a shape that asks for memory",
      () => torchFile(viewsPickle({ x: { shape: [2 ** 30], stride: [0] } }), { 0: six }),
      /far more memory than the file/,
    ],
    [
      "a shape without strides",
      () => torchFile(viewsPickle({ x: { shape: [2, 3], stride: [1] } }), { 0: six }),
      /2 sizes, its stride 1/,
    ],
    ["no tensors", () => torchFile(Uint8Array.of(0x80, 2, 0x7d, 0x2e), {}), /its dict has no tensors/],
    [
      "no dict",
      () => torchFile(Uint8Array.of(0x80, 2, 0x4e, 0x2e), {}),
      /it holds None, no dict of tensors.*torch\.save\(model\.state_dict/,
    ],
    ["no pickle", () => writeZip([["m/version", utf8("3\n")]]), /0 entries <name>\/data\.pkl/],
    [
      "big-endian data",
      () =>
        torchFile(viewsPickle({ x: { shape: [1], stride: [1] } }), { 0: six }, [
          ["m/byteorder", utf8("big")],
        ]),
      /byte order is "big"/,
    ],
    ["the format before 1.6", () => Uint8Array.of(0x80, 2, 0x8a, 10), /format of PyTorch before 1\.6/],
    ["something else", () => utf8("{}"), /no end-of-directory record/],
  ];
  for (const [what, file, message] of lies) {
    it(`refuses ${what}`, () => {
      assert.throws(() => readTorch(file()), FileFormatError, message);
    });
  }

  it("opens a state dict inside a training checkpoint", () => {
    const state = viewsPickle({ x: { shape: [6], stride: [1] } }).subarray(2, -1);
    const outer = join(
      [0x80, 2, 0x7d, 0x28, 0x58, 5, 0, 0, 0],
      utf8("model"),
      state,
      [0x58, 4, 0, 0, 0],
      utf8("step"),
      [0x4b, 12, 0x75, 0x2e],
    );
    assert.deepEqual([...readTorch(torchFile(outer, { 0: six })).keys()], ["x"]);
  });
});
