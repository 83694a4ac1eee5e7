/**
 * RMSNorm without a gain, optionally with the residual add in front (a post-norm block):
 *
 *   s = x (+ residual),  r = 1 / sqrt(mean(s^2) + eps),  y = s r          (Zhang & Sennrich 2019, eq. 4)
 *   ds = r (dy - y mean(dy y))          is exact even with eps, so that backward needs only y and r
 *
 * Rows are normalised independently. A software adapter has one thread per row, a GPU one workgroup per row.
 */
import { KernelError, requireBindable, requirePositive, type Kernel } from "./core/kernel.js";
import type { Capabilities } from "./capabilities.js";
import {
  bindingsOf,
  isPositiveF32,
  linearDispatch,
  linearThreads,
  lines,
  literal,
  shader,
  type ShaderBinding,
} from "./core/wgsl.js";

export interface RmsNormSpec {
  readonly rows: number;
  /** Elements of a row. */
  readonly size: number;
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
  const value = residual ? "x[base + i] + residual[base + i]" : "x[base + i]";
  return rowKernel({
    name,
    rows,
    vectors: size / width,
    bindings,
    accumulate: lines(`let s = ${value};`, `total += ${width === 4 ? "dot(s, s)" : "s * s"};`),
    finish: lines(`let r = inverseSqrt(total / ${literal(size)} + ${literal(eps)});`),
    once: "inverse_rms[row] = r;",
    write: `y[base + i] = (${value}) * r;`,
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
  return rowKernel({
    name,
    rows,
    vectors: size / width,
    bindings: [
      { name: "dy", access: "read", dtype: "f32", width },
      { name: "y", access: "read", dtype: "f32", width },
      { name: "inverse_rms", access: "read", dtype: "f32" },
      { name: "ds", access: "read_write", dtype: "f32", width },
    ],
    accumulate: `total += ${width === 4 ? "dot(dy[base + i], y[base + i])" : "dy[base + i] * y[base + i]"};`,
    finish: lines(`let mean = total / ${literal(size)};`, "let r = inverse_rms[row];"),
    once: "",
    write: "ds[base + i] = (dy[base + i] - y[base + i] * mean) * r;",
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
  readonly bindings: readonly ShaderBinding[];
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
  const { rows, vectors, bindings, accumulate, finish, once, write, flops, bytes, capabilities } = parts;
  const perThread = capabilities.software || vectors < 16;
  const name = `${parts.name}_${perThread ? "thread" : "group"}`;
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
