/**
 * Counter-based random numbers: Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror & Shaw 2011, "Parallel random
 * numbers: as easy as 1, 2, 3"). A draw is a pure function of (seed, stream, step, position), so that the host
 * can repeat any draw, and replaying a step repeats its draws.
 */
import { KernelError, requireBindable, requirePositive, type Kernel } from "./core/kernel.js";
import type { Capabilities } from "./capabilities.js";
import {
  bindingsOf,
  linearThreads,
  lines,
  literal,
  repeat,
  shader,
  type ShaderBinding,
} from "./core/wgsl.js";

const ROTATIONS = [13, 15, 26, 6, 17, 29, 16, 24] as const;
const ROUNDS = 20;
/** Constant that turns the first two key words into the third. */
const PARITY = 0x1bd11bda;

/** WGSL of one block: `fn threefry2x32(key: vec2u, counter: vec2u) -> vec2u`. */
export const THREEFRY = lines(
  "fn threefry2x32(key: vec2u, counter: vec2u) -> vec2u {",
  `let words = array<u32, 3>(key.x, key.y, key.x ^ key.y ^ ${literal(PARITY, "u32")});`,
  "var x = counter + key;",
  repeat(ROUNDS, (round) => {
    const bits = ROTATIONS[round % 8]!;
    const injection = (round + 1) / 4;
    return lines(
      "x.x += x.y;",
      `x.y = ((x.y << ${bits}u) | (x.y >> ${32 - bits}u)) ^ x.x;`,
      Number.isInteger(injection) &&
        `x += vec2u(words[${injection % 3}], words[${(injection + 1) % 3}] + ${injection}u);`,
    );
  }),
  "return x;",
  "}",
);

/** Random words to draw. */
export interface RandomSpec {
  /** 32-bit words to draw. */
  readonly count: number;
  /** Distinguishes uses of the same key (u32): two streams share no draw. */
  readonly stream: number;
  /** Keys, each for `count / keys` words in a row; default 1. */
  readonly keys?: number;
}

/**
 * Bindings: key u32 [keys, 2] = (seed, step) of each key, bits u32 [count].
 * (bits[2i], bits[2i + 1]) = threefry2x32((seed, stream), (i, step)), where i counts from 0 for each key.
 */
export function randomBits(spec: RandomSpec, capabilities: Capabilities): Kernel {
  const { count, stream, keys = 1 } = spec;
  const name = `random_bits_${count}_stream${stream}${keys > 1 ? `_keys${keys}` : ""}`;
  const each = count / keys;
  const pairs = Math.ceil(each / 2);
  requirePositive(name, { count, keys, each });
  if (stream >>> 0 !== stream)
    throw new KernelError(name, `stream = ${stream}`, "an integer from 0 to 2^32 - 1");
  requireBindable(name, { bits: count }, capabilities);
  const bindings: ShaderBinding[] = [
    { name: "key", access: "read", dtype: "u32" },
    { name: "bits", access: "read_write", dtype: "u32" },
  ];
  const { workgroups, prologue } = linearThreads(name, keys * pairs, 64, capabilities);
  const [own, pair] = keys > 1 ? [`2u * (index / ${pairs}u)`, `index % ${pairs}u`] : ["0u", "index"];
  const body = lines(
    prologue,
    `let own = ${own};`,
    `let pair = ${pair};`,
    `let at = own / 2u * ${each}u + 2u * pair;`,
    `let x = threefry2x32(vec2u(key[own], ${literal(stream, "u32")}), vec2u(pair, key[own + 1u]));`,
    "bits[at] = x.x;",
    each % 2 === 0 ? "bits[at + 1u] = x.y;" : `if (2u * pair + 1u < ${each}u) { bits[at + 1u] = x.y; }`,
  );
  const code = shader({ bindings, workgroupSize: 64, declarations: THREEFRY, body });
  return { name, code, bindings: bindingsOf(bindings), workgroups, flops: 0, bytes: 4 * (count + 2 * keys) };
}

/** One block of Threefry-2x32-20; all words are u32. */
export function threefry2x32(
  key: readonly [number, number],
  counter: readonly [number, number],
): [number, number] {
  const words = [key[0], key[1], key[0] ^ key[1] ^ PARITY];
  let x = (counter[0] + key[0]) | 0;
  let y = (counter[1] + key[1]) | 0;
  for (let round = 0; round < ROUNDS; round++) {
    const bits = ROTATIONS[round % 8]!;
    x = (x + y) | 0;
    y = ((y << bits) | (y >>> (32 - bits))) ^ x;
    const injection = (round + 1) / 4;
    if (!Number.isInteger(injection)) continue;
    x = (x + words[injection % 3]!) | 0;
    y = (y + words[(injection + 1) % 3]! + injection) | 0;
  }
  return [x >>> 0, y >>> 0];
}

/** Computes the bits of {@link randomBits} on the host, with key = (seed, step). */
export function randomBitsReference(
  { count, stream }: RandomSpec,
  key: readonly [number, number],
): Uint32Array {
  const bits = new Uint32Array(count);
  for (let i = 0; i < count; i += 2)
    bits.set(threefry2x32([key[0], stream], [i / 2, key[1]]).slice(0, count - i), i);
  return bits;
}
