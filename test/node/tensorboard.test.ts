import { assert } from "chai";
import { crc32c, fileHeader, maskedCrc, restartRecord, scalarRecord } from "../../hrm/files/tensorboard.js";

/** Fields of a protocol-buffer message: number, and an integer, bytes of a fixed width, or bytes. */
function* fields(bytes: Uint8Array): Generator<{ field: number; value: number | Uint8Array }> {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes[at++]!;
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  const take = (length: number): Uint8Array => bytes.slice(at, (at += length));
  while (at < bytes.length) {
    const key = varint();
    const wire = key & 7;
    const value =
      wire === 0
        ? varint()
        : wire === 1
          ? take(8)
          : wire === 5
            ? take(4)
            : wire === 2
              ? take(varint())
              : null;
    if (value === null) throw new Error(`wire type ${wire}`);
    yield { field: key >> 3, value };
  }
}

/** The data of each TFRecord, checksums verified. */
function records(file: Uint8Array): Uint8Array[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const found: Uint8Array[] = [];
  for (let at = 0; at < file.length;) {
    const length = Number(view.getBigUint64(at, true));
    assert.equal(view.getUint32(at + 8, true), maskedCrc(file.subarray(at, at + 8)));
    const data = file.slice(at + 12, at + 12 + length);
    assert.equal(view.getUint32(at + 12 + length, true), maskedCrc(data));
    found.push(data);
    at += 12 + length + 4;
  }
  return found;
}

const text = (value: unknown): string => new TextDecoder().decode(value as Uint8Array);
const double = (value: unknown): number => new DataView((value as Uint8Array).buffer).getFloat64(0, true);
const float = (value: unknown): number => new DataView((value as Uint8Array).buffer).getFloat32(0, true);
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

describe("TensorBoard event files", () => {
  it("computes CRC-32C as RFC 3720 (appendix B.4) and the check value have it", () => {
    assert.equal(crc32c(bytes("123456789")), 0xe3069283);
    assert.equal(crc32c(new Uint8Array(32)), 0x8a9136aa);
    assert.equal(crc32c(new Uint8Array(32).fill(255)), 0x62a8ab43);
    assert.equal(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i)), 0x46dd794e);
  });

  it("begins a file with the bytes that TensorFlow writes", () => {
    // Length 24, its masked CRC, wall_time 1.5 as field 1, file_version as field 3, masked CRC.
    const header = fileHeader(1.5);
    assert.deepEqual([...header.subarray(0, 8)], [24, 0, 0, 0, 0, 0, 0, 0]);
    // The checksum of a length of 24 stands in every event file there is.
    assert.deepEqual([...header.subarray(8, 12)], [0xa3, 0x7f, 0x4b, 0x22]);
    assert.deepEqual([...header.subarray(12, 23)], [9, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 0x1a, 13]);
    assert.equal(text(header.subarray(23, 36)), "brain.Event:2");
    assert.equal(header.length, 40);
  });

  it("decodes back to the scalars, steps and times that were written", () => {
    const events = [
      { wallTime: 1.75e9, step: 1, scalars: { "train/loss": 0.5, "train/act_steps": -3 } },
      { wallTime: 1.75e9 + 0.25, step: 3_000_000_000, scalars: { "validation/exact_accuracy": 1 } },
      { wallTime: 0, step: 127, scalars: { [`${"long/".repeat(40)}tag`]: 1e-30 } },
    ];
    const read = events.map((event) => {
      const [data] = records(scalarRecord(event));
      const top = new Map([...fields(data!)].map(({ field, value }) => [field, value]));
      const scalars = [...fields(top.get(5) as Uint8Array)].map(({ field, value }) => {
        assert.equal(field, 1);
        const entry = new Map([...fields(value as Uint8Array)].map((f) => [f.field, f.value]));
        return [text(entry.get(1)), float(entry.get(2))] as const;
      });
      return { wallTime: double(top.get(1)), step: top.get(2), scalars: Object.fromEntries(scalars) };
    });
    const stored = events.map((event) => ({
      ...event,
      scalars: Object.fromEntries(Object.entries(event.scalars).map(([tag, x]) => [tag, Math.fround(x)])),
    }));
    assert.deepEqual(read, stored);
  });

  it("marks where a run goes on", () => {
    const [data] = records(restartRecord(2, 51));
    const top = new Map([...fields(data!)].map(({ field, value }) => [field, value]));
    assert.equal(double(top.get(1)), 2);
    assert.equal(top.get(2), 51);
    // SessionLog { status: START }
    assert.deepEqual([...(top.get(7) as Uint8Array)], [8, 1]);
  });
});
