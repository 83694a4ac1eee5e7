/** Attention and rotary positions at the model shapes, and at the lengths of larger puzzles. */
import {
  attention,
  attentionBackward,
  attentionDelta,
  rope,
  ropeTables,
  type AttentionSpec,
  type Capabilities,
  type Kernel,
} from "../../../kernels/index.js";
import {
  FUNCTION_TOLERANCE,
  MIXED_TOLERANCE,
  sumTolerance,
  type Buffers,
  type Expected,
  type Alternative,
  type KernelCase,
} from "../kernel_case.js";
import { attentionBackwardQuads, attentionDeltaQuads } from "../../../kernels/attention/quads_backward.js";
import { attentionQuads } from "../../../kernels/attention/quads_forward.js";
import { quadsApply } from "../../../kernels/attention/choose.js";
import { MODEL_SHAPES } from "./shapes.js";

interface Shape extends AttentionSpec {
  readonly name: string;
  readonly quick: boolean;
}

const label = ({ name, batch, length, heads, headDim }: Shape): string =>
  `${name} B${batch} S${length} H${heads} D${headDim}`;

/** Positions of qkv [B, S, 3, H, D]: `part` 0 is q, 1 is k, 2 is v. */
function packed({ length, heads, headDim }: AttentionSpec, b: number, h: number) {
  return (part: number, s: number, d: number): number =>
    (((b * length + s) * 3 + part) * heads + h) * headDim + d;
}

function dot(n: number, a: (d: number) => number, b: (d: number) => number): number {
  let total = 0;
  for (let d = 0; d < n; d++) total += a(d) * b(d);
  return total;
}

/**
 * The errors come from two rounded operands, and from a score whose operands were rounded too. They have different signs,
 * and add up to about 2^-10 for the inputs below.
 */
const MIXED_ATTENTION_TOLERANCE = 4 * MIXED_TOLERANCE;

/** The default; the f32 variant if it differs; and for attention by quads other numbers of positions, and one thread per position. */
function alternatives(
  spec: AttentionSpec,
  capabilities: Capabilities,
  make: (spec: AttentionSpec, capabilities: Capabilities) => Kernel,
  byQuads: (spec: AttentionSpec, capabilities: Capabilities, most?: number) => Kernel,
): readonly Alternative[] {
  const { mixedPrecision: _, ...f32 } = capabilities;
  const kernel = make(spec, f32);
  const rounded = make(spec, capabilities);
  const chosen: readonly Alternative[] =
    rounded.code === kernel.code
      ? [{ variant: "default", kernel }]
      : [
          { variant: "default", kernel: rounded, tolerance: MIXED_ATTENTION_TOLERANCE },
          { variant: "f32", kernel },
        ];
  if (!quadsApply(spec, capabilities)) return chosen;
  const quads = [1, 2, 3, 4].map((most) => byQuads(spec, capabilities, most));
  const others = quads.filter(
    ({ code }, i) => code !== kernel.code && quads.findIndex((kernel) => kernel.code === code) === i,
  );
  return [
    ...chosen,
    ...others.map((kernel) => ({ variant: kernel.name.replace(/^.*_(quads.*)$/, "$1"), kernel })),
    { variant: "threads", kernel: make(spec, { ...f32, subgroups: null }) },
  ];
}

function forwardCase(shape: Shape): KernelCase {
  const { batch, length, heads, headDim } = shape;
  const rows = batch * heads * length;
  return {
    kernel: "attention",
    shape: label(shape),
    quick: shape.quick,
    flops: 4 * rows * length * headDim,
    alternatives: (capabilities) => alternatives(shape, capabilities, attention, attentionQuads),
    inputs: (random) => ({ qkv: random.floats(3 * rows * headDim, -1.5, 1.5) }),
    outputs: { o: rows * headDim, lse: rows },
    expected({ qkv }, binding, index): Expected {
      const place = binding === "o" ? Math.floor(index / headDim) : index;
      const [b, h, i] =
        binding === "o"
          ? [Math.floor(place / (heads * length)), place % heads, Math.floor(place / heads) % length]
          : [Math.floor(place / (heads * length)), Math.floor(place / length) % heads, place % length];
      const at = packed(shape, b, h);
      const scores = Array.from(
        { length },
        (_, j) =>
          dot(
            headDim,
            (d) => qkv![at(0, i, d)]!,
            (d) => qkv![at(1, j, d)]!,
          ) / Math.sqrt(headDim),
      );
      const top = Math.max(...scores);
      const weights = scores.map((s) => Math.exp(s - top));
      const total = weights.reduce((x, y) => x + y);
      if (binding === "lse")
        return { value: top + Math.log(total), scale: 1 + Math.abs(top) + Math.log(length) };
      let value = 0;
      let scale = 0;
      weights.forEach((p, j) => {
        const term = (p / total) * qkv![at(2, j, index % headDim)]!;
        value += term;
        scale += Math.abs(term);
      });
      return { value, scale };
    },
    tolerance: FUNCTION_TOLERANCE + sumTolerance(length * headDim),
  };
}

