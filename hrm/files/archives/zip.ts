/**
 * Zip archives (PKWARE APPNOTE 6.3), as far as files of tensors use them: stored and deflated entries, zip64, data
 * descriptors. The central directory counts only if the local headers agree. No memory is allocated from a size that the
 * file merely claims: stored entries are views, and deflated entries are bounded by what their bytes can hold.
 */
import { UsageError } from "../../../engine/errors.js";
import { crc32 } from "./crc32.js";
import { FileFormatError, type FileFormatPlace } from "../file_format_error.js";
import { inflate, InflateError } from "./inflate.js";

/** A file in an archive. */
export interface ZipEntry {
  readonly name: string;
  /** Uncompressed bytes. */
  readonly size: number;
  /** Offset of its data in the archive. */
  readonly offset: number;
  /** The content; a view of the archive if the entry is stored. @throws FileFormatError if the checksum is wrong */
  read(): Uint8Array;
}

const LOCAL = 0x04034b50;
const CENTRAL = 0x02014b50;
const END = 0x06054b50;
const END64 = 0x06064b50;
const END64_LOCATOR = 0x07064b50;
const STORED = 0;
const DEFLATED = 8;
/** Deflate makes at most 258 bytes of 2 bits, and a little for codes (zlib's documentation: 1032 to 1). */
const MAX_RATIO = 1032;
/** All deflated entries together may unpack to this many bytes or to 4 times the archive, since weights hardly compress. */
const MAX_INFLATED = 1 << 26;

/** True for bytes that begin as a zip archive does. */
export function isZip(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && bytes[0] === 0x50 && bytes[1] === 0x4b && bytes[2] === 3 && bytes[3] === 4;
}

/** The entries of an archive by name, in the directory's order. @throws FileFormatError */
export function readZip(bytes: Uint8Array): ReadonlyMap<string, ZipEntry> {
  const reader = createReader(bytes);
  const directory = findDirectory(reader);
  let inflated = 0;
  const mayInflate = Math.max(MAX_INFLATED, 4 * bytes.length);
  const entries = new Map<string, ZipEntry & { readonly end: number; readonly start: number }>();
  let at = directory.offset;
  for (let i = 0; i < directory.count; i++) {
    reader.expect(at, CENTRAL, "a directory entry");
    const flags = reader.u16(at + 8);
    const method = reader.u16(at + 10);
    const crc = reader.u32(at + 16);
    const lengths = { name: reader.u16(at + 28), extra: reader.u16(at + 30), comment: reader.u16(at + 32) };
    const nameBytes = reader.slice(at + 46, lengths.name);
    const name = decodeName(nameBytes, at);
    const extra = reader.slice(at + 46 + lengths.name, lengths.extra);
    const sizes = zip64Sizes(extra, at, {
      size: reader.u32(at + 24),
      packed: reader.u32(at + 20),
      header: reader.u32(at + 42),
    });
    at += 46 + lengths.name + lengths.extra + lengths.comment;
    const { size, packed, header } = sizes;
    const place = { tensor: name, offset: header };
    if (at > directory.end) throw problem("the directory is longer than it says", { offset: at });
    if (flags & 1) throw problem("is encrypted; expected plain entries", place);
    if (method !== STORED && method !== DEFLATED)
      throw problem(`has compression method ${method}; expected 0 (stored) or 8 (deflate)`, place);
    if (entries.has(name)) throw problem("is in the directory twice", place);
    reader.expect(header, LOCAL, "an entry's header");
    const local = { name: reader.u16(header + 26), extra: reader.u16(header + 28) };
    const localName = reader.slice(header + 30, local.name);
    if (localName.length !== nameBytes.length || localName.some((b, k) => b !== nameBytes[k]))
      throw problem("has another name in its own header", place);
    const offset = header + 30 + local.name + local.extra;
    const end = offset + packed;
    if (!(end <= directory.offset))
      throw problem(`claims ${packed} bytes; the archive has not that many before its directory`, place);
    if (method === STORED && size !== packed)
      throw problem(`is stored, but claims ${packed} bytes for a size of ${size}`, place);
    if (method === DEFLATED) {
      if (size > MAX_RATIO * packed)
        throw problem(`claims ${size} bytes from ${packed} compressed ones, more than they can hold`, place);
      if ((inflated += size) > mayInflate)
        throw problem(
          `unpacks past the ${mayInflate} bytes that this archive may take; store it uncompressed`,
          place,
        );
    }
    entries.set(name, {
      ...{ name, size, offset, start: header, end },
      read: () => content(bytes.subarray(offset, end), { method, size, crc }, place),
    });
  }
  requireApart([...entries.values()]);
  return entries;
}

