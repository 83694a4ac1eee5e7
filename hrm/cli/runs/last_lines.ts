/** The end of a file of lines, read backwards, so that neither time nor memory depends on what stands before. */
import type { OpenFile } from "../disk/file_system.js";

/** The byte that ends a line. */
export const NEWLINE = 10;

/** Bytes read at a time. */
const BLOCK = 1 << 18;
/** A longer line is not looked at. */
const LONGEST = 1 << 16;

export interface LastKept {
  /** Bytes up to the end of the last line that stays. */
  readonly keep: number;
  /** The last line that stays; null if no line stays, or if it is longer than any line of a history. */
  readonly line: Uint8Array | null;
  /** False if that line lacks its newline, which only the last line of a file can. */
  readonly ended: boolean;
}

/** Finds how much of a file stays if lines are taken off its end as long as `drop` says so. */
export async function lastKept(
  file: OpenFile,
  size: number,
  drop: (line: Uint8Array, ended: boolean) => boolean,
): Promise<LastKept> {
  let block = { from: size, bytes: new Uint8Array(0) };
  for (let keep = size; keep > 0;) {
    // The longest line, its own newline and that of the line before.
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
