/**
 * Optimizer steps, each in place on one parameter. Numbers that change from step to step come from the
 * buffer `hyper`; numbers that stay the same are constants of the kernel.
 *
 *   m = m + (g - m)(1 - beta1),  v = v + (g^2 - v)(1 - beta2),  p = p (1 - lr wd)        (decoupled decay)
 *   Adam-atan2:  p -= lr hyper[1] atan2(m, sqrt(v) hyper[2])     (Everett et al. 2024; first correction outside)
 *   AdamW:       p -= lr m hyper[1] / (sqrt(v) hyper[2] + epsilon)               (Loshchilov & Hutter 2019)
 *   sign-SGD:    w = w (1 - lr wd) - lr sign(sum of the gradients of the row)   (Bernstein et al. 2018)
 */
import { KernelError, requireBindable, requirePositive, type Kernel } from "./core/kernel.js";
import type { Capabilities } from "./capabilities.js";
import {
  bindingsOf,
  isPositiveF32,
  linearThreads,
  lines,
  literal,
  shader,
  typeName,
  type ShaderBinding,
} from "./core/wgsl.js";

/** A step of Adam-atan2 (arXiv 2407.05872). */
export interface AdamSpec {
  /** Elements of the parameter. */
  readonly count: number;
  /** Decay of the first moment, in [0, 1). */
  readonly beta1: number;
  /** Decay of the second moment, in [0, 1). */
  readonly beta2: number;
  /** Decoupled weight decay: p shrinks by lr times this. */
  readonly weightDecay: number;
  /** Also update an exponential moving average of the parameter. */
  readonly ema?: boolean;
}

/** A step of AdamW (arXiv 1711.05101). */
export interface AdamWSpec extends AdamSpec {
  /** Added to the root of the second moment; above 0. */
  readonly epsilon: number;
}

/**
 * Bindings, all [count]: p, m, v (in place), g, hyper [4], (ema, in place).
 * hyper = [lr, 1 / (1 - beta1^t), 1 / sqrt(1 - beta2^t), decay of the EMA]; ema += (p - ema)(1 - decay).
 */
export function adamAtan2(spec: AdamSpec, capabilities: Capabilities): Kernel {
  return adam(
    "adam_atan2",
    spec,
    "hyper[0].y * atan2_right(m1, sqrt(v1) * hyper[0].z)",
    ATAN2_RIGHT,
    capabilities,
  );
}

/** Bindings and hyper as {@link adamAtan2}. */
export function adamW(spec: AdamWSpec, capabilities: Capabilities): Kernel {
  if (!isPositiveF32(spec.epsilon))
    throw new KernelError(
      "adam_w",
      `epsilon = ${spec.epsilon}`,
      "a positive number, which keeps a parameter without gradient from 0 / 0",
    );
  const step = `m1 * hyper[0].y / (sqrt(v1) * hyper[0].z + ${literal(spec.epsilon)})`;
  return adam("adam_w", spec, step, undefined, capabilities);
}

function adam(
  family: string,
  { count, beta1, beta2, weightDecay, ema = false }: AdamSpec,
  step: string,
  declare: ((type: string) => string) | undefined,
  capabilities: Capabilities,
): Kernel {
  const name = `${family}${ema ? "_ema" : ""}_${count}`;
  requirePositive(name, { count });
  requireRange(name, "beta1", beta1, 0, 1);
  requireRange(name, "beta2", beta2, 0, 1);
  requireRange(name, "weightDecay", weightDecay, 0, Infinity);
  requireBindable(name, { p: count }, capabilities);
  const width = count % 4 === 0 ? 4 : 1;
  const inPlace = (binding: string): ShaderBinding => ({
    name: binding,
    access: "read_write",
    dtype: "f32",
    width,
  });
  const bindings: ShaderBinding[] = [
    inPlace("p"),
    inPlace("m"),
    inPlace("v"),
    { name: "g", access: "read", dtype: "f32", width },
    { name: "hyper", access: "read", dtype: "f32", width: 4 },
    ...(ema ? [inPlace("ema")] : []),
  ];
  const { workgroups, prologue } = linearThreads(name, count / width, 64, capabilities);
  const body = lines(
    prologue,
    "let lr = hyper[0].x;",
    "let gradient = g[index];",
    `let m1 = m[index] + (gradient - m[index]) * ${literal(1 - beta1)};`,
    `let v1 = v[index] + (gradient * gradient - v[index]) * ${literal(1 - beta2)};`,
    `let p1 = p[index] * (1.0 - lr * ${literal(weightDecay)}) - lr * (${step});`,
    "m[index] = m1;",
    "v[index] = v1;",
    "p[index] = p1;",
    ema && "ema[index] += (p1 - ema[index]) * (1.0 - hyper[0].w);",
  );
  const declarations = declare?.(typeName("f32", width));
  const code = shader({ bindings, workgroupSize: 64, ...(declarations && { declarations }), body });
  return {
    name,
    code,
    bindings: bindingsOf(bindings),
    workgroups,
    flops: count * (ema ? 16 : 13),
    bytes: 4 * (count * (ema ? 9 : 7) + 4),
  };
}

