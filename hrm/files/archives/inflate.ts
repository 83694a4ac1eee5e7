/** Inflate: decompresses raw DEFLATE data (RFC 1951) into a buffer of the size that is expected, never more. */
import { EngineError } from "../../../engine/errors.js";

/** Data cannot be inflated. Says why. */
export class InflateError extends EngineError {
  override readonly name = "InflateError";
  constructor(message: string) {
    super("file", message);
  }
}

/** Order of the code lengths (RFC 1951, 3.2.7). */
const LENGTH_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
const MAX_BITS = 15;

/** A canonical Huffman code: how many codes each length has, and the symbols by code. */
interface Huffman {
  readonly counts: Uint16Array;
  readonly symbols: Uint16Array;
}

/** Base values and extra bits of length codes 257.. and distance codes 0.. (RFC 1951, 3.2.5). */
const LENGTHS = ranges(29, 3, (i) => (i < 8 || i === 28 ? 0 : (i >> 2) - 1));
LENGTHS.base[28] = 258;
const DISTANCES = ranges(30, 1, (i) => (i < 4 ? 0 : (i >> 1) - 1));

function ranges(count: number, first: number, extraBits: (i: number) => number) {
  const base = new Uint16Array(count);
  const extra = Uint8Array.from({ length: count }, (_, i) => extraBits(i));
  for (let i = 0, value = first; i < count; value += 1 << extra[i]!, i++) base[i] = value;
  return { base, extra };
}

function huffman(lengths: ArrayLike<number>): Huffman {
  const counts = new Uint16Array(MAX_BITS + 1);
  for (let i = 0; i < lengths.length; i++) counts[lengths[i]!]!++;
  let left = 1;
  for (let bits = 1; bits <= MAX_BITS; bits++) {
    left = left * 2 - counts[bits]!;
    if (left < 0) throw new InflateError("a Huffman code has more codes than fit its lengths");
  }
  const next = new Uint16Array(MAX_BITS + 1);
  for (let bits = 1; bits < MAX_BITS; bits++) next[bits + 1] = next[bits]! + counts[bits]!;
  const symbols = new Uint16Array(lengths.length);
  for (let i = 0; i < lengths.length; i++) if (lengths[i]! > 0) symbols[next[lengths[i]!]!++] = i;
  counts[0] = 0;
  return { counts, symbols };
}

/** The codes of a block. */
interface Codes {
  readonly literals: Huffman;
  readonly distances: Huffman;
}

const FIXED: Codes = {
  literals: huffman(
    Uint8Array.from({ length: 288 }, (_, i) => (i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8)),
  ),
  distances: huffman(new Uint8Array(30).fill(5)),
};

/**
 * Inflates to exactly `size` bytes.
 * @throws InflateError on data that is malformed, ends early, or holds more or less than `size` bytes
 */
export function inflate(data: Uint8Array, size: number): Uint8Array<ArrayBuffer> {
  const inflater = new Inflater(data, size);
  for (let last = 0; last === 0;) {
    last = inflater.bits(1);
    const kind = inflater.bits(2);
    if (kind === 0) inflater.stored();
    else if (kind === 3) throw new InflateError("an unknown kind of block");
    else inflater.compressed(kind === 1 ? FIXED : inflater.codes());
  }
  if (inflater.written !== size) throw new InflateError(`${inflater.written} bytes; it should hold ${size}`);
  return inflater.out;
}

/** A place in the compressed data, and what was written so far. */
class Inflater {
  readonly out: Uint8Array<ArrayBuffer>;
  written = 0;
  readonly #data: Uint8Array;
  #at = 0;
  #held = 0;
  #heldBits = 0;

  constructor(data: Uint8Array, size: number) {
    this.#data = data;
    this.out = new Uint8Array(size);
  }

