/** Reads a file of lines backwards from its end, so that neither time nor memory depends on the length of the file. */
import type { OpenFile } from "../disk/file_system.js";

/** The byte that ends a line. */
export const NEWLINE = 10;

/** Bytes read at a time. */
const BLOCK = 1 << 18;
/** Longer lines are not read. */
const LONGEST = 1 << 16;

export interface LastKept {
  /** Bytes up to the end of the last kept line. */
  readonly keep: number;
  /** The last kept line; null if no line is kept, or if the line is too long to be read. */
  readonly line: Uint8Array | null;
  /** False if the last kept line has no newline, which only the last line of a file can lack. */
  readonly ended: boolean;
}

/** Finds how much of a file is kept if lines are removed from its end while `drop` returns true. */
export async function lastKept(
  file: OpenFile,
  size: number,
  drop: (line: Uint8Array, ended: boolean) => boolean,
): Promise<LastKept> {
  let block = { from: size, bytes: new Uint8Array(0) };
  for (let keep = size; keep > 0;) {
    // Room for the longest line, its newline, and the newline of the line before.
    if (keep - block.from < LONGEST + 2 && block.from > 0) {
      const from = Math.max(0, keep - BLOCK);
      block = { from, bytes: new Uint8Array(await file.read(from, keep - from)) };
    }
    const before = block.bytes.subarray(0, keep - block.from);
    const ended = before.at(-1) === NEWLINE;
    const text = ended ? before.subarray(0, -1) : before;
    const start = text.lastIndexOf(NEWLINE) + 1;
    const whole = start > 0 || block.from === 0;
    const line = whole && text.length - start <= LONGEST ? text.slice(start) : null;
    if (line === null || !drop(line, ended)) return { keep, line, ended };
    keep = block.from + start;
  }
  return { keep: 0, line: null, ended: true };
}
