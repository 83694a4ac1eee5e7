/**
 * Mixed precision: matrix products whose operands are rounded to f16 and whose sums are f32, on subgroup matrices (tensor
 * cores). Everything else stays f32: weights and their averages, moments, norms, softmax and losses (Micikevicius et
 * al. 2018).
 */
import { matmul, type MatmulLayout } from "../kernels/matmul.js";
import { matrixVariants, type SubgroupMatrices } from "../kernels/matmul_subgroup_matrices.js";
import type { Capabilities } from "../kernels/kernel.js";
import { chooseHalves } from "./compiler/halves.js";
import { SUBGROUP_MATRIX_FEATURE, type Device } from "./device.js";
import { AdapterError } from "./errors.js";
import { runKernel } from "./run_kernel.js";

export { SUBGROUP_MATRIX_FEATURE };
export type { SubgroupMatrices } from "../kernels/matmul_subgroup_matrices.js";

/** As `GPUAdapterInfo.subgroupMatrixConfigs` lists them. */
interface MatrixConfig {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly componentType: string;
  readonly resultComponentType: string;
}

/** The largest f16 matrices with f32 results that the device multiplies. @throws AdapterError naming what it lacks */
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
 * Programs compiled from now on multiply in mixed precision, all but products that are smaller than one matrix. The
 * extension promises no accuracy, so the device first multiplies small numbers whose products and sums f32 holds
 * exactly, in every layout: anything but the exact result is refused.
 * @returns the matrices in use
 * @throws AdapterError where the device lacks something or computes something else
 */
export async function useMixedPrecision(device: Device): Promise<SubgroupMatrices> {
  const matrices = subgroupMatrices(device);
  const { M, N, K, component } = matrices;
  const mixedPrecision = {
    name: `${component} ${M}x${N}x${K}`,
    variants: (product: Parameters<typeof matrixVariants>[0]) => matrixVariants(product, matrices),
  };
  const capabilities = { ...device.capabilities, choices: {}, mixedPrecision };
  for (const layout of ["nn", "nt", "tn"] as const) await checkExact(device, capabilities, matrices, layout);
  device.multiplyWith(mixedPrecision, chooseHalves);
  return matrices;
}

/** Multiplies sixteenths between 0 and 2: their products and sums have at most 20 bits. @throws AdapterError */
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
      if (got !== expected)
        throw new AdapterError(
          `Mixed precision: ${device.adapter.name} computed ${got} in ${kernel.name} at [${m}, ${n}]; expected ${expected} exactly. ` +
            "Its subgroup matrices cannot be used; train in f32.",
        );
    }
}
