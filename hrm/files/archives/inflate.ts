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

const FIXED = {
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
  const out = new Uint8Array(size);
  let at = 0;
  let written = 0;
  let held = 0;
  let heldBits = 0;

  const bits = (count: number): number => {
    while (heldBits < count) {
      if (at >= data.length) throw new InflateError("the compressed data ends early");
      held |= data[at++]! << heldBits;
      heldBits += 8;
    }
    const value = held & ((1 << count) - 1);
    held >>>= count;
    heldBits -= count;
    return value;
  };
  const symbol = ({ counts, symbols }: Huffman): number => {
    // Codes of one length are consecutive numbers; `code - first` counts from the first of this length.
    let code = 0;
    let first = 0;
    let index = 0;
    for (let length = 1; length <= MAX_BITS; length++) {
      code |= bits(1);
      const count = counts[length]!;
      if (code - first < count) return symbols[index + code - first]!;
      index += count;
      first = (first + count) << 1;
      code <<= 1;
    }
    throw new InflateError("a Huffman code that stands for nothing");
  };
  const room = (count: number): void => {
    if (written + count > size) throw new InflateError(`more than the ${size} bytes that it should hold`);
  };
  const stored = (): void => {
    held = heldBits = 0;
    if (at + 4 > data.length) throw new InflateError("the compressed data ends early");
    const length = data[at]! | (data[at + 1]! << 8);
    if ((length ^ 0xffff) !== (data[at + 2]! | (data[at + 3]! << 8)))
      throw new InflateError("a stored block's length does not match its complement");
    at += 4;
    if (at + length > data.length) throw new InflateError("the compressed data ends early");
    room(length);
    out.set(data.subarray(at, at + length), written);
    at += length;
    written += length;
  };
  const codes = (): { literals: Huffman; distances: Huffman } => {
    const literalCount = bits(5) + 257;
    const distanceCount = bits(5) + 1;
    const lengthCount = bits(4) + 4;
    if (literalCount > 286) throw new InflateError("a block with more than 286 literal codes");
    const codeLengths = new Uint8Array(19);
    for (let i = 0; i < lengthCount; i++) codeLengths[LENGTH_ORDER[i]!] = bits(3);
    const code = huffman(codeLengths);
    const lengths = new Uint8Array(literalCount + distanceCount);
    for (let i = 0; i < lengths.length;) {
      const s = symbol(code);
      if (s < 16) {
        lengths[i++] = s;
        continue;
      }
      if (s === 16 && i === 0) throw new InflateError("a code length repeats nothing");
      const value = s === 16 ? lengths[i - 1]! : 0;
      const times = s === 16 ? 3 + bits(2) : s === 17 ? 3 + bits(3) : 11 + bits(7);
      if (i + times > lengths.length) throw new InflateError("code lengths run past their number");
      lengths.fill(value, i, (i += times));
    }
    return {
      literals: huffman(lengths.subarray(0, literalCount)),
      distances: huffman(lengths.subarray(literalCount)),
    };
  };
  const compressed = ({ literals, distances }: { literals: Huffman; distances: Huffman }): void => {
    for (let s = symbol(literals); s !== 256; s = symbol(literals)) {
      if (s < 256) {
        room(1);
        out[written++] = s;
        continue;
      }
      const l = s - 257;
      if (l >= LENGTHS.base.length) throw new InflateError("an unknown length code");
      const length = LENGTHS.base[l]! + bits(LENGTHS.extra[l]!);
      const d = symbol(distances);
      if (d >= DISTANCES.base.length) throw new InflateError("an unknown distance code");
      const distance = DISTANCES.base[d]! + bits(DISTANCES.extra[d]!);
      if (distance > written) throw new InflateError("a distance that reaches before the start");
      room(length);
      // Byte by byte: source and target may overlap, which repeats the pattern.
      for (let i = 0; i < length; i++, written++) out[written] = out[written - distance]!;
    }
  };

  for (let last = 0; last === 0;) {
    last = bits(1);
    const kind = bits(2);
    if (kind === 0) stored();
    else if (kind === 3) throw new InflateError("an unknown kind of block");
    else compressed(kind === 1 ? FIXED : codes());
  }
  if (written !== size) throw new InflateError(`${written} bytes; it should hold ${size}`);
  return out;
}
