import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { assert } from "chai";
import { UsageError } from "../../engine/errors.js";
import {
  FileFormatError,
  readSafetensors,
  widenToF32,
  writeSafetensors,
  type SafetensorsTensor,
} from "../../hrm/files/index.js";
import { hostRandom } from "../../hrm/puzzles/random.js";

const FIXTURES = "../shared/fixtures";

const SAMPLE: readonly (readonly [string, SafetensorsTensor])[] = [
  ["half", { dtype: "BF16", shape: [3], data: Uint8Array.of(0x80, 0x3f, 0x00, 0xc0, 0x01, 0x00) }],
  ["weights", { dtype: "F32", shape: [2, 3], data: Float32Array.of(0, -0, NaN, Infinity, 1e-45, -1.5) }],
  ["scalar", { dtype: "I32", shape: [], data: Int32Array.of(-7) }],
  ["key", { dtype: "U32", shape: [2], data: Uint32Array.of(0xffffffff, 1) }],
  ["nothing", { dtype: "F32", shape: [0, 5], data: new Float32Array(0) }],
  ["__proto__", { dtype: "F64", shape: [1], data: new Uint8Array(8).fill(3) }],
  ['quote " \\ {}, "dtype":\n', { dtype: "U8", shape: [1, 1], data: Uint8Array.of(9) }],
];
const METADATA = { format: "pt", note: "Ünïcödé \u{1f9e9} {", __proto: "x" };

/** A file with this header and so many data bytes. */
function file(header: string | Uint8Array, dataBytes = 0): Uint8Array {
  const json = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const bytes = new Uint8Array(8 + json.length + dataBytes);
  new DataView(bytes.buffer).setUint32(0, json.length, true);
  bytes.set(json, 8);
  return bytes;
}

function entry(dtype: string, shape: unknown, offsets: unknown): string {
  return JSON.stringify({ dtype, shape, data_offsets: offsets });
}

function bytesOf({ data }: SafetensorsTensor): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** Recursively, sorted. */
function fixtureFiles(): string[] {
  if (!existsSync(FIXTURES)) return [];
  return readdirSync(FIXTURES, { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".safetensors"))
    .sort();
}

