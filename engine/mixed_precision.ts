/**
 * Mixed precision (Micikevicius et al. 2018): matmul and attention round their operands to f16 and sum in f32, on subgroup
 * matrices (tensor cores). Activations of the forward pass, and gradients that only matmuls read, are stored in f16. All
 * else stays f32: weights and their averages, moments, and the arithmetic of norms, softmax and losses.
 */
import { attentionBackwardMatrices, attentionBackwardTiles } from "../kernels/attention/matrices_backward.js";
import type { AttentionSpec } from "../kernels/attention/spec.js";
import { attentionMatrices, attentionTiles } from "../kernels/attention/matrices_forward.js";
import { matmul } from "../kernels/matmul/choose.js";
import type { MatmulLayout, SubgroupMatrices } from "../kernels/matmul/spec.js";
import { gatedProduct, matrixVariants } from "../kernels/matmul/subgroup_matrices.js";
import type { Capabilities, MixedPrecision } from "../kernels/capabilities.js";
import type { Kernel } from "../kernels/core/kernel.js";
import { SUBGROUP_MATRIX_FEATURE } from "./adapter.js";
import { f16Storage } from "./compiler/f16_storage.js";
import type { Device } from "./device.js";
import { AdapterError } from "./errors.js";
import { runKernel } from "./run_kernel.js";
import type { Target } from "./target.js";

export { SUBGROUP_MATRIX_FEATURE };
export type { SubgroupMatrices } from "../kernels/matmul/spec.js";

/** An entry of `GPUAdapterInfo.subgroupMatrixConfigs`. */
interface MatrixConfig {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly componentType: string;
  readonly resultComponentType: string;
}

/** The largest f16 matrices with f32 results that the device multiplies. @throws AdapterError that names what the device lacks */
export function subgroupMatrices({ adapterInfo, adapter, capabilities }: Device): SubgroupMatrices {
  const lacks = (what: string): AdapterError =>
    new AdapterError(
      `Mixed precision: ${adapter.name} lacks ${what}; expected a device with ${SUBGROUP_MATRIX_FEATURE}, shader-f16 and ` +
        "f16 matrices with f32 results. Train in f32 here; Chrome offers the feature with the flag --enable-unsafe-webgpu, Dawn with allow_unsafe_apis; both offer f16 on NVIDIA GPUs with vulkan_enable_f16_on_nvidia.",
    );
  if (!adapter.features.includes(SUBGROUP_MATRIX_FEATURE)) throw lacks(SUBGROUP_MATRIX_FEATURE);
  if (!capabilities.shaderF16) throw lacks("shader-f16");
  const { subgroups } = capabilities;
  if (!subgroups || subgroups.min !== subgroups.max) throw lacks("subgroups of one size");
  const info = adapterInfo as GPUAdapterInfo & { subgroupMatrixConfigs?: Iterable<MatrixConfig> };
  const usable = [...(info.subgroupMatrixConfigs ?? [])]
    .filter((c) => c.componentType === "f16" && c.resultComponentType === "f32")
    .filter(({ M, N, K }) => [M, N, K].every((size) => size % 8 === 0))
    .sort((a, b) => b.M * b.N * b.K - a.M * a.N * a.K);
  if (!usable[0]) throw lacks("f16 matrices with f32 results");
  const { M, N, K } = usable[0];
  return { M, N, K, component: "f16", subgroupSize: subgroups.min };
}

/**
 * The device's target in mixed precision: its programs multiply, and on GPUs attend, on subgroup matrices, all but products
 * that are smaller than one matrix and head vectors that matrices do not divide. The extension promises no accuracy, so the
 * device first multiplies small numbers whose products and sums f32 holds exactly, in every layout, where anything but the
 * exact result is refused, and attends where the result is known.
 * @throws AdapterError if the device lacks a feature or computes a wrong result
 */
export async function mixedPrecisionTarget(device: Device): Promise<Target> {
  const matrices = subgroupMatrices(device);
  const target = withMixedPrecision(device.target, matrices);
  const { capabilities } = target;
  for (const layout of ["nn", "nt", "tn"] as const) await checkExact(device, capabilities, matrices, layout);
  await checkAttention(device, capabilities, matrices);
  return target;
}

/** The target in mixed precision on these matrices, unchecked, for plans without a device. Choices are dropped: they are of f32 kernels. */
export function withMixedPrecision(
  target: Target,
  matrices: SubgroupMatrices,
): Target & { readonly capabilities: { readonly mixedPrecision: Required<MixedPrecision> } } {
  const mixedPrecision = mixedPrecisionOn(matrices);
  return { ...target, capabilities: { ...target.capabilities, choices: {}, mixedPrecision }, f16Storage };
}

/** The kernels on these matrices: matmul, and attention if matrices divide its head vectors. */
export function mixedPrecisionOn(matrices: SubgroupMatrices): Required<MixedPrecision> {
  return {
    name: `${matrices.component} ${matrices.M}x${matrices.N}x${matrices.K}`,
    variants: (product) => matrixVariants(product, matrices),
    gated: (spec, capabilities) => gatedProduct(spec, capabilities, matrices),
    attention: (spec, capabilities) =>
      attentionTiles(spec, capabilities, matrices).map((tile) => ({
        name: `m${tile.subgroups * matrices.M}x${tile.keys}`,
        make: () => attentionMatrices(spec, capabilities, matrices, tile),
      })),
    attentionBackward: (spec, capabilities) =>
      attentionBackwardTiles(spec, capabilities, matrices).map((tile) => ({
        name: `m${tile.subgroups * matrices.M}x${tile.keys}`,
        make: () => attentionBackwardMatrices(spec, capabilities, matrices, tile),
      })),
  };
}

