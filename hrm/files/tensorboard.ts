/**
 * TensorBoard event files: TFRecords (length, masked CRC-32C, data, masked CRC-32C) of protocol-buffer `Event`
 * messages. Formats: tensorflow/core/lib/io/record_writer.h, tensorflow/core/util/event.proto, framework/summary.proto.
 */

/** A scalar at a step. */
export interface ScalarEvent {
  /** Seconds since 1970. */
  readonly wallTime: number;
  readonly step: number;
  /** Values by tag: `train/loss`. */
  readonly scalars: Readonly<Record<string, number>>;
}

/** The first record of every event file. */
export function fileHeader(wallTime: number): Uint8Array<ArrayBuffer> {
  return record([...double(1, wallTime), ...string(3, "brain.Event:2")]);
}

/** A record that says that a run continues after `step`. Readers then drop older events of later steps. */
export function restartRecord(wallTime: number, step: number): Uint8Array<ArrayBuffer> {
  const START = 1;
  return record([...double(1, wallTime), ...varint(2, step), ...message(7, varint(1, START))]);
}

/** The record of some scalars. */
export function scalarRecord({ wallTime, step, scalars }: ScalarEvent): Uint8Array<ArrayBuffer> {
  const values = Object.entries(scalars).flatMap(([tag, value]) =>
    message(1, [...string(1, tag), ...float(2, value)]),
  );
  return record([...double(1, wallTime), ...varint(2, step), ...message(5, values)]);
}

/** One TFRecord: u64 length, u32 masked CRC of it, data, u32 masked CRC of the data; little-endian. */
function record(data: readonly number[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(8 + 4 + data.length + 4);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, maskedCrc(bytes.subarray(0, 8)), true);
  bytes.set(data, 12);
  view.setUint32(12 + data.length, maskedCrc(bytes.subarray(12, 12 + data.length)), true);
  return bytes;
}

/** Wire types of protocol buffers. */
const WIRE = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;

const key = (field: number, wire: number): number => (field << 3) | wire;

function varintBytes(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return [...bytes, rest];
}

const varint = (field: number, value: number): number[] => [key(field, WIRE.varint), ...varintBytes(value)];

function double(field: number, value: number): number[] {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value, true);
  return [key(field, WIRE.fixed64), ...new Uint8Array(view.buffer)];
}

function float(field: number, value: number): number[] {
  const view = new DataView(new ArrayBuffer(4));
  view.setFloat32(0, value, true);
  return [key(field, WIRE.fixed32), ...new Uint8Array(view.buffer)];
}

const message = (field: number, body: readonly number[]): number[] => [
  key(field, WIRE.bytes),
  ...varintBytes(body.length),
  ...body,
];

const string = (field: number, text: string): number[] => message(field, [...new TextEncoder().encode(text)]);

/** CRC-32C (Castagnoli, reflected polynomial 0x82f63b78) of each byte. */
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc >>> 0;
});

/** CRC-32C of these bytes, unsigned. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ TABLE[(crc ^ byte) & 255]!;
  return ~crc >>> 0;
}

/** The checksum as TFRecords store it: rotated right by 15 bits, plus a constant. */
export function maskedCrc(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}