/** @throws FileFormatError if entries share bytes, by which a small file pretends to be a huge one */
function requireApart(entries: readonly { name: string; start: number; end: number }[]): void {
  let before = 0;
  for (const { name, start, end } of [...entries].sort((a, b) => a.start - b.start)) {
    if (start < before) throw problem("overlaps the entry before it", { tensor: name, offset: start });
    before = end;
  }
}

function content(
  packed: Uint8Array,
  { method, size, crc }: { method: number; size: number; crc: number },
  place: FileFormatPlace,
): Uint8Array {
  let bytes = packed;
  if (method === DEFLATED) {
    try {
      bytes = inflate(packed, size);
    } catch (cause) {
      if (!(cause instanceof InflateError)) throw cause;
      throw problem(`cannot be unpacked: ${cause.message}`, place, { cause });
    }
  }
  if (crc32(bytes) !== crc) throw problem("its checksum is wrong: the file was damaged", place);
  return bytes;
}

interface Reader {
  u16(at: number): number;
  u32(at: number): number;
  u64(at: number): number;
  slice(at: number, length: number): Uint8Array;
  expect(at: number, signature: number, what: string): void;
  readonly length: number;
}

function createReader(bytes: Uint8Array): Reader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const inside = (at: number, length: number): number => {
    if (!(at >= 0 && at + length <= bytes.length))
      throw problem(`points ${length} bytes past the end`, { offset: Math.min(at, bytes.length) });
    return at;
  };
  const u32 = (at: number): number => view.getUint32(inside(at, 4), true);
  return {
    length: bytes.length,
    u32,
    u16: (at) => view.getUint16(inside(at, 2), true),
    u64: (at) => u32(at) + u32(at + 4) * 2 ** 32,
    slice: (at, length) => bytes.subarray(inside(at, length), at + length),
    expect(at, signature, what) {
      if (at + 4 > bytes.length || view.getUint32(inside(at, 4), true) !== signature)
        throw problem(`expected ${what}`, { offset: at });
    },
  };
}

interface Directory {
  readonly offset: number;
  readonly end: number;
  readonly count: number;
}

/** Finds the end record, which is followed only by a comment of the length that it gives. */
function findDirectory(reader: Reader): Directory {
  const lowest = Math.max(0, reader.length - 22 - 0xffff);
  let end = reader.length - 22;
  while (end >= lowest && !(reader.u32(end) === END && reader.u16(end + 20) === reader.length - end - 22))
    end--;
  if (end < lowest)
    throw problem("no end-of-directory record: not a zip archive, or it was cut off", {
      offset: reader.length,
    });
  let directory = {
    disk: reader.u16(end + 4),
    count: reader.u16(end + 10),
    size: reader.u32(end + 12),
    offset: reader.u32(end + 16),
  };
  if (end >= 20 && reader.u32(end - 20) === END64_LOCATOR) {
    const end64 = reader.u64(end - 12);
    reader.expect(end64, END64, "the zip64 end-of-directory record");
    directory = {
      disk: reader.u32(end64 + 16),
      count: reader.u64(end64 + 32),
      size: reader.u64(end64 + 40),
      offset: reader.u64(end64 + 48),
    };
  }
  const { disk, count, size, offset } = directory;
  if (disk !== 0) throw problem("is part of an archive of several files; expected a whole one");
  if (!(offset + size <= end) || count > size / 46) {
    throw problem(
      `its end record claims a directory of ${count} entries in ${size} bytes at ${offset}; the file has ${reader.length} bytes`,
      { offset: end },
    );
  }
  return { offset, end: offset + size, count };
}

