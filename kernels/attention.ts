/**
 * Scaled dot-product attention (Vaswani et al. 2017, eq. 1) with an online softmax (Milakov & Gimelshein 2018), so
 * that no S x S matrix is stored; backward recomputes the probabilities from the saved log-sum-exp
 * (Dao et al. 2022, section 3.1).
 *
 *   p_ij = exp(q_i k_j / sqrt(D) - lse_i),  o_i = sum_j p_ij v_j,  delta_i = o_i d_o_i
 *   ds_ij = p_ij (d_o_i v_j - delta_i) / sqrt(D);  d_q_i = sum_j ds_ij k_j;  d_k_i = sum_j ds_ji q_j;  d_v_i = sum_j p_ji d_o_j
 *
 * Queries, keys and values are packed: qkv [B, S, 3, H, D]. One thread owns one (batch, head, position).
 */
import { requireBindable, requirePositive, type Capabilities, type Kernel } from "./kernel.js";
import { bindingsOf, linearThreads, lines, literal, shader, typeName, type ShaderBinding } from "./wgsl.js";

export interface AttentionSpec {
  readonly batch: number;
  /** S: positions. */
  readonly length: number;
  readonly heads: number;
  readonly headDim: number;
  /** Position i sees positions up to i only. */
  readonly causal?: boolean;
}

/** Bindings: qkv [B, S, 3, H, D], o [B, S, H, D], lse [B, H, S] (log-sum-exp of the scaled scores). */
export function attention(spec: AttentionSpec, capabilities: Capabilities): Kernel {
  const { length, headDim, causal } = spec;
  const vectors = headDim / widthOf(spec);
  return positionKernel("attention", spec, capabilities, {
    buffers: [
      ["qkv", "read", true],
      ["o", "read_write", true],
      ["lse", "read_write", false],
    ],
    flops: 4 * pairs(spec) * headDim,
    moved: 4 * rows(spec) * headDim + rows(spec),
    body: lines(
      load("q", "qkv", "at", vectors),
      `var acc: ${array(spec)};`,
      "var top = -1e30;",
      "var total = 0.0;",
      `for (var j = 0u; j < ${causal ? "i + 1u" : `${length}u`}; j++) {`,
      "let other = first + j * ROW;",
      "var score = 0.0;",
      each(vectors, "score += product(q[d], qkv[other + HEADS + d]);"),
      "score *= SCALE;",
      "let new_top = max(top, score);",
      "let old = exp(top - new_top);",
      "let p = exp(score - new_top);",
      "total = total * old + p;",
      "top = new_top;",
      each(vectors, "acc[d] = acc[d] * old + p * qkv[other + 2u * HEADS + d];"),
      "}",
      each(vectors, "o[out + d] = acc[d] / total;"),
      "lse[index] = top + log(total);",
    ),
  });
}

/** Bindings: o [B, S, H, D], d_o [B, S, H, D], delta [B, H, S]. */
export function attentionDelta(spec: AttentionSpec, capabilities: Capabilities): Kernel {
  const { headDim } = spec;
  return positionKernel("attention_delta", spec, capabilities, {
    buffers: [
      ["o", "read", true],
      ["d_o", "read", true],
      ["delta", "read_write", false],
    ],
    flops: 2 * rows(spec) * headDim,
    moved: rows(spec) * (2 * headDim + 1),
    body: lines(
      "var total = 0.0;",
      each(headDim / widthOf(spec), "total += product(o[out + d], d_o[out + d]);"),
      "delta[index] = total;",
    ),
  });
}

