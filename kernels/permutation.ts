/**
 * Random permutations from counter-based random numbers: a whole permutation of few items, or single places of a permutation
 * of many items.
 */
import { KernelError, requireBindable, requirePositive, type Kernel } from "./core/kernel.js";
import type { Capabilities } from "./capabilities.js";
import { THREEFRY, threefry2x32 } from "./random.js";
import { bindingsOf, linearThreads, lines, literal, shader, type ShaderBinding } from "./core/wgsl.js";

/** Rounds of the Feistel network; each takes one word of key. */
const ROUNDS = 8;

/** Permutations to draw, each as a whole. */
export interface RandomPermutationsSpec {
  /** Number of permutations: R. */
  readonly rows: number;
  /** Items of each permutation: n. One thread shuffles them. */
  readonly items: number;
  /** Distinguishes uses of the same key (u32). */
  readonly stream: number;
}

/**
 * Bindings: key u32 [2] = (seed, step), y i32 [R, n]. Each row is a permutation of 0..n-1 by Fisher-Yates: for
 * i = n-1 down to 1, item i changes places with item threefry2x32((seed, stream), (r n + i, step))[0] mod (i + 1). The
 * remainder's bias is below n / 2^32.
 */
export function randomPermutations(spec: RandomPermutationsSpec, capabilities: Capabilities): Kernel {
  const { rows, items, stream } = spec;
  const name = `random_permutations_${rows}x${items}_stream${stream}`;
  requirePositive(name, { rows, items });
  requireBindable(name, { y: rows * items }, capabilities);
  const bindings: ShaderBinding[] = [
    { name: "key", access: "read", dtype: "u32" },
    { name: "y", access: "read_write", dtype: "i32" },
  ];
  const { workgroups, prologue } = linearThreads(name, rows, 64, capabilities);
  const body = lines(
    prologue,
    `let first = index * ${items}u;`,
    `for (var i = 0u; i < ${items}u; i++) { y[first + i] = i32(i); }`,
    `for (var i = ${items - 1}u; i > 0u; i--) {`,
    `let x = threefry2x32(vec2u(key[0], ${literal(stream, "u32")}), vec2u(first + i, key[1]));`,
    "let j = first + x.x % (i + 1u);",
    "let moved = y[first + i];",
    "y[first + i] = y[j];",
    "y[j] = moved;",
    "}",
  );
  const code = shader({ bindings, workgroupSize: 64, declarations: THREEFRY, body });
  return { name, code, bindings: bindingsOf(bindings), workgroups, flops: 0, bytes: 4 * (rows * items + 2) };
}

/** Computes {@link randomPermutations} on the host. */
export function randomPermutationsReference(
  { rows, items, stream }: RandomPermutationsSpec,
  key: readonly [number, number],
): Int32Array {
  const y = new Int32Array(rows * items);
  for (let row = 0; row < rows; row++) {
    const order = y.subarray(row * items, (row + 1) * items);
    order.forEach((_, i) => (order[i] = i));
    for (let i = items - 1; i > 0; i--) {
      const j = threefry2x32([key[0], stream], [row * items + i, key[1]])[0] % (i + 1);
      [order[i], order[j]] = [order[j]!, order[i]!];
    }
  }
  return y;
}

/** Places to look up in one permutation, which is never stored. */
export interface ShuffledIndexSpec {
  /** Places to look up: N. */
  readonly count: number;
  /** Items of the permutation, below 2^31. */
  readonly size: number;
  /** Names the use of the draws (u32). */
  readonly stream: number;
}

/** Bits of half a Feistel word: two halves hold every number below `size`. */
function halfBits(size: number): number {
  return Math.max(1, Math.ceil((32 - Math.clz32(size - 1)) / 2));
}

/**
 * Bindings: key u32 [2] = (seed, any), draws u32 [N], y i32 [N]. Draw d is place d mod size of permutation number
 * floor(d / size). Every permutation is drawn independently: consecutive draws run through all items, then again through
 * all items in another order. A place is encrypted by a Feistel network under the permutation's key, as often as it takes to be
 * below `size` again (cycle walking; Black & Rogaway 2002, "Ciphers with arbitrary finite domains"), so that the
 * number of the draw is the whole state.
 */
export function shuffledIndex(spec: ShuffledIndexSpec, capabilities: Capabilities): Kernel {
  const { count, size, stream } = spec;
  const name = `shuffled_index_${count}_of_${size}_stream${stream}`;
  requirePositive(name, { count, size });
  if (size >= 2 ** 31) throw new KernelError(name, `${size} items`, "fewer than 2^31");
  requireBindable(name, { y: count }, capabilities);
  const half = halfBits(size);
  const mask = `${2 ** half - 1}u`;
  const bindings: ShaderBinding[] = [
    { name: "key", access: "read", dtype: "u32" },
    { name: "draws", access: "read", dtype: "u32" },
    { name: "y", access: "read_write", dtype: "i32" },
  ];
  const { workgroups, prologue } = linearThreads(name, count, 64, capabilities);
  const declarations = lines(
    THREEFRY,
    "fn mix(value: u32) -> u32 {",
    "let a = (value ^ (value >> 16u)) * 0x85ebca6bu;",
    "let b = (a ^ (a >> 13u)) * 0xc2b2ae35u;",
    "return b ^ (b >> 16u);",
    "}",
  );
  const body = lines(
    prologue,
    `let permutation = draws[index] / ${size}u;`,
    `var x = draws[index] % ${size}u;`,
    `var keys: array<u32, ${ROUNDS}>;`,
    `for (var i = 0u; i < ${ROUNDS / 2}u; i++) {`,
    `let words = threefry2x32(vec2u(key[0], ${literal(stream, "u32")}), vec2u(permutation, i));`,
    "keys[2u * i] = words.x;",
    "keys[2u * i + 1u] = words.y;",
    "}",
    "loop {",
    `var left = x >> ${half}u;`,
    `var right = x & ${mask};`,
    `for (var round = 0u; round < ${ROUNDS}u; round++) {`,
    `let next = left ^ (mix(right ^ keys[round]) & ${mask});`,
    "left = right;",
    "right = next;",
    "}",
    `x = (left << ${half}u) | right;`,
    `if (x < ${size}u) { break; }`,
    "}",
    "y[index] = i32(x);",
  );
  const code = shader({ bindings, workgroupSize: 64, declarations, body });
  return { name, code, bindings: bindingsOf(bindings), workgroups, flops: 0, bytes: 4 * (2 * count + 2) };
}

/** Computes {@link shuffledIndex} on the host. */
export function shuffledIndexReference(
  { size, stream }: ShuffledIndexSpec,
  seed: number,
  draws: ArrayLike<number>,
): Int32Array {
  const half = halfBits(size);
  const mask = 2 ** half - 1;
  return Int32Array.from(draws, (draw) => {
    const permutation = Math.floor(draw / size);
    const keys = Array.from({ length: ROUNDS / 2 }, (_, i) =>
      threefry2x32([seed, stream], [permutation, i]),
    ).flat();
    let x = draw % size;
    do {
      let [left, right] = [x >>> half, x & mask];
      for (const key of keys) [left, right] = [right, left ^ (mix(right ^ key) & mask)];
      x = ((left << half) | right) >>> 0;
    } while (x >= size);
    return x;
  });
}

/** The finaliser of MurmurHash3 (Appleby), a bijection of 32-bit words. */
function mix(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
