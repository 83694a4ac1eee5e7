/**
 * Elementwise kernels generated from straight-line programs. One thread computes 4 neighbouring results (or 1 if shapes
 * do not divide by 4), however many operations were fused into the kernel.
 *
 * Inputs broadcast as in NumPy. An output may share the binding of an input of its own shape (in place).
 */
import {
  KernelError,
  requireBindable,
  requirePositive,
  type Dtype,
  type F16Buffers,
  type Kernel,
} from "./core/kernel.js";
import type { Capabilities } from "./capabilities.js";
import type { ElementwiseFormula } from "./elementwise_formulas.js";
import {
  bindingsOf,
  buffersOf,
  linearThreads,
  lines,
  literal,
  NAN_FUNCTIONS,
  ofWidth,
  shader,
  typeName,
  type ShaderBinding,
} from "./core/wgsl.js";

/** Formula of each operation; `T` is the WGSL type of the result, `C` that of the first operand. */
const FORMULAS = {
  identity: (a: string) => a,
  add: (a: string, b: string) => `${a} + ${b}`,
  sub: (a: string, b: string) => `${a} - ${b}`,
  mul: (a: string, b: string) => `${a} * ${b}`,
  div: (a: string, b: string) => `${a} / ${b}`,
  remainder: (a: string, b: string) => `${a} % ${b}`,
  max: (a: string, b: string) => `max(${a}, ${b})`,
  min: (a: string, b: string) => `min(${a}, ${b})`,
  neg: (a: string) => `-${a}`,
  abs: (a: string) => `abs(${a})`,
  sign: (a: string) => `sign(${a})`,
  floor: (a: string) => `floor(${a})`,
  exp: (a: string) => `exp(${a})`,
  log: (a: string) => `log(${a})`,
  sqrt: (a: string) => `sqrt(${a})`,
  inverseSqrt: (a: string) => `inverseSqrt(${a})`,
  sigmoid: (a: string) => `sigmoid(${a})`,
  silu: (a: string) => `${a} * sigmoid(${a})`,
  siluGradient: (a: string, d: string) => `${d} * sigmoid(${a}) * (1.0 + ${a} * (1.0 - sigmoid(${a})))`,
  /** Binary cross entropy of logit x against target t: max(x, 0) - x t + log(1 + exp(-|x|)). */
  bceWithLogits: (x: string, t: string) => `max(${x}, T(0)) - ${x} * ${t} + log(1.0 + exp(-abs(${x})))`,
  less: (a: string, b: string) => `T(${a} < ${b})`,
  lessEqual: (a: string, b: string) => `T(${a} <= ${b})`,
  equal: (a: string, b: string) => `T(${a} == ${b})`,
  notEqual: (a: string, b: string) => `T(${a} != ${b})`,
  bitAnd: (a: string, b: string) => `${a} & ${b}`,
  bitOr: (a: string, b: string) => `${a} | ${b}`,
  bitXor: (a: string, b: string) => `${a} ^ ${b}`,
  shiftRight: (a: string, b: string) => `${a} >> ${b}`,
  where: (condition: string, a: string, b: string) => `select(${b}, ${a}, ${condition} != C(0))`,
  cast: (a: string) => `T(${a})`,
  /** The same 32 bits as another dtype. */
  bits: (a: string) => `bitcast<T>(${a})`,
  /** The result's own position in row-major order. */
  position: () => "T(POSITION)",
} as const;

/** An operation that the elementwise family knows by name. */
export type ElementwiseName = keyof typeof FORMULAS;

/**
 * Formulas that replace those above if the first operand is f32. WGSL lets a driver assume that there is no NaN and no
 * infinity, and drivers differ in what max, log, exp, sign, comparisons and conversions make of them. These formulas test bits.
 */
