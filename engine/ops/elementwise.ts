/**
 * Elementwise operations with NumPy broadcasting. The compiler fuses chains of them into one kernel. docs/numerics.md says
 * what they return for NaN, infinities and values outside their domain.
 */
import type { ElementwiseName } from "../../kernels/elementwise.js";
import { DtypeError, UsageError } from "../errors.js";
import {
  formatSpec,
  literalOperation,
  makeTensor,
  requireDtype,
  type Dtype,
  type LiteralAttributes,
  type Operation,
  type Shape,
  type Tensor,
} from "../tensor.js";
import { type TensorLike, asTensor } from "../trace.js";
import { broadcastShapes, elementwiseOperation, identityOperation } from "./broadcast.js";

/** Gives dy to the second argument if `second` is 1, else to the first argument: also at a tie and for a NaN. */
const chosen = (second: Tensor, dy: Tensor): readonly Tensor[] => [
  where(second, 0, dy),
  where(second, dy, 0),
];

const OPERATIONS = {
  identity: identityOperation,
  add: elementwiseOperation("add", (_, dy) => [dy, dy]),
  sub: elementwiseOperation("sub", (_, dy) => [dy, neg(dy)]),
  mul: elementwiseOperation("mul", ([a, b], dy) => [mul(dy, b!), mul(dy, a!)]),
  div: elementwiseOperation("div", ([, b], dy, y) => [div(dy, b!), neg(div(mul(dy, y), b!))]),
  remainder: elementwiseOperation("remainder"),
  max: elementwiseOperation("max", ([a, b], dy) => chosen(less(a!, b!), dy)),
  min: elementwiseOperation("min", ([a, b], dy) => chosen(less(b!, a!), dy)),
  neg: elementwiseOperation("neg", (_, dy) => [neg(dy)]),
  abs: elementwiseOperation("abs", ([a], dy) => [mul(dy, sign(a!))]),
  sign: elementwiseOperation("sign", () => [null]),
  floor: elementwiseOperation("floor", () => [null]),
  exp: elementwiseOperation("exp", (_, dy, y) => [mul(dy, y)]),
  log: elementwiseOperation("log", ([a], dy) => [div(dy, a!)]),
  sqrt: elementwiseOperation("sqrt", (_, dy, y) => [div(mul(dy, 0.5), y)]),
  inverseSqrt: elementwiseOperation("inverseSqrt", ([a], dy, y) => [div(mul(mul(dy, -0.5), y), a!)]),
  sigmoid: elementwiseOperation("sigmoid", (_, dy, y) => [mul(dy, mul(y, sub(1, y)))]),
  silu: elementwiseOperation("silu", ([a], dy) => [make("siluGradient", [a!, dy], "f32")]),
  siluGradient: elementwiseOperation("siluGradient", ([a, d], dy) => {
    const s = sigmoid(a!);
    const falling = mul(a!, sub(1, s));
    // Of d s (1 + x (1 - s)): by x, and by d.
    const byX = mul(mul(d!, mul(s, sub(1, s))), add(2, sub(falling, mul(a!, s))));
    return [mul(dy, byX), mul(dy, mul(s, add(1, falling)))];
  }),
  // sigmoid(x) - t must be exactly zero if t was computed as sigmoid(x): optimizers that normalise need that.
  bceWithLogits: elementwiseOperation("bceWithLogits", ([x, t], dy) => [
    mul(dy, sub(sigmoid(x!), t!)),
    neg(mul(dy, x!)),
  ]),
  less: elementwiseOperation("less"),
  lessEqual: elementwiseOperation("lessEqual"),
  equal: elementwiseOperation("equal"),
  notEqual: elementwiseOperation("notEqual"),
  bitAnd: elementwiseOperation("bitAnd"),
  bitOr: elementwiseOperation("bitOr"),
  bitXor: elementwiseOperation("bitXor"),
  shiftRight: elementwiseOperation("shiftRight"),
  where: elementwiseOperation("where", ([condition], dy) => [
    null,
    where(condition!, dy, 0),
    where(condition!, 0, dy),
  ]),
  cast: elementwiseOperation("cast", ([a], dy) => [a!.dtype === "f32" ? dy : null]),
  bits: elementwiseOperation("bits"),
  position: elementwiseOperation("position"),
} satisfies Record<ElementwiseName, Operation<null>>;

function make(name: ElementwiseName, inputs: readonly Tensor[], dtype: Dtype): Tensor {
  return makeTensor(
    OPERATIONS[name],
    inputs,
    null,
    broadcastShapes(name, ...inputs.map((t) => t.shape)),
    dtype,
  );
}

