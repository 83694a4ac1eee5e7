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
import { forwardWork, nameOf, type AttentionSpec } from "./spec.js";
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

/** How a thread holds head vectors. */
export interface Layout {
  /** Neighbouring positions that a thread owns. */
  readonly owned: number;
  /** Loads of a head vector: its elements over the vector width. */
  readonly vectors: number;
  readonly width: 1 | 4;
  readonly type: string;
}

/** The most elements of head vectors that a SIMD group of a software adapter owns. With more, kernels compile slowly and spill registers. */
const FORWARD_ELEMENTS = 512;
export function layoutOf(
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
export const vectorsFrom = (
  { vectors }: Layout,
  { load }: Buffers,
  prefix: string,
  buffer: string,
  at: string,
): string => repeat(vectors, (d) => `let ${prefix}${d} = ${load(buffer, `${at} + ${d}u`)};`);

const sumOf = (count: number, term: (i: number) => string): string =>
  Array.from({ length: count }, (_, i) => term(i)).join(" + ");

/** Dot product of two head vectors. */
export const product = ({ vectors, width }: Layout, a: string, b: string): string =>
  sumOf(vectors, (d) => (width === 4 ? `dot(${a}${d}, ${b}${d})` : `${a}${d} * ${b}${d}`));

/** Stores of owned position r, guarded if the last thread of a head reaches past the end. */
export const guardedStore = (
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
export function positionKernel(
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
