/**
 * A checksum inside a safetensors file. The `checksum` in its metadata is the CRC-32 of the whole file, header included,
 * computed with zeros in place of its own digits. It detects torn, truncated and altered files.
 */
import { UsageError } from "../../../engine/errors.js";
import { crc32 } from "../archives/crc32.js";
import { FileFormatError } from "../file_format_error.js";
import { readSafetensors, type Safetensors } from "../tensors/safetensors.js";

/** Metadata entry for a new file, which {@link seal} fills in. */
export const UNSEALED = { checksum: "crc32:00000000" } as const;

// Not TextEncoder: importing this file must touch no global that only some hosts have.
const ascii = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0));
const KEY = ascii('"checksum":"crc32:');
const ZEROS = ascii("00000000");

/** Writes the checksum into a file that has {@link UNSEALED} in its metadata. Changes and returns `bytes`. */
export function seal<B extends Uint8Array>(bytes: B): B {
  const at = sealPlace(bytes);
  if (at === -1) throw new UsageError("seal: got a file without a checksum entry; write it with UNSEALED.");
  bytes.set(new TextEncoder().encode(checksum(bytes, at)), at);
  return bytes;
}

/** True for a file that has a checksum, whether or not it is intact. */
export function isSealed(bytes: Uint8Array): boolean {
  return sealPlace(bytes) !== -1;
}

/**
 * Reads a sealed file.
 * @throws FileFormatError if the checksum is missing or wrong, or if the file is not a safetensors file
 */
export function readSealed(bytes: Uint8Array, format: string): Safetensors {
  const at = sealPlace(bytes);
  if (at === -1) {
    // The file has no checksum: it is damaged or of another origin, which the reader finds out.
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

/** Byte offset of the eight digits; -1 if the file has none. */
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
