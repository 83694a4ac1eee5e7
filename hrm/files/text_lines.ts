/** Lines of a text file, one at a time, so that a large file is never one large string. */
import { FileFormatError } from "./file_format_error.js";

/** A line without its ending. */
export interface TextLine {
  /** Counted from 1. */
  readonly line: number;
  readonly text: string;
}

/** Lines end with LF or CR LF; a byte-order mark is skipped. @throws FileFormatError on bytes that are no UTF-8 */
export function* textLines(bytes: Uint8Array, format: string, file: string): Generator<TextLine> {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const mark = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
  let start = mark ? 3 : 0;
  for (let line = 1; start < bytes.length; line++) {
    const found = bytes.indexOf(10, start);
    const next = found < 0 ? bytes.length : found;
    const end = next > start && bytes[next - 1] === 13 ? next - 1 : next;
    let text: string;
    try {
      text = decoder.decode(bytes.subarray(start, end));
    } catch (error) {
      throw new FileFormatError(format, "not UTF-8 text", { file, line }, { cause: error });
    }
    yield { line, text };
    start = next + 1;
  }
}