const F32_FORMULAS: Partial<typeof FORMULAS> = {
  max: (a, b) => `or_nan(max(${a}, ${b}), is_nan(${a}) | is_nan(${b}))`,
  min: (a, b) => `or_nan(min(${a}, ${b}), is_nan(${a}) | is_nan(${b}))`,
  sign: (a) => `or_nan(sign(${a}), is_nan(${a}))`,
  exp: (a) => `or_nan(exp(${a}), is_nan(${a}))`,
  log: (a) => `whole_log(${a})`,
  sqrt: (a) => `or_nan(sqrt(${a}), has_no_root(${a}))`,
  inverseSqrt: (a) => `or_nan(inverseSqrt(${a}), has_no_root(${a}))`,
  bceWithLogits: (x, t) => `or_nan(${FORMULAS.bceWithLogits(x, t)}, is_nan(${x}) | is_nan(${t}))`,
  less: (a, b) => `T((${a} < ${b}) & !(is_nan(${a}) | is_nan(${b})))`,
  lessEqual: (a, b) => `T((${a} <= ${b}) & !(is_nan(${a}) | is_nan(${b})))`,
  equal: (a, b) => `T((${a} == ${b}) & !(is_nan(${a}) | is_nan(${b})))`,
  notEqual: (a, b) => `T((${a} != ${b}) | is_nan(${a}) | is_nan(${b}))`,
  cast: (a) => `select(T(${a}), T(0), is_nan(${a}))`,
};

/** Functions that formulas call, for results of the type `F`, in the order in which they build on each other. */
const FUNCTIONS: Readonly<Record<string, string>> = {
  ...NAN_FUNCTIONS,
  has_no_root: lines(
    "fn has_no_root(x: F) -> B {",
    "return is_nan(x) | (bitcast<U>(x) > U(0x80000000u));",
    "}",
  ),
  // log would flush a number below 2^-126 to 0. Such a number is its bits times 2^-149.
  whole_log: lines(
    "fn whole_log(x: F) -> F {",
    "let u = bitcast<U>(x);",
    "let tiny = u < U(0x800000u);",
    "let y = log(select(x, F(u), tiny)) - select(F(0.0), F(103.27893), tiny);",
    "let ends = select(bitcast<U>(y), u, u == U(0x7f800000u));",
    "let all = select(ends, U(0xff800000u), (u & U(0x7fffffffu)) == U(0u));",
    "return or_nan(bitcast<F>(all), has_no_root(x));",
    "}",
  ),
  // exp takes only negative numbers here, so that it never overflows.
  sigmoid: lines(
    "fn sigmoid(x: F) -> F {",
    "let e = exp(-abs(x));",
    "let y = select(e, F(1.0), x >= F(0.0)) / (1.0 + e);",
    // The result is zero below -104 anyway. A compiler that sees y - target would otherwise round y and the difference in one step.
    "return or_nan(select(y, F(0.0), x < F(-104.0)), is_nan(x));",
    "}",
  ),
};

/** The functions that `text` calls, directly or through other functions. */
function functionsFor(text: string, width: 1 | 4): string {
  let called = "";
  for (const [name, code] of Object.entries(FUNCTIONS).reverse())
    if ((called + text).includes(`${name}(`)) called = lines(code, called);
  return ofWidth(called, width);
}

/** The operand of a statement: a bound input, an earlier statement's value, or a number. */
export type Operand =
  | { readonly input: number }
  | { readonly value: number }
  | { readonly literal: number; readonly dtype: Dtype };

/** One operation; statement i defines value i. */
export interface Statement {
  /** What is computed: a name, or a formula of its own. */
  readonly operation: ElementwiseName | ElementwiseFormula;
  /** What it is computed of. */
  readonly operands: readonly Operand[];
  /** Type of the result. */
  readonly dtype: Dtype;
}

/** `halves` may name f32 inputs (`in0`) and outputs (`out0`). */
export interface ElementwiseSpec extends Omit<F16Buffers, "scaled"> {
  /** Shape of every output. */
  readonly shape: readonly number[];
  /** Inputs with shapes that broadcast to `shape`. */
  readonly inputs: readonly { readonly shape: readonly number[]; readonly dtype: Dtype }[];
  /** The operations in the order in which they are computed. */
  readonly statements: readonly Statement[];
  /** Values to write; `inPlace` names the input whose buffer receives it. */
  readonly outputs: readonly { readonly value: number; readonly inPlace?: number }[];
}

const WORKGROUP = 64;

/**
 * Bindings: the inputs that are not overwritten (`in0`, ...), then the outputs (`out0`, ...), which an
 * in-place input shares.
 */
