/**
 * SwiGLU's activation (Shazeer 2020, eq. 6): y = silu(gate) up, with gate and up side by side in one row.
 *
 *   silu(g) = g s,  s = sigmoid(g);   d_gate = dy up s (1 + g (1 - s)),   d_up = dy g s
 */
import { requireBindable, requirePositive, type Kernel } from "./core/kernel.js";
import type { Capabilities } from "./capabilities.js";
import { bindingsOf, linearThreads, lines, shader, typeName, type ShaderBinding } from "./core/wgsl.js";

export interface SwigluSpec {
  readonly rows: number;
  /** Elements of gate and of up in a row. */
  readonly inner: number;
}

const WORKGROUP = 64;

/** Bindings: gate_up [rows, 2 inner], y [rows, inner]. */
export function swiglu(spec: SwigluSpec, capabilities: Capabilities): Kernel {
  return kernel("swiglu", spec, capabilities, ["gate_up"], "y", 6, ["y[index] = gate * s * up;"]);
}

/** Bindings: gate_up [rows, 2 inner], dy [rows, inner], d_gate_up [rows, 2 inner]. */
export function swigluBackward(spec: SwigluSpec, capabilities: Capabilities): Kernel {
  return kernel("swiglu_backward", spec, capabilities, ["gate_up", "dy"], "d_gate_up", 12, [
    "d_gate_up[at] = dy[index] * up * s * (1.0 + gate * (1.0 - s));",
    "d_gate_up[at + HALF] = dy[index] * gate * s;",
  ]);
}

function kernel(
  family: string,
  { rows, inner }: SwigluSpec,
  capabilities: Capabilities,
  inputs: readonly string[],
  output: string,
  flopsEach: number,
  stores: readonly string[],
): Kernel {
  const name = `${family}_${rows}x${inner}`;
  requirePositive(name, { rows, inner });
  requireBindable(name, { gate_up: 2 * rows * inner }, capabilities);
  const width = inner % 4 === 0 ? 4 : 1;
  const vectors = inner / width;
  const bindings: ShaderBinding[] = [
    ...inputs.map((input) => ({ name: input, access: "read", dtype: "f32", width }) as const),
    { name: output, access: "read_write", dtype: "f32", width },
  ];
  const { workgroups, prologue } = linearThreads(name, rows * vectors, WORKGROUP, capabilities);
  const one = `${typeName("f32", width)}(1.0)`;
  const body = lines(
    prologue,
    "let at = index / HALF * 2u * HALF + index % HALF;",
    "let gate = gate_up[at];",
    "let up = gate_up[at + HALF];",
    // exp takes only negative numbers here, so that it never overflows.
    "let e = exp(-abs(gate));",
    `let s = select(e, ${one}, gate >= ${typeName("f32", width)}(0.0)) / (1.0 + e);`,
    stores,
  );
  const code = shader({
    bindings,
    workgroupSize: WORKGROUP,
    declarations: `const HALF = ${vectors}u;`,
    body,
  });
  const moved = output === "y" ? 3 : 5;
  return {
    name,
    code,
    bindings: bindingsOf(bindings),
    workgroups,
    flops: flopsEach * rows * inner,
    bytes: 4 * moved * rows * inner,
  };
}
