/**
 * Every kernel family with specs that reach each of its variants: what the sweeps over all kernels run through. The file is
 * longer than 400 lines because it is one table.
 */
import type { Capabilities } from "../../kernels/capabilities.js";
import type { Kernel } from "../../kernels/core/kernel.js";
import {
  adamAtan2,
  adamW,
  attention,
  attentionBackward,
  attentionDelta,
  concat,
  crossEntropy,
  crossEntropyBackward,
  elementwise,
  gatherPacked,
  gatherRows,
  matmul,
  matmulName,
  matmulVariants,
  pad,
  randomBits,
  randomPermutations,
  reduce,
  rmsNorm,
  rmsNormBackward,
  rope,
  scatterAddRows,
  shuffledIndex,
  signSgd,
  stridedCopy,
  sumSquares,
  swiglu,
  swigluBackward,
  type AttentionSpec,
  type ElementwiseSpec,
  type MatmulSpec,
} from "../../kernels/index.js";

import { quadsTurn } from "../../kernels/attention/choose.js";
import { attentionBackwardMatrices } from "../../kernels/attention/matrices_backward.js";
import { attentionMatrices } from "../../kernels/attention/matrices_forward.js";
import { gatedProduct } from "../../kernels/matmul/subgroup_matrices.js";
import type { GatedSpec, SubgroupMatrices } from "../../kernels/matmul/spec.js";
import { matmulSum } from "../../kernels/matmul/split.js";

export interface Case {
  /** Elements of the largest buffer that it binds. */
  readonly largest: number;
  readonly make: (capabilities: Capabilities, changes?: Readonly<Record<string, number>>) => Kernel;
  /** True for a variant that is used only if it was chosen. Its text is validated, and the family's tests run it. */
  readonly candidate: boolean;
}

export interface Family {
  readonly name: string;
  /** Fields of the spec that must be positive integers. */
  readonly sizes: readonly string[];
  readonly cases: readonly Case[];
  /** True if every kernel of the family needs subgroup matrices, which few adapters have. */
  readonly needsMatrices?: boolean;
}

function family<Spec extends object>(
  name: string,
  make: (spec: Spec, capabilities: Capabilities) => Kernel,
  sizes: readonly (keyof Spec & string)[],
  largest: (spec: Spec) => number,
  specs: readonly Spec[],
): Family {
  const cases = specs.map((spec): Case => ({
    largest: largest(spec),
    make: (capabilities, changes = {}) => make({ ...spec, ...changes }, capabilities),
    candidate: "variant" in spec,
  }));
  return { name, sizes, cases };
}

const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

const ATTENTION: readonly AttentionSpec[] = [
  { batch: 1, length: 1, heads: 1, headDim: 1 },
  { batch: 2, length: 19, heads: 3, headDim: 8 },
  { batch: 2, length: 19, heads: 3, headDim: 8, causal: true },
  { batch: 1, length: 16, heads: 2, headDim: 5, causal: true },
  { batch: 1, length: 900, heads: 8, headDim: 64 },
  { batch: 1, length: 7, heads: 2, headDim: 32, causal: true, rope: true },
  { batch: 1, length: 7, heads: 2, headDim: 16, halves: ["qkv", "o"], scaled: ["d_qkv"] },
];
const attentionElements = ({ batch, length, heads, headDim }: AttentionSpec): number =>
  3 * batch * length * heads * headDim;
const ATTENTION_SIZES = ["batch", "length", "heads", "headDim"] as const;
/** Adds rope only if the kernel supports it. */
const turning =
  (make: typeof attention): typeof attention =>
  (spec, capabilities) =>
    make({ ...spec, rope: spec.rope === true && quadsTurn(spec, capabilities) }, capabilities);