export function elementwise(spec: ElementwiseSpec, capabilities: Capabilities): Kernel {
  const { shape, inputs, statements, outputs } = spec;
  const size = shape.reduce((a, b) => a * b, 1);
  const label = statements.map(({ operation }) =>
    typeof operation === "string" ? operation : operation.name,
  );
  const name = `elementwise_${(label.length > 4 ? [...label.slice(0, 3), `${label.length - 3}more`] : label).join("_")}_${shape.join("x") || "scalar"}`;
  const count = inputs.length + outputs.filter((o) => o.inPlace === undefined).length;
  if (count > capabilities.maxStorageBuffersPerShaderStage) {
    throw new KernelError(
      name,
      `${count} buffers`,
      `at most ${capabilities.maxStorageBuffersPerShaderStage}`,
      "Split the expression.",
    );
  }
  requirePositive(name, Object.fromEntries(shape.map((n, k) => [`dimension ${k}`, n])));
  requireBindable(name, { output: size }, capabilities);
  requireInPlace(name, spec);
  const accesses = inputs.map((input) => accessOf(name, input.shape, shape));
  const width = size % 4 === 0 && accesses.every((a) => a.vector !== "none") ? 4 : 1;

  const overwritten = new Map(
    outputs.flatMap((o, i) => (o.inPlace === undefined ? [] : [[o.inPlace, i] as const])),
  );
  const inputBindings = inputs.flatMap((input, i): ShaderBinding[] =>
    overwritten.has(i)
      ? []
      : [
          {
            name: `in${i}`,
            access: "read",
            dtype: input.dtype,
            width: width === 4 && accesses[i]!.vector === "load" ? 4 : 1,
          },
        ],
  );
  const outputBindings = outputs.map((o, i): ShaderBinding => ({
    name: `out${i}`,
    access: "read_write",
    dtype: statements[o.value]!.dtype,
    width,
  }));
  const buffers = buffersOf(name, [...inputBindings, ...outputBindings], spec);
  const { bindings } = buffers;

  const loads = inputs.map((input, i) => {
    const source = overwritten.has(i) ? `out${overwritten.get(i)}` : `in${i}`;
    const value = buffers.load(source, accesses[i]!.index(width));
    return `let x${i} = ${width === 4 && accesses[i]!.vector === "splat" ? `${typeName(input.dtype, 4)}(${value})` : value};`;
  });
  const values = valuesOf(spec, width);
  const formulas = statements.map((s) => s.operation).filter((operation) => typeof operation !== "string");
  const own = lines([...new Set(formulas.map(({ functions = "" }) => functions))]);
  const stores = outputs.map((o, i) => buffers.store(`out${i}`, "index", `v${o.value}`));
  const { workgroups, prologue } = linearThreads(name, size / width, WORKGROUP, capabilities);
  const code = shader({
    bindings,
    workgroupSize: WORKGROUP,
    declarations: lines(functionsFor(lines(values, own), width), ofWidth(own, width)),
    body: lines(prologue, loads, values, stores),
  });
  const elements = inputs.map((input) => input.shape.reduce((a, b) => a * b, 1));
  const moved = elements.reduce((a, b) => a + b, 0) + size * outputs.length;
  const saved = buffers.saved({
    ...Object.fromEntries(elements.map((n, i) => [`in${i}`, n])),
    ...Object.fromEntries(outputs.map((_, i) => [`out${i}`, size])),
  });
  return {
    name: `${name}${buffers.suffix}`,
    code,
    bindings: bindingsOf(bindings),
    workgroups,
    flops: size * statements.length,
    bytes: 4 * moved - saved,
  };
}