function deltaCase(shape: Shape): KernelCase {
  const { batch, length, heads, headDim } = shape;
  const rows = batch * heads * length;
  return {
    kernel: "attention_delta",
    shape: label(shape),
    quick: false,
    flops: 2 * rows * headDim,
    alternatives: (capabilities) => alternatives(shape, capabilities, attentionDelta, attentionDeltaQuads),
    inputs: (random) => ({ o: random.floats(rows * headDim), d_o: random.floats(rows * headDim) }),
    outputs: { delta: rows },
    expected({ o, d_o }, _binding, index): Expected {
      const b = Math.floor(index / (heads * length));
      const h = Math.floor(index / length) % heads;
      const at = ((b * length + (index % length)) * heads + h) * headDim;
      const terms = Array.from({ length: headDim }, (_, d) => o![at + d]! * d_o![at + d]!);
      return {
        value: terms.reduce((x, y) => x + y),
        scale: terms.reduce((x, y) => x + Math.abs(y), 0),
      };
    },
    tolerance: sumTolerance(headDim),
  };
}

function backwardCase(shape: Shape): KernelCase {
  const { batch, length, heads, headDim } = shape;
  const rows = batch * heads * length;
  const root = Math.sqrt(headDim);
  return {
    kernel: "attention_backward",
    shape: label(shape),
    quick: shape.quick,
    flops: 14 * rows * length * headDim,
    alternatives: (capabilities) =>
      alternatives(shape, capabilities, attentionBackward, attentionBackwardQuads),
    // A log-sum-exp close to that of such scores keeps probabilities near 1 / S.
    inputs: (random) => ({
      qkv: random.floats(3 * rows * headDim, -1.5, 1.5),
      d_o: random.floats(rows * headDim),
      lse: random.floats(rows, Math.log(length), Math.log(length) + 1),
      delta: random.floats(rows),
    }),
    outputs: { d_qkv: 3 * rows * headDim },
    expected: (inputs, _binding, index) => backwardElement(shape, root, inputs, index),
    tolerance: FUNCTION_TOLERANCE + sumTolerance(length * headDim),
  };
}

function backwardElement(shape: Shape, root: number, inputs: Buffers, index: number): Expected {
  const { length, heads, headDim } = shape;
  const { qkv, d_o, lse, delta } = inputs;
  const d = index % headDim;
  const h = Math.floor(index / headDim) % heads;
  const part = Math.floor(index / (headDim * heads)) % 3;
  const own = Math.floor(index / (headDim * heads * 3)) % length;
  const b = Math.floor(index / (headDim * heads * 3 * length));
  const at = packed(shape, b, h);
  const outAt = (s: number, e: number): number => ((b * length + s) * heads + h) * headDim + e;
  const row = (s: number): number => (b * heads + h) * length + s;
  let value = 0;
  let scale = 0;
  for (let j = 0; j < length; j++) {
    // d_q sums over keys; d_k and d_v sum over queries.
    const [query, key] = part === 0 ? [own, j] : [j, own];
    const score =
      dot(
        headDim,
        (e) => qkv![at(0, query, e)]!,
        (e) => qkv![at(1, key, e)]!,
      ) / root;
    const p = Math.exp(score - lse![row(query)]!);
    if (part === 2) {
      const term = p * d_o![outAt(query, d)]!;
      value += term;
      scale += Math.abs(term);
      continue;
    }
    let slope = 0;
    let magnitude = Math.abs(delta![row(query)]!);
    for (let e = 0; e < headDim; e++) {
      const term = d_o![outAt(query, e)]! * qkv![at(2, key, e)]!;
      slope += term;
      magnitude += Math.abs(term);
    }
    const other = part === 0 ? qkv![at(1, key, d)]! : qkv![at(0, query, d)]!;
    value += ((p * (slope - delta![row(query)]!)) / root) * other;
    scale += ((p * magnitude) / root) * Math.abs(other);
  }
  return { value, scale };
}

function ropeCase(shape: Shape, inverse: boolean): KernelCase {
  const { batch, length, heads, headDim } = shape;
  const size = 3 * batch * length * heads * headDim;
  const half = headDim / 2;
  const { cos, sin } = ropeTables({ length, headDim, theta: 10000 });
  return {
    kernel: inverse ? "rope_inverse" : "rope",
    shape: label(shape),
    quick: shape.quick,
    flops: 2 * size,
    alternatives: (capabilities) => [
      { variant: "default", kernel: rope({ batch, length, heads, headDim, inverse }, capabilities) },
    ],
    inputs: (random) => ({ x: random.floats(size), cos_table: cos, sin_table: sin }),
    outputs: { y: size },
    expected({ x }, _binding, index): Expected {
      const own = x![index]!;
      if (Math.floor(index / (headDim * heads)) % 3 === 2) return { value: own, scale: 1 };
      const d = index % headDim;
      const partner = x![d < half ? index + half : index - half]!;
      const t = (Math.floor(index / (headDim * heads * 3)) % length) * headDim + d;
      const turned = (d < half ? -partner : partner) * (inverse ? -1 : 1);
      return { value: own * cos[t]! + turned * sin[t]!, scale: Math.abs(own) + Math.abs(partner) };
    },
    tolerance: sumTolerance(2),
  };
}

const MODELS: readonly Shape[] = MODEL_SHAPES.map(({ name, batch, length, heads, width, quick }) => ({
  name,
  batch,
  length,
  heads,
  headDim: width / heads,
  quick,
}));

const LONG: Shape = { name: "maze", batch: 2, length: 900, heads: 8, headDim: 64, quick: false };

/** Every attention and rope case. */
export const attentionCases: readonly KernelCase[] = [...MODELS, LONG].flatMap((shape) => [
  forwardCase(shape),
  deltaCase(shape),
  backwardCase(shape),
  ropeCase(shape, false),
  ropeCase(shape, true),
]);