const ROPE = [
  { batch: 1, length: 1, heads: 1, headDim: 2 },
  { batch: 2, length: 17, heads: 3, headDim: 10 },
];
const NORMS = [
  { rows: 1, size: 1, eps: 1e-5 },
  { rows: 65, size: 63, eps: 1e-5 },
  { rows: 17, size: 64, eps: 1e-5 },
  { rows: 3, size: 512, eps: 1e-5 },
  { rows: 3, size: 12, eps: 1e-5, halves: ["y"] },
];
const ROWS = [
  { rows: 1, inner: 1 },
  { rows: 65, inner: 3 },
  { rows: 33, inner: 64 },
  { rows: 33, inner: 64, halves: ["gate_up"] },
];
const CLASSES = (["stablemax", "softmax"] as const).flatMap((kind) =>
  [
    [1, 1],
    [65, 12],
  ].map(([rows, classes]) => ({ rows: rows!, classes: classes!, kind, ignoreLabel: -100 })),
);
const TABLES = [
  { rows: 1, size: 1, tableRows: 1 },
  { rows: 65, size: 3, tableRows: 7 },
  { rows: 33, size: 16, tableRows: 70 },
  { rows: 600, size: 20, tableRows: 3 },
];
const ADAM = [1, 65, 260].flatMap((count) =>
  [false, true].map((ema) => ({ count, beta1: 0.9, beta2: 0.95, weightDecay: 0.1, ema })),
);

/** One kernel per operation would be many; chains of them compile as well. */
const ELEMENTWISE: readonly ElementwiseSpec[] = [[67], [264]].flatMap((shape): ElementwiseSpec[] => {
  const f32 = { shape, dtype: "f32" } as const;
  const [x, y] = [{ input: 0 }, { input: 1 }];
  const binary = (
    ["add", "sub", "mul", "div", "remainder", "max", "min", "siluGradient", "bceWithLogits"] as const
  ).map((operation) => ({ operation, operands: [x, y], dtype: "f32" as const }));
  const unary = (
    [
      "identity",
      "neg",
      "abs",
      "sign",
      "floor",
      "exp",
      "log",
      "sqrt",
      "inverseSqrt",
      "sigmoid",
      "silu",
    ] as const
  ).map((operation) => ({ operation, operands: [x], dtype: "f32" as const }));
  const compare = (["less", "lessEqual", "equal", "notEqual"] as const).map((operation) => ({
    operation,
    operands: [x, y],
    dtype: "i32" as const,
  }));
  const word = (value: number) => ({ literal: value, dtype: "u32" }) as const;
  const bits = (["bitAnd", "bitOr", "bitXor", "shiftRight"] as const).map((operation) => ({
    operation,
    operands: [word(2 ** 32 - 1), word(7)],
    dtype: "u32" as const,
  }));
  return [
    ...[[...binary, ...unary], compare, bits].map((statements) => ({
      shape,
      inputs: [f32, f32],
      statements,
      outputs: [{ value: statements.length - 1 }],
    })),
    {
      shape,
      inputs: [f32, { shape: [1], dtype: "i32" }],
      statements: [
        { operation: "position", operands: [], dtype: "i32" },
        { operation: "less", operands: [{ value: 0 }, y], dtype: "i32" },
        { operation: "where", operands: [{ value: 1 }, x, { literal: 0, dtype: "f32" }], dtype: "f32" },
        { operation: "cast", operands: [{ value: 2 }], dtype: "i32" },
      ],
      outputs: [{ value: 2, inPlace: 0 }, { value: 3 }],
    },
    {
      shape: [...shape, 4],
      inputs: [{ shape: [...shape, 1], dtype: "f32" }],
      statements: [{ operation: "neg", operands: [x], dtype: "f32" }],
      outputs: [{ value: 0 }],
    },
  ];
});

const REDUCE = (["sum", "max", "min"] as const).flatMap((op) =>
  (["f32", "i32"] as const).flatMap((dtype) =>
    [
      [1, 1, 1],
      [65, 8, 1],
      [3, 7, 5],
      // Workgroup variants compile slowly on software adapters: of scalars for sums, of 4-vectors for the others.
      ...(op === "sum" ? [[2, 1025, 3]] : [[3, 1028, 1]]),
      ...(dtype === "f32" ? [[2, 16384, 1]] : [[3, 6, 8]]),
    ].map(([outer, size, inner]) => ({ outer: outer!, size: size!, inner: inner!, op, dtype })),
  ),
);

const MATMUL = (["nn", "nt", "tn"] as const).flatMap((layout) => [
  { layout, M: 1, N: 1, K: 1 },
  { layout, M: 37, N: 29, K: 13, bias: true },
  { layout, M: 33, N: 65, K: 7, batch: 3 },
  { layout, M: 64, N: 96, K: 32, bias: true, residual: true },
  // The largest tiles are the default here and take a software adapter 5 s to compile: one layout compiles them, the others list them as candidates.
  { layout, M: 512, N: 512, K: 128, ...(layout !== "nn" && { variant: 0 }) },
]);
/** Every candidate of a product; some devices have fewer and come round to the first again. */
const MATMUL_VARIANTS = Array.from({ length: 11 }, (_, i) => ({
  ...({ layout: "nt", M: 64, N: 96, K: 32, batch: 1, bias: true, residual: true } as const),
  variant: i + 1,
}));

