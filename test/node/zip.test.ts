import { deflateRawSync } from "node:zlib";
import { assert } from "chai";
import { UsageError } from "../../engine/errors.js";
import { FileFormatError } from "../../hrm/files/index.js";
import { crc32 } from "../../hrm/files/archives/crc32.js";
import { inflate, InflateError } from "../../hrm/files/archives/inflate.js";
import { readZip, writeZip } from "../../hrm/files/archives/zip.js";
import { hostRandom } from "../../hrm/puzzles/random.js";
import { joined, utf8 } from "../support/bytes.js";

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
  const local = joined(
    [...u32(0x04034b50), ...u16(45), ...u16(8), ...u16(8), ...u32(0), ...u32(0), ...u32(0), ...u32(0)],
    [...u16(1), ...u16(0)],
    name,
    packed,
    [...u32(0x08074b50), ...crc, ...u64(packed.length), ...u64(data.length)],
  );
  const extra = [...u16(1), ...u16(24), ...u64(data.length), ...u64(packed.length), ...u64(0)];
  const central = joined(
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
  return joined(local, central, end64, locator, end);
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
