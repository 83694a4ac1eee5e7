/**
 * SwiGLU's activation (Shazeer 2020, eq. 6): y = silu(gate) up, with gate and up side by side in one row.
 *
 *   silu(g) = g s,  s = sigmoid(g);   d_gate = dy up s (1 + g (1 - s)),   d_up = dy g s
 */
import { requireBindable, requirePositive, type F16Buffers, type Kernel } from "./core/kernel.js";
import type { Capabilities } from "./capabilities.js";
import {
  bindingsOf,
  buffersOf,
  linearThreads,
  lines,
  shader,
  typeName,
  type ShaderBinding,
} from "./core/wgsl.js";

/** SwiGLU of rows: silu(gate) * up. */
export interface SwigluSpec extends F16Buffers {
  /** Number of rows. */
  readonly rows: number;
  /** Elements of gate and of up in a row. */
  readonly inner: number;
}

const WORKGROUP = 64;

/** Bindings: gate_up [rows, 2 inner], y [rows, inner]. */
export function swiglu(spec: SwigluSpec, capabilities: Capabilities): Kernel {
  return kernel("swiglu", spec, capabilities, ["gate_up"], "y", 6, [["y", "index", "gate * s * up"]]);
}

/** Bindings: gate_up [rows, 2 inner], dy [rows, inner], d_gate_up [rows, 2 inner]. */
export function swigluBackward(spec: SwigluSpec, capabilities: Capabilities): Kernel {
  return kernel("swiglu_backward", spec, capabilities, ["gate_up", "dy"], "d_gate_up", 12, [
    ["d_gate_up", "at", "DY * up * s * (1.0 + gate * (1.0 - s))"],
    ["d_gate_up", "at + HALF", "DY * gate * s"],
  ]);
}

function kernel(
  family: string,
  spec: SwigluSpec,
  capabilities: Capabilities,
  inputs: readonly string[],
  output: string,
  flopsEach: number,
  stores: readonly (readonly [buffer: string, at: string, value: string])[],
): Kernel {
  const { rows, inner } = spec;
  const name = `${family}_${rows}x${inner}`;
  requirePositive(name, { rows, inner });
  requireBindable(name, { gate_up: 2 * rows * inner }, capabilities);
  const width = inner % 4 === 0 ? 4 : 1;
  const vectors = inner / width;
  const bindings: ShaderBinding[] = [
    ...inputs.map((input) => ({ name: input, access: "read", dtype: "f32", width }) as const),
    { name: output, access: "read_write", dtype: "f32", width },
  ];
  const buffers = buffersOf(name, bindings, spec);
  const { workgroups, prologue } = linearThreads(name, rows * vectors, WORKGROUP, capabilities);
  const one = `${typeName("f32", width)}(1.0)`;
  const body = lines(
    prologue,
    "let at = index / HALF * 2u * HALF + index % HALF;",
    `let gate = ${buffers.load("gate_up", "at")};`,
    `let up = ${buffers.load("gate_up", "at + HALF")};`,
    // exp takes only negative numbers here, so that it never overflows.
    "let e = exp(-abs(gate));",
    `let s = select(e, ${one}, gate >= ${typeName("f32", width)}(0.0)) / (1.0 + e);`,
    stores.map(([buffer, at, value]) =>
      buffers.store(buffer, at, value.replace("DY", buffers.load("dy", "index"))),
    ),
  );
  const code = shader({
    bindings: buffers.bindings,
    workgroupSize: WORKGROUP,
    declarations: `const HALF = ${vectors}u;`,
    body,
  });
  const moved = output === "y" ? 3 : 5;
  const [narrow, wide] = [rows * inner, 2 * rows * inner];
  const saved = buffers.saved({ gate_up: wide, y: narrow, dy: narrow, d_gate_up: wide });
  return {
    name: `${name}${buffers.suffix}`,
    code,
    bindings: bindingsOf(buffers.bindings),
    workgroups,
    flops: flopsEach * rows * inner,
    bytes: 4 * moved * rows * inner - saved,
  };
}