/** The matmul with its variant of this number, by the order of `matmulVariants`. */
function matmulVariant(
  { variant = 0, ...spec }: MatmulSpec & { readonly variant?: number },
  capabilities: Capabilities,
): Kernel {
  if (variant === 0) return matmul(spec, capabilities);
  const names = matmulVariants(spec, capabilities);
  const choices = { [matmulName(spec)]: names[variant % names.length]! };
  return matmul(spec, { ...capabilities, choices });
}

/** Small subgroup matrices, of which tiles fit into the workgroup memory that every device has. */
const MATRICES: SubgroupMatrices = { M: 8, N: 8, K: 8, component: "f16", subgroupSize: 32 };
const GATED: readonly GatedSpec[] = [
  { rows: 37, inner: 32, K: 40, halves: [] },
  { rows: 256, inner: 512, K: 128, halves: [] },
  { rows: 256, inner: 512, K: 128, halves: ["c"] },
];

const ATTENTION_ON_MATRICES: readonly AttentionSpec[] = [
  { batch: 1, length: 1, heads: 1, headDim: 16 },
  { batch: 2, length: 81, heads: 2, headDim: 32, causal: true, halves: ["qkv", "o"] },
  { batch: 1, length: 81, heads: 2, headDim: 64, rope: true, scaled: ["d_qkv"] },
];

