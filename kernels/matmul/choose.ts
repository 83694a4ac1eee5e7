/**
 * Matrix multiplication in the three layouts that a linear layer and its gradients need:
 *
 *   nn: c = a b      a [M, K], b [K, N]        (dX = dY W)
 *   nt: c = a b^T    a [M, K], b [N, K]        (Y = X W^T)
 *   tn: c = a^T b    a [K, M], b [K, N]        (dW = dY^T X)
 *
 * A bias [N] and a residual [M, N] may be added as c is written. In every f32 variant one thread sums an element of c (or
 * of each share of k) over k in ascending order. A software adapter pays for memory accesses and barriers: each thread keeps
 * a tile of c in its variables (`registers.ts`, variants `r8x8`, `r32x16_4N`). A GPU stages tiles of a and b in workgroup
 * memory (`tiles.ts`, variants `t64x64x8_r4x4`).
 */
import {
  chosenVariant,
  KernelError,
  requireBindable,
  requirePositive,
  type Kernel,
  type KernelSource,
} from "../core/kernel.js";
import type { Capabilities } from "../capabilities.js";
import { productOf, type MatmulSpec, type NamedVariant, type Product } from "./spec.js";
import { shareOf } from "./shared.js";
import { registerVariants } from "./registers.js";
import { bindingsOf } from "../core/wgsl.js";

export { matmulName, type MatmulLayout, type MatmulSpec } from "./spec.js";

/** What a kernel of {@link matmul} was made from. */
export type MatmulSource = KernelSource<"matmul", MatmulSpec>;

/**
 * Bindings: a, b, (bias [N]), (residual [batch, M, N]), c [batch, M, N]. All are f32, except those that `halves` names.
 * @throws KernelError for sizes that are not positive integers or exceed what the device can bind or dispatch, and
 * for a chosen variant that {@link matmulVariants} does not list.
 */
export function matmul(spec: MatmulSpec, capabilities: Capabilities): Kernel<MatmulSource> {
  const product = productOf(spec, capabilities);
  const { name, M, N, K, batch, splits, bias, residual } = product;
  requirePositive(name, { M, N, K, batch, splits });
  if (splits > 1 && (batch > 1 || bias || residual || Math.ceil(K / shareOf(product)) !== splits))
    throw new KernelError(
      name,
      `${splits} splits`,
      "splits that all get a share of k, and no batch, bias or residual",
    );
  const results = batch * M * N;
  const sizes = { a: batch * M * K, b: batch * K * N, bias: N, residual: results, c: splits * results };
  requireBindable(name, sizes, capabilities);
  const { variant, choice } = chosenVariant(name, variantsOf(product, capabilities), capabilities.choices);
  const kernelOf = ({
    name: variantName,
    build,
    quick,
  }: NamedVariant): Kernel<KernelSource<"matmul", MatmulSpec>> => {
    const { bindings, code, workgroups } = build();
    return {
      name: `${name}_${variantName}`,
      code,
      bindings: bindingsOf(bindings),
      workgroups,
      flops: batch * M * N * (2 * K + (bias ? 1 : 0) + (residual ? 1 : 0)),
      bytes: bindings.reduce(
        (sum, b) => sum + (b.dtype === "f16" ? 2 : 4) * sizes[b.name as keyof typeof sizes],
        0,
      ),
      source: { family: "matmul", spec },
      ...(choice && { choice }),
      ...(quick && { quick: () => kernelOf(quick) }),
    };
  };
  return kernelOf(variant);
}

/**
 * Names of the variants that a device can choose from for this matmul: the default first, then from the most to the least
 * promising.
 */
export function matmulVariants(spec: MatmulSpec, capabilities: Capabilities): string[] {
  return variantsOf(productOf(spec, capabilities), capabilities).map((v) => v.name);
}

/** How many candidates come from the kind made for this adapter, and from the other kind. */
const CANDIDATES = { own: 10, other: 2 };

function variantsOf(product: Product, capabilities: Capabilities): readonly NamedVariant[] {
  const others = capabilities.mixedPrecision?.variants(product) ?? [];
  if (others.length > 0) return others;
  if (product.halves.length > 0)
    throw new KernelError(product.name, `${product.halves.join()} in f16`, "f32 without mixed precision");
  const inRegisters = product.splits > 1 ? [] : registerVariants(product);
  const inWorkgroups = capabilities.gpu?.matmul(product) ?? [];
  const [own, other] = capabilities.software ? [inRegisters, inWorkgroups] : [inWorkgroups, inRegisters];
  return [...own.slice(0, CANDIDATES.own), ...other.slice(0, CANDIDATES.other)];
}