/** Tensors from tensor-likes; numbers take the dtype of the first tensor among them. */
function asTensors(name: string, values: readonly TensorLike[]): readonly Tensor[] {
  const like = values.find((v) => typeof v !== "number");
  const dtype = like === undefined ? "f32" : asTensor(like).dtype;
  const tensors = values.map((v) => asTensor(v, dtype));
  for (const t of tensors) {
    if (t.dtype !== dtype) {
      throw new DtypeError(
        `${name}: got ${tensors.map(formatSpec).join(" and ")}; expected one dtype. Convert with cast().`,
      );
    }
  }
  return tensors;
}

function same(name: ElementwiseName, ...values: TensorLike[]): Tensor {
  const tensors = asTensors(name, values);
  return make(name, tensors, tensors[0]!.dtype);
}

/** As {@link same}, but refuses to divide integers by the number 0, which does not compile in a shader. */
function quotient(name: ElementwiseName, a: TensorLike, b: TensorLike): Tensor {
  const result = same(name, a, b);
  const { operation, attributes } = result.node.inputs[1]!.node;
  if (
    result.dtype !== "f32" &&
    operation === literalOperation &&
    (attributes as LiteralAttributes).value === 0
  )
    throw new UsageError(`${name}: got ${formatSpec(result)} and the divisor 0; expected another divisor.`);
  return result;
}

function compare(name: ElementwiseName, a: TensorLike, b: TensorLike): Tensor {
  return make(name, asTensors(name, [a, b]), "i32");
}

function float(name: ElementwiseName, ...values: TensorLike[]): Tensor {
  const tensors = asTensors(name, values);
  for (const t of tensors) requireDtype(name, t, "f32");
  return make(name, tensors, "f32");
}

function signed(name: ElementwiseName, value: TensorLike): Tensor {
  const a = asTensor(value);
  if (a.dtype === "u32") throw new DtypeError(`${name}: got ${formatSpec(a)}; expected f32 or i32.`);
  return same(name, a);
}

function integers(name: ElementwiseName, ...values: TensorLike[]): Tensor {
  const result = same(name, ...values);
  if (result.dtype === "f32") {
    throw new DtypeError(
      `${name}: got ${result.node.inputs.map(formatSpec).join(" and ")}; expected i32 or u32.`,
    );
  }
  return result;
}

