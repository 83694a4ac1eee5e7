/** Row operations: RMSNorm, SwiGLU, cross entropy, sums. */
import {
  crossEntropy,
  crossEntropyBackward,
  partialSums,
  reduce,
  rmsNorm,
  rmsNormBackward,
  sumSquares,
  swiglu,
  swigluBackward,
  type CrossEntropySpec,
  type ReduceSpec,
} from "../../../kernels/index.js";
import { FUNCTION_TOLERANCE, sumTolerance, type Expected, type KernelCase } from "../kernel_case.js";
import { MODEL_SHAPES, TRM_MIXER } from "./shapes.js";

const EPS = 1e-5;

interface Rows {
  readonly name: string;
  readonly rows: number;
  readonly size: number;
  readonly quick: boolean;
}

const label = ({ name, rows, size }: Rows): string => `${name} ${rows}x${size}`;

function rmsNormCase(shape: Rows): KernelCase {
  const { rows, size } = shape;
  return {
    kernel: "rms_norm_residual",
    shape: label(shape),
    quick: shape.quick,
    flops: 4 * rows * size,
    alternatives: (capabilities) => [
      { variant: "default", kernel: rmsNorm({ rows, size, eps: EPS, residual: true }, capabilities) },
    ],
    inputs: (random) => ({ x: random.floats(rows * size), residual: random.floats(rows * size) }),
    outputs: { y: rows * size, inverse_rms: rows },
    expected({ x, residual }, binding, index): Expected {
      const row = binding === "y" ? Math.floor(index / size) : index;
      let squares = 0;
      for (let i = row * size; i < (row + 1) * size; i++) squares += (x![i]! + residual![i]!) ** 2;
      const r = 1 / Math.sqrt(squares / size + EPS);
      if (binding === "inverse_rms") return { value: r, scale: r };
      const scale = (Math.abs(x![index]!) + Math.abs(residual![index]!)) * r;
      return { value: (x![index]! + residual![index]!) * r, scale };
    },
    tolerance: FUNCTION_TOLERANCE + sumTolerance(size),
  };
}

