/**
 * RMSNorm without a gain, optionally with the residual add in front (a post-norm block):
 *
 *   s = x (+ residual),  r = 1 / sqrt(mean(s^2) + eps),  y = s r          (Zhang & Sennrich 2019, eq. 4)
 *   ds = r (dy - y mean(dy y))          is exact even with eps, so that backward needs only y and r
 *
 * Rows are normalised independently. A software adapter has one thread per row, a GPU one workgroup per row.
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
  linearDispatch,
  linearThreads,
  lines,
  literal,
  shader,
  type Buffers,
  type ShaderBinding,
} from "./core/wgsl.js";

/** `halves` may name x, residual and y. */
export interface RmsNormSpec extends Omit<F16Buffers, "scaled"> {
  /** Number of rows. */
  readonly rows: number;
  /** Elements of a row. */
  readonly size: number;
  /** Added to the mean square, above 0. */
  readonly eps: number;
  /** Adds a second tensor to `x` before normalising. */
  readonly residual?: boolean;
}

const LANES = 64;

/** Bindings: x [rows, size], (residual [rows, size]), y [rows, size], inverse_rms [rows]. */
export function rmsNorm(spec: RmsNormSpec, capabilities: Capabilities): Kernel {
  const { rows, size, eps, residual = false } = spec;
  const name = `rms_norm${residual ? "_residual" : ""}_${rows}x${size}`;
  requirePositive(name, { rows, size });
  if (!isPositiveF32(eps))
    throw new KernelError(name, `eps = ${eps}`, "a positive number, which keeps a row of zeros finite");
  requireBindable(name, { x: rows * size }, capabilities);
  const width = size % 4 === 0 ? 4 : 1;
  const bindings: ShaderBinding[] = [
    { name: "x", access: "read", dtype: "f32", width },
    ...(residual ? [{ name: "residual", access: "read", dtype: "f32", width } as const] : []),
    { name: "y", access: "read_write", dtype: "f32", width },
    { name: "inverse_rms", access: "read_write", dtype: "f32" },
  ];
  const buffers = buffersOf(name, bindings, spec);
  const at = "base + i";
  const value = `${buffers.load("x", at)}${residual ? ` + ${buffers.load("residual", at)}` : ""}`;
  const elements = { x: rows * size, residual: rows * size, y: rows * size, inverse_rms: rows };
  return rowKernel({
    name,
    rows,
    vectors: size / width,
    buffers,
    elements,
    accumulate: lines(`let s = ${value};`, `total += ${width === 4 ? "dot(s, s)" : "s * s"};`),
    finish: lines(`let r = inverseSqrt(total / ${literal(size)} + ${literal(eps)});`),
    once: "inverse_rms[row] = r;",
    write: buffers.store("y", at, `(${value}) * r`),
    flops: 4 * rows * size,
    bytes: 4 * (rows * size * (residual ? 3 : 2) + rows),
    capabilities,
  });
}

/** Bindings: dy [rows, size], y [rows, size], inverse_rms [rows], ds [rows, size]. */
export function rmsNormBackward(
  spec: Omit<RmsNormSpec, "eps" | "residual">,
  capabilities: Capabilities,
): Kernel {
  const { rows, size } = spec;
  const name = `rms_norm_backward_${rows}x${size}`;
  requirePositive(name, { rows, size });
  requireBindable(name, { dy: rows * size }, capabilities);
  const width = size % 4 === 0 ? 4 : 1;
  const bindings: ShaderBinding[] = [
    { name: "dy", access: "read", dtype: "f32", width },
    { name: "y", access: "read", dtype: "f32", width },
    { name: "inverse_rms", access: "read", dtype: "f32" },
    { name: "ds", access: "read_write", dtype: "f32", width },
  ];
  const buffers = buffersOf(name, bindings, spec);
  const [dy, y] = [buffers.load("dy", "base + i"), buffers.load("y", "base + i")];
  return rowKernel({
    name,
    rows,
    vectors: size / width,
    buffers,
    elements: { dy: rows * size, y: rows * size, inverse_rms: rows, ds: rows * size },
    accumulate: `total += ${width === 4 ? `dot(${dy}, ${y})` : `${dy} * ${y}`};`,
    finish: lines(`let mean = total / ${literal(size)};`, "let r = inverse_rms[row];"),
    once: "",
    write: buffers.store("ds", "base + i", `(${dy} - ${y} * mean) * r`),
    flops: 5 * rows * size,
    bytes: 4 * (3 * rows * size + rows),
    capabilities,
  });
}

interface RowKernelParts {
  readonly name: string;
  readonly rows: number;
  /** Loads of a row: its elements over the vector width. */
  readonly vectors: number;
  readonly buffers: Buffers;
  /** Number of elements of each buffer. */
  readonly elements: Readonly<Record<string, number>>;
  /** Adds element `i` of the row to `total`. */
  readonly accumulate: string;
  /** Turns `total` into what `write` needs. */
  readonly finish: string;
  /** Runs once per row, after `finish`. */
  readonly once: string;
  /** Writes element `i` of the row. */
  readonly write: string;
  readonly flops: number;
  readonly bytes: number;
  readonly capabilities: Capabilities;
}

/** Reduces a row to one number, then writes the row. A row has one thread, or one workgroup. */
function rowKernel(parts: RowKernelParts): Kernel {
  const { rows, vectors, buffers, accumulate, finish, once, write, flops, capabilities } = parts;
  const { bindings } = buffers;
  const bytes = parts.bytes - buffers.saved(parts.elements);
  const perThread = capabilities.software || vectors < 16;
  const name = `${parts.name}_${perThread ? "thread" : "group"}${buffers.suffix}`;
  if (perThread) {
    const size = capabilities.software ? 16 : LANES;
    const { workgroups, prologue } = linearThreads(name, rows, size, capabilities);
    const body = lines(
      prologue,
      "let row = index;",
      `let base = row * ${vectors}u;`,
      "var total = 0.0;",
      `for (var i = 0u; i < ${vectors}u; i++) {`,
      accumulate,
      "}",
      finish,
      once,
      `for (var i = 0u; i < ${vectors}u; i++) {`,
      write,
      "}",
    );
    const code = shader({ bindings, workgroupSize: size, body });
    return { name, code, bindings: bindingsOf(bindings), workgroups, flops, bytes };
  }
  const { workgroups, group } = linearDispatch(name, rows, capabilities);
  const body = lines(
    `let row = ${group};`,
    `if (row >= ${rows}u) { return; }`,
    `let base = row * ${vectors}u;`,
    "var total = 0.0;",
    `for (var i = lane; i < ${vectors}u; i += ${LANES}u) {`,
    accumulate,
    "}",
    "partial[lane] = total;",
    `for (var half = ${LANES / 2}u; half > 0u; half /= 2u) {`,
    "workgroupBarrier();",
    "if (lane < half) { partial[lane] += partial[lane + half]; }",
    "}",
    "workgroupBarrier();",
    "total = partial[0];",
    finish,
    once && `if (lane == 0u) { ${once} }`,
    `for (var i = lane; i < ${vectors}u; i += ${LANES}u) {`,
    write,
    "}",
  );
  const code = shader({
    bindings,
    workgroupSize: LANES,
    declarations: `var<workgroup> partial: array<f32, ${LANES}>;`,
    body,
  });
  return { name, code, bindings: bindingsOf(bindings), workgroups, flops, bytes };
}
