/** Fresh inputs, fast enough for hundreds of megabytes. */

/** Random draws that a seed reproduces. */
export interface RandomSource {
  /** Uniform in [0, 1). */
  next(): number;
  /** `n` values uniform in [low, high); default [-1, 1). */
  floats(n: number, low?: number, high?: number): Float32Array;
  /** `n` integers in [low, high). */
  integers(n: number, low: number, high: number): Int32Array;
}

/** xorshift32 (Marsaglia 2003): far below statistical research, far above what a benchmark's inputs need. */
export function randomSource(seed: number): RandomSource {
  let state = Math.imul(seed | 0, 0x9e3779b1) ^ 0x2545f491 || 1;
  const next = (): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
  return {
    next,
    floats(n, low = -1, high = 1) {
      const values = new Float32Array(n);
      for (let i = 0; i < n; i++) values[i] = low + (high - low) * next();
      return values;
    },
    integers(n, low, high) {
      const values = new Int32Array(n);
      for (let i = 0; i < n; i++) values[i] = low + Math.floor((high - low) * next());
      return values;
    },
  };
}
