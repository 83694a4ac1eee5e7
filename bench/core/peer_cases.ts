/** The operations that other libraries are asked for, with the data in their layout. */
import { attentionCases } from "./cases/attention.js";
import { elementCases } from "./cases/elements.js";
import { matmulCases } from "./cases/matmul.js";
import { rowCases } from "./cases/rows.js";
import type { Buffers, KernelCase } from "./kernel_case.js";

export type Sizes = Readonly<Record<string, unknown>>;

/** A case of the suite in the form for peers. */
export interface SharedCase {
  readonly ours: KernelCase;
  readonly kind: string;
  readonly spec: Sizes;
  /** Our binding that the peers' result corresponds to. */
  readonly output: string;
  /** The inputs as the peers take them; ours by default. */
  data(inputs: Buffers): Buffers;
}

function find(cases: readonly KernelCase[], kernel: string, shape: string): KernelCase {
  const found = cases.find((c) => c.kernel === kernel && c.shape === shape);
  if (!found) throw new RangeError(`peers: no case ${kernel} ${shape}`);
  return found;
}

function matmulShared(shape: string): SharedCase {
  const [, layout, M, N, K] = /(nn|nt|tn) (\d+)x(\d+)x(\d+)$/.exec(shape)!;
  return {
    ours: find(matmulCases, "matmul", shape),
    kind: "matmul",
    spec: { layout, M: Number(M), N: Number(N), K: Number(K) },
    output: "c",
    data: (inputs) => inputs,
  };
}

function attentionShared(shape: string): SharedCase {
  const [batch, length, heads, headDim] = /B(\d+) S(\d+) H(\d+) D(\d+)$/
    .exec(shape)!
    .slice(1)
    .map(Number) as [number, number, number, number];
  const width = heads * headDim;
  return {
    ours: find(attentionCases, "attention", shape),
    kind: "attention",
    spec: { batch, length, heads, headDim },
    output: "o",
    // Peers get q, k and v separately, each [B, S, H, D].
    data({ qkv }) {
      const part = (p: number): Float32Array =>
        Float32Array.from(
          { length: batch * length * width },
          (_, i) => qkv![(Math.floor(i / width) * 3 + p) * width + (i % width)]!,
        );
      return { q: part(0), k: part(1), v: part(2) };
    },
  };
}

const sizes = (shape: string): [number, number] =>
  /(\d+)x(\d+)$/.exec(shape)!.slice(1).map(Number) as [number, number];

function rowShared(kernel: string, shape: string, kind: string, output: string): SharedCase {
  const [rows, size] = sizes(shape);
  return {
    ours: find(rowCases, kernel, shape),
    kind,
    spec: { rows, size, classes: size },
    output,
    data: (inputs) => inputs,
  };
}

function swigluShared(shape: string): SharedCase {
  const [rows, inner] = sizes(shape);
  return {
    ours: find(rowCases, "swiglu", shape),
    kind: "swiglu",
    spec: { rows, inner },
    output: "y",
    data({ gate_up }) {
      const half = (first: number): Float32Array =>
        Float32Array.from(
          { length: rows * inner },
          (_, i) => gate_up![Math.floor(i / inner) * 2 * inner + first + (i % inner)]!,
        );
      return { gate: half(0), up: half(inner) };
    },
  };
}

/** The operations that peers are asked for, from small to large. */
export const SHARED_CASES: readonly (SharedCase & { readonly quick: boolean })[] = [
  { ...matmulShared("square nn 512x512x512"), quick: true },
  { ...matmulShared("tiny64 qkv nt 256x192x64"), quick: true },
  { ...matmulShared("small qkv nt 2592x384x128"), quick: true },
  { ...matmulShared("small qkv dX nn 2592x128x384"), quick: true },
  { ...matmulShared("small qkv dW tn 384x128x2592"), quick: true },
  { ...matmulShared("skinny nt 1x4096x1024"), quick: true },
  { ...matmulShared("odd nn 257x263x271"), quick: true },
  { ...matmulShared("official/32 qkv nt 2624x1536x512"), quick: false },
  { ...matmulShared("square nn 4096x4096x4096"), quick: false },
  ...["qkv nt 31488x1536x512", "qkv dX nn 31488x512x1536", "qkv dW tn 1536x512x31488"]
    .concat(["gate_up nt 31488x3072x512", "down nt 31488x512x1536"])
    .map((shape) => ({ ...matmulShared(`official ${shape}`), quick: false })),
  { ...attentionShared("tiny64 B16 S16 H4 D16"), quick: true },
  { ...attentionShared("small B32 S81 H4 D32"), quick: true },
  { ...rowShared("rms_norm_residual", "small 2592x128", "rms_norm_residual", "y"), quick: true },
  { ...rowShared("rms_norm_residual", "wide 2592x512", "rms_norm_residual", "y"), quick: true },
  { ...swigluShared("small 2592x512"), quick: true },
  { ...swigluShared("wide 2592x1536"), quick: true },
  {
    ...rowShared("cross_entropy_softmax", "vocabulary 2592x512", "cross_entropy", "loss"),
    quick: true,
  },
  {
    ours: find(elementCases, "elementwise_add", "small 2592x128"),
    kind: "add",
    spec: { shape: [2592, 128] },
    output: "out0",
    data: ({ in0, in1 }) => ({ a: in0!, b: in1! }),
    quick: true,
  },
  {
    ours: find(elementCases, "transpose", "2592x128"),
    kind: "transpose",
    spec: { rows: 2592, columns: 128 },
    output: "y",
    data: (inputs) => inputs,
    quick: true,
  },
  {
    ours: find(rowCases, "reduce_sum", "small bias gradient 1x2592x128"),
    kind: "sum_rows",
    spec: { rows: 2592, columns: 128 },
    output: "y",
    data: (inputs) => inputs,
    quick: true,
  },
];
