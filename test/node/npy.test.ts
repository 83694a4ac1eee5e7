import { assert } from "chai";
import { FileFormatError, readNpy, writeNpy } from "../../hrm/files/puzzles/index.js";
import { randomIntegers } from "../support/random.js";
import { sharedData } from "../support/shared_data.js";

interface Options {
  readonly version?: 1 | 2 | 3;
  readonly header?: string;
}

/** A .npy file from its header text and body, laid out by hand. */
function npy(dict: string, body: Uint8Array, { version = 1, header }: Options = {}): Uint8Array {
  const text = header ?? `${dict.padEnd(100)}\n`;
  const short = [text.length & 255, text.length >> 8];
  const length = version === 1 ? short : [...short, 0, 0];
  return Uint8Array.from([
    ...[0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, version, 0],
    ...length,
    ...Array.from(text, (c) => c.charCodeAt(0)),
    ...body,
  ]);
}

const dict = (descr: string, fortran: boolean, shape: string): string =>
  `{'descr': '${descr}', 'fortran_order': ${fortran ? "True" : "False"}, 'shape': ${shape}, }`;

/** Bytes of integers, most significant last or first, two's complement. */
function encode(values: readonly number[], itemSize: number, little: boolean): Uint8Array {
  return Uint8Array.from(
    values.flatMap((value) => {
      const bytes = Array.from({ length: itemSize }, (_, k) =>
        Number((BigInt(value) >> BigInt(8 * k)) & 255n),
      );
      return little ? bytes : bytes.reverse();
    }),
  );
}

const floats = (...values: number[]): Uint8Array => new Uint8Array(Float32Array.from(values).buffer);

