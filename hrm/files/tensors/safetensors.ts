/**
 * The safetensors format (huggingface.co/docs/safetensors), read and written:
 *
 *   8 bytes   N, the header's length, little endian
 *   N bytes   JSON { name: { dtype, shape, data_offsets: [begin, end] }, ..., "__metadata__": { key: text } }
 *   the rest  data, little endian, row-major; offsets count from here; no holes, no overlaps
 *
 * Memory is bounded by the size of the file: tensors are views of the given bytes (copies if they are not aligned), and sizes
 * are checked before memory is allocated. Hosts must be little endian, as all hosts with WebGPU are.
 */
import { UsageError } from "../../../engine/errors.js";
import { FileFormatError, type FileFormatPlace } from "../file_format_error.js";
import { formatValue, formatText } from "../../format_value.js";

/** Bytes of an element. */
export const DTYPE_BYTES = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  F8_E4M3: 1,
  F8_E5M2: 1,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
} as const;

/** Element types of the format. */
export type SafetensorsDtype = keyof typeof DTYPE_BYTES;

interface Typed<D extends SafetensorsDtype, A> {
  readonly dtype: D;
  /** Row-major; `[]` is a scalar. */
  readonly shape: readonly number[];
  readonly data: A;
}

/** A tensor; dtypes other than F32, I32 and U32 are raw little-endian bytes. */
export type SafetensorsTensor =
  | Typed<"F32", Float32Array>
  | Typed<"I32", Int32Array>
  | Typed<"U32", Uint32Array>
  | Typed<Exclude<SafetensorsDtype, "F32" | "I32" | "U32">, Uint8Array>;

/** The contents of a safetensors file. */
export interface Safetensors {
  /** By name, in the header's order. Data may share memory with the bytes that were read. */
  readonly tensors: ReadonlyMap<string, SafetensorsTensor>;
  /** The texts of the header's `__metadata__`. */
  readonly metadata: Readonly<Record<string, string>>;
}

const FORMAT = "safetensors";
const METADATA = "__metadata__";
/** The most bytes of a header, as in the reference implementation. */
const MAX_HEADER_BYTES = 100_000_000;
/** The most dimensions, more than any library has. */
const MOST_DIMENSIONS = 64;

/** Reads a whole file. @throws FileFormatError if the file breaks the format */
export function readSafetensors(bytes: Uint8Array): Safetensors {
  const header = readHeader(bytes);
  const entries = Object.entries(header.json).filter(([name]) => name !== METADATA);
  const dataLength = bytes.length - header.end;
  const ranges = entries.map(([name, entry]) => readEntry(name, entry, dataLength, header.end));
  requireSeamless(ranges, dataLength, header.end);
  const tensors = new Map<string, SafetensorsTensor>();
  for (const { name, dtype, shape, begin, end } of ranges) {
    tensors.set(name, tensorOf(dtype, shape, bytes.subarray(header.end + begin, header.end + end)));
  }
  return { tensors, metadata: readMetadata(header.json) };
}

/**
 * Reads the beginning of a file, which must hold its whole header: the metadata, and the number of bytes that the file should
 * have. Data are not looked at.
 * @throws FileFormatError if the header breaks the format
 */
export function readSafetensorsHeader(
  beginning: Uint8Array,
): Pick<Safetensors, "metadata"> & { readonly size: number } {
  const { json, end } = readHeader(beginning);
  const entries = Object.entries(json).filter(([name]) => name !== METADATA);
  const ends = entries.map(([name, entry]) => readEntry(name, entry, Number.MAX_SAFE_INTEGER, end).end);
  return { metadata: readMetadata(json), size: ends.reduce((a, b) => Math.max(a, b), 0) + end };
}

/**
 * Writes tensors, wide element types first (so that every tensor is aligned to its element size), else in the
 * order given. The same tensors and metadata give the same bytes.
 * @throws UsageError if a shape does not fit its data, or if a tensor has the reserved name `__metadata__`
 */