/** Bindings: qkv [B, S, 3, H, D], d_o [B, S, H, D], lse [B, H, S], delta [B, H, S], d_qkv [B, S, 3, H, D]. */
export function attentionBackward(spec: AttentionSpec, capabilities: Capabilities): Kernel {
  const { length, headDim, causal } = spec;
  const vectors = headDim / widthOf(spec);
  const guard = (condition: string, text: string): string =>
    causal ? lines(`if (${condition}) {`, text, "}") : lines("{", text, "}");
  return positionKernel("attention_backward", spec, capabilities, {
    buffers: [
      ["qkv", "read", true],
      ["d_o", "read", true],
      ["lse", "read", false],
      ["delta", "read", false],
      ["d_qkv", "read_write", true],
    ],
    flops: 14 * pairs(spec) * headDim,
    moved: 7 * rows(spec) * headDim + 2 * rows(spec),
    body: lines(
      load("q", "qkv", "at", vectors),
      load("k", "qkv", "at + HEADS", vectors),
      load("v", "qkv", "at + 2u * HEADS", vectors),
      load("g", "d_o", "out", vectors),
      ["d_q", "d_k", "d_v"].map((name) => `var ${name}: ${array(spec)};`),
      "let lse_i = lse[index];",
      "let delta_i = delta[index];",
      `for (var j = 0u; j < ${length}u; j++) {`,
      "let other = first + j * ROW;",
      "let other_out = first_out + j * HEADS;",
      // Row i as a query of position j.
      guard(
        "j <= i",
        lines(
          "var score = 0.0;",
          "var slope = 0.0;",
          each(
            vectors,
            "score += product(q[d], qkv[other + HEADS + d]); slope += product(g[d], qkv[other + 2u * HEADS + d]);",
          ),
          "let ds = exp(score * SCALE - lse_i) * (slope - delta_i) * SCALE;",
          each(vectors, "d_q[d] += ds * qkv[other + HEADS + d];"),
        ),
      ),
      // Row i as a key and a value of query j.
      guard(
        "j >= i",
        lines(
          "var score = 0.0;",
          "var slope = 0.0;",
          each(
            vectors,
            "score += product(k[d], qkv[other + d]); slope += product(v[d], d_o[other_out + d]);",
          ),
          "let p = exp(score * SCALE - lse[head + j]);",
          "let ds = p * (slope - delta[head + j]) * SCALE;",
          each(vectors, "d_k[d] += ds * qkv[other + d]; d_v[d] += p * d_o[other_out + d];"),
        ),
      ),
      "}",
      each(
        vectors,
        "d_qkv[at + d] = d_q[d]; d_qkv[at + HEADS + d] = d_k[d]; d_qkv[at + 2u * HEADS + d] = d_v[d];",
      ),
    ),
  });
}

const widthOf = ({ headDim }: AttentionSpec): 1 | 4 => (headDim % 4 === 0 ? 4 : 1);
const rows = ({ batch, heads, length }: AttentionSpec): number => batch * heads * length;
const pairs = (spec: AttentionSpec): number =>
  (rows(spec) * (spec.causal ? spec.length + 1 : 2 * spec.length)) / 2;
const array = (spec: AttentionSpec): string =>
  `array<${typeName("f32", widthOf(spec))}, ${spec.headDim / widthOf(spec)}>`;
const each = (vectors: number, text: string): string =>
  lines(`for (var d = 0u; d < ${vectors}u; d++) {`, text, "}");
const load = (name: string, buffer: string, at: string, vectors: number): string =>
  lines(`var ${name}: VALUES;`, each(vectors, `${name}[d] = ${buffer}[${at} + d];`));

interface Parts {
  /** Name, access, and whether it holds head vectors (else one number a position). */
  readonly buffers: readonly (readonly [string, "read" | "read_write", boolean])[];
  readonly body: string;
  readonly flops: number;
  /** Elements read and written at least. */
  readonly moved: number;
}

/** A thread per (batch, head, position), with the offsets that the bodies above use. */
function positionKernel(
  family: string,
  spec: AttentionSpec,
  capabilities: Capabilities,
  parts: Parts,
): Kernel {
  const { batch, length, heads, headDim, causal = false } = spec;
  const name = `${family}${causal ? "_causal" : ""}_b${batch}_s${length}_h${heads}_d${headDim}`;
  requirePositive(name, { batch, length, heads, headDim });
  requireBindable(name, { qkv: 3 * rows(spec) * headDim }, capabilities);
  const width = widthOf(spec);
  const vectors = headDim / width;
  const bindings = parts.buffers.map(([buffer, access, vector]): ShaderBinding => ({
    name: buffer,
    access,
    dtype: "f32",
    width: vector ? width : 1,
  }));
  const workgroupSize = capabilities.software ? 16 : 64;
  const { workgroups, prologue } = linearThreads(name, rows(spec), workgroupSize, capabilities);
  const code = shader({
    bindings,
    workgroupSize,
    declarations: lines(
      `alias VALUES = ${array(spec)};`,
      `const HEADS = ${heads * vectors}u; // vectors from q to k to v, and between positions of o`,
      `const ROW = ${3 * heads * vectors}u; // vectors between positions of qkv`,
      `const SCALE = ${literal(1 / Math.sqrt(headDim))};`,
      `fn product(a: ${typeName("f32", width)}, b: ${typeName("f32", width)}) -> f32 { return ${width === 4 ? "dot(a, b)" : "a * b"}; }`,
    ),
    body: lines(
      prologue,
      `let i = index % ${length}u;`,
      "let head = index - i;",
      `let h = index / ${length}u % ${heads}u;`,
      `let b = index / ${length * heads}u;`,
      `let first = b * ${length}u * ROW + h * ${vectors}u;`,
      `let first_out = b * ${length}u * HEADS + h * ${vectors}u;`,
      "let at = first + i * ROW;",
      "let out = first_out + i * HEADS;",
      parts.body,
    ),
  });
  return {
    name,
    code,
    bindings: bindingsOf(bindings),
    workgroups,
    flops: parts.flops,
    bytes: 4 * parts.moved,
  };
}
