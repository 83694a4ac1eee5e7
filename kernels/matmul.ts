/**
 * Matrix multiplication in the three layouts that a linear layer and its gradients need:
 *
 *   nn: c = a b      a [M, K], b [K, N]        (dX = dY W)
 *   nt: c = a b^T    a [M, K], b [N, K]        (Y = X W^T)
 *   tn: c = a^T b    a [K, M], b [K, N]        (dW = dY^T X)
 *
 * A bias [N] and a residual [M, N] may be added as c is written. Every element of c sums over k in ascending
 * order by one thread. A software adapter, which pays for memory accesses and barriers, keeps a tile of c in the
 * variables of each thread (`matmul_registers.ts`); a GPU stages tiles of a and b in workgroup memory
 * (`matmul_tiles.ts`).
 */
import { requireBindable, requirePositive, type Capabilities, type Kernel } from "./kernel.js";
import type { MatmulSpec, Product } from "./matmul_product.js";
import { registers } from "./matmul_registers.js";
import { tiles } from "./matmul_tiles.js";
import { bindingsOf } from "./wgsl.js";

export type { MatmulLayout, MatmulSpec } from "./matmul_product.js";

/**
 * Bindings: a, b, (bias [N]), (residual [batch, M, N]), c [batch, M, N]; all f32.
 * @throws KernelError for sizes that are not positive integers or exceed what the device can bind or dispatch.
 */
export function matmul(spec: MatmulSpec, capabilities: Capabilities): Kernel {
  const { layout, M, N, K, batch = 1, bias = false, residual = false } = spec;
  const epilogue = `${bias ? "_bias" : ""}${residual ? "_residual" : ""}`;
  const name = `matmul_${layout}${epilogue}_${batch > 1 ? `${batch}x` : ""}${M}x${N}x${K}`;
  requirePositive(name, { M, N, K, batch });
  requireBindable(name, { a: batch * M * K, b: batch * K * N, c: batch * M * N }, capabilities);
  const product: Product = { name, layout, M, N, K, batch, bias, residual, capabilities };
  const variant = capabilities.software ? registers(product) : tiles(product);
  return {
    ...variant,
    bindings: bindingsOf(variant.bindings),
    flops: batch * M * N * (2 * K + (bias ? 1 : 0) + (residual ? 1 : 0)),
    bytes: 4 * (batch * (M * K + K * N + M * N * (residual ? 2 : 1)) + (bias ? N : 0)),
  };
}
