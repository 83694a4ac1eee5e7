/**
 * Formulas of elementwise operations that only those who use them pay for. WGSL promises little of tanh, sin and cos (an
 * absolute error of 2^-11 for sin), and has no erf, so all of them are computed here to a few units in the last place.
 */
import { lines } from "./core/wgsl.js";

/**
 * A formula that is no {@link ElementwiseName}: WGSL of the result for operands of f32 or vec4f, whose functions use `F`
 * for that type, `B` for the type of comparisons and `U` for that of bits, and may call `is_nan(x)` and `or_nan(y, b)`.
 */
export interface ElementwiseFormula {
  readonly name: string;
  expression(...operands: readonly string[]): string;
  readonly functions?: string;
}

/** c0 + x (c1 + x (c2 + ...)) */
const polynomial = (x: string, coefficients: readonly number[]): string =>
  coefficients.reduceRight((sum, c) => (sum === "" ? `F(${c})` : `(F(${c}) + ${x} * ${sum})`), "");

/** Near 0 the series x - x^3/3 + 2 x^5/15 - 17 x^7/315 + 62 x^9/2835, whose next term is below 1e-8 x; else by e^-2|x|. */
export const TANH: ElementwiseFormula = {
  name: "tanh",
  expression: (a) => `exact_tanh(${a})`,
  functions: lines(
    "fn exact_tanh(x: F) -> F {",
    "let s = x * x;",
    `let near = x * ${polynomial("s", [1, -1 / 3, 2 / 15, -17 / 315, 62 / 2835])};`,
    "let e = exp(-2.0 * abs(x));",
    "let far = sign(x) * (1.0 - e) / (1.0 + e);",
    "return or_nan(select(far, near, abs(x) < F(0.25)), is_nan(x));",
    "}",
  ),
};

/**
 * sin(x + quarter pi/2), where the nearest multiple k of pi/2 is taken off in three parts of few bits, so that k times each
 * is exact (Cody & Waite 1980): for |x| up to 8192. The rest r, within pi/4, goes into Taylor's series.
 */
const TRIGONOMETRY = lines(
  "fn turned_sine(x: F, quarter: f32) -> F {",
  "let k = round(x * F(0.6366197723675814));",
  "let r = ((x - k * F(1.5703125)) - k * F(0.000483751296997)) - k * F(7.549789948768648e-8);",
  "let s = r * r;",
  `let sine = r * ${polynomial("s", [1, -1 / 6, 1 / 120, -1 / 5040, 1 / 362880])};`,
  `let cosine = ${polynomial("s", [1, -1 / 2, 1 / 24, -1 / 720, 1 / 40320, -1 / 3628800])};`,
  "let turns = k + quarter;",
  "let q = turns - 4.0 * floor(turns * F(0.25));",
  "let odd = abs(q - 2.0 * floor(q * F(0.5))) > F(0.5);",
  "let value = select(sine, cosine, odd) * select(F(1.0), F(-1.0), q > F(1.5));",
  "return or_nan(value, is_nan(x) | (abs(x) > F(3.0e38)));",
  "}",
);

export const SIN: ElementwiseFormula = {
  name: "sin",
  expression: (a) => `turned_sine(${a}, 0.0)`,
  functions: TRIGONOMETRY,
};

export const COS: ElementwiseFormula = {
  name: "cos",
  expression: (a) => `turned_sine(${a}, 1.0)`,
  functions: TRIGONOMETRY,
};

/** Coefficients of erf(x) = 2/sqrt(pi) sum (-1)^n x^(2n+1) / (n! (2n+1)), of which 11 leave less than 2e-9 up to 1. */
const ERF_SERIES = Array.from({ length: 11 }, (_, n) => {
  let factorial = 1;
  for (let i = 2; i <= n; i++) factorial *= i;
  return ((2 / Math.sqrt(Math.PI)) * (n % 2 === 0 ? 1 : -1)) / (factorial * (2 * n + 1));
});

/** From 1 on by Abramowitz & Stegun 7.1.26, whose error is at most 1.5e-7. */
export const ERF: ElementwiseFormula = {
  name: "erf",
  expression: (a) => `error_function(${a})`,
  functions: lines(
    "fn error_function(x: F) -> F {",
    "let s = x * x;",
    `let near = x * ${polynomial("s", ERF_SERIES)};`,
    "let t = 1.0 / (1.0 + 0.3275911 * abs(x));",
    `let tail = t * ${polynomial("t", [0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429])};`,
    "let far = sign(x) * (1.0 - tail * exp(-s));",
    "return or_nan(select(far, near, abs(x) < F(1.0)), is_nan(x));",
    "}",
  ),
};

/** To the nearest integer; halves to the even one. */
export const ROUND: ElementwiseFormula = {
  name: "round",
  expression: (a) => `or_nan(round(${a}), is_nan(${a}))`,
};
