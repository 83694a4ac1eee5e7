/** Collects puzzles in arrays that grow, so that no object is kept per puzzle. */
import type { PuzzleSet } from "../../puzzles/puzzle_set.js";

/** The text of one puzzle in a file. */
export interface TextRow {
  /** Its first line, counted from 1. */
  readonly line: number;
  readonly question: string;
  /** Null for a puzzle without an answer. */
  readonly answer: string | null;
}

/** A set that grows. */
export interface PuzzleTable {
  readonly count: number;
  /** Adds a puzzle. A number as label is used for all cells. */
  add(input: ArrayLike<number>, label: ArrayLike<number> | number, identifier: number): void;
  finish(): PuzzleSet;
}

/** Makes an empty table for puzzles of `length` cells. `most` is an upper bound on their number. */
export function createTable(length: number, most = Infinity): PuzzleTable {
  let capacity = Math.min(most, 64);
  let inputs = new Int32Array(capacity * length);
  let labels = new Int32Array(capacity * length);
  let identifiers = new Int32Array(capacity);
  let count = 0;
  const resized = (from: Int32Array, size: number): Int32Array<ArrayBuffer> => {
    const to = new Int32Array(size);
    to.set(from.subarray(0, Math.min(size, from.length)));
    return to;
  };
  const resize = (size: number): void => {
    capacity = size;
    inputs = resized(inputs, size * length);
    labels = resized(labels, size * length);
    identifiers = resized(identifiers, size);
  };
  return {
    get count() {
      return count;
    },
    add(input, label, identifier) {
      if (count === capacity) resize(Math.max(count + 1, Math.min(2 * capacity, most)));
      inputs.set(input, count * length);
      if (typeof label === "number") labels.fill(label, count * length, (count + 1) * length);
      else labels.set(label, count * length);
      identifiers[count++] = identifier;
    },
    finish() {
      if (capacity > count) resize(count);
      return { count, length, inputs, labels, identifiers };
    },
  };
}
