import { assert } from "chai";
import { UsageError } from "../../engine/errors.js";
import {
  FileFormatError,
  readTorch,
  writeTorch,
  type SafetensorsDtype,
  type SafetensorsTensor,
} from "../../hrm/files/index.js";
import { writeZip } from "../../hrm/files/archives/zip.js";
import { hostRandom } from "../../hrm/puzzles/random.js";
import { joined, utf8 } from "../support/bytes.js";

const bitsOf = ({ data }: Pick<SafetensorsTensor, "data">): number[] => [
  ...new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
];

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
    const outer = joined(
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
