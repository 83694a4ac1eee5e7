/**
 * A checksum inside a safetensors file: its metadata's `checksum` is the CRC-32 of the whole file, header included,
 * taken with zeros in the checksum's own place. Whatever was torn, truncated or flipped shows.
 */
import { UsageError } from "../../../engine/errors.js";
import { crc32 } from "../archives/crc32.js";
import { FileFormatError } from "../file_format_error.js";
import { readSafetensors, type Safetensors } from "../tensors/safetensors.js";

/** Metadata entry to write a file with before {@link seal} fills it in. */
export const UNSEALED = { checksum: "crc32:00000000" } as const;

// Not TextEncoder: importing this file must touch no global that only some hosts have.
const ascii = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0));
const KEY = ascii('"checksum":"crc32:');
const ZEROS = ascii("00000000");

/** Puts the checksum into a file that was written with {@link UNSEALED} in its metadata; changes and returns `bytes`. */
export function seal<B extends Uint8Array>(bytes: B): B {
  const at = sealPlace(bytes);
  if (at === -1) throw new UsageError("seal: got a file without a checksum entry; write it with UNSEALED.");
  bytes.set(new TextEncoder().encode(checksum(bytes, at)), at);
  return bytes;
}

/** True for a file that says it is sealed, whole or not. */
export function isSealed(bytes: Uint8Array): boolean {
  return sealPlace(bytes) !== -1;
}

/**
 * Reads a sealed file.
 * @throws FileFormatError where the checksum is missing or wrong, or the file is no safetensors file
 */
export function readSealed(bytes: Uint8Array, format: string): Safetensors {
  const at = sealPlace(bytes);
  if (at === -1) {
    // A file that is broken in other ways, or a healthy one of another origin: the reader knows which.
    readSafetensors(bytes);
    throw new FileFormatError(
      format,
      "no checksum in the file's metadata; expected a file that hrm-webgpu wrote",
    );
  }
  const written = new TextDecoder().decode(bytes.subarray(at, at + ZEROS.length));
  const computed = checksum(bytes, at);
  if (written !== computed) {
    throw new FileFormatError(
      format,
      `its checksum is ${computed}, but it was written with ${written}: the file was torn, truncated or changed; use an earlier one`,
    );
  }
  return readSafetensors(bytes);
}

function checksum(bytes: Uint8Array, at: number): string {
  const before = crc32(ZEROS, crc32(bytes.subarray(0, at)));
  return crc32(bytes.subarray(at + ZEROS.length), before)
    .toString(16)
    .padStart(8, "0");
}

/** Where the eight digits start, or -1. */
function sealPlace(bytes: Uint8Array): number {
  if (bytes.length < 8) return -1;
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const end = Math.min(bytes.length, 8 + length) - KEY.length - ZEROS.length;
  for (let at = 8; at <= end; at++) {
    let i = 0;
    while (i < KEY.length && bytes[at + i] === KEY[i]) i++;
    if (i === KEY.length) return at + KEY.length;
  }
  return -1;
}
