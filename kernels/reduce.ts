/**
 * Sum, maximum or minimum along the middle axis: y[o, i] = op over s of x[o, s, i].
 *
 * A thread makes an output from 4 running values (element s goes to value s mod 4). If outputs are few and long, each takes
 * a workgroup, and a tree combines its 256 running values. The shape fixes the order in both cases. A NaN among the elements
 * makes the sum, the maximum or the minimum NaN.
 */
import { KernelError, requireBindable, requirePositive, type Kernel } from "./core/kernel.js";
import type { Capabilities } from "./capabilities.js";
import {
  bindingsOf,
  linearDispatch,
  linearThreads,
  lines,
  NAN_FUNCTIONS,
  ofWidth,
  repeat,
  shader,
  typeName,
  type ShaderBinding,
} from "./core/wgsl.js";

/** A reduction over the middle of three axes [outer, size, inner]. */
export interface ReduceSpec {
  /** Length of the axis before. */
  readonly outer: number;
  /** Elements that are reduced to one. */
  readonly size: number;
  /** Length of the axis after. */
  readonly inner: number;
  /** What becomes of the elements. */
  readonly op: "sum" | "max" | "min";
  /** Type of the elements. */
  readonly dtype: "f32" | "i32";
}

const LANES = 256;

/** Bindings: x [outer, size, inner], y [outer, inner]. */
export function reduce(spec: ReduceSpec, capabilities: Capabilities): Kernel {
  const { outer, size, inner, op, dtype } = spec;
  const outputs = outer * inner;
  const few = capabilities.software
    ? outputs <= 8 && size >= 16384
    : outputs <= 4096 && size >= (outputs <= 256 ? 128 : 1024);
  const name = `reduce_${op}_${dtype}_${outer}x${size}x${inner}_${few ? "group" : "thread"}`;
  requirePositive(name, { outer, size, inner });
  requireBindable(name, { x: outputs * size }, capabilities);
  if (op !== "sum" && op !== "max" && op !== "min")
    throw new KernelError(name, `op "${String(op)}"`, "sum, max or min");
  const variant = (few ? perWorkgroup : perThread)(name, spec, capabilities);
  return {
    ...variant,
    name,
    bindings: bindingsOf(variant.bindings),
    flops: outputs * (size - 1),
    bytes: 4 * outputs * (size + 1),
  };
}

interface Variant extends Pick<Kernel, "code" | "workgroups"> {
  readonly bindings: readonly ShaderBinding[];
}

type Combine = (a: string, b: string) => string;

/** Combines two running values. */
function combination({ op, dtype }: ReduceSpec): Combine {
  if (op === "sum") return (a, b) => `${a} + ${b}`;
  const name = dtype === "f32" ? `propagating_${op}` : op;
  return (a, b) => `${name}(${a}, ${b})`;
}

/** Combines the four elements of a vector. */
function across(op: ReduceSpec["op"], combine: Combine, v: string): string {
  if (op === "sum") return `(${v}.x + ${v}.y) + (${v}.z + ${v}.w)`;
  return `${combine(combine(v, `${v}.zwxy`), combine(`${v}.yxwz`, `${v}.wzyx`))}.x`;
}

/** Functions that `combination` calls. The maximum of f32 is NaN if an element is NaN; WGSL's `max` may drop the NaN. */
function functionsOf({ op, dtype }: ReduceSpec, width: 1 | 4): string {
  if (op === "sum" || dtype !== "f32") return "";
  const propagating = `fn propagating_${op}(a: F, b: F) -> F {
    return or_nan(${op}(a, b), is_nan(a) | is_nan(b));
    }`;
  return ofWidth(lines(Object.values(NAN_FUNCTIONS), propagating), width);
}

/** The first value of a running value. Repeating the first element does not change a maximum or minimum. */
function start(op: ReduceSpec["op"], type: string, first: string): string {
  return op === "sum" ? `${type}()` : first;
}

function shaderBindings(dtype: "f32" | "i32", x: 1 | 4, y: 1 | 4): ShaderBinding[] {
  return [
    { name: "x", access: "read", dtype, width: x },
    { name: "y", access: "read_write", dtype, width: y },
  ];
}

function perThread(name: string, spec: ReduceSpec, capabilities: Capabilities): Variant {
  const { outer, size, inner, op, dtype } = spec;
  const combine = combination(spec);
  // A thread has 4 neighbours along inner, or one output whose 4 running values are a vector along size.
  const along = inner === 1 && size % 4 === 0;
  const width = along || inner % 4 === 0 ? 4 : 1;
  const columns = along ? 1 : inner / width;
  const trips = along ? size / 4 : size;
  const values = along ? 1 : Math.min(4, size);
  const type = typeName(dtype, width);
  const workgroupSize = capabilities.software ? 16 : 64;
  const { workgroups, prologue } = linearThreads(name, outer * columns, workgroupSize, capabilities);
  const add = (value: number, at: string) =>
    `r${value} = ${combine(`r${value}`, `x[base + ${at} * ${columns}u]`)};`;
  const whole = trips - (trips % values);
  const result = along
    ? across(op, combine, "r0")
    : values === 4
      ? combine(`(${combine("r0", "r1")})`, `(${combine("r2", "r3")})`)
      : Array.from({ length: values }, (_, i) => `r${i}`).reduce(combine);
  const bindings = shaderBindings(dtype, width, along ? 1 : width);
  const body = lines(
    prologue,
    `let base = index / ${columns}u * ${trips * columns}u + index % ${columns}u;`,
    repeat(values, (i) => `var r${i} = ${start(op, type, "x[base]")};`),
    `for (var s = 0u; s < ${whole}u; s += ${values}u) {`,
    repeat(values, (i) => add(i, `(s + ${i}u)`)),
    "}",
    repeat(trips - whole, (i) => add(i, `${whole + i}u`)),
    `y[index] = ${result};`,
  );
  const declarations = functionsOf(spec, width);
  return { code: shader({ bindings, workgroupSize, declarations, body }), bindings, workgroups };
}

function perWorkgroup(name: string, spec: ReduceSpec, capabilities: Capabilities): Variant {
  const { outer, size, inner, op, dtype } = spec;
  const width = inner === 1 && size % 4 === 0 ? 4 : 1;
  const trips = size / width;
  const type = typeName(dtype, width);
  const { workgroups, group } = linearDispatch(name, outer * inner, capabilities);
  const combine = combination(spec);
  const halved = combine("partial[lane]", "partial[lane + half]");
  const bindings = shaderBindings(dtype, width, 1);
  const body = lines(
    `let group = ${group};`,
    `if (group >= ${outer * inner}u) { return; }`,
    `let base = group / ${inner}u * ${trips * inner}u + group % ${inner}u;`,
    `var running = ${start(op, type, "x[base]")};`,
    `for (var s = lane; s < ${trips}u; s += ${LANES}u) {`,
    `running = ${combine("running", `x[base + s * ${inner}u]`)};`,
    "}",
    "partial[lane] = running;",
    `for (var half = ${LANES / 2}u; half > 0u; half /= 2u) {`,
    "workgroupBarrier();",
    `if (lane < half) { partial[lane] = ${halved}; }`,
    "}",
    "if (lane == 0u) {",
    "let total = partial[0];",
    `y[group] = ${width === 4 ? across(op, combine, "total") : "total"};`,
    "}",
  );
  const declarations = lines(`var<workgroup> partial: array<${type}, ${LANES}>;`, functionsOf(spec, width));
  return { code: shader({ bindings, workgroupSize: LANES, declarations, body }), bindings, workgroups };
}
