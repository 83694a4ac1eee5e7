/**
 * Matmul on subgroup matrices (tensor cores), an experimental WGSL extension. Tiles of a and b are rounded to f16 as they
 * are staged in workgroup memory, and their products are summed in f32. Storage is f32, except for bindings in `halves`.
 *
 * Data is staged in chunks of 8 numbers, 16 bytes. Results that cannot go to c as whole matrices go through the same memory,
 * one strip of rows of each subgroup at a time.
 */
import type { Capabilities } from "../capabilities.js";
import { requireBindable, requirePositive, type Kernel } from "../core/kernel.js";
import { bindingsOf } from "../core/wgsl.js";
import { ENOUGH_WORKGROUPS } from "./shared.js";
import { productOf, type GatedSpec, type NamedVariant, type Product, type SubgroupMatrices } from "./spec.js";
import { build, CHUNK, layoutOf, type MatrixTile } from "./subgroup_matrix_text.js";

/** Ordered by speed on an NVIDIA H100 for operands in f16 (docs/lab/matmul.md). For other operands the second tile comes before the first. */
const TILES: readonly MatrixTile[] = [
  { rows: 4, columns: 4, subgroupRows: 2, subgroupColumns: 2, depth: 2 },
  { rows: 4, columns: 4, subgroupRows: 2, subgroupColumns: 4, depth: 2 },
  { rows: 4, columns: 2, subgroupRows: 2, subgroupColumns: 4, depth: 4 },
  { rows: 2, columns: 2, subgroupRows: 2, subgroupColumns: 2, depth: 4 },
  { rows: 1, columns: 1, subgroupRows: 2, subgroupColumns: 2, depth: 2 },
];
/** Tiles that this device allows, the default first; empty for products that are smaller than one matrix. */
function matrixTiles(product: Product, matrices: SubgroupMatrices): MatrixTile[] {
  const { M, N, K, batch, splits, halves, capabilities } = product;
  if (M < matrices.M || N < matrices.N || K < matrices.K) return [];
  const { maxComputeInvocationsPerWorkgroup: threads, maxComputeWorkgroupStorageSize: bytes } = capabilities;
  const [square, wide, ...others] = TILES as [MatrixTile, MatrixTile];
  const small = ["a", "b"].every((matrix) => halves.includes(matrix));
  const allowed = [...(small ? [square, wide] : [wide, square]), ...others].filter((tile) => {
    const { threads: wanted, staged } = layoutOf(product, matrices, tile);
    return wanted <= threads && 2 * CHUNK * staged <= bytes;
  });
  const enough = (tile: MatrixTile) => {
    const { rows, columns } = layoutOf(product, matrices, tile);
    return Math.ceil(M / rows) * Math.ceil(N / columns) * batch * splits >= ENOUGH_WORKGROUPS;
  };
  // On a CPU, compiling a large tile takes longer than the tile saves.
  const first = capabilities.software ? -1 : allowed.findIndex(enough);
  const preferred = allowed.at(first);
  return preferred ? [preferred, ...allowed.filter((tile) => tile !== preferred)] : [];
}

/** Tiles by name, the default first. */
export function matrixVariants(product: Product, matrices: SubgroupMatrices): NamedVariant[] {
  return matrixTiles(product, matrices).map((tile) => ({
    name: matrixTileName(product, matrices, tile),
    build: () => build(product, matrices, tile),
  }));
}

/** Bindings: a [rows, K], b [2 inner, K], c [rows, inner]. Null if no tile holds gates with their values. */
export function gatedProduct(
  { rows, inner, K, halves }: GatedSpec,
  capabilities: Capabilities,
  matrices: SubgroupMatrices,
): Kernel | null {
  const gatedName = `matmul_gated_${halves.length > 0 ? `half_${halves.join("_")}_` : ""}${rows}x${inner}x${K}`;
  requirePositive(gatedName, { rows, inner, K });
  requireBindable(gatedName, { a: rows * K, b: 2 * inner * K, c: rows * inner }, capabilities);
  const product = productOf({ layout: "nt", M: rows, N: 2 * inner, K, halves }, capabilities);
  const tiles = matrixTiles(product, matrices).filter((tile) => {
    const { columns } = layoutOf(product, matrices, tile);
    return tile.columns % 2 === 0 && (2 * inner) % columns === 0;
  });
  const tile = tiles.at(capabilities.software ? -1 : 0);
  if (!tile) return null;
  const { code, bindings, workgroups } = build(product, matrices, tile, true);
  const bytes = (name: string): number => (halves.includes(name) ? 2 : 4);
  return {
    name: `${gatedName}_${matrixTileName(product, matrices, tile)}`,
    code,
    bindings: bindingsOf(bindings),
    workgroups,
    flops: rows * inner * (4 * K + 6),
    bytes: bytes("a") * rows * K + bytes("b") * 2 * inner * K + bytes("c") * rows * inner,
  };
}

function matrixTileName(product: Product, matrices: SubgroupMatrices, tile: MatrixTile): string {
  const { rows, columns, depth } = layoutOf(product, matrices, tile);
  const subgroups = `${tile.subgroupRows}x${tile.subgroupColumns}`;
  return `m${rows}x${columns}x${depth}_${subgroups}_f16`;
}
