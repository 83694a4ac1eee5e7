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
import { KernelError, requireBindable, requirePositive, type Kernel } from "../core/kernel.js";
import type { Capabilities } from "../capabilities.js";
import { productOf, type MatmulLayout, type MatmulSpec, type NamedVariant, type Product } from "./spec.js";
import { shareOf } from "./shared.js";
import { registers, registerTileName, registerTiles } from "./registers.js";
import { bindingsOf } from "../core/wgsl.js";

export { matmulName, type MatmulLayout, type MatmulSpec } from "./spec.js";

/**
 * Bindings: a, b, (bias [N]), (residual [batch, M, N]), c [batch, M, N]. All are f32, except those that `halves` names.
 * @throws KernelError for sizes that are not positive integers or exceed what the device can bind or dispatch, and
 * for a chosen variant that {@link matmulVariants} does not list.
 */
export function matmul(spec: MatmulSpec, capabilities: Capabilities): Kernel {
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
  const variants = variantsOf(product, capabilities);
  const wanted = capabilities.choices?.[name];
  const variant = wanted === undefined ? variants[0]! : variants.find((v) => v.name === wanted);
  if (!variant)
    throw new KernelError(
      name,
      `the variant ${wanted}`,
      `one of ${variants.map((v) => v.name).join(", ")}`,
      "Measure again: choices are valid for one device and version.",
    );
  const { bindings, code, workgroups } = variant.build();
  return {
    name: `${name}_${variant.name}`,
    code,
    bindings: bindingsOf(bindings),
    workgroups,
    flops: batch * M * N * (2 * K + (bias ? 1 : 0) + (residual ? 1 : 0)),
    bytes: bindings.reduce(
      (sum, b) => sum + (b.dtype === "f16" ? 2 : 4) * sizes[b.name as keyof typeof sizes],
      0,
    ),
    ...(wanted !== undefined && { choice: [name, wanted] as const }),
  };
}

/**
 * Names of the variants that a device can choose from for this matmul: the default first, then from the most to the least
 * promising.
 */
export function matmulVariants(spec: MatmulSpec, capabilities: Capabilities): string[] {
  return variantsOf(productOf(spec, capabilities), capabilities).map((v) => v.name);
}

/** The spec of a matmul kernel, by its name with or without a variant; null for names of other kernels. */
export function matmulSpec(name: string): Required<Omit<MatmulSpec, "gradient">> | null {
  const match =
    /^matmul_(nn|nt|tn)(_bias)?(_residual)?(?:_split(\d+))?(?:_half_(\w+?))?_(?:(\d+)x)??(\d+)x(\d+)x(\d+)(?:_|$)/.exec(
      name,
    );
  if (!match) return null;
  const [, layout, bias, residual, splits = 1, halves, batch = 1, M, N, K] = match;
  return {
    layout: layout as MatmulLayout,
    ...{ M: Number(M), N: Number(N), K: Number(K), batch: Number(batch), splits: Number(splits) },
    ...{ bias: bias !== undefined, residual: residual !== undefined, halves: halves?.split("_") ?? [] },
  };
}

/** How many candidates come from the kind made for this adapter, and from the other kind. */
const CANDIDATES = { own: 10, other: 2 };

function variantsOf(product: Product, capabilities: Capabilities): readonly NamedVariant[] {
  const others = capabilities.mixedPrecision?.variants(product) ?? [];
  if (others.length > 0) return others;
  if (product.halves.length > 0)
    throw new KernelError(product.name, `${product.halves.join()} in f16`, "f32 without mixed precision");
  const inRegisters = (product.splits > 1 ? [] : registerTiles(product)).map((tile): NamedVariant => ({
    name: registerTileName(product, tile),
    build: () => registers(product, tile),
  }));
  const inWorkgroups = capabilities.gpu?.matmul(product) ?? [];
  const [own, other] = capabilities.software ? [inRegisters, inWorkgroups] : [inWorkgroups, inRegisters];
  return [...own.slice(0, CANDIDATES.own), ...other.slice(0, CANDIDATES.other)];
}
