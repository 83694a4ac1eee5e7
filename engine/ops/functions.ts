/** Elementwise functions besides those of elementwise.ts. Every smooth one can be differentiated any number of times. */
import { COS, ERF, ROUND, SIN, TANH, type ElementwiseFormula } from "../../kernels/elementwise_formulas.js";
import { UsageError } from "../errors.js";
import {
  broadcastTo,
  div,
  exp,
  floor,
  log,
  max,
  min,
  mul,
  neg,
  scalar,
  square,
  sub,
  type Tensor,
  type TensorLike,
} from "../index.js";
import { makeTensor, requireDtype, type Operation } from "../tensor.js";
import { asTensor } from "../trace.js";

function unary(formula: ElementwiseFormula, slope: ((x: Tensor, y: Tensor) => Tensor) | null) {
  const operation: Operation<null> = {
    name: formula.name,
    kind: "elementwise",
    apply: formula,
    gradient: ({ inputs: [x], outputs: [y], gradients: [dy] }) => [slope && mul(dy!, slope(x!, y!))],
  };
  return (value: TensorLike): Tensor => {
    const x = asTensor(value);
    requireDtype(formula.name, x, "f32");
    return makeTensor(operation, [x], null, x.shape, "f32");
  };
}

/** (e^x - e^-x) / (e^x + e^-x), f32 */
export const tanh: (x: TensorLike) => Tensor = unary(TANH, (_, y) => sub(1, square(y)));
/** The sine of x radians, f32; for |x| up to 8192, beyond which fewer and fewer digits are right. NaN of infinities. */
export const sin: (x: TensorLike) => Tensor = unary(SIN, (x) => cos(x));
/** The cosine of x radians, f32; as exact as {@link sin}. */
export const cos: (x: TensorLike) => Tensor = unary(COS, (x) => neg(sin(x)));
/** 2 / sqrt(pi) times the integral of e^-t^2 from 0 to x, f32 */
export const erf: (x: TensorLike) => Tensor = unary(ERF, (x) =>
  mul(exp(neg(square(x))), 2 / Math.sqrt(Math.PI)),
);
/** The nearest integer; halves go to the even one. f32, its gradient is 0. */
export const round: (x: TensorLike) => Tensor = unary(ROUND, null);
/** The smallest integer not below x. f32, its gradient is 0. */
export const ceil = (x: TensorLike): Tensor => neg(floor(neg(x)));

/** max(x, 0); the gradient at 0 is 0, and NaN stays NaN. */
export const relu = (x: TensorLike): Tensor => max(0, x);

/** x times the standard normal distribution's probability of less than x (Hendrycks & Gimpel 2016, exact form). */
export function gelu(value: TensorLike): Tensor {
  const x = asTensor(value);
  return mul(mul(x, 0.5), sub(1, erf(mul(x, -Math.SQRT1_2))));
}

/** x, but `low` below it and `high` above it. The gradient is 1 from `low` to `high`, both included, else 0. */
export function clamp(x: TensorLike, low: number, high: number): Tensor {
  if (!(low <= high)) throw new UsageError(`clamp: got ${low} to ${high}; expected the lower number first.`);
  return min(max(x, low), high);
}

/**
 * x to the power of n. If n is an integer number of at most 64 by size, x may be negative; else the result is e^(n log x),
 * which is NaN for negative x.
 */
export function pow(value: TensorLike, n: TensorLike): Tensor {
  const x = asTensor(value);
  requireDtype("pow", x, "f32");
  if (typeof n !== "number" || !Number.isInteger(n) || Math.abs(n) > 64) return exp(mul(n, log(x)));
  if (n < 0) return div(1, pow(x, -n));
  if (n === 0) return broadcastTo(scalar(1), x.shape);
  const half = n > 1 ? square(pow(x, Math.floor(n / 2))) : null;
  if (!half) return x;
  return n % 2 === 0 ? half : mul(half, x);
}
