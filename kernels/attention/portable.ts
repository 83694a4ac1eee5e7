/**
 * Scaled dot-product attention (Vaswani et al. 2017, eq. 1) with an online softmax (Milakov & Gimelshein 2018), so
 * that no S x S matrix is stored; backward recomputes the probabilities from the saved log-sum-exp
 * (Dao et al. 2022, section 3.1).
 *
 *   p_ij = exp(q_i k_j / sqrt(D) - lse_i),  o_i = sum_j p_ij v_j,  delta_i = o_i d_o_i
 *   ds_ij = p_ij (d_o_i v_j - delta_i) / sqrt(D);  d_q_i = sum_j ds_ij k_j;  d_k_i = sum_j ds_ji q_j;  d_v_i = sum_j p_ji d_o_j
 *
 * Queries, keys and values are packed: qkv [B, S, 3, H, D]. A thread owns one position of one head. On a software adapter it
 * owns several neighbouring positions, so that each load serves all of them. GPUs with subgroups take the variants of
 * quads.ts, or in mixed precision those of matrices_forward.ts and matrices_backward.ts. Software adapters with four lanes
 * take the variant of four_lanes.ts.
 */
import { backwardWork, deltaWork, forwardWork, nameOf, type AttentionSpec } from "./spec.js";
import { type Kernel } from "../core/kernel.js";
import type { Capabilities } from "../capabilities.js";
import { bindingsOf, linearThreads, lines, repeat, shader, typeName, type Buffers } from "../core/wgsl.js";
import {
  attentionBuffers,
  headConstants,
  headBegin,
  headOf,
  storedWork,
  type AttentionBuffer,
} from "./shared.js";

/**
 * Bindings: qkv [B, S, 3, H, D], o [B, S, H, D], lse [B, H, S] (log-sum-exp of the scaled scores); with rope also
 * cos_table [S, D] and sin_table [S, D].
 */
export function attentionPortable(spec: AttentionSpec, capabilities: Capabilities): Kernel {
  const { length, causal = false } = spec;
  const layout = layoutOf(spec, capabilities, FORWARD_ELEMENTS);
  const { owned, vectors, type } = layout;
  // Four keys share one rescaling of the online softmax. A lane holds only one key or value at a time.
  const each = (body: string): string =>
    lines("for (var t = 0u; t < count; t++) {", "let other = first + (j + t) * ROW;", body, "}");
  return positionKernel("attention", spec, capabilities, {
    layout,
    buffers: [
      ["qkv", "read", layout.width],
      ["o", "read_write", layout.width],
      ["lse", "read_write", 1],
    ],
    work: forwardWork(spec),
    body: (buffers) =>
      lines(
        repeat(owned, (r) =>
          lines(
            vectorsFrom(layout, buffers, `q${r}_`, "qkv", `at${r}`),
            repeat(vectors, (d) => `var acc${r}_${d} = ${type}();`),
            `var top${r} = -1e30;`,
            `var total${r} = 0.0;`,
          ),
        ),
        // A causal query skips the keys behind its position.
        `let end = ${causal ? `i${owned - 1} + 1u` : `${length}u`};`,
        "for (var j = 0u; j < end; j += 4u) {",
        `let count = ${!causal && length % 4 === 0 ? "4u" : "min(4u, end - j)"};`,
        repeat(owned, (r) => `var s${r} = vec4f(-1e30);`),
        each(
          lines(
            vectorsFrom(layout, buffers, "k_", "qkv", "other + HEADS"),
            repeat(owned, (r) => {
              const score = `(${product(layout, `q${r}_`, "k_")}) * SCALE`;
              return `s${r}[t] = ${causal ? `select(-1e30, ${score}, j + t <= i${r})` : score};`;
            }),
          ),
        ),
        repeat(owned, (r) =>
          lines(
            `let new_top${r} = max(top${r}, max(max(s${r}.x, s${r}.y), max(s${r}.z, s${r}.w)));`,
            `let old${r} = exp(top${r} - new_top${r});`,
            // Keys past the end get the score -1e30, and exp(-1e30) = 0.
            `let p${r} = exp(s${r} - new_top${r});`,
            `total${r} = total${r} * old${r} + p${r}.x + p${r}.y + p${r}.z + p${r}.w;`,
            `top${r} = new_top${r};`,
            repeat(vectors, (d) => `acc${r}_${d} *= old${r};`),
          ),
        ),
        each(
          lines(
            vectorsFrom(layout, buffers, "v_", "qkv", "other + 2u * HEADS"),
            repeat(owned, (r) => repeat(vectors, (d) => `acc${r}_${d} += p${r}[t] * v_${d};`)),
          ),
        ),
        "}",
        repeat(owned, (r) =>
          guardedStore(layout, r, length, [
            repeat(vectors, (d) => buffers.store("o", `out${r} + ${d}u`, `acc${r}_${d} / total${r}`)),
            `lse[index${r}] = top${r} + log(total${r});`,
          ]),
        ),
      ),
  });
}

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

