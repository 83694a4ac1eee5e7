/** Reads a text file line by line, so that a large file never becomes one large string. */
import { FileFormatError } from "../file_format_error.js";

const [LF, CR] = [10, 13];

/** A line without its ending. */
export interface TextLine {
  /** Counted from 1. */
  readonly line: number;
  readonly text: string;
}

/** Offset of the text, after a byte-order mark if the file has one. */
export function startOfText(bytes: Uint8Array): number {
  return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0;
}

/** Lines end with LF, CR LF or CR; a byte-order mark is skipped. @throws FileFormatError if the bytes are not UTF-8 */
export function* textLines(bytes: Uint8Array, format: string, file: string): Generator<TextLine> {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const [nextLF, nextCR] = [finder(bytes, LF), finder(bytes, CR)];
  let start = startOfText(bytes);
  for (let line = 1; start < bytes.length; line++) {
    const end = Math.min(nextLF(start), nextCR(start));
    let text: string;
    try {
      text = decoder.decode(bytes.subarray(start, end));
    } catch (error) {
      throw new FileFormatError(format, "not UTF-8 text", { file, line }, { cause: error });
    }
    yield { line, text };
    start = end + (bytes[end] === CR && bytes[end + 1] === LF ? 2 : 1);
  }
}

/** Finds the next byte of a value from rising offsets; returns the end if there is none. The last result is kept, so that no byte is searched twice. */
function finder(bytes: Uint8Array, byte: number): (from: number) => number {
  let found = -1;
  return (from) => {
    if (found < from) {
      const at = bytes.indexOf(byte, from);
      found = at < 0 ? bytes.length : at;
    }
    return found;
  };
}