describe("safetensors", () => {
  it("round trip keeps names, dtypes, shapes, bits and metadata", () => {
    const { tensors, metadata } = readSafetensors(writeSafetensors(SAMPLE, METADATA));
    assert.deepEqual(metadata, METADATA);
    assert.sameMembers(
      [...tensors.keys()],
      SAMPLE.map(([name]) => name),
    );
    for (const [name, expected] of SAMPLE) {
      const actual = tensors.get(name)!;
      assert.equal(actual.dtype, expected.dtype);
      assert.deepEqual(actual.shape, expected.shape);
      assert.equal(actual.data.constructor, expected.data.constructor);
      assert.deepEqual([...bytesOf(actual)], [...bytesOf(expected)], name);
    }
  });

  it("writes the same bytes for the same tensors, aligned, and an empty file", () => {
    const bytes = writeSafetensors(new Map(SAMPLE), METADATA);
    assert.deepEqual(writeSafetensors(readSafetensors(bytes).tensors, METADATA), bytes);
    for (const { data } of readSafetensors(bytes).tensors.values()) {
      assert.equal(data.buffer, bytes.buffer, "a view, not a copy");
    }
    const empty = readSafetensors(writeSafetensors([]));
    assert.equal(empty.tensors.size, 0);
    assert.deepEqual(empty.metadata, {});
  });

  it("reads from any place in a buffer", () => {
    const bytes = writeSafetensors(SAMPLE, METADATA);
    for (const shift of [1, 2, 3, 4, 5]) {
      const shifted = new Uint8Array(bytes.length + 8).subarray(shift, shift + bytes.length);
      shifted.set(bytes);
      const { tensors } = readSafetensors(shifted);
      for (const [name, tensor] of SAMPLE)
        assert.deepEqual([...bytesOf(tensors.get(name)!)], [...bytesOf(tensor)]);
    }
  });

  it("widens BF16 and F16 exactly, also subnormals, infinities and NaN", () => {
    const bf16 = readSafetensors(writeSafetensors(SAMPLE)).tensors.get("half")!;
    assert.deepEqual([...widenToF32(bf16, "half")], [1, -2, 2 ** -133]);
    const bits = Uint16Array.of(
      0x3c00,
      0xc000,
      0x7bff,
      0x0001,
      0x03ff,
      0x0400,
      0x8000,
      0x7c00,
      0xfc00,
      0x7e00,
    );
    const f16 = { dtype: "F16", shape: [10], data: new Uint8Array(bits.buffer) } as const;
    const values = [1, -2, 65504, 2 ** -24, 1023 * 2 ** -24, 2 ** -14, -0, Infinity, -Infinity, NaN];
    assert.deepEqual([...widenToF32(f16, "x")], values);
    assert.throws(
      () => widenToF32({ dtype: "I32", shape: [1], data: Int32Array.of(1) }, "steps"),
      FileFormatError,
      /got dtype I32; expected F32, F64, BF16 or F16 \(tensor "steps"\)/,
    );
  });

  it("refuses to write what could not be read back", () => {
    const f32 = (shape: number[], length: number): SafetensorsTensor => ({
      dtype: "F32",
      shape,
      data: new Float32Array(length),
    });
    assert.throws(
      () => writeSafetensors([["w", f32([2, 2], 3)]]),
      UsageError,
      /got 12 bytes for "w"; expected 16/,
    );
    assert.throws(
      () =>
        writeSafetensors([
          ["w", f32([1], 1)],
          ["w", f32([1], 1)],
        ]),
      UsageError,
      /twice/,
    );
    assert.throws(() => writeSafetensors([["__metadata__", f32([1], 1)]]), UsageError, /reserved/);
  });

  const good = entry("F32", [2], [0, 8]);
  const broken: [what: string, bytes: Uint8Array, message: RegExp][] = [
    ["no bytes", new Uint8Array(0), /got 0 bytes; expected at least 8/],
    ["a length alone", new Uint8Array(8), /does not start with "\{" \(byte 8\)/],
    ["a header past the end", file("{}").subarray(0, 9), /header of 2 bytes in a file of 9/],
    ["a huge header length", new Uint8Array(64).fill(255), /header of \d+ bytes in a file of 64/],
    [
      "another format",
      new TextEncoder().encode("PK\x03\x04 a zip file, not this"),
      /is it a safetensors file/,
    ],
    ["an array", file("[]"), /does not start with "\{"/],
    ["half a JSON", file('{"a":'), /is not JSON/],
    ["no UTF-8", file(Uint8Array.of(0x7b, 0xff, 0x7d)), /not UTF-8/],
    ["deep nesting", file(`{"a":${"[".repeat(200000)}${"]".repeat(200000)}}`), /safetensors: /],
    ["a tensor twice", file(`{"a":${good},"a":${good}}`, 8), /key "a" twice/],
    ["a tensor twice, escaped", file(`{"a":${good},"\\u0061":${good}}`, 8), /key "a" twice/],
    [
      "a field twice",
      file('{"a":{"dtype":"F32","dtype":"F32","shape":[],"data_offsets":[0,4]}}', 4),
      /key "dtype" twice/,
    ],
    ["metadata of numbers", file('{"__metadata__":{"a":1}}'), /__metadata__\.a = 1; expected a string/],
    ["metadata that is null", file('{"__metadata__":null}'), /__metadata__ null/],
    ["a tensor that is null", file('{"a":null}'), /no object with dtype.*tensor "a"/],
    [
      "an unknown dtype",
      file(`{"a":${entry("F33", [2], [0, 8])}}`, 8),
      /dtype "F33"; expected one of F64, F32/,
    ],
    ["a dtype off the prototype", file(`{"a":${entry("toString", [2], [0, 8])}}`, 8), /dtype "toString"/],
    ["a negative size", file(`{"a":${entry("F32", [-2], [0, 8])}}`, 8), /shape \[-2\]/],
    ["a fractional size", file(`{"a":${entry("F32", [0.5], [0, 2])}}`, 2), /shape \[0.5\]/],
    ["a shape of text", file(`{"a":${entry("F32", "2", [0, 8])}}`, 8), /shape "2"/],
    [
      "sizes that overflow",
      file(`{"a":${entry("F32", [2 ** 40, 2 ** 40], [0, 8])}}`, 8),
      /shape \[1099511627776/,
    ],
    ["one offset", file(`{"a":${entry("F32", [2], [0])}}`, 8), /data_offsets \[0\]; expected \[begin, end\]/],
    ["offsets backwards", file(`{"a":${entry("F32", [2], [8, 0])}}`, 8), /data_offsets \[8, 0\]/],
    ["offsets past the end", file(`{"a":${entry("F32", [2], [4, 12])}}`, 8), /the data has 8 bytes/],
    [
      "bytes that the shape has not",
      file(`{"a":${entry("F32", [3], [0, 8])}}`, 8),
      /got 8 bytes; expected 12 for F32 \[3\]/,
    ],
    ["an overlap", file(`{"a":${good},"b":${entry("F32", [2], [4, 12])}}`, 12), /overlaps.*tensor "b"/],
    ["a hole", file(`{"a":${good},"b":${entry("F32", [1], [12, 16])}}`, 16), /hole of 4 bytes.*tensor "b"/],
    ["bytes at the end", file(`{"a":${good}}`, 9), /1 bytes after the last tensor/],
  ];
  for (const [what, bytes, message] of broken) {
    it(`refuses ${what}`, () => {
      assert.throws(() => readSafetensors(bytes), FileFormatError, message);
    });
  }

  it("says where: tensor and byte offset", () => {
    const header = `{"a":${good},"b":${entry("F32", [2], [4, 12])}}`;
    try {
      readSafetensors(file(header, 12));
      assert.fail("did not throw");
    } catch (error) {
      assert.instanceOf(error, FileFormatError);
      assert.equal(error.tensor, "b");
      assert.equal(error.offset, 8 + header.length + 4);
      assert.equal(error.code, "file");
    }
  });

  it("throws nothing but FileFormatError on 600 damaged files", () => {
    const original = writeSafetensors(SAMPLE, METADATA);
    const headerEnd = 8 + new DataView(original.buffer).getUint32(0, true);
    const random = hostRandom(20240607);
    const structural = [...'{}[]",:0-9e\\'].map((c) => c.charCodeAt(0));
    let refused = 0;
    for (let i = 0; i < 600; i++) {
      let bytes = original.slice();
      const hits = 1 + random.below(3);
      for (let hit = 0; hit < hits; hit++) {
        const at = random.below(headerEnd);
        if (i % 4 === 0) bytes[at] = random.below(256);
        else if (i % 4 === 1)
          bytes[8 + random.below(headerEnd - 8)] = structural[random.below(structural.length)]!;
        else if (i % 4 === 2) bytes = bytes.slice(0, random.below(bytes.length + 1));
        else bytes = Uint8Array.of(...bytes.subarray(0, at), ...bytes.subarray(at + 1 + random.below(20)));
        if (bytes.length < headerEnd) break;
      }
      try {
        readSafetensors(bytes);
      } catch (error) {
        assert.instanceOf(error, FileFormatError, `damage ${i}: ${String(error)}`);
        refused++;
      }
    }
    assert.isAbove(refused, 400, "most damage is noticed");
  });

  it("reads every fixture, and writes it back with the same content", function () {
    const files = fixtureFiles();
    if (files.length === 0) {
      console.log(`      no fixtures at ${FIXTURES}: skipped`);
      this.skip();
    }
    for (const path of files) {
      const { tensors, metadata } = readSafetensors(new Uint8Array(readFileSync(join(FIXTURES, path))));
      assert.isAbove(tensors.size, 0, path);
      const again = readSafetensors(writeSafetensors(tensors, metadata));
      assert.deepEqual(again.metadata, metadata, path);
      for (const [name, tensor] of tensors) {
        const copy = again.tensors.get(name)!;
        assert.deepEqual([copy.dtype, copy.shape], [tensor.dtype, tensor.shape], `${path}: ${name}`);
        assert.equal(Buffer.compare(bytesOf(copy), bytesOf(tensor)), 0, `${path}: ${name}`);
      }
    }
    console.log(`      ${files.length} files`);
  });
});