/** How a thread holds head vectors. */
interface Layout {
  /** Neighbouring positions that a thread owns. */
  readonly owned: number;
  /** Loads of a head vector: its elements over the vector width. */
  readonly vectors: number;
  readonly width: 1 | 4;
  readonly type: string;
}

/**
 * The most elements of head vectors that a SIMD group of a software adapter owns. With more, kernels compile slowly and
 * spill registers. Groups of eight lanes take many times as long to compile backward as groups of four.
 */
const FORWARD_ELEMENTS = 512;
const backwardElements = ({ subgroups }: Capabilities): number => ((subgroups?.max ?? 4) > 4 ? 128 : 512);

function layoutOf(
  { length, headDim }: AttentionSpec,
  { software, subgroups }: Capabilities,
  elements: number,
): Layout {
  const width = headDim % 4 === 0 ? 4 : 1;
  const lanes = subgroups?.max ?? 4;
  const most = software ? Math.max(1, Math.min(4, Math.floor(elements / lanes / headDim))) : 1;
  return { owned: Math.min(most, length), vectors: headDim / width, width, type: typeName("f32", width) };
}

/** Loads a head vector into `${prefix}0`, `${prefix}1`, ... */
const vectorsFrom = (
  { vectors }: Layout,
  { load }: Buffers,
  prefix: string,
  buffer: string,
  at: string,
): string => repeat(vectors, (d) => `let ${prefix}${d} = ${load(buffer, `${at} + ${d}u`)};`);

const sumOf = (count: number, term: (i: number) => string): string =>
  Array.from({ length: count }, (_, i) => term(i)).join(" + ");

/** Dot product of two head vectors. */
const product = ({ vectors, width }: Layout, a: string, b: string): string =>
  sumOf(vectors, (d) => (width === 4 ? `dot(${a}${d}, ${b}${d})` : `${a}${d} * ${b}${d}`));

/** Stores of owned position r, guarded if the last thread of a head reaches past the end. */
const guardedStore = (
  { owned }: Layout,
  r: number,
  length: number,
  stores: string | readonly string[],
): string =>
  length % owned === 0 || r === 0 ? lines(stores) : lines(`if (i0 + ${r}u < ${length}u) {`, stores, "}");

interface Parts {
  readonly layout: Layout;
  readonly buffers: readonly AttentionBuffer[];
  /** May use, for each owned position r: `i${r}`, `at${r}` (in qkv), `out${r}` (in o), `index${r}` (in lse). */
  readonly body: (buffers: Buffers) => string;
  readonly work: Pick<Kernel, "flops" | "bytes">;
}

/** A kernel with one thread per `owned` positions of a (batch, head), and the offsets that the bodies above use. */
function positionKernel(
  family: string,
  spec: AttentionSpec,
  capabilities: Capabilities,
  parts: Parts,
): Kernel {
  const { batch, length, heads } = spec;
  const { owned, width } = parts.layout;
  const name = `${nameOf(family, spec)}${owned > 1 ? `_x${owned}` : ""}`;
  const buffers = attentionBuffers(name, { ...spec, rope: false }, parts.buffers);
  const { bindings } = buffers;
  const workgroupSize = capabilities.software ? 16 : 64;
  const perHead = Math.ceil(length / owned);
  const { workgroups, prologue } = linearThreads(name, batch * heads * perHead, workgroupSize, capabilities);
  const code = shader({
    bindings,
    workgroupSize,
    declarations: headConstants(spec, width),
    body: lines(
      prologue,
      headOf(spec, "index", perHead),
      headBegin(spec, width),
      repeat(owned, (r) =>
        lines(
          r === 0
            ? `let i0 = index % ${perHead}u * ${owned}u;`
            : `let i${r} = ${length % owned === 0 ? `i0 + ${r}u` : `min(i0 + ${r}u, ${length - 1}u)`};`,
          `let index${r} = head + i${r};`,
          `let at${r} = first + i${r} * ROW;`,
          `let out${r} = first_out + i${r} * HEADS;`,
        ),
      ),
      parts.body(buffers),
    ),
  });
  return {
    name: `${name}${buffers.suffix}`,
    code,
    bindings: bindingsOf(bindings),
    workgroups,
    ...storedWork(spec, parts.work, buffers),
  };
}
