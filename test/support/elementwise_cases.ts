/** The elementwise formulas as a table: dtypes, operands, the exact result and what it may be off by. */
import type { TypedArray } from "../../engine/tensor.js";
import type { ElementwiseName } from "../../kernels/elementwise.js";
import type { Dtype } from "../../kernels/core/kernel.js";
import { EPS, TINY, ULP, expError, logError } from "./kernels.js";
import { random, randomIntegers, uniform } from "./random.js";

type Function = (...x: number[]) => number;

/** One formula at one choice of dtypes. */
export interface Case {
  /** dtype of the result, and of the operands (default: two or as many as `exact` takes, all of `dtype`). */
  readonly dtype: Dtype;
  readonly from?: readonly Dtype[];
  /** Operands; default random over both signs. */
  readonly inputs?: (count: number) => readonly TypedArray[];
  readonly exact: Function;
  /** Allowed error of the result `y` for operands `x`; default 0. */
  readonly allowed?: (y: number, ...x: number[]) => number;
}

const f32 = (exact: Function, allowed?: Case["allowed"], inputs?: Case["inputs"]): Case => ({
  dtype: "f32",
  exact,
  ...(allowed && { allowed }),
  ...(inputs && { inputs }),
});
const i32 = (exact: Function, inputs?: Case["inputs"]): Case => ({
  dtype: "i32",
  exact,
  ...(inputs && { inputs }),
});
const u32 = (exact: Function, inputs?: Case["inputs"]): Case => ({
  dtype: "u32",
  exact,
  ...(inputs && { inputs }),
});

/** Random numbers between two bounds, one array each. */
const between =
  (...bounds: (readonly [number, number])[]) =>
  (count: number) =>
    bounds.map(([low, high]) => random(count, low, high));
const integers =
  (...bounds: (readonly [number, number])[]) =>
  (count: number) =>
    bounds.map(([low, high]) => randomIntegers(count, low, high));
const ulps = (n: number) => (y: number) => n * ULP * Math.abs(y) + TINY;
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** A comparison of each dtype, of few values, so that many are equal. */
const comparison = (exact: (a: number, b: number) => boolean): Case[] =>
  (["f32", "i32", "u32"] as const).map((from) => ({
    dtype: "i32",
    from: [from, from],
    inputs: (count) =>
      [0, 1].map(() => {
        const few = randomIntegers(count, from === "u32" ? 0 : -2, 3);
        return from === "f32" ? Float32Array.from(few) : from === "u32" ? Uint32Array.from(few) : few;
      }),
    exact: (a, b) => Number(exact(a, b)),
  }));

/** NaN wherever the mask takes the other operand: none of these NaN may leak. */
function masked(count: number): readonly TypedArray[] {
  const mask = randomIntegers(count, -1, 2);
  const pick = (chosen: (m: number) => boolean) => random(count).map((v, i) => (chosen(mask[i]!) ? v : NaN));
  return [mask, pick((m) => m !== 0), pick((m) => m === 0)];
}