describe("npy", () => {
  for (const [descr, itemSize, low, high] of [
    ["|i1", 1, -128, 128],
    ["|u1", 1, 0, 256],
    ["<i2", 2, -32768, 32768],
    [">i2", 2, -32768, 32768],
    ["<u2", 2, 0, 65536],
    ["<i4", 4, -(2 ** 31), 2 ** 31],
    [">i4", 4, -(2 ** 31), 2 ** 31],
    ["<u4", 4, 0, 2 ** 31],
    ["<i8", 8, -(2 ** 31), 2 ** 31],
    [">i8", 8, -(2 ** 31), 2 ** 31],
    [">u8", 8, 0, 2 ** 31],
    ["=i4", 4, -5, 5],
    ["|b1", 1, 0, 2],
  ] as const) {
    it(`reads ${descr} in C and Fortran order`, () => {
      const values = [low, high - 1, ...randomIntegers(10, low, high)];
      const little = !descr.startsWith(">");
      const fromC = readNpy(npy(dict(descr, false, "(3, 4)"), encode(values, itemSize, little)));
      assert.deepEqual([...fromC.shape], [3, 4]);
      assert.deepEqual([...fromC.values], values);
      const columns = Array.from({ length: 12 }, (_, i) => values[(i % 3) * 4 + Math.floor(i / 3)]!);
      const fromFortran = readNpy(npy(dict(descr, true, "(3, 4)"), encode(columns, itemSize, little)));
      assert.deepEqual([...fromFortran.values], values);
    });
  }

  it("reads Fortran order in three dimensions, scalars, empty arrays, and versions 2 and 3", () => {
    const values = Array.from({ length: 24 }, (_, i) => i);
    const stored: number[] = [];
    for (let k = 0; k < 4; k++)
      for (let j = 0; j < 3; j++) for (let i = 0; i < 2; i++) stored.push(values[(i * 3 + j) * 4 + k]!);
    const cube = readNpy(npy(dict("|u1", true, "(2, 3, 4)"), Uint8Array.from(stored), { version: 2 }));
    assert.deepEqual([...cube.values], values);
    assert.deepEqual(
      [...readNpy(npy(dict("|u1", false, "()"), Uint8Array.of(7), { version: 3 })).values],
      [7],
    );
    assert.deepEqual(readNpy(npy(dict("|u1", false, "(0, 5)"), new Uint8Array())).shape, [0, 5]);
    const odd = `{"shape": (2L,), "fortran_order":False, "descr":"|u1"}`;
    assert.deepEqual([...readNpy(npy(odd, Uint8Array.of(1, 2))).values], [1, 2]);
  });

  it("reads floats that are whole numbers", () => {
    const values = [0, 1, -3, 65536];
    assert.deepEqual([...readNpy(npy(dict("<f4", false, "(2, 2)"), floats(...values))).values], values);
    const doubles = new Uint8Array(Float64Array.from(values).buffer);
    assert.deepEqual([...readNpy(npy(dict("<f8", false, "(4,)"), doubles)).values], values);
    const big = new Uint8Array(8);
    new DataView(big.buffer).setFloat64(0, 7, false);
    assert.deepEqual([...readNpy(npy(dict(">f8", false, "(1,)"), big)).values], [7]);
  });

  it("reads what numpy wrote, and writes what reads back", function () {
    const inputs = readNpy(sharedData(this, "official-format/sudoku-easy-60-aug-3/train/all__inputs.npy"));
    assert.deepEqual([...inputs.shape], [240, 81]);
    assert.isTrue(inputs.values.every((token) => token >= 1 && token <= 10));
    for (const [dtype, low, high] of [
      ["|u1", 0, 256],
      ["<i4", -(2 ** 31), 2 ** 31],
    ] as const) {
      const values = randomIntegers(15, low, high);
      const bytes = writeNpy(values, [5, 3], dtype);
      assert.equal((bytes.length - values.length * (dtype === "|u1" ? 1 : 4)) % 64, 0);
      assert.deepEqual(readNpy(bytes), { shape: [5, 3], values });
    }
  });

  it("a file written here is, but for padding, the file that numpy wrote", function () {
    const path = "official-format/sudoku-easy-60-aug-3/train/all__group_indices.npy";
    const bytes = sharedData(this, path);
    const { shape, values } = readNpy(bytes);
    assert.deepEqual(writeNpy(values, shape, "<i4"), Uint8Array.from(bytes));
  });

  const body = new Uint8Array(6);
  const refused: [string, Uint8Array, RegExp][] = [
    ["nothing", new Uint8Array(), /magic bytes/],
    ["another file", new TextEncoder().encode("source,question,answer"), /magic bytes/],
    ["version 9", npy(dict("|u1", false, "(6,)"), body).fill(9, 6, 7), /format version 9/],
    [
      "a header longer than the file",
      npy(dict("|u1", false, "(6,)"), body).fill(255, 8, 10),
      /a header of 65535 bytes/,
    ],
    ["a shape larger than the file", npy(dict("|u1", false, "(7,)"), body), /takes 7 bytes; the file has 6/],
    ["a shape smaller than the file", npy(dict("|u1", false, "(5,)"), body), /takes 5 bytes; the file has 6/],
    ["a shape of 2^60", npy(dict("<i8", false, "(1152921504606846976,)"), body), /too large/],
    ["a shape whose product overflows", npy(dict("<i8", false, "(4294967296, 4294967296)"), body), /takes/],
    ["a negative shape", npy(dict("|u1", false, "(-6,)"), body), /cannot read/],
    ["floats of 2 bytes", npy(dict("<f2", false, "(3,)"), body), /dtype "<f2"; expected integers/],
    [
      "a fraction",
      npy(dict("<f4", false, "(1,)"), floats(0.5)),
      /value 0.5 at index 0; expected whole numbers/,
    ],
    ["not a number", npy(dict("<f4", false, "(2,)"), floats(1, NaN)), /value NaN at index 1/],
    [
      "21,000 dimensions",
      npy("", body, { version: 2, header: dict("|u1", true, `(${"1,".repeat(21_000)})`) }),
      /a shape of 21000 dimensions; expected at most 64/,
    ],
    [
      "a shape of spaces and commas",
      npy("", body, {
        version: 2,
        header: dict("|u1", true, `(1${" ".repeat(30_000)}${",".repeat(30_000)}x)`),
      }),
      /cannot read/,
    ],
    [
      "a shape of digits",
      npy("", body, { version: 2, header: dict("|u1", true, `(${"1L ".repeat(20_000)})`) }),
      /not a tuple of integers/,
    ],
    [
      "a dict of thousands of keys",
      npy("", body, {
        version: 2,
        header: `{${Array.from({ length: 4_000 }, (_, i) => `'${i}':True`).join()}}`,
      }),
      /more keys than descr/,
    ],
    ["objects", npy(dict("|O", false, "(6,)"), body), /dtype "\|O"/],
    ["code in the header", npy("{'descr': __import__('os')}", body), /cannot read/],
    ["a missing key", npy("{'descr': '|u1', 'shape': (6,)}", body), /keys "descr, shape"/],
    ["a key twice", npy("{'descr': '|u1', 'descr': '|u1', 'shape': (6,)}", body), /"descr" twice/],
    ["no dict", npy("hello", body), /expected a dict/],
    ["a value above 32 bits", npy(dict("<i8", false, "(1,)"), encode([2 ** 40], 8, true)), /does not fit/],
    ["a u4 above 31 bits", npy(dict("<u4", false, "(1,)"), encode([2 ** 31], 4, true)), /does not fit/],
  ];
  for (const [what, bytes, message] of refused) {
    it(`refuses ${what}`, () => {
      assert.throws(() => readNpy(bytes, "x.npy"), FileFormatError, message);
    });
  }
});