function rmsNormBackwardCase(shape: Rows): KernelCase {
  const { rows, size } = shape;
  return {
    kernel: "rms_norm_backward",
    shape: label(shape),
    quick: shape.quick,
    flops: 5 * rows * size,
    alternatives: (capabilities) => [
      { variant: "default", kernel: rmsNormBackward({ rows, size }, capabilities) },
    ],
    inputs: (random) => ({
      dy: random.floats(rows * size),
      y: random.floats(rows * size, -1.7, 1.7),
      inverse_rms: random.floats(rows, 0.5, 2),
    }),
    outputs: { ds: rows * size },
    expected({ dy, y, inverse_rms }, _binding, index): Expected {
      const row = Math.floor(index / size);
      let mean = 0;
      let magnitude = 0;
      for (let i = row * size; i < (row + 1) * size; i++) {
        mean += (dy![i]! * y![i]!) / size;
        magnitude += Math.abs(dy![i]! * y![i]!) / size;
      }
      const r = inverse_rms![row]!;
      return {
        value: (dy![index]! - y![index]! * mean) * r,
        scale: (Math.abs(dy![index]!) + Math.abs(y![index]!) * magnitude) * r,
      };
    },
    tolerance: sumTolerance(size),
  };
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

function swigluCase(shape: Rows): KernelCase {
  const { rows, size: inner } = shape;
  return {
    kernel: "swiglu",
    shape: label(shape),
    quick: shape.quick,
    flops: 6 * rows * inner,
    alternatives: (capabilities) => [{ variant: "default", kernel: swiglu({ rows, inner }, capabilities) }],
    inputs: (random) => ({ gate_up: random.floats(2 * rows * inner, -4, 4) }),
    outputs: { y: rows * inner },
    expected({ gate_up }, _binding, index): Expected {
      const at = Math.floor(index / inner) * 2 * inner + (index % inner);
      const value = gate_up![at]! * sigmoid(gate_up![at]!) * gate_up![at + inner]!;
      return { value, scale: Math.abs(value) };
    },
    tolerance: FUNCTION_TOLERANCE,
  };
}

function swigluBackwardCase(shape: Rows): KernelCase {
  const { rows, size: inner } = shape;
  return {
    kernel: "swiglu_backward",
    shape: label(shape),
    quick: shape.quick,
    flops: 12 * rows * inner,
    alternatives: (capabilities) => [
      { variant: "default", kernel: swigluBackward({ rows, inner }, capabilities) },
    ],
    inputs: (random) => ({
      gate_up: random.floats(2 * rows * inner, -4, 4),
      dy: random.floats(rows * inner),
    }),
    outputs: { d_gate_up: 2 * rows * inner },
    expected({ gate_up, dy }, _binding, index): Expected {
      const row = Math.floor(index / (2 * inner));
      const column = index % inner;
      const gate = gate_up![row * 2 * inner + column]!;
      const up = gate_up![row * 2 * inner + inner + column]!;
      const d = dy![row * inner + column]!;
      const s = sigmoid(gate);
      if (index % (2 * inner) >= inner) return { value: d * gate * s, scale: Math.abs(d * gate * s) };
      return {
        value: d * up * s * (1 + gate * (1 - s)),
        scale: Math.abs(d * up * s) * (1 + Math.abs(gate) * (1 - s)),
      };
    },
    tolerance: FUNCTION_TOLERANCE,
  };
}

const stable = (x: number): number => (x >= 0 ? x + 1 : 1 / (1 - x));
const stableSlope = (x: number): number => (x >= 0 ? 1 : 1 / (1 - x) ** 2);

function crossEntropyCase(shape: Rows, kind: CrossEntropySpec["kind"], backward: boolean): KernelCase {
  const { rows, size: classes } = shape;
  const spec: CrossEntropySpec = { rows, classes, kind, ignoreLabel: -100 };
  const family = backward ? crossEntropyBackward : crossEntropy;
  return {
    kernel: `cross_entropy_${kind}${backward ? "_backward" : ""}`,
    shape: label(shape),
    quick: shape.quick,
    flops: (backward ? 8 : 4) * rows * classes,
    alternatives: (capabilities) => [{ variant: "default", kernel: family(spec, capabilities) }],
    inputs: (random) => ({
      logits: random.floats(rows * classes, -4, 4),
      labels: random.integers(rows, -1, classes).map((y) => (y < 0 ? -100 : y)),
      ...(backward && { d_loss: random.floats(rows) }),
    }),
    outputs: backward ? { d_logits: rows * classes } : { loss: rows, prediction: rows },
    expected({ logits, labels, d_loss }, binding, index): Expected {
      const row = backward ? Math.floor(index / classes) : index;
      const x = Array.from(logits!.subarray(row * classes, (row + 1) * classes));
      const label = labels![row]!;
      if (binding === "prediction") return { value: x.indexOf(Math.max(...x)), scale: 1 };
      if (label < 0) return { value: 0, scale: 1 };
      const s = kind === "softmax" ? Math.exp : stable;
      const slope = kind === "softmax" ? Math.exp : stableSlope;
      const total = x.reduce((sum, v) => sum + s(v), 0);
      if (!backward)
        return {
          value: Math.log(total) - Math.log(s(x[label]!)),
          scale: 1 + Math.abs(Math.log(total)) + Math.abs(x[label]!),
        };
      const own = x[index % classes]!;
      const hit = index % classes === label ? slope(own) / s(own) : 0;
      return {
        value: d_loss![row]! * (slope(own) / total - hit),
        scale: Math.abs(d_loss![row]!) * (slope(own) / total + hit),
      };
    },
    tolerance: FUNCTION_TOLERANCE + sumTolerance(classes),
  };
}

function reduceCase(name: string, spec: ReduceSpec, quick: boolean): KernelCase {
  const { outer, size, inner } = spec;
  return {
    kernel: `reduce_${spec.op}`,
    shape: `${name} ${outer}x${size}x${inner}`,
    quick,
    flops: outer * size * inner,
    alternatives: (capabilities) => [{ variant: "default", kernel: reduce(spec, capabilities) }],
    inputs: (random) => ({ x: random.floats(outer * size * inner) }),
    outputs: { y: outer * inner },
    expected({ x }, _binding, index): Expected {
      const first = Math.floor(index / inner) * size * inner + (index % inner);
      let value = spec.op === "sum" ? 0 : -Infinity;
      let scale = 0;
      for (let s = 0; s < size; s++) {
        const v = x![first + s * inner]!;
        value = spec.op === "sum" ? value + v : Math.max(value, v);
        scale += Math.abs(v);
      }
      return { value, scale };
    },
    tolerance: sumTolerance(size),
  };
}

function sumSquaresCase(name: string, count: number, quick: boolean): KernelCase {
  const spec = { size: count, ranges: [{ first: 0, count }] };
  const threads = partialSums(spec);
  return {
    kernel: "sum_squares",
    shape: `${name} ${count}`,
    quick,
    flops: 2 * count,
    alternatives: (capabilities) => [{ variant: "default", kernel: sumSquares(spec, capabilities) }],
    inputs: (random) => ({ x: random.floats(count) }),
    outputs: { y: threads },
    expected({ x }, _binding, index): Expected {
      // 4-vectors go to the threads one after the other, round robin.
      let value = 0;
      for (let s = 4 * index; s < count; s += 4 * threads)
        for (let k = 0; k < 4; k++) value += x![s + k]! ** 2;
      return { value, scale: value };
    },
    tolerance: sumTolerance(Math.ceil(count / threads)),
  };
}

/** The norm of TRM's mixer: a row is a channel, and its mean is over positions. */
const MIXER_NORM: Rows = {
  ...{ name: "official/32 mlp_t", quick: false },
  ...{ rows: TRM_MIXER.batch * TRM_MIXER.width, size: TRM_MIXER.length },
};

/** Every row-operation case. */
export const rowCases: readonly KernelCase[] = [
  ...MODEL_SHAPES.flatMap(({ name, batch, length, width, inner, classes, quick }) => {
    const rows = batch * length;
    const norm = { name, rows, size: width, quick };
    const activation = { name, rows, size: inner, quick };
    const logits = { name, rows, size: classes, quick };
    return [
      rmsNormCase(norm),
      rmsNormBackwardCase(norm),
      swigluCase(activation),
      swigluBackwardCase(activation),
      crossEntropyCase(logits, "stablemax", false),
      crossEntropyCase(logits, "stablemax", true),
      reduceCase(
        `${name} bias gradient`,
        { outer: 1, size: rows, inner: width, op: "sum", dtype: "f32" },
        quick,
      ),
    ];
  }),
  rmsNormCase(MIXER_NORM),
  rmsNormBackwardCase(MIXER_NORM),
  rmsNormCase({ name: "wide", rows: 2592, size: 512, quick: true }),
  swigluCase({ name: "wide", rows: 2592, size: 1536, quick: true }),
  crossEntropyCase({ name: "vocabulary", rows: 2592, size: 512, quick: true }, "softmax", false),
  crossEntropyCase({ name: "vocabulary", rows: 2592, size: 512, quick: true }, "softmax", true),
  reduceCase("total", { outer: 1, size: 1 << 20, inner: 1, op: "sum", dtype: "f32" }, true),
  sumSquaresCase("gradient", 3072 * 512, true),
  reduceCase("rows", { outer: 4096, size: 257, inner: 1, op: "max", dtype: "f32" }, false),
];