/** Every formula at every dtype that it takes. */
export const CASES: Record<ElementwiseName, readonly Case[]> = {
  identity: [f32((a) => a), i32((a) => a), u32((a) => a)],
  // Sums, differences and products are rounded correctly.
  add: [f32((a, b) => Math.fround(a + b)), i32((a, b) => (a + b) | 0), u32((a, b) => (a + b) >>> 0)],
  sub: [f32((a, b) => Math.fround(a - b)), i32((a, b) => (a - b) | 0), u32((a, b) => (a - b) >>> 0)],
  mul: [
    f32((a, b) => Math.fround(a * b)),
    i32((a, b) => Math.imul(a, b)),
    u32((a, b) => Math.imul(a, b) >>> 0),
  ],
  div: [
    f32((a, b) => a / b, ulps(2.5), between([-3, 3], [0.1, 9])),
    f32((a, b) => a / b, ulps(2.5), between([-3, 3], [-9, -0.1])),
    i32((a, b) => Math.trunc(a / b) | 0, integers([-99, 99], [1, 9])),
    i32((a, b) => Math.trunc(a / b) | 0, integers([-99, 99], [-9, 0])),
    u32(
      (a, b) => Math.trunc(a / b),
      (n) => [Uint32Array.from(randomIntegers(n, 0, 2 ** 32)), Uint32Array.from(randomIntegers(n, 1, 99))],
    ),
  ],
  remainder: [
    // Operands avoid whole quotients, where the rounding of the quotient would decide.
    f32(
      (a, b) => a % b,
      (_, a) => 4 * EPS * Math.abs(a),
      (n) => {
        const b = random(n, 0.5, 2);
        return [b.map((v) => v * (Math.floor(uniform() * 9 - 4) + 0.1 + 0.8 * uniform())), b];
      },
    ),
    i32((a, b) => (a % b) | 0, integers([-99, 99], [1, 9])),
    u32(
      (a, b) => a % b,
      (n) => [Uint32Array.from(randomIntegers(n, 0, 2 ** 32)), Uint32Array.from(randomIntegers(n, 1, 99))],
    ),
  ],
  max: [f32((a, b) => Math.max(a, b)), i32((a, b) => Math.max(a, b)), u32((a, b) => Math.max(a, b))],
  min: [f32((a, b) => Math.min(a, b)), i32((a, b) => Math.min(a, b)), u32((a, b) => Math.min(a, b))],
  neg: [f32((a) => -a), i32((a) => (0 - a) | 0, integers([-99, 99]))],
  abs: [f32((a) => Math.abs(a)), i32((a) => Math.abs(a), integers([-99, 99]))],
  sign: [
    f32((a) => Math.sign(a)),
    f32(
      (a) => Math.sign(a),
      undefined,
      (n) => [Float32Array.from(randomIntegers(n, -1, 2))],
    ),
    i32((a) => Math.sign(a), integers([-1, 2])),
  ],
  floor: [
    f32((a) => Math.floor(a), undefined, between([-9, 9])),
    f32(
      (a) => Math.floor(a),
      undefined,
      (n) => [Float32Array.from(randomIntegers(n, -9, 0))],
    ),
  ],
  exp: [
    f32(
      (a) => Math.exp(a),
      (y, a) => expError(a) * y + TINY,
      between([-90, 80]),
    ),
  ],
  log: [
    f32(
      (a) => Math.log(a),
      (y) => logError(y),
      between([1e-3, 3]),
    ),
    f32(
      (a) => Math.log(a),
      (y) => logError(y),
      (n) => [random(n, -37, 37).map((e) => 10 ** e)],
    ),
  ],
  sqrt: [
    f32(
      (a) => Math.sqrt(a),
      ulps(5),
      (n) => [random(n, -36, 36).map((e) => 10 ** e)],
    ),
    f32(
      (a) => a * 0,
      undefined,
      (n) => [new Float32Array(n)],
    ),
  ],
  inverseSqrt: [
    f32(
      (a) => 1 / Math.sqrt(a),
      ulps(2),
      (n) => [random(n, -36, 36).map((e) => 10 ** e)],
    ),
  ],
  sigmoid: [
    f32(
      (a) => sigmoid(a),
      (y, a) => (expError(a) + 8 * EPS) * y + TINY,
      between([-9, 9]),
    ),
    f32(
      (a) => sigmoid(a),
      (y, a) => (expError(a) + 8 * EPS) * y + TINY,
      between([-200, 200]),
    ),
  ],
  silu: [
    f32(
      (a) => a * sigmoid(a),
      (y, a) => (expError(a) + 10 * EPS) * Math.abs(y) + TINY * (1 + Math.abs(a)),
      between([-9, 9]),
    ),
    f32(
      (a) => a * sigmoid(a),
      (y, a) => (expError(a) + 10 * EPS) * Math.abs(y) + TINY * (1 + Math.abs(a)),
      between([-200, 200]),
    ),
  ],
  siluGradient: [
    f32(
      (a, d) => d * sigmoid(a) * (1 + a * (1 - sigmoid(a))),
      (_, a, d) =>
        ((expError(a) + 12 * EPS) * sigmoid(a) + TINY) * Math.abs(d) * (1 + 2 * Math.abs(a)) + TINY,
      between([-20, 20], [-2, 2]),
    ),
  ],
  bceWithLogits: [
    f32(
      (x, t) => Math.max(x, 0) - x * t + Math.log1p(Math.exp(-Math.abs(x))),
      // Three roundings of the parts, that of 1 + e and of e, and the logarithm's own.
      (_, x, t) =>
        4 * EPS * Math.abs(x) * (1 + t) + 2 * EPS + expError(x) * Math.exp(-Math.abs(x)) + logError(0.7),
      between([-30, 30], [0, 1]),
    ),
    f32(
      (x, t) => Math.max(x, 0) - x * t,
      (_, x, t) => 4 * EPS * Math.abs(x) * (1 + t) + logError(0),
      between([1e3, 1e6], [0, 1]),
    ),
  ],
  less: comparison((a, b) => a < b),
  lessEqual: comparison((a, b) => a <= b),
  equal: comparison((a, b) => a === b),
  notEqual: comparison((a, b) => a !== b),
  bitAnd: [i32((a, b) => a & b), u32((a, b) => (a & b) >>> 0)],
  bitOr: [i32((a, b) => a | b), u32((a, b) => (a | b) >>> 0)],
  bitXor: [i32((a, b) => a ^ b), u32((a, b) => (a ^ b) >>> 0)],
  shiftRight: [
    u32(
      (a, b) => a >>> b,
      (n) => [
        new Uint32Array(randomIntegers(n, -(2 ** 31), 2 ** 31).buffer),
        Uint32Array.from(randomIntegers(n, 0, 32)),
      ],
    ),
    {
      ...i32(
        (a, b) => a >> b,
        (n) => [randomIntegers(n, -(2 ** 31), 2 ** 31), Uint32Array.from(randomIntegers(n, 0, 32))],
      ),
      from: ["i32", "u32"],
    },
  ],
  where: [
    { dtype: "f32", from: ["i32", "f32", "f32"], inputs: masked, exact: (c, a, b) => (c !== 0 ? a : b) },
    {
      dtype: "i32",
      from: ["f32", "i32", "i32"],
      inputs: (n) => [Float32Array.from(randomIntegers(n, -1, 2)), ...integers([-99, 99], [-99, 99])(n)],
      exact: (c, a, b) => (c !== 0 ? a : b),
    },
  ],
  // Every pattern, NaN and infinities among them, comes through the integer side.
  bits: [
    {
      ...u32(
        (a) => new Uint32Array(Float32Array.of(a).buffer)[0]!,
        (n) => [random(n).map((v, i) => [v, Infinity, -Infinity, -0][i % 4]!)],
      ),
      from: ["f32"],
    },
    {
      ...f32(
        (a) => new Float32Array(Int32Array.of(a).buffer)[0]!,
        undefined,
        integers([2 ** 23, 255 * 2 ** 23]),
      ),
      from: ["i32"],
    },
  ],
  cast: [
    { ...f32((a) => a, undefined, integers([-(2 ** 24), 2 ** 24])), from: ["i32"] },
    {
      ...f32(
        (a) => a,
        undefined,
        (n) => [Uint32Array.from(randomIntegers(n, 0, 2 ** 24))],
      ),
      from: ["u32"],
    },
    { ...i32((a) => Math.trunc(a) + 0, between([-1000, 1000])), from: ["f32"] },
    { ...u32((a) => Math.trunc(a), between([0, 1000])), from: ["f32"] },
    {
      ...i32(
        (a) => a | 0,
        (n) => [new Uint32Array(randomIntegers(n, -(2 ** 31), 2 ** 31).buffer)],
      ),
      from: ["u32"],
    },
    { ...u32((a) => a >>> 0, integers([-(2 ** 31), 2 ** 31])), from: ["i32"] },
  ],
  // Checked below: it has no operand.
  position: [],
};

/** Random values of a dtype, all bits of integers. */
export function someValues(count: number, dtype: Dtype): TypedArray {
  const bits = randomIntegers(count, -(2 ** 31), 2 ** 31);
  return dtype === "f32" ? random(count, -3, 3) : dtype === "i32" ? bits : new Uint32Array(bits.buffer);
}
