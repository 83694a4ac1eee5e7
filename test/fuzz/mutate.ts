/** Seeded damage to valid files, as broken disks, careless editors and liars do it. */
import type { HostRandom } from "../../hrm/puzzles/index.js";

/** Bytes and integers on which readers trip: signs, limits, separators, brackets. */
const BYTES = [0, 1, 9, 10, 13, 32, 34, 39, 44, 48, 57, 58, 91, 93, 123, 125, 127, 128, 255];
const NUMBERS = [
  "0",
  "-1",
  "1",
  "2147483648",
  "4294967296",
  "9007199254740993",
  "1e99",
  "0.5",
  "99999999999999999999",
];
const WORDS = [0, 1, 255, 65535, 65536, 0x7fffffff, 0x80000000, 0xffffffff];

type Mutation = (bytes: Uint8Array, random: HostRandom) => Uint8Array;

/** A random range of at most `longest` bytes. */
function range(bytes: Uint8Array, random: HostRandom, longest: number): [from: number, to: number] {
  const from = random.below(bytes.length + 1);
  return [from, Math.min(bytes.length, from + random.below(longest + 1))];
}

function spliced(bytes: Uint8Array, from: number, to: number, inserted: Uint8Array): Uint8Array {
  const result = new Uint8Array(from + inserted.length + bytes.length - to);
  result.set(bytes.subarray(0, from));
  result.set(inserted, from);
  result.set(bytes.subarray(to), from + inserted.length);
  return result;
}

const DEEP = `${"[".repeat(20_000)}0${"]".repeat(20_000)}`;

/** Replaces a decimal number in the text. */
function withNumber(bytes: Uint8Array, random: HostRandom, number: string): Uint8Array {
  const digit = (at: number): boolean => at < bytes.length && bytes[at]! >= 48 && bytes[at]! <= 57;
  const start = random.below(bytes.length + 1);
  let from = start;
  while (from < Math.min(bytes.length, start + 256) && !digit(from)) from++;
  let to = from;
  while (digit(to)) to++;
  return from === to ? bytes : spliced(bytes, from, to, new TextEncoder().encode(number));
}

const MUTATIONS: readonly Mutation[] = [
  function flipBit(bytes, random) {
    const copy = bytes.slice();
    if (copy.length > 0) copy[random.below(copy.length)]! ^= 1 << random.below(8);
    return copy;
  },
  function setByte(bytes, random) {
    const copy = bytes.slice();
    if (copy.length > 0) copy[random.below(copy.length)] = BYTES[random.below(BYTES.length)]!;
    return copy;
  },
  /** Overwrites a word with a little-endian number, mostly near the beginning, where formats keep sizes. */
  function setWord(bytes, random) {
    const copy = bytes.slice();
    const reach = random.below(2) === 0 ? Math.min(copy.length, 128) : copy.length;
    if (reach < 4) return copy;
    const word = WORDS[random.below(WORDS.length)]!;
    new DataView(copy.buffer).setUint32(random.below(reach - 3), word, true);
    return copy;
  },
  function truncate(bytes, random) {
    return bytes.slice(0, random.below(bytes.length + 1));
  },
  function remove(bytes, random) {
    return spliced(bytes, ...range(bytes, random, 64), new Uint8Array());
  },
  function insert(bytes, random) {
    const inserted = Uint8Array.from({ length: 1 + random.below(16) }, () => random.below(256));
    const at = random.below(bytes.length + 1);
    return spliced(bytes, at, at, inserted);
  },
  function repeat(bytes, random) {
    const [from, to] = range(bytes, random, 256);
    const at = random.below(bytes.length + 1);
    return spliced(bytes, at, at, bytes.slice(from, to));
  },
  function move(bytes, random) {
    const [from, to] = range(bytes, random, 64);
    const moved = bytes.slice(from, to);
    const rest = spliced(bytes, from, to, new Uint8Array());
    const at = random.below(rest.length + 1);
    return spliced(rest, at, at, moved);
  },
  function setNumber(bytes, random) {
    return withNumber(bytes, random, NUMBERS[random.below(NUMBERS.length)]!);
  },
  /** Nested deeper than a recursive reader has stack for. */
  function nestNumber(bytes, random) {
    return withNumber(bytes, random, DEEP);
  },
];

/** The bytes after one to four mutations. */
export function mutate(bytes: Uint8Array, random: HostRandom): Uint8Array {
  let result = bytes;
  for (let n = 1 + random.below(4); n > 0; n--)
    result = MUTATIONS[random.below(MUTATIONS.length)]!(result, random);
  return result;
}