export function writeSafetensors(
  tensors: Iterable<readonly [name: string, tensor: SafetensorsTensor]>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array<ArrayBuffer> {
  const items = [...tensors].sort(([, a], [, b]) => DTYPE_BYTES[b.dtype] - DTYPE_BYTES[a.dtype]);
  const header: [string, unknown][] = Object.keys(metadata).length > 0 ? [[METADATA, metadata]] : [];
  const names = new Set([METADATA]);
  let offset = 0;
  for (const [name, { dtype, shape, data }] of items) {
    const expected = elements(shape) * DTYPE_BYTES[dtype];
    if (data.byteLength !== expected) {
      throw new UsageError(
        `writeSafetensors: got ${data.byteLength} bytes for ${formatValue(name)}; ` +
          `expected ${expected} for ${dtype} [${shape.join(", ")}].`,
      );
    }
    if (names.has(name)) {
      throw new UsageError(
        `writeSafetensors: got the name ${formatValue(name)} twice or reserved; expected distinct names.`,
      );
    }
    names.add(name);
    header.push([name, { dtype, shape, data_offsets: [offset, (offset += expected)] }]);
  }
  // fromEntries, not assignment: a tensor called "__proto__" stays a tensor.
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)));
  const dataStart = 8 + Math.ceil(json.length / 8) * 8;
  const bytes = new Uint8Array(dataStart + offset);
  new DataView(bytes.buffer).setUint32(0, dataStart - 8, true);
  bytes.fill(0x20, 8, dataStart);
  bytes.set(json, 8);
  let at = dataStart;
  for (const [, { data }] of items) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += data.byteLength;
  }
  return bytes;
}

/**
 * A floating-point tensor as f32: F32 as it is, BF16 and F16 widened exactly, F64 rounded to the nearest.
 * @throws FileFormatError on other dtypes; `name` is for its message
 */
export function widenToF32(tensor: SafetensorsTensor, name: string): Float32Array {
  const { dtype, data } = tensor;
  if (dtype === "F32") return data;
  if (dtype === "F64") return Float32Array.from(new Float64Array(data.slice().buffer));
  if (dtype !== "BF16" && dtype !== "F16")
    throw new FileFormatError("tensors", `got dtype ${dtype}; expected F32, F64, BF16 or F16`, {
      tensor: name,
    });
  const bits = new Uint16Array(data.slice().buffer);
  if (dtype === "BF16") return new Float32Array(Uint32Array.from(bits, (b) => b << 16).buffer);
  return Float32Array.from(bits, f16ToNumber);
}

function f16ToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
}

function readHeader(bytes: Uint8Array): { json: Record<string, unknown>; end: number } {
  if (bytes.length < 8)
    throw problem(`got ${bytes.length} bytes; expected at least 8`, { offset: bytes.length });
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = view.getUint32(0, true) + view.getUint32(4, true) * 2 ** 32;
  if (length > MAX_HEADER_BYTES || 8 + length > bytes.length) {
    throw problem(`got a header of ${length} bytes in a file of ${bytes.length}; is it a safetensors file?`, {
      offset: 0,
    });
  }
  if (bytes[8] !== 0x7b || length === 0) throw problem('the header does not start with "{"', { offset: 8 });
  const end = 8 + length;
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(8, end));
  } catch (cause) {
    throw problem("the header is not UTF-8", { offset: 8 }, { cause });
  }
  let json: Record<string, unknown>;
  try {
    json = JSON.parse(text) as Record<string, unknown>;
  } catch (cause) {
    throw problem(
      `the header is not JSON: ${formatText((cause as Error).message, 120)}`,
      { offset: 8 },
      { cause },
    );
  }
  const twice = duplicateKey(text);
  if (twice !== undefined) throw problem(`the header has the key ${formatValue(twice)} twice`, { offset: 8 });
  return { json, end };
}

/** The first key that occurs twice in an object of this valid JSON text, of which JSON.parse would silently keep the last. */
function duplicateKey(text: string): string | undefined {
  const open: Set<string>[] = [];
  for (let i = 0; i < text.length; i++) {
    if (text[i] === "{") open.push(new Set());
    else if (text[i] === "}") open.pop();
    if (text[i] !== '"') continue;
    const start = i++;
    while (text[i] !== '"') i += text[i] === "\\" ? 2 : 1;
    let next = i + 1;
    while (" \t\n\r".includes(text[next]!)) next++;
    if (text[next] !== ":") continue;
    const key = JSON.parse(text.slice(start, i + 1)) as string;
    if (open.at(-1)!.has(key)) return key;
    open.at(-1)!.add(key);
  }
  return undefined;
}

