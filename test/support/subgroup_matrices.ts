/** Subgroup matrices in plain WGSL for devices without them: threads hold whole matrices, or each its rows of them. */
import type { Kernel } from "../../kernels/kernel.js";
import type { SubgroupMatrices } from "../../kernels/matmul_subgroup_matrices.js";
import { withoutF16 } from "./halves.js";

/** The text with functions in the place of the extension, and the functions that it calls of those given by array. */
function replaced(text: string, type: string, functions: Readonly<Record<string, string>>): string {
  const code = text
    .replace(/^(enable (?!subgroups|f16)|diagnostic).*$/gm, "")
    .replace(/subgroupMatrixLoad<subgroup_matrix_\w+<[^>]*>, (row|col)_major>\(&(\w+), /g, "load_$2_$1(")
    .replace(/subgroupMatrixStore<row_major>\(&(\w+), /g, "store_$1(")
    .replace(/subgroupMatrixScalarMultiply\(/g, "scaled(")
    .replace(/subgroupMatrixMultiplyAccumulate/g, "multiply_accumulate")
    .replace(/subgroup_matrix_result<[^>]*>/g, type);
  const used = Object.entries(functions)
    .filter(([array]) => code.includes(`_${array}(`) || code.includes(`load_${array}_`))
    .map(([, functionsOfArray]) => functionsOfArray);
  return [code, ...used].join("\n");
}

/** What {@link emulatedByEights} puts in the place of the device's matrices. */
export const EMULATED_BY_EIGHTS: SubgroupMatrices = { M: 8, N: 8, K: 8, component: "f16", subgroupSize: 1 };

// A matrix of 8x8 by its rows, two 4-vectors each. A staged row of 8 numbers in f16 is one element of the tile.
const EIGHTS = {
  tile: `
fn load_tile_row(at: u32, stride: u32) -> Matrix {
  var m = Matrix();
  for (var row = 0u; row < 8u; row++) {
    let words = tile[at + row * stride];
    m.rows[2u * row] = vec4f(unpack2x16float(words.x), unpack2x16float(words.y));
    m.rows[2u * row + 1u] = vec4f(unpack2x16float(words.z), unpack2x16float(words.w));
  }
  return m;
}
fn load_tile_col(at: u32, stride: u32) -> Matrix {
  let m = load_tile_row(at, stride);
  var transposed = Matrix();
  for (var i = 0u; i < 64u; i++) {
    transposed.rows[i / 4u][i % 4u] = m.rows[i % 8u * 2u + i / 32u][i / 8u % 4u];
  }
  return transposed;
}
fn store_tile(at: u32, m: Matrix, stride: u32) {
  for (var i = 0u; i < 16u; i++) { tile[at + i / 2u * stride + i % 2u] = bitcast<vec4u>(m.rows[i]); }
}`,
  residual: `
fn load_residual_row(at: u32, stride: u32) -> Matrix {
  var m = Matrix();
  for (var i = 0u; i < 16u; i++) { m.rows[i] = residual[at + i / 2u * stride + i % 2u]; }
  return m;
}`,
  c: `
fn store_c(at: u32, m: Matrix, stride: u32) {
  for (var i = 0u; i < 16u; i++) { c[at + i / 2u * stride + i % 2u] = m.rows[i]; }
}`,
};

/** A product with every use of the extension replaced by a function above; what is staged is rounded to f16 as it should be. */
export function emulatedByEights(kernel: Kernel): Kernel {
  const common = `
struct Matrix { rows: array<vec4f, 16> }
fn scaled(m: Matrix, factor: f32) -> Matrix {
  var product = m;
  for (var i = 0u; i < 16u; i++) { product.rows[i] *= factor; }
  return product;
}
fn multiply_accumulate(left: Matrix, right: Matrix, sum: Matrix) -> Matrix {
  var total = sum;
  for (var i = 0u; i < 64u; i++) {
    let factor = left.rows[i / 4u][i % 4u];
    total.rows[i / 8u * 2u] += factor * right.rows[i % 8u * 2u];
    total.rows[i / 8u * 2u + 1u] += factor * right.rows[i % 8u * 2u + 1u];
  }
  return total;
}`;
  return inWordsOfChunks({ ...kernel, code: replaced(kernel.code, "Matrix", EIGHTS) + common });
}

/** Without f16: chunks are bound as words, f16 or not. */
function inWordsOfChunks(kernel: Kernel): Kernel {
  const inChunks = (name: string): boolean => kernel.code.includes(`> ${name}: array<vec4<u32>>;`);
  const words = kernel.bindings.map((b) => (inChunks(b.name) ? ({ ...b, dtype: "u32" } as const) : b));
  return withoutF16({ ...kernel, bindings: words });
}

/**
 * An attention with every use of the extension replaced: each thread of a subgroup holds its rows of matrices, and threads
 * beyond the rows what those before them do. What is staged is rounded to f16 as it should be. Sizes are multiples of 8.
 */
export function emulatedByRows(kernel: Kernel, { M, N, K, subgroupSize }: SubgroupMatrices): Kernel {
  const rows = Math.max(1, M / subgroupSize);
  const code = kernel.code
    .replace(/^(enable (?!subgroups|f16)|diagnostic).*$/gm, "")
    .replace(/fn main\(.*\{$/m, `$&\nown_row = lane * ${rows}u % ${M}u;`)
    .replace(
      /subgroupMatrixMultiplyAccumulate\((\w+), subgroupMatrixLoad<subgroup_matrix_right<[^>]*>, (row|col)_major>\(&tile, ([^()]*)\), /g,
      "multiply_$2($1, $3, ",
    )
    .replace(/subgroupMatrixLoad<subgroup_matrix_left<[^>]*>, (row|col)_major>\(&tile, /g, "load_$1(")
    .replace(/subgroupMatrixStore<row_major>\(&tile, /g, "store(")
    .replace(/subgroup_matrix_result<[^>]*>/g, "Sums");
  const functions = `
struct Rows { rows: array<array<f32, ${K}>, ${rows}> }
struct Sums { rows: array<array<f32, ${N}>, ${rows}> }
var<private> own_row: u32;
fn staged(at: u32, i: u32) -> f32 { return unpack2x16float(tile[at + i / 8u][i % 8u / 2u])[i % 2u]; }
fn load_row(at: u32, stride: u32) -> Rows {
  var m = Rows();
  for (var r = 0u; r < ${rows}u; r++) {
    for (var k = 0u; k < ${K}u; k++) { m.rows[r][k] = staged(at + (own_row + r) * stride, k); }
  }
  return m;
}
fn load_col(at: u32, stride: u32) -> Rows {
  var m = Rows();
  for (var r = 0u; r < ${rows}u; r++) {
    for (var k = 0u; k < ${K}u; k++) { m.rows[r][k] = staged(at + k * stride, own_row + r); }
  }
  return m;
}
fn multiply_row(left: Rows, at: u32, stride: u32, sum: Sums) -> Sums {
  var m = sum;
  for (var k = 0u; k < ${K}u; k++) {
    for (var n = 0u; n < ${N}u; n++) {
      let right = staged(at + k * stride, n);
      for (var r = 0u; r < ${rows}u; r++) { m.rows[r][n] += left.rows[r][k] * right; }
    }
  }
  return m;
}
fn multiply_col(left: Rows, at: u32, stride: u32, sum: Sums) -> Sums {
  var m = sum;
  for (var n = 0u; n < ${N}u; n++) {
    for (var k = 0u; k < ${K}u; k++) {
      let right = staged(at + n * stride, k);
      for (var r = 0u; r < ${rows}u; r++) { m.rows[r][n] += left.rows[r][k] * right; }
    }
  }
  return m;
}
fn store(at: u32, m: Sums, stride: u32) {
  for (var r = 0u; r < ${rows}u; r++) {
    for (var n = 0u; n < ${N}u; n += 4u) {
      tile[at + (own_row + r) * stride + n / 4u] = bitcast<vec4u>(vec4f(m.rows[r][n], m.rows[r][n + 1u], m.rows[r][n + 2u], m.rows[r][n + 3u]));
    }
  }
}`;
  return inWordsOfChunks({ ...kernel, code: code + functions });
}