/**
 * atan2(y, x) for x >= 0 to about 2 ULP, odd in y, with atan2(0, 0) = 0: WGSL's own may be 4096 ULP off and
 * is indeterminate at 0. One division brings the angle below pi/8 (directly, or as its distance from pi/4);
 * the polynomial comes from Cephes' atanf.
 */
const ATAN2_RIGHT = (type: string): string =>
  lines(
    `fn atan2_right(y: ${type}, x: ${type}) -> ${type} {`,
    `let zero = ${type}();`,
    "let small = min(abs(y), x);",
    "let large = max(abs(y), x);",
    "let middle = small > large * 0.41421356;",
    `let t = select(small, small - large, middle) / select(select(large, small + large, middle), ${type}(1.0), large == zero);`,
    "let z = t * t;",
    `let p = ((${literal(8.05374449538e-2)} * z - ${literal(1.38776856032e-1)}) * z + ${literal(1.99777106478e-1)}) * z - ${literal(3.33329491539e-1)};`,
    `let angle = select(zero, ${type}(${literal(Math.PI / 4)}), middle) + (t + t * z * p);`,
    `let steep = select(angle, ${literal(Math.PI / 2)} - angle, abs(y) > x);`,
    "return select(steep, -steep, y < zero);",
    "}",
  );

/** A step of sign-SGD on rows of a table. */
export interface SignSgdSpec {
  /** Rows of the table. */
  readonly tableRows: number;
  /** Elements of a row. */
  readonly size: number;
  /** Rows with a gradient. */
  readonly batch: number;
  /** Decoupled weight decay. */
  readonly weightDecay: number;
}

/**
 * Bindings: weights [tableRows, size] (in place), ids i32 [batch], g [batch, size], hyper [4] (lr first).
 * Gradients of equal ids add up in batch order before the sign; rows without an id keep their values, and
 * ids outside the table are ignored.
 */
export function signSgd(spec: SignSgdSpec, capabilities: Capabilities): Kernel {
  const { tableRows, size, batch, weightDecay } = spec;
  const name = `sign_sgd_${batch}x${size}_of_${tableRows}`;
  requirePositive(name, { tableRows, size, batch });
  requireRange(name, "weightDecay", weightDecay, 0, Infinity);
  requireBindable(name, { weights: tableRows * size, g: batch * size }, capabilities);
  const width = size % 4 === 0 ? 4 : 1;
  const vectors = size / width;
  const bindings: ShaderBinding[] = [
    { name: "weights", access: "read_write", dtype: "f32", width },
    { name: "ids", access: "read", dtype: "i32" },
    { name: "g", access: "read", dtype: "f32", width },
    { name: "hyper", access: "read", dtype: "f32", width: 4 },
  ];
  const { workgroups, prologue } = linearThreads(name, batch * vectors, 64, capabilities);
  const body = lines(
    prologue,
    `let first = index / ${vectors}u;`,
    `let column = index % ${vectors}u;`,
    "let id = ids[first];",
    `if (id < 0 || id >= ${tableRows}) { return; }`,
    // The first occurrence of an id writes its row.
    "for (var b = 0u; b < first; b++) {",
    "if (ids[b] == id) { return; }",
    "}",
    "var total = g[index];",
    `for (var b = first + 1u; b < ${batch}u; b++) {`,
    `if (ids[b] == id) { total += g[b * ${vectors}u + column]; }`,
    "}",
    "let lr = hyper[0].x;",
    `let at = u32(id) * ${vectors}u + column;`,
    `weights[at] = weights[at] * (1.0 - lr * ${literal(weightDecay)}) - lr * sign(total);`,
  );
  const code = shader({ bindings, workgroupSize: 64, body });
  const touched = Math.min(batch, tableRows) * size;
  return {
    name,
    code,
    bindings: bindingsOf(bindings),
    workgroups,
    flops: batch * size + 4 * touched,
    bytes: 4 * (batch + batch * size + 2 * touched + 1),
  };
}

/** Throws unless `low <= value < high`. */
function requireRange(kernel: string, name: string, value: number, low: number, high: number): void {
  if (!(value >= low && value < high)) {
    throw new KernelError(
      kernel,
      `${name} = ${value}`,
      high === Infinity ? `${name} >= ${low}` : `${name} in [${low}, ${high})`,
    );
  }
}
