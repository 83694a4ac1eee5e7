/** Matrix products: of a model's layers and their gradients, and square, skinny and odd shapes. */
import { gpuKernels } from "../../../kernels/gpu/index.js";
import { matmul, type Capabilities, type MatmulSpec } from "../../../kernels/index.js";
import {
  HALF_TOLERANCE,
  MIXED_TOLERANCE,
  sumTolerance,
  type Alternative,
  type Expected,
  type KernelCase,
} from "../kernel_case.js";
import { MODEL_SHAPES, TRM_MIXER, type ModelShape } from "./shapes.js";

/** A product as a case. Its shape is written `<label> <layout> <M>x<N>x<K>`. */
export function matmulCase(label: string, spec: MatmulSpec, quick: boolean): KernelCase {
  const { layout, M, N, K, batch = 1, bias = false } = spec;
  const scale = K ** -0.5;
  return {
    kernel: "matmul",
    shape: `${label} ${layout} ${batch > 1 ? `${batch}x` : ""}${M}x${N}x${K}`,
    quick,
    flops: 2 * batch * M * N * K,
    alternatives: (capabilities) => matmulAlternatives(spec, capabilities),
    inputs: (random) => ({
      a: random.floats(batch * M * K),
      b: random.floats(batch * K * N, -scale, scale),
      ...(bias && { bias: random.floats(N) }),
    }),
    outputs: { c: batch * M * N },
    expected({ a, b, bias }, _binding, index): Expected {
      const n = index % N;
      const m = Math.floor(index / N) % M;
      const g = Math.floor(index / (N * M));
      let value = bias?.[n] ?? 0;
      let magnitude = Math.abs(value);
      for (let k = 0; k < K; k++) {
        const left = a![g * M * K + (layout === "tn" ? k * M + m : m * K + k)]!;
        const right = b![g * K * N + (layout === "nt" ? n * K + k : k * N + n)]!;
        value += left * right;
        magnitude += Math.abs(left * right);
      }
      return { value, scale: magnitude };
    },
    tolerance: sumTolerance(K),
  };
}

/**
 * The variant that the engine chooses, the f32 variant if it differs, and the variant that the engine would choose on the
 * other kind of adapter. In mixed precision operands and results are stored in f16, except for gradients.
 */
function matmulAlternatives(spec: MatmulSpec, capabilities: Capabilities): Alternative[] {
  const { mixedPrecision, ...f32 } = capabilities;
  const other = { ...f32, software: !capabilities.software, gpu: gpuKernels };
  const plain = { ...spec, gradient: null };
  const kernel = matmul(plain, f32);
  const rounded = matmul(spec, capabilities);
  const halves = ["a", "b", "c"].filter((name) => (name === "c" ? !spec.gradient : name !== spec.gradient));
  const tolerance = MIXED_TOLERANCE + sumTolerance(spec.K);
  const mixed = (): Alternative[] => [
    {
      variant: "default",
      kernel: matmul({ ...spec, halves }, capabilities),
      tolerance: tolerance + HALF_TOLERANCE,
    },
    { variant: "stored in f32", kernel: rounded, tolerance },
    { variant: "f32", kernel },
  ];
  return [
    ...(mixedPrecision && rounded.name !== kernel.name ? mixed() : [{ variant: "default", kernel }]),
    { variant: capabilities.software ? "gpu" : "software", kernel: matmul(plain, other) },
  ];
}

/** y = x W^T with its two gradients. */
function linearCases(
  { name, quick }: Pick<ModelShape, "name" | "quick">,
  layer: string,
  { rows, outputs, inputs, bias = false }: { rows: number; outputs: number; inputs: number; bias?: boolean },
): KernelCase[] {
  const label = `${name} ${layer}`;
  return [
    matmulCase(label, { layout: "nt", M: rows, N: outputs, K: inputs, bias }, quick),
    matmulCase(`${label} dX`, { layout: "nn", M: rows, N: inputs, K: outputs, gradient: "a" }, quick),
    matmulCase(`${label} dW`, { layout: "tn", M: outputs, N: inputs, K: rows, gradient: "a" }, quick),
  ];
}

/** The products of TRM's mixer: its rows are the channels of the transposed state. */
function mixerCases({ batch, length, width, inner }: typeof TRM_MIXER): KernelCase[] {
  const named = { name: "official/32 mlp_t", quick: false };
  const rows = batch * width;
  return [
    linearCases(named, "gate_up", { rows, outputs: 2 * inner, inputs: length }),
    linearCases(named, "down", { rows, outputs: length, inputs: inner }),
  ].flat();
}

function modelCases(shape: ModelShape): KernelCase[] {
  const { batch, length, width, inner, classes } = shape;
  const rows = batch * length;
  return [
    linearCases(shape, "qkv", { rows, outputs: 3 * width, inputs: width }),
    linearCases(shape, "o", { rows, outputs: width, inputs: width }),
    linearCases(shape, "gate_up", { rows, outputs: 2 * inner, inputs: width }),
    linearCases(shape, "down", { rows, outputs: width, inputs: inner }),
    linearCases(shape, "lm_head", { rows, outputs: classes, inputs: width }),
    linearCases(shape, "q_head", { rows: batch, outputs: 2, inputs: width, bias: true }),
  ].flat();
}

const square = (n: number, quick = false): KernelCase =>
  matmulCase("square", { layout: "nn", M: n, N: n, K: n }, quick);

/** Every matmul case. */
export const matmulCases: readonly KernelCase[] = [
  ...MODEL_SHAPES.flatMap(modelCases),
  ...mixerCases(TRM_MIXER),
  ...[256, 512, 1024, 2048, 4096].map((n) => square(n, n <= 512)),
  matmulCase("skinny", { layout: "nt", M: 1, N: 4096, K: 1024 }, true),
  matmulCase("skinny", { layout: "nt", M: 16, N: 4096, K: 1024 }, false),
  matmulCase("skinny", { layout: "nn", M: 4096, N: 16, K: 1024 }, false),
  matmulCase("skinny", { layout: "tn", M: 32, N: 32, K: 65536 }, true),
  matmulCase("odd", { layout: "nn", M: 257, N: 263, K: 271 }, true),
  matmulCase("odd", { layout: "nt", M: 257, N: 263, K: 271 }, true),
  matmulCase("odd", { layout: "tn", M: 257, N: 263, K: 271 }, true),
  matmulCase("odd", { layout: "nt", M: 997, N: 61, K: 13, batch: 3 }, false),
];