/** A copy. The compiler may remove it. */
export const identity = (a: TensorLike): Tensor => same("identity", a);
/** a + b */
export const add = (a: TensorLike, b: TensorLike): Tensor => same("add", a, b);
/** a - b */
export const sub = (a: TensorLike, b: TensorLike): Tensor => same("sub", a, b);
/** a b, elementwise */
export const mul = (a: TensorLike, b: TensorLike): Tensor => same("mul", a, b);
/** a / b. For f32, a / 0 is infinite and 0 / 0 is NaN. Integers truncate, and a / 0 is a. */
export const div = (a: TensorLike, b: TensorLike): Tensor => quotient("div", a, b);
/** a - b trunc(a / b). For b = 0 it is NaN for f32, and 0 for integers. */
export const remainder = (a: TensorLike, b: TensorLike): Tensor => quotient("remainder", a, b);
/** The larger of a and b; NaN if either is NaN. The gradient goes to b if a < b, else to a (also at a tie). */
export const max = (a: TensorLike, b: TensorLike): Tensor => same("max", a, b);
/** The smaller of a and b; NaN if either is NaN. The gradient goes to b if b < a, else to a (also at a tie). */
export const min = (a: TensorLike, b: TensorLike): Tensor => same("min", a, b);
/** -a */
export const neg = (a: TensorLike): Tensor => signed("neg", a);
/** |a| */
export const abs = (a: TensorLike): Tensor => same("abs", a);
/** -1, 0 or 1; NaN for NaN */
export const sign = (a: TensorLike): Tensor => signed("sign", a);
/** The largest integer not above a. */
export const floor = (a: TensorLike): Tensor => float("floor", a);
/** e^a; infinite above 88.73 */
export const exp = (a: TensorLike): Tensor => float("exp", a);
/** The natural logarithm; -Infinity for 0, NaN for numbers below 0. */
export const log = (a: TensorLike): Tensor => float("log", a);
/** The square root; NaN for numbers below 0. */
export const sqrt = (a: TensorLike): Tensor => float("sqrt", a);
/** 1 / sqrt(a); infinite for 0, NaN for numbers below 0. */
export const inverseSqrt = (a: TensorLike): Tensor => float("inverseSqrt", a);
/** 1 / (1 + e^-a), without overflow */
export const sigmoid = (a: TensorLike): Tensor => float("sigmoid", a);
/** a sigmoid(a); NaN for -Infinity, because that is 0 times infinity */
export const silu = (a: TensorLike): Tensor => float("silu", a);
/** a a */
export const square = (a: TensorLike): Tensor => mul(a, a);
/** a scaled by a number */
export const scale = (a: TensorLike, factor: number): Tensor => mul(a, factor);
/** Binary cross entropy of logits x against targets t in [0, 1], elementwise; d/dx = sigmoid(x) - t. */
export const bceWithLogits = (x: TensorLike, t: TensorLike): Tensor => float("bceWithLogits", x, t);
/** 1 if a < b, else 0 (i32); 0 if either is NaN */
export const less = (a: TensorLike, b: TensorLike): Tensor => compare("less", a, b);
/** 1 if a <= b, else 0 (i32); 0 if either is NaN */
export const lessEqual = (a: TensorLike, b: TensorLike): Tensor => compare("lessEqual", a, b);
/** 1 if a > b, else 0 (i32); 0 if either is NaN */
export const greater = (a: TensorLike, b: TensorLike): Tensor => less(b, a);
/** 1 if a >= b, else 0 (i32); 0 if either is NaN */
export const greaterEqual = (a: TensorLike, b: TensorLike): Tensor => lessEqual(b, a);
/** 1 if a = b, else 0 (i32); NaN equals nothing, not even itself */
export const equal = (a: TensorLike, b: TensorLike): Tensor => compare("equal", a, b);
/** 1 if a and b differ, else 0 (i32); NaN differs from everything, even from itself */
export const notEqual = (a: TensorLike, b: TensorLike): Tensor => compare("notEqual", a, b);
/** Bitwise and; logical on 0/1 */
export const bitAnd = (a: TensorLike, b: TensorLike): Tensor => integers("bitAnd", a, b);
/** Bitwise or; logical on 0/1 */
export const bitOr = (a: TensorLike, b: TensorLike): Tensor => integers("bitOr", a, b);
/** Bitwise exclusive or */
export const bitXor = (a: TensorLike, b: TensorLike): Tensor => integers("bitXor", a, b);
/** a >> n for u32 */
export function shiftRight(a: TensorLike, n: number): Tensor {
  const tensor = asTensor(a, "u32");
  requireDtype("shiftRight", tensor, "u32");
  if (!(Number.isInteger(n) && n >= 0 && n < 32))
    throw new UsageError(`shiftRight: got ${n} bits; expected an integer from 0 to 31.`);
  return make("shiftRight", [tensor, asTensor(n, "u32")], "u32");
}

/** a if the condition (i32) is not 0, else b */
export function where(condition: TensorLike, a: TensorLike, b: TensorLike): Tensor {
  const c = asTensor(condition);
  requireDtype("where", c, "i32");
  const [x, y] = asTensors("where", [a, b]);
  return make("where", [c, x!, y!], x!.dtype);
}

/**
 * Converts between f32 (towards zero), i32 and u32. An f32 beyond the range of the integer dtype becomes about the nearest
 * end of the range, and NaN becomes 0. Between integer dtypes the bits stay.
 */
export function cast(a: TensorLike, dtype: Dtype): Tensor {
  const tensor = asTensor(a);
  return tensor.dtype === dtype ? tensor : make("cast", [tensor], dtype);
}

/** The 32 bits of a, as u32. */
export const bits = (a: TensorLike): Tensor => make("bits", [asTensor(a)], "u32");

/** All bits of an f32 except its sign, and the exponent's bits, which are all set only in infinities and NaN. */
const [MAGNITUDE, EXPONENT] = [0x7fffffff, 0x7f800000];
const bitsOfF32 = (name: string, a: TensorLike): Tensor => {
  const tensor = asTensor(a);
  requireDtype(name, tensor, "f32");
  return bits(tensor);
};

/** 1 if a (f32) is NaN, else 0 (i32). It tests bits, because shaders may assume that there is no NaN. */
export const isNaN = (a: TensorLike): Tensor => less(EXPONENT, bitAnd(bitsOfF32("isNaN", a), MAGNITUDE));

/** 1 if a (f32) is neither NaN nor an infinity, else 0 (i32). It tests bits, as {@link isNaN} does. */
export const isFinite = (a: TensorLike): Tensor =>
  notEqual(bitAnd(bitsOfF32("isFinite", a), EXPONENT), EXPONENT);

/** 0, 1, 2, ... in row-major order, of this shape. */
export function position(shape: Shape, dtype: Dtype = "i32"): Tensor {
  return makeTensor(OPERATIONS.position, [], null, shape, dtype);
}