interface TensorRange {
  readonly name: string;
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  /** Byte range, from the start of the data. */
  readonly begin: number;
  readonly end: number;
}

function readEntry(name: string, entry: unknown, dataLength: number, dataStart: number): TensorRange {
  if (!isRecord(entry)) throw problem("got no object with dtype, shape and data_offsets", { tensor: name });
  const { dtype, shape, data_offsets: offsets } = entry;
  if (typeof dtype !== "string" || !Object.hasOwn(DTYPE_BYTES, dtype)) {
    throw problem(`got dtype ${formatValue(dtype)}; expected one of ${Object.keys(DTYPE_BYTES).join(", ")}`, {
      tensor: name,
    });
  }
  if (!isSizes(shape) || shape.length > MOST_DIMENSIONS || !Number.isSafeInteger(elements(shape) * 8)) {
    throw problem(
      `got shape ${formatValue(shape)}; expected at most ${MOST_DIMENSIONS} non-negative integers`,
      {
        tensor: name,
      },
    );
  }
  if (!isSizes(offsets) || offsets.length !== 2) {
    throw problem(`got data_offsets ${formatValue(offsets)}; expected [begin, end]`, { tensor: name });
  }
  const [begin, end] = offsets as [number, number];
  if (begin > end || end > dataLength) {
    throw problem(`got data_offsets [${begin}, ${end}]; the data has ${dataLength} bytes`, {
      tensor: name,
      offset: dataStart + begin,
    });
  }
  const size = elements(shape) * DTYPE_BYTES[dtype as SafetensorsDtype];
  if (end - begin !== size) {
    throw problem(`got ${end - begin} bytes; expected ${size} for ${dtype} ${formatValue(shape)}`, {
      tensor: name,
      offset: dataStart + begin,
    });
  }
  return { name, dtype: dtype as SafetensorsDtype, shape, begin, end };
}

/** @throws FileFormatError unless the ranges follow each other without hole or overlap and fill the data */
function requireSeamless(ranges: readonly TensorRange[], dataLength: number, dataStart: number): void {
  let at = 0;
  for (const { name, begin, end } of [...ranges].sort((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (begin !== at) {
      const what =
        begin < at ? "overlaps the tensor before it" : `leaves a hole of ${begin - at} bytes before it`;
      throw problem(`its data ${what}`, { tensor: name, offset: dataStart + begin });
    }
    at = end;
  }
  if (at !== dataLength) {
    throw problem(`${dataLength - at} bytes after the last tensor belong to none`, {
      offset: dataStart + at,
    });
  }
}

function readMetadata(json: Record<string, unknown>): Record<string, string> {
  if (!Object.hasOwn(json, METADATA)) return {};
  const metadata = json[METADATA];
  if (!isRecord(metadata))
    throw problem(`got ${METADATA} ${formatValue(metadata)}; expected an object of strings`);
  for (const [key, value] of Object.entries(metadata)) {
    if (typeof value !== "string")
      throw problem(`got ${METADATA}.${formatText(key)} = ${formatValue(value)}; expected a string`);
  }
  return metadata as Record<string, string>;
}

/** A tensor of these bytes; a view if they are aligned, else a copy. */
export function tensorOf(
  dtype: SafetensorsDtype,
  shape: readonly number[],
  bytes: Uint8Array,
): SafetensorsTensor {
  if (dtype !== "F32" && dtype !== "I32" && dtype !== "U32") return { dtype, shape, data: bytes };
  const { buffer, byteOffset, byteLength } = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes);
  const count = byteLength / 4;
  if (dtype === "F32") return { dtype, shape, data: new Float32Array(buffer, byteOffset, count) };
  if (dtype === "I32") return { dtype, shape, data: new Int32Array(buffer, byteOffset, count) };
  return { dtype, shape, data: new Uint32Array(buffer, byteOffset, count) };
}

function elements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function problem(what: string, place?: FileFormatPlace, options?: ErrorOptions): FileFormatError {
  return new FileFormatError(FORMAT, what, place, options);
}
