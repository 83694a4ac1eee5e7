/**
 * Seeded random numbers on the host, for data sets and shuffles. Training draws its numbers from the GPU's counter-based
 * generator instead.
 *
 * The generator is sfc32 (Doty-Humphrey, PractRand: 128 bits of state, including a counter, so that there
 * are no short cycles). splitmix32 makes its seed words, so that neighbouring seeds give unrelated streams.
 */

export interface HostRandom {
  /** 32 random bits, as an integer in [0, 2^32). */
  uint32(): number;
  /** Uniform in [0, 1), a multiple of 2^-53. */
  uniform(): number;
  /** Uniform integer in [0, bound), without modulo bias; `bound` is an integer in [1, 2^32]. */
  below(bound: number): number;
}

/**
 * A generator for `seed` (an integer in [0, 2^53)). Generators with the same seed and different `stream`
 * names are independent: the number of draws from one does not change the others.
 * @throws RangeError on any other seed
 */
export function hostRandom(seed: number, stream = ""): HostRandom {
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new RangeError(`hostRandom: got seed ${seed}; expected an integer from 0 to 2^53 - 1.`);
  }
  const next = splitmix32((seed >>> 0) ^ Math.imul(hash(stream), 0x9e3779b1) ^ Math.floor(seed / 2 ** 32));
  let a = next() ^ Math.floor(seed / 2 ** 32);
  let b = next() ^ (seed >>> 0);
  let c = next() ^ hash(stream);
  let counter = 1;
  const uint32 = (): number => {
    const out = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + out) | 0;
    return out >>> 0;
  };
  for (let i = 0; i < 12; i++) uint32();
  return {
    uint32,
    uniform: () => ((uint32() >>> 5) * 2 ** 26 + (uint32() >>> 6)) * 2 ** -53,
    below(bound) {
      const limit = 2 ** 32 - (2 ** 32 % bound);
      let draw = uint32();
      while (draw >= limit) draw = uint32();
      return draw % bound;
    },
  };
}

/** Fisher-Yates shuffle in place. */
export function shuffle<T>(random: HostRandom, items: T[]): void {
  for (let i = items.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [items[i], items[j]] = [items[j]!, items[i]!];
  }
}

function splitmix32(state: number): () => number {
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let z = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) | 0;
  };
}

/** FNV-1a over the UTF-16 code units. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h | 0;
}