/**
 * Computes attention with keys that are the signs of a position's binary digits. They are so far apart that every query sees
 * exactly one key, so that all results are known. Deltas are zero, which makes score gradients visible. The tolerance is
 * 2^-10, because exp and log may be off.
 * @throws AdapterError
 */
async function checkAttention(
  device: Device,
  capabilities: Capabilities & { readonly mixedPrecision: Required<MixedPrecision> },
  matrices: SubgroupMatrices,
): Promise<void> {
  const [S, D, heads] = [2 * matrices.M + 3, 16, 2];
  const spec: AttentionSpec = { batch: 1, length: S, heads, headDim: D };
  const { attention, attentionBackward } = capabilities.mixedPrecision;
  const [forward, backward] = [attention, attentionBackward].map((family) =>
    family(spec, capabilities)[0]?.make(),
  );
  if (!forward || !backward) return;
  const pick = (numbers: readonly number[]): number => numbers[Math.floor(numbers.length * Math.random())]!;
  const rows = S * heads;
  const qkv = new Float32Array(3 * rows * D);
  const [d_o, o] = [new Float32Array(rows * D), new Float32Array(rows * D)];
  const [lse, d_qkv] = [
    new Float32Array(rows).fill((256 * D) / Math.sqrt(D)),
    new Float32Array(3 * rows * D),
  ];
  const at = (s: number, third: number, h: number) => ((s * 3 + third) * heads + h) * D;
  const seen = (s: number, h: number) => (5 * s + h) % S;
  const key = (s: number, d: number) => ((s >> d) & 1 ? 16 : -16);
  for (let s = 0; s < S; s++)
    for (let h = 0; h < heads; h++)
      for (let d = 0; d < D; d++) {
        qkv[at(s, 0, h) + d] = key(seen(s, h), d);
        qkv[at(s, 1, h) + d] = key(s, d);
        qkv[at(s, 2, h) + d] = pick([-1, 0, 1]);
        d_o[(s * heads + h) * D + d] = pick([-1, 0, 1]) / 64;
      }
  for (let s = 0; s < S; s++)
    for (let h = 0; h < heads; h++) {
      const [j, out] = [seen(s, h), (s * heads + h) * D];
      const slope = d_o.subarray(out, out + D).reduce((sum, g, d) => sum + g * qkv[at(j, 2, h) + d]!, 0);
      for (let d = 0; d < D; d++) {
        o[out + d] = qkv[at(j, 2, h) + d]!;
        d_qkv[at(s, 0, h) + d]! += (slope * key(j, d)) / Math.sqrt(D);
        d_qkv[at(j, 1, h) + d]! += (slope * key(j, d)) / Math.sqrt(D);
        d_qkv[at(j, 2, h) + d]! += d_o[out + d]!;
      }
    }
  const nothing = (like: Float32Array) => new Float32Array(like.length).fill(NaN);
  const inputs = { qkv, d_o, lse, delta: new Float32Array(rows) };
  const checks = [
    [forward, { qkv, o: nothing(o), lse: nothing(lse) }, { o, lse }],
    [backward, { ...inputs, d_qkv: nothing(d_qkv) }, { d_qkv }],
  ] as const;
  for (const [kernel, buffers, expected] of checks) {
    const results = await runKernel(device, kernel, buffers);
    for (const [name, values] of Object.entries(expected))
      values.forEach((value, i) => {
        const got = results[name]![i]!;
        if (!(Math.abs(got - value) <= 2 ** -10 * Math.max(1, Math.abs(value))))
          throw refused(device, kernel, got, `${name}[${i}]`, `${value} within 2^-10`);
      });
  }
}

/** The error for a wrong result. */
function refused(
  { adapter }: Device,
  { name }: Kernel,
  got: number,
  where: string,
  expected: string,
): AdapterError {
  return new AdapterError(
    `Mixed precision: ${adapter.name} computed ${got} in ${name} at ${where}; expected ${expected}. ` +
      "Its subgroup matrices cannot be used; train in f32.",
  );
}

/** Multiplies multiples of 1/16 between 0 and 2, whose products and sums have at most 20 bits. @throws AdapterError */
async function checkExact(
  device: Device,
  capabilities: Capabilities,
  matrices: SubgroupMatrices,
  layout: MatmulLayout,
): Promise<void> {
  const [M, N, K] = [2 * matrices.M + 3, 2 * matrices.N + 5, 8 * matrices.K + 7];
  const sixteenths = (count: number): Float32Array =>
    Float32Array.from({ length: count }, () => Math.floor(33 * Math.random()) / 16);
  const a = sixteenths(M * K);
  const b = sixteenths(K * N);
  const kernel = matmul({ layout, M, N, K, gradient: "a" }, capabilities);
  const { c } = await runKernel(device, kernel, { a, b, c: new Float32Array(M * N).fill(NaN) });
  for (let m = 0; m < M; m++)
    for (let n = 0; n < N; n++) {
      let expected = 0;
      for (let k = 0; k < K; k++)
        expected += a[layout === "tn" ? k * M + m : m * K + k]! * b[layout === "nt" ? n * K + k : k * N + n]!;
      const got = c![m * N + n]!;
      if (got !== expected) throw refused(device, kernel, got, `[${m}, ${n}]`, `${expected} exactly`);
    }
}