export const FAMILIES: readonly Family[] = [
  ...Object.entries({ attentionMatrices, attentionBackwardMatrices }).map(([name, make]) => ({
    ...family<AttentionSpec>(
      name,
      (spec, capabilities) => make(spec, capabilities, MATRICES),
      ATTENTION_SIZES,
      attentionElements,
      ATTENTION_ON_MATRICES,
    ),
    needsMatrices: true,
  })),
  {
    ...family<GatedSpec>(
      "gatedProduct",
      (spec, capabilities) => gatedProduct(spec, capabilities, MATRICES)!,
      ["rows", "inner", "K"],
      ({ rows, inner, K }) => Math.max(rows * K, 2 * inner * K, rows * inner),
      GATED,
    ),
    needsMatrices: true,
  },
  family<MatmulSpec>("matmulSum", matmulSum, ["M", "N", "splits"], ({ M, N, splits = 1 }) => splits * M * N, [
    { layout: "tn", M: 5, N: 7, K: 2048, splits: 2 },
    { layout: "tn", M: 32, N: 48, K: 4096, splits: 4, bias: true, residual: true },
  ]),
  family<MatmulSpec & { readonly variant?: number }>(
    "matmul",
    matmulVariant,
    ["M", "N", "K", "batch"],
    ({ M, N, K, batch = 1 }) => batch * Math.max(M * N, M * K, K * N),
    [...MATMUL, ...MATMUL_VARIANTS],
  ),
  family("attention", turning(attention), ATTENTION_SIZES, attentionElements, ATTENTION),
  family("attentionBackward", turning(attentionBackward), ATTENTION_SIZES, attentionElements, ATTENTION),
  family("attentionDelta", attentionDelta, ATTENTION_SIZES, attentionElements, ATTENTION),
  family(
    "rope",
    rope,
    ["batch", "length", "heads", "headDim"],
    ({ batch, length, heads, headDim }) => 3 * batch * length * heads * headDim,
    ROPE.flatMap((spec) => [false, true].map((inverse) => ({ ...spec, inverse }))),
  ),
  family(
    "rmsNorm",
    rmsNorm,
    ["rows", "size"],
    ({ rows, size }) => rows * size,
    NORMS.flatMap((spec) => [false, true].map((residual) => ({ ...spec, residual }))),
  ),
  family("rmsNormBackward", rmsNormBackward, ["rows", "size"], ({ rows, size }) => rows * size, NORMS),
  family("swiglu", swiglu, ["rows", "inner"], ({ rows, inner }) => 2 * rows * inner, ROWS),
  family("swigluBackward", swigluBackward, ["rows", "inner"], ({ rows, inner }) => 2 * rows * inner, ROWS),
  family("crossEntropy", crossEntropy, ["rows", "classes"], ({ rows, classes }) => rows * classes, CLASSES),
  family(
    "crossEntropyBackward",
    crossEntropyBackward,
    ["rows", "classes"],
    ({ rows, classes }) => rows * classes,
    CLASSES,
  ),
  family(
    "gatherRows",
    gatherRows,
    ["rows", "size", "tableRows"],
    ({ rows, size, tableRows }) => Math.max(rows, tableRows) * size,
    TABLES.flatMap((spec) => (["f32", "i32", "u32"] as const).map((dtype) => ({ ...spec, dtype }))),
  ),
  family(
    "scatterAddRows",
    scatterAddRows,
    ["rows", "size", "tableRows"],
    ({ rows, size, tableRows }) => Math.max(rows, tableRows) * size,
    TABLES,
  ),
  family(
    "gatherPacked",
    gatherPacked,
    ["count", "elements"],
    ({ count, elements, bits }) => Math.max(count, Math.ceil((elements * bits) / 32)),
    ([8, 16, 32] as const).flatMap((bits) => [
      { count: 1, elements: 1, bits },
      { count: 65, elements: 1001, bits },
    ]),
  ),
  family("elementwise", elementwise, [], ({ shape }) => product(shape), ELEMENTWISE),
  family(
    "reduce",
    reduce,
    ["outer", "size", "inner"],
    ({ outer, size, inner }) => outer * size * inner,
    REDUCE,
  ),
  family("sumSquares", sumSquares, ["size"], ({ size }) => size, [
    { size: 1, ranges: [{ first: 0, count: 1 }] },
    {
      size: 5760,
      ranges: [
        { first: 0, count: 260 },
        { first: 384, count: 67 },
        { first: 512, count: 4 },
        { first: 640, count: 5000 },
      ],
    },
  ]),
  family("randomBits", randomBits, ["count"], ({ count }) => count, [
    { count: 1, stream: 0 },
    { count: 258, stream: 2 ** 32 - 1 },
  ]),
  family("randomPermutations", randomPermutations, ["rows", "items"], ({ rows, items }) => rows * items, [
    { rows: 1, items: 1, stream: 0 },
    { rows: 65, items: 9, stream: 7 },
  ]),
  family("shuffledIndex", shuffledIndex, ["count", "size"], ({ count }) => count, [
    { count: 1, size: 1, stream: 0 },
    { count: 65, size: 1000, stream: 7 },
  ]),
  family("adamAtan2", adamAtan2, ["count"], ({ count }) => count, ADAM),
  family(
    "adamW",
    adamW,
    ["count"],
    ({ count }) => count,
    ADAM.map((spec) => ({ ...spec, epsilon: 1e-8 })),
  ),
  family(
    "signSgd",
    signSgd,
    ["tableRows", "size", "batch"],
    ({ tableRows, size, batch }) => Math.max(tableRows, batch) * size,
    [
      { tableRows: 1, size: 1, batch: 1, weightDecay: 0.1 },
      { tableRows: 70, size: 8, batch: 65, weightDecay: 0.1 },
    ],
  ),
  family(
    "stridedCopy",
    stridedCopy,
    ["sourceElements"],
    ({ shape, sourceElements }) => Math.max(product(shape), sourceElements),
    [
      { shape: [], strides: [], offset: 0, sourceElements: 1, dtype: "i32" },
      { shape: [7, 67], strides: [1, 7], offset: 0, sourceElements: 469, dtype: "u32" },
      { shape: [65, 4], strides: [12, 1], offset: 4, sourceElements: 780, dtype: "f32" },
    ],
  ),
  family("pad", pad, [], ({ shape }) => product(shape), [
    { shape: [1], source: [1], start: [0], dtype: "f32" },
    { shape: [7, 67], source: [3, 50], start: [2, 9], dtype: "i32" },
    { shape: [3, 5, 7], source: [1, 3, 7], start: [2, 1, 0], dtype: "u32" },
  ]),
  family(
    "concat",
    concat,
    ["outer", "inner"],
    ({ outer, sizes, inner }) => outer * sizes.reduce((a, b) => a + b, 0) * inner,
    [
      { outer: 1, sizes: [1], inner: 1, dtype: "i32" },
      { outer: 65, sizes: [1, 2, 3], inner: 3, dtype: "f32" },
      { outer: 4, sizes: [1, 2, 3, 4, 5, 6, 7], inner: 4, dtype: "u32" },
    ],
  ),
];