/** Reads sizes that do not fit 32 bits from the extra field 1, in this order. */
function zip64Sizes<S extends { size: number; packed: number; header: number }>(
  extra: Uint8Array,
  offset: number,
  sizes: S,
): S {
  if (sizes.size !== 0xffffffff && sizes.packed !== 0xffffffff && sizes.header !== 0xffffffff) return sizes;
  const reader = createReader(extra);
  for (let at = 0; at + 4 <= extra.length; at += 4 + reader.u16(at + 2)) {
    if (reader.u16(at) !== 1) continue;
    const end = at + 4 + reader.u16(at + 2);
    let next = at + 4;
    const wide = { ...sizes };
    for (const key of ["size", "packed", "header"] as const) {
      if (sizes[key] !== 0xffffffff) continue;
      if (next + 8 > end) break;
      wide[key] = reader.u64(next);
      next += 8;
    }
    return wide;
  }
  throw problem("an entry's sizes are in a zip64 field that is not there", { offset });
}

function decodeName(bytes: Uint8Array, offset: number): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw problem("an entry's name is not UTF-8", { offset }, { cause });
  }
}

/**
 * Writes an archive of stored entries, each one's data aligned (PyTorch maps its files into memory and wants 64).
 * @throws UsageError if a name occurs twice, or if there are more than 4 GB or 65535 entries, which would need zip64
 */
export function writeZip(
  files: Iterable<readonly [name: string, bytes: Uint8Array]>,
  { alignment = 64 }: { alignment?: number } = {},
): Uint8Array<ArrayBuffer> {
  const items = [...files].map(([name, bytes]) => ({
    name: new TextEncoder().encode(name),
    bytes,
    text: name,
  }));
  if (new Set(items.map((i) => i.text)).size !== items.length)
    throw new UsageError("writeZip: got a name twice; expected distinct names.");
  let offset = 0;
  const placed = items.map((item) => {
    // The padding is an extra field "FB", as PyTorch writes it: 2 bytes of tag, 2 of length, then filler.
    const bare = offset + 30 + item.name.length + 4;
    const padding = (alignment - (bare % alignment)) % alignment;
    const entry = { ...item, header: offset, padding, data: bare + padding, crc: crc32(item.bytes) };
    offset = entry.data + item.bytes.length;
    return entry;
  });
  const directory = placed.reduce((sum, { name }) => sum + 46 + name.length, 0);
  const total = offset + directory + 22;
  if (total >= 2 ** 32 || items.length >= 0xffff)
    throw new UsageError(
      `writeZip: got ${items.length} files of ${total} bytes; expected less than 65535 files and 4 GB.`,
    );
  const out = new Uint8Array(total);
  const view = new DataView(out.buffer);
  /** Writes the fields that both headers have. `at` is the offset of the field "version needed". */
  const common = (at: number, { crc, bytes, name }: (typeof placed)[number]): void => {
    view.setUint16(at + 2, 0x0800, true); // names are UTF-8
    view.setUint16(at + 8, 0x21, true); // 1980-01-01: the same tensors give the same bytes
    view.setUint32(at + 10, crc, true);
    view.setUint32(at + 14, bytes.length, true);
    view.setUint32(at + 18, bytes.length, true);
    view.setUint16(at + 22, name.length, true);
  };
  let at = offset;
  for (const entry of placed) {
    const { header, padding, data, name, bytes } = entry;
    view.setUint32(header, LOCAL, true);
    common(header + 4, entry);
    view.setUint16(header + 28, 4 + padding, true);
    out.set(name, header + 30);
    view.setUint16(header + 30 + name.length, 0x4246, true);
    view.setUint16(header + 32 + name.length, padding, true);
    out.fill(0x5a, data - padding, data);
    out.set(bytes, data);
    view.setUint32(at, CENTRAL, true);
    common(at + 6, entry);
    view.setUint32(at + 42, header, true);
    out.set(name, at + 46);
    at += 46 + name.length;
  }
  view.setUint32(at, END, true);
  view.setUint16(at + 8, items.length, true);
  view.setUint16(at + 10, items.length, true);
  view.setUint32(at + 12, directory, true);
  view.setUint32(at + 16, offset, true);
  return out;
}

function problem(what: string, place?: FileFormatPlace, options?: ErrorOptions): FileFormatError {
  return new FileFormatError("zip", what, place, options);
}
