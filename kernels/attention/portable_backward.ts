/** The gradient of attention for any device. portable.ts has the formulas. */
import type { Capabilities } from "../capabilities.js";
import type { Kernel } from "../core/kernel.js";
import { lines, repeat } from "../core/wgsl.js";
import { guardedStore, layoutOf, positionKernel, product, vectorsFrom } from "./portable.js";
import { backwardWork, deltaWork, type AttentionSpec } from "./spec.js";

/**
 * The most elements of head vectors that a SIMD group of a software adapter owns. Groups of eight lanes take many times as
 * long to compile as groups of four.
 */
const backwardElements = ({ subgroups }: Capabilities): number => ((subgroups?.max ?? 4) > 4 ? 128 : 512);

/** Bindings: o [B, S, H, D], d_o [B, S, H, D], delta [B, H, S]. */
export function attentionDeltaPortable(spec: AttentionSpec, capabilities: Capabilities): Kernel {
  const layout = layoutOf(spec, capabilities, backwardElements(capabilities));
  return positionKernel("attention_delta", spec, capabilities, {
    layout: { ...layout, owned: 1 },
    buffers: [
      ["o", "read", layout.width],
      ["d_o", "read", layout.width],
      ["delta", "read_write", 1],
    ],
    work: deltaWork(spec),
    body: (buffers) =>
      lines(
        vectorsFrom(layout, buffers, "o_", "o", "out0"),
        vectorsFrom(layout, buffers, "g_", "d_o", "out0"),
        `delta[index0] = ${product(layout, "o_", "g_")};`,
      ),
  });
}

/**
 * Bindings: qkv [B, S, 3, H, D], d_o [B, S, H, D], lse [B, H, S], delta [B, H, S], d_qkv [B, S, 3, H, D]; with rope also
 * cos_table [S, D] and sin_table [S, D].
 */
export function attentionBackwardPortable(spec: AttentionSpec, capabilities: Capabilities): Kernel {
  const { length, causal = false } = spec;
  const layout = layoutOf(spec, capabilities, backwardElements(capabilities));
  const { owned, vectors, type } = layout;
  const accumulators = (...names: string[]): string =>
    repeat(owned, (r) =>
      lines(names.map((name) => repeat(vectors, (d) => `var ${name}${r}_${d} = ${type}();`))),
    );
  const masked = (p: string, condition: string): string => (causal ? `select(0.0, ${p}, ${condition})` : p);
  return positionKernel("attention_backward", spec, capabilities, {
    layout,
    buffers: [
      ["qkv", "read", layout.width],
      ["d_o", "read", layout.width],
      ["lse", "read", 1],
      ["delta", "read", 1],
      ["d_qkv", "read_write", layout.width],
    ],
    work: backwardWork(spec),
    body: (buffers) =>
      lines(
        // The owned positions as queries of every key j.
        "{",
        repeat(owned, (r) =>
          lines(
            vectorsFrom(layout, buffers, `q${r}_`, "qkv", `at${r}`),
            vectorsFrom(layout, buffers, `g${r}_`, "d_o", `out${r}`),
            `let lse${r} = lse[index${r}];`,
            `let delta${r} = delta[index${r}];`,
          ),
        ),
        accumulators("d_q"),
        `for (var j = 0u; j < ${causal ? `i${owned - 1} + 1u` : `${length}u`}; j++) {`,
        "let other = first + j * ROW;",
        vectorsFrom(layout, buffers, "k_", "qkv", "other + HEADS"),
        vectorsFrom(layout, buffers, "v_", "qkv", "other + 2u * HEADS"),
        repeat(owned, (r) =>
          lines(
            `let p${r} = ${masked(`exp((${product(layout, `q${r}_`, "k_")}) * SCALE - lse${r})`, `j <= i${r}`)};`,
            `let ds${r} = p${r} * (${product(layout, `g${r}_`, "v_")} - delta${r}) * SCALE;`,
            repeat(vectors, (d) => `d_q${r}_${d} += ds${r} * k_${d};`),
          ),
        ),
        "}",
        repeat(owned, (r) =>
          guardedStore(
            layout,
            r,
            length,
            repeat(vectors, (d) => buffers.store("d_qkv", `at${r} + ${d}u`, `d_q${r}_${d}`)),
          ),
        ),
        "}",
        // The owned positions as keys and values of every query j.
        "{",
        repeat(owned, (r) =>
          lines(
            vectorsFrom(layout, buffers, `k${r}_`, "qkv", `at${r} + HEADS`),
            vectorsFrom(layout, buffers, `v${r}_`, "qkv", `at${r} + 2u * HEADS`),
          ),
        ),
        accumulators("d_k", "d_v"),
        `for (var j = ${causal ? "i0" : "0u"}; j < ${length}u; j++) {`,
        vectorsFrom(layout, buffers, "q_", "qkv", "first + j * ROW"),
        vectorsFrom(layout, buffers, "g_", "d_o", "first_out + j * HEADS"),
        "let lse_j = lse[head + j];",
        "let delta_j = delta[head + j];",
        repeat(owned, (r) =>
          lines(
            `let p${r} = ${masked(`exp((${product(layout, `k${r}_`, "q_")}) * SCALE - lse_j)`, `j >= i${r}`)};`,
            `let ds${r} = p${r} * (${product(layout, `v${r}_`, "g_")} - delta_j) * SCALE;`,
            repeat(vectors, (d) => `d_k${r}_${d} += ds${r} * q_${d}; d_v${r}_${d} += p${r} * g_${d};`),
          ),
        ),
        "}",
        repeat(owned, (r) =>
          guardedStore(layout, r, length, [
            repeat(vectors, (d) => buffers.store("d_qkv", `at${r} + HEADS + ${d}u`, `d_k${r}_${d}`)),
            repeat(vectors, (d) => buffers.store("d_qkv", `at${r} + 2u * HEADS + ${d}u`, `d_v${r}_${d}`)),
          ]),
        ),
        "}",
      ),
  });
}
