/** Data on which the variants of a kernel are tried, and how far their results may differ. */
import type { AttentionSource } from "../kernels/attention/choose.js";
import type { Capabilities } from "../kernels/capabilities.js";
import type { MatmulSpec } from "../kernels/matmul/spec.js";
import type { TunableSource } from "../kernels/variants.js";
import type { TypedArray } from "./host_data.js";

/** A trial of the variants of a kernel. */
export interface Trial {
  /** An array for each binding. What kernels write holds poison, which every variant must replace. */
  readonly buffers: Readonly<Record<string, TypedArray>>;
  /** How far numbers of this binding may be from the default's `values`. */
  readonly allowed: (binding: string, values: Float32Array) => (value: number) => number;
}

/** A trial with fresh numbers. */
export function trialOf(source: TunableSource, capabilities: Capabilities): Trial {
  return source.family === "matmul" ? trialOfMatmul(source.spec) : trialOfAttention(source, capabilities);
}

/** Numbers between -1 and 1; two in a word for f16. */
function randomNumbers(n: number, inF16: boolean): TypedArray {
  if (!inF16) return Float32Array.from({ length: n }, () => 2 * Math.random() - 1);
  // Random signs and fractions, with the exponent of numbers from a half on.
  const word = (): number => ((2 ** 32 * Math.random()) & 0x83ff83ff) | 0x38003800;
  return Uint32Array.from({ length: Math.ceil(n / 2) }, word);
}

/** NaN; two in a word for f16. */
const poison = (n: number, inF16: boolean): TypedArray =>
  inF16 ? new Uint32Array(Math.ceil(n / 2)).fill(0x7e007e00) : new Float32Array(n).fill(NaN);

/** Two results in f16 may be rounded to different neighbours. */
const F16_ROUNDING = 2 ** -10;

function trialOfMatmul({ M, N, K, batch = 1, splits = 1, halves = [] }: MatmulSpec): Trial {
  const random = (name: string, n: number): TypedArray => randomNumbers(n, halves.includes(name));
  // Both results are sums of K products below 1 (a quarter on average); rounding errors grow with the root of K.
  const least = 2 ** -24 * (8 + 8 * Math.sqrt(K)) * (2 + K / 4);
  const last = halves.includes("c") ? F16_ROUNDING : 0;
  return {
    buffers: {
      a: random("a", batch * M * K),
      b: random("b", batch * K * N),
      bias: random("bias", N),
      residual: random("residual", batch * M * N),
      c: poison(batch * splits * M * N, halves.includes("c")),
    },
    allowed: () => (value) => least + last * Math.abs(value),
  };
}

/** Share of the largest result by which results may differ: sums have another order, and mixed precision rounds operands. */
const ATTENTION_TOLERANCE = { f32: 2 ** -14, mixed: 2 ** -7 };

function trialOfAttention({ family, spec }: AttentionSource, { mixedPrecision }: Capabilities): Trial {
  const { batch, length, heads, headDim, halves = [], scaled = [] } = spec;
  const inF16 = (name: string): boolean => halves.includes(name) || scaled.includes(name);
  const rows = batch * length * heads;
  const sizes = {
    qkv: 3 * rows * headDim,
    o: rows * headDim,
    d_o: rows * headDim,
    d_qkv: 3 * rows * headDim,
  };
  const random = (name: keyof typeof sizes): TypedArray => randomNumbers(sizes[name], inF16(name));
  const table = (): TypedArray => randomNumbers(length * headDim, false);
  const share = ATTENTION_TOLERANCE[mixedPrecision ? "mixed" : "f32"];
  return {
    buffers: {
      ...{ qkv: random("qkv"), cos_table: table(), sin_table: table() },
      ...(family === "attention"
        ? { o: poison(sizes.o, inF16("o")), lse: poison(rows, false) }
        : {
            d_o: random("d_o"),
            // As if all scores were zero: probabilities stay small.
            lse: new Float32Array(rows).fill(Math.log(length)),
            delta: randomNumbers(rows, false),
            d_qkv: poison(sizes.d_qkv, inF16("d_qkv")),
          }),
    },
    allowed(name, values) {
      const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      const last = inF16(name) ? F16_ROUNDING : 0;
      return (value) => share * largest + last * Math.abs(value);
    },
  };
}