/** The statements as text: value i is the variable `v${i}`, and input i is `x${i}`. */
function valuesOf({ inputs, statements }: ElementwiseSpec, width: 1 | 4): string[] {
  const dtypeOf = (operand: Operand): Dtype =>
    "input" in operand
      ? inputs[operand.input]!.dtype
      : "value" in operand
        ? statements[operand.value]!.dtype
        : operand.dtype;
  const text = (operand: Operand): string =>
    "input" in operand
      ? `x${operand.input}`
      : "value" in operand
        ? `v${operand.value}`
        : `${typeName(operand.dtype, width)}(${literal(operand.literal, operand.dtype)})`;
  return statements.map(({ operation, operands, dtype }, i) => {
    const first = operands[0] ? dtypeOf(operands[0]) : "i32";
    // A conversion loses a NaN only if it makes an integer.
    const byBits = first === "f32" && !(operation === "cast" && dtype === "f32");
    const formula: (...operands: string[]) => string =
      typeof operation === "string"
        ? (byBits && F32_FORMULAS[operation]) || FORMULAS[operation]
        : (...names) => operation.expression(...names);
    // WGSL refuses a constant expression whose value is not finite. A named variable makes the expression not constant.
    const named = operands.every((operand) => "literal" in operand);
    const names = operands.map((operand, k) => (named ? `c${i}_${k}` : text(operand)));
    return lines(
      named && operands.map((operand, k) => `let c${i}_${k} = ${text(operand)};`),
      `let v${i} = ${formula(...names)};`,
    )
      .replace(/\bT(?=[(>])/g, typeName(dtype, width))
      .replace(/\bC\(/g, `${typeName(first, width)}(`)
      .replace(/\bPOSITION\b/g, width === 4 ? "(vec4u(index * 4u) + vec4u(0u, 1u, 2u, 3u))" : "index");
  });
}

/** Throws unless every overwritten input has the shape and dtype of its output, and only one output overwrites it. */
function requireInPlace(name: string, { shape, inputs, statements, outputs }: ElementwiseSpec): void {
  const seen = new Set<number>();
  for (const { value, inPlace } of outputs) {
    if (inPlace === undefined) continue;
    const input = inputs[inPlace];
    const dtype = statements[value]!.dtype;
    if (!input || input.dtype !== dtype || input.shape.join() !== shape.join() || seen.has(inPlace)) {
      throw new KernelError(
        name,
        input
          ? `${seen.has(inPlace) ? "a second " : ""}output over input ${inPlace}, ${input.dtype} [${input.shape.join(", ")}]`
          : `output over input ${inPlace}`,
        `one output over an input of its own kind, ${dtype} [${shape.join(", ")}]`,
      );
    }
    seen.add(inPlace);
  }
}

interface Access {
  /** How four neighbouring results read the input: as one 4-vector, as one splat scalar, or one by one (none). */
  readonly vector: "load" | "splat" | "none";
  /** WGSL index into the binding, from `index` (the thread's result or 4 results). */
  index(width: 1 | 4): string;
}

/** How an input of `from` broadcasts over results of `to`. */
function accessOf(name: string, from: readonly number[], to: readonly number[]): Access {
  const padded = [...Array<number>(Math.max(0, to.length - from.length)).fill(1), ...from];
  if (padded.length !== to.length || padded.some((n, k) => n !== 1 && n !== to[k])) {
    throw new KernelError(
      name,
      `an input of shape [${from.join(", ")}]`,
      `a shape that broadcasts to [${to.join(", ")}]`,
    );
  }
  // Dimensions (size, stride), outermost first. Neighbouring dimensions are merged if one stride serves both.
  const dims: { size: number; stride: number }[] = [];
  let stride = 1;
  for (let k = to.length - 1; k >= 0; k--) {
    const size = to[k]!;
    if (size === 1) continue;
    const step = padded[k] === 1 ? 0 : stride;
    const inner = dims[0];
    if (inner && step === inner.stride * inner.size) inner.size *= size;
    else dims.unshift({ size, stride: step });
    stride *= padded[k]!;
  }
  const last = dims.at(-1);
  if (!last || (dims.length === 1 && last.stride === 0)) return { vector: "splat", index: () => "0u" };
  const vector =
    last.size % 4 !== 0 ? "none" : last.stride === 1 ? "load" : last.stride === 0 ? "splat" : "none";
  if (dims.length === 1) return { vector, index: () => "index" };
  return {
    vector,
    index(width) {
      // Divide out dimensions from the innermost on. The innermost counts in units of `width`.
      const terms: string[] = [];
      let below = 1;
      [...dims].reverse().forEach((dim, k) => {
        const units = k === 0 ? dim.size / width : dim.size;
        const outermost = k === dims.length - 1;
        const digit = `${below === 1 ? "index" : `index / ${below}u`}`;
        if (dim.stride !== 0) {
          const step = k === 0 ? 1 : last.stride === 1 ? dim.stride / width : dim.stride;
          const wrapped = outermost ? digit : `(${digit}) % ${units}u`;
          terms.push(step === 1 ? `(${wrapped})` : `(${wrapped}) * ${step}u`);
        }
        below *= units;
      });
      return terms.join(" + ");
    },
  };
}
