/** Split-K for results of few elements and long sums: the number of shares of k, and the kernel that sums them with the epilogue. */
import { requireBindable, requirePositive, type Kernel } from "../core/kernel.js";
import type { Capabilities } from "../capabilities.js";
import { addends, ENOUGH_WORKGROUPS, productBindings, shareOf, widthOf } from "./shared.js";
import type { MatmulSpec } from "./spec.js";
import { bindingsOf, buffersOf, linearThreads, lines, repeat, shader } from "../core/wgsl.js";

const WORKGROUP = 64;
/** A share with fewer steps along k costs more than it saves. The number of shares is bounded because all are stored. */
const LEAST_SHARE = 1024;
const MOST_SPLITS = 32;

/**
 * Number of shares of k into which the engine splits this product. It is 1 unless c has too few tiles to occupy a GPU and k
 * is long.
 */
export function matmulSplits({ M, N, K, batch = 1 }: MatmulSpec): number {
  if (batch > 1) return 1;
  const tiles = Math.ceil(M / 128) * Math.ceil(N / 128);
  const wanted = Math.min((2 * ENOUGH_WORKGROUPS) / tiles, K / LEAST_SHARE, MOST_SPLITS);
  // Shares are rounded up, so that fewer shares may suffice.
  return wanted < 2 ? 1 : Math.ceil(K / shareOf({ K, splits: Math.floor(wanted) }));
}

/** Bindings: parts [splits, M, N], (bias [N]), (residual [M, N]), c [M, N]; shares are added in ascending order. */
export function matmulSum(
  { M, N, splits = 1, bias = false, residual = false, halves = [] }: MatmulSpec,
  capabilities: Capabilities,
): Kernel {
  const epilogue = `${bias ? "_bias" : ""}${residual ? "_residual" : ""}`;
  const name = `matmul_sum${epilogue}_${splits}x${M}x${N}`;
  requirePositive(name, { M, N, splits });
  requireBindable(name, { parts: splits * M * N }, capabilities);
  const width = widthOf(N);
  const size = (M * N) / width;
  const [, , ...others] = productBindings({ bias, residual }, width, width, width);
  const bindings = [{ name: "parts", access: "read", dtype: "f32", width } as const, ...others];
  // The product of the shares has read a and b.
  const buffers = buffersOf(name, bindings, { halves: halves.filter((buffer) => buffer >= "c") });
  const { workgroups, prologue } = linearThreads(name, size, WORKGROUP, capabilities);
  const body = lines(
    prologue,
    "var sum = parts[index];",
    repeat(splits - 1, (i) => `sum += parts[index + ${(i + 1) * size}u];`),
    buffers.store(
      "c",
      "index",
      `sum${addends({ bias, residual }, "index", `index % ${N / width}u`, buffers)}`,
    ),
  );
  return {
    name: `${name}${buffers.suffix}`,
    code: shader({ bindings: buffers.bindings, workgroupSize: WORKGROUP, body }),
    bindings: bindingsOf(buffers.bindings),
    workgroups,
    flops: M * N * (splits - 1 + (bias ? 1 : 0) + (residual ? 1 : 0)),
    bytes:
      4 * (M * N * (splits + (residual ? 2 : 1)) + (bias ? N : 0)) -
      buffers.saved({ c: M * N, residual: M * N }),
  };
}
