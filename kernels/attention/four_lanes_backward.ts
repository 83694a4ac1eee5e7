/** The gradient of attention on adapters that run shaders on the CPU. four_lanes.ts explains how lanes share loads. */
import type { Capabilities } from "../capabilities.js";
import type { Kernel } from "../core/kernel.js";
import { lines, repeat } from "../core/wgsl.js";
import {
  chain,
  dot,
  layoutOf,
  loopOverKeys,
  ownedStore,
  ownedVector,
  seen,
  sharedKernel,
  sharedVectors,
  storeVector,
  sums,
  type Layout,
} from "./four_lanes.js";
import { backwardWork, type AttentionSpec } from "./spec.js";

/** The variant of `attentionBackward`, with the same bindings. */
export function attentionBackwardShared(spec: AttentionSpec, capabilities: Capabilities): Kernel {
  const layout = layoutOf(spec, 4);
  const { length, headDim, owned, trip, causal = false } = layout;
  /** Probability and score gradient of owned position r, as query or as key, and the trip's position t. */
  const pair = (r: number, t: number, role: "query" | "key"): string => {
    // Shared vectors come first.
    const factors = role === "query" ? ["kq", "vg"] : ["qk", "gv"];
    const [score, slope] = factors.map(([shared, own]) => dot(layout, `${shared}${t}_`, `${own}${r}_`));
    const statistic = (name: string) => (role === "query" ? `${name}${r}` : `${name}_${t}`);
    const p = `exp(${score} * SCALE - ${statistic("lse")})`;
    return lines(
      `let p${r}_${t} = ${seen(layout, r, t, p, "0.0", role)};`,
      `let ds${r}_${t} = p${r}_${t} * (${slope} - ${statistic("delta")}) * SCALE;`,
    );
  };
  return sharedKernel("attention_backward", capabilities, {
    layout,
    buffers: [
      ["qkv", "read", 4],
      ["d_o", "read", 4],
      ["lse", "read", 1],
      ["delta", "read", 1],
      ["d_qkv", "read_write", 4],
    ],
    work: backwardWork(spec),
    body: (buffers) =>
      lines(
        // The owned positions as queries of every key.
        "{",
        repeat(owned, (r) =>
          lines(
            ownedVector(layout, buffers, `q${r}_`, "qkv", `at${r}`),
            ownedVector(layout, buffers, `g${r}_`, "d_o", `out${r}`),
            `let lse${r} = lse[index${r}];`,
            `let delta${r} = delta[index${r}];`,
            sums(headDim, `d_q${r}_`),
          ),
        ),
        loopOverKeys(layout),
        sharedVectors(layout, buffers, "k", "qkv", "first + position * ROW + HEADS"),
        sharedVectors(layout, buffers, "v", "qkv", "first + position * ROW + 2u * HEADS"),
        repeat(owned, (r) =>
          lines(
            repeat(trip, (t) => pair(r, t, "query")),
            repeat(headDim, (e) => `d_q${r}_${e} = ${chain(trip, "k", e, `ds${r}_`, `d_q${r}_${e}`)};`),
          ),
        ),
        "}",
        repeat(owned, (r) =>
          ownedStore(layout, r, [storeVector(layout, buffers, "d_qkv", `at${r}`, `d_q${r}_`)]),
        ),
        "}",
        // The owned positions as keys and values of every query.
        "{",
        repeat(owned, (r) =>
          lines(
            ownedVector(layout, buffers, `k${r}_`, "qkv", `at${r} + HEADS`),
            ownedVector(layout, buffers, `v${r}_`, "qkv", `at${r} + 2u * HEADS`),
            sums(headDim, `d_k${r}_`),
            sums(headDim, `d_v${r}_`),
          ),
        ),
        `for (var j = ${causal ? "base" : "0u"}; j < ${length}u; j += ${trip}u) {`,
        sharedVectors(layout, buffers, "q", "qkv", "first + position * ROW"),
        sharedVectors(layout, buffers, "g", "d_o", "first_out + position * HEADS"),
        sharedNumbers(layout, "lse"),
        sharedNumbers(layout, "delta"),
        repeat(owned, (r) =>
          lines(
            repeat(trip, (t) => pair(r, t, "key")),
            repeat(headDim, (e) =>
              lines(
                `d_k${r}_${e} = ${chain(trip, "q", e, `ds${r}_`, `d_k${r}_${e}`)};`,
                `d_v${r}_${e} = ${chain(trip, "g", e, `p${r}_`, `d_v${r}_${e}`)};`,
              ),
            ),
          ),
        ),
        "}",
        repeat(owned, (r) =>
          ownedStore(layout, r, [
            storeVector(layout, buffers, "d_qkv", `at${r} + HEADS`, `d_k${r}_`),
            storeVector(layout, buffers, "d_qkv", `at${r} + 2u * HEADS`, `d_v${r}_`),
          ]),
        ),
        "}",
      ),
  });
}

/** Loads the numbers of the trip's positions, one per position, into `${name}_${t}`. */
function sharedNumbers({ length, trip }: Layout, name: string): string {
  return lines(
    `let ${name}_share = ${name}[head + min(j + lane, ${length - 1}u)];`,
    repeat(trip, (t) => `let ${name}_${t} = subgroupBroadcast(${name}_share, ${t}u);`),
  );
}