  bits(count: number): number {
    while (this.#heldBits < count) {
      if (this.#at >= this.#data.length) throw new InflateError("the compressed data ends early");
      this.#held |= this.#data[this.#at++]! << this.#heldBits;
      this.#heldBits += 8;
    }
    const value = this.#held & ((1 << count) - 1);
    this.#held >>>= count;
    this.#heldBits -= count;
    return value;
  }

  #symbol({ counts, symbols }: Huffman): number {
    // Codes of one length are consecutive numbers; `code - first` counts from the first of this length.
    let code = 0;
    let first = 0;
    let index = 0;
    for (let length = 1; length <= MAX_BITS; length++) {
      code |= this.bits(1);
      const count = counts[length]!;
      if (code - first < count) return symbols[index + code - first]!;
      index += count;
      first = (first + count) << 1;
      code <<= 1;
    }
    throw new InflateError("a Huffman code that stands for nothing");
  }

  #requireRoom(count: number): void {
    if (this.written + count > this.out.length)
      throw new InflateError(`more than the ${this.out.length} bytes that it should hold`);
  }

  /** A block of bytes as they are. */
  stored(): void {
    const data = this.#data;
    this.#held = this.#heldBits = 0;
    if (this.#at + 4 > data.length) throw new InflateError("the compressed data ends early");
    const length = data[this.#at]! | (data[this.#at + 1]! << 8);
    if ((length ^ 0xffff) !== (data[this.#at + 2]! | (data[this.#at + 3]! << 8)))
      throw new InflateError("a stored block's length does not match its complement");
    this.#at += 4;
    if (this.#at + length > data.length) throw new InflateError("the compressed data ends early");
    this.#requireRoom(length);
    this.out.set(data.subarray(this.#at, this.#at + length), this.written);
    this.#at += length;
    this.written += length;
  }

  /** The codes at the beginning of a block that brings its own. */
  codes(): Codes {
    const literalCount = this.bits(5) + 257;
    const distanceCount = this.bits(5) + 1;
    const lengthCount = this.bits(4) + 4;
    if (literalCount > 286) throw new InflateError("a block with more than 286 literal codes");
    const codeLengths = new Uint8Array(19);
    for (let i = 0; i < lengthCount; i++) codeLengths[LENGTH_ORDER[i]!] = this.bits(3);
    const code = huffman(codeLengths);
    const lengths = new Uint8Array(literalCount + distanceCount);
    for (let i = 0; i < lengths.length;) {
      const s = this.#symbol(code);
      if (s < 16) {
        lengths[i++] = s;
        continue;
      }
      if (s === 16 && i === 0) throw new InflateError("a code length repeats nothing");
      const value = s === 16 ? lengths[i - 1]! : 0;
      const times = s === 16 ? 3 + this.bits(2) : s === 17 ? 3 + this.bits(3) : 11 + this.bits(7);
      if (i + times > lengths.length) throw new InflateError("code lengths run past their number");
      lengths.fill(value, i, (i += times));
    }
    return {
      literals: huffman(lengths.subarray(0, literalCount)),
      distances: huffman(lengths.subarray(literalCount)),
    };
  }

  /** A block of literals and of repetitions. */
  compressed({ literals, distances }: Codes): void {
    for (let s = this.#symbol(literals); s !== 256; s = this.#symbol(literals)) {
      if (s < 256) {
        this.#requireRoom(1);
        this.out[this.written++] = s;
        continue;
      }
      const l = s - 257;
      if (l >= LENGTHS.base.length) throw new InflateError("an unknown length code");
      const length = LENGTHS.base[l]! + this.bits(LENGTHS.extra[l]!);
      const d = this.#symbol(distances);
      if (d >= DISTANCES.base.length) throw new InflateError("an unknown distance code");
      const distance = DISTANCES.base[d]! + this.bits(DISTANCES.extra[d]!);
      if (distance > this.written) throw new InflateError("a distance that reaches before the start");
      this.#requireRoom(length);
      const end = this.written + length;
      // Byte by byte: source and target may overlap, which repeats the pattern.
      for (; this.written < end; this.written++) this.out[this.written] = this.out[this.written - distance]!;
    }
  }
}
