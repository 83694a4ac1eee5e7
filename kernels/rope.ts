/**
 * Rotary position embedding by rotate-half (Su et al. 2021; GPT-NeoX layout) on the q and k thirds of packed qkv:
 *
 *   y = x cos + rotate_half(x) sin,   rotate_half([x1, x2]) = [-x2, x1]
 *
 * cos and sin are tables [S, D], built on the CPU: WGSL's sin and cos may be off by 2^-11.
 */
import {
  KernelError,
  requireBindable,
  requirePositive,
  type F16Buffers,
  type Kernel,
} from "./core/kernel.js";
import type { Capabilities } from "./capabilities.js";
import {
  bindingsOf,
  buffersOf,
  isPositiveF32,
  linearThreads,
  lines,
  shader,
  type ShaderBinding,
} from "./core/wgsl.js";

/** Rotary positions to apply to heads, [batch, length, heads, headDim]. */
export interface RopeSpec extends F16Buffers {
  /** B: sequences. */
  readonly batch: number;
  /** S: positions. */
  readonly length: number;
  /** Heads to rotate. */
  readonly heads: number;
  /** Width of a head, even. */
  readonly headDim: number;
  /** Applies the transpose of the rotation, which is its gradient. */
  readonly inverse: boolean;
}

const WORKGROUP = 64;

/** Bindings: x [B, S, 3, H, D], cos [S, D], sin [S, D], y [B, S, 3, H, D]; the v third is copied. */
export function rope(spec: RopeSpec, capabilities: Capabilities): Kernel {
  const { batch, length, heads, headDim, inverse } = spec;
  const name = `rope${inverse ? "_inverse" : ""}_b${batch}_s${length}_h${heads}_d${headDim}`;
  requirePositive(name, { batch, length, heads, headDim });
  if (headDim % 2 !== 0)
    throw new KernelError(name, `head size ${headDim}`, "an even head size, because its halves are rotated");
  const size = batch * length * 3 * heads * headDim;
  requireBindable(name, { x: size }, capabilities);
  const half = headDim / 2;
  const bindings: ShaderBinding[] = [
    { name: "x", access: "read", dtype: "f32" },
    { name: "cos_table", access: "read", dtype: "f32" },
    { name: "sin_table", access: "read", dtype: "f32" },
    { name: "y", access: "read_write", dtype: "f32" },
  ];
  const buffers = buffersOf(name, bindings, spec);
  const store = (at: string, value: string): string => buffers.store("y", at, value);
  // A thread rotates one pair (d, d + D/2).
  const { workgroups, prologue } = linearThreads(name, size / 2, WORKGROUP, capabilities);
  const body = lines(
    prologue,
    `let d = index % ${half}u;`,
    `let row = index / ${half}u;`,
    `let third = row / ${heads}u % 3u;`,
    `let t = (row / ${3 * heads}u % ${length}u) * ${headDim}u + d;`,
    `let at = row * ${headDim}u + d;`,
    `let a = ${buffers.load("x", "at")};`,
    `let b = ${buffers.load("x", `at + ${half}u`)};`,
    `if (third == 2u) { ${store("at", "a")} ${store(`at + ${half}u`, "b")} return; }`,
    inverse
      ? [
          store("at", `a * cos_table[t] + b * sin_table[t + ${half}u]`),
          store(`at + ${half}u`, `b * cos_table[t + ${half}u] - a * sin_table[t]`),
        ]
      : [
          store("at", "a * cos_table[t] - b * sin_table[t]"),
          store(`at + ${half}u`, `b * cos_table[t + ${half}u] + a * sin_table[t + ${half}u]`),
        ],
  );
  const code = shader({ bindings: buffers.bindings, workgroupSize: WORKGROUP, body });
  return {
    name: `${name}${buffers.suffix}`,
    code,
    bindings: bindingsOf(buffers.bindings),
    workgroups,
    flops: 2 * size,
    bytes: 4 * (2 * size + 2 * length * headDim) - buffers.saved({ x: size, y: size }),
  };
}

/** Parameters of the tables. Pair i is rotated by t frequency theta^(-2i/D) at position t. */
export interface RopeTablesSpec {
  /** S: positions. */
  readonly length: number;
  /** Width of a head, even. */
  readonly headDim: number;
  /** Base of the frequencies; 10000 in the paper (arXiv 2104.09864). */
  readonly theta: number;
  /** Angle of the first pair from one position to the next. Default 1, as in the paper. */
  readonly frequency?: number;
}

/**
 * Tables [S, D] of cos and sin with angles rounded to f32, as PyTorch computes them.
 * @throws KernelError unless theta and frequency are positive numbers that fit f32
 */
export function ropeTables({ length, headDim, theta, frequency: first = 1 }: RopeTablesSpec): {
  cos: Float32Array;
  sin: Float32Array;
} {
  for (const [name, value] of Object.entries({ theta, frequency: first }))
    if (!isPositiveF32(value))
      throw new KernelError("rope tables", `${name} = ${value}`, `a positive ${name} that f32 holds`);
  const cos = new Float32Array(length * headDim);
  const sin = new Float32Array(length * headDim);
  const half = headDim / 2;
  for (let i = 0; i < half; i++) {
    const frequency = Math.fround(first / Math.fround(theta ** Math.fround((2 * i) / headDim)));
    for (let t = 0; t < length; t++) {
      const angle = Math.fround(t * frequency);
      for (const d of [i, i + half]) {
        cos[t * headDim + d] = Math.cos(angle);
        sin[t * headDim + d] = Math.sin(angle);
      }
    }
  }
  return { cos, sin };
}
