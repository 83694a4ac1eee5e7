/** Subgroup matrices in plain WGSL for devices without them: every thread of a subgroup holds whole matrices. */
import type { Kernel } from "../../kernels/core/kernel.js";
import type { SubgroupMatrices } from "../../kernels/matmul/spec.js";
import { withoutF16 } from "./f16.js";
import { compilesAll } from "./platform.js";

/** A hook that leaves emulated kernels to one runtime. */
export function whereEmulated(this: Mocha.Context): void {
  if (compilesAll) return;
  console.log("      skipped: emulated kernels are compiled in Node");
  this.skip();
}

/**
 * What {@link emulated} puts in the place of the device's matrices; f16 stands for f32, so that nothing is rounded. More
 * threads of a subgroup all compute and store the same.
 */
export const EMULATED: SubgroupMatrices = { M: 4, N: 4, K: 4, component: "f16", subgroupSize: 2 };

// A mat4x4f holds a matrix by its rows, that is transposed: (L R)^T = R^T L^T. Rows of 4 are the elements of an array.
const rowsOf = (array: string): string => `
fn load_${array}_row(at: u32, stride: u32) -> mat4x4f {
  return mat4x4f(${array}[at], ${array}[at + stride], ${array}[at + 2u * stride], ${array}[at + 3u * stride]);
}
fn load_${array}_col(at: u32, stride: u32) -> mat4x4f { return transpose(load_${array}_row(at, stride)); }`;
const quadsTo = (array: string): string => `
fn store_${array}(at: u32, m: mat4x4f, stride: u32) {
  for (var row = 0u; row < 4u; row++) { ${array}[at + row * stride] = m[row]; }
}`;
const FUNCTIONS = {
  tile: rowsOf("tile"),
  exchange: quadsTo("exchange"),
};

/** Replaces the extension in the text by functions, and adds the functions that the text calls. */
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

/** An attention with every use of the extension replaced by a function above. */
export function emulated(kernel: Kernel): Kernel {
  const common = `
fn multiply_accumulate(left: mat4x4f, right: mat4x4f, sum: mat4x4f) -> mat4x4f { return right * left + sum; }`;
  return withoutF16({ ...kernel, code: replaced(kernel.code, "mat4x4f", FUNCTIONS) + common });
}

/**
 * What {@link emulatedByEights} puts in the place of the device's matrices. Subgroups of several threads: what one thread
 * stages is text of its own for every chunk.
 */
export const EMULATED_BY_EIGHTS: SubgroupMatrices = { M: 8, N: 8, K: 8, component: "f16", subgroupSize: 4 };

// An operand is a place in the tile, where a row of 8 numbers in f16 is one element, and is read as it is multiplied: no barrier lies
// between. A result has its numbers by rows. Software adapters inline every call, so text without copies compiles in a fraction.
const EIGHTS = {
  tile: `
fn load_tile_row(at: u32, stride: u32) -> Operand { return Operand(at, stride, false); }
fn load_tile_col(at: u32, stride: u32) -> Operand { return Operand(at, stride, true); }
fn number_of(operand: Operand, row: u32, column: u32) -> f32 {
  let outer = select(row, column, operand.transposed);
  let inner = select(column, row, operand.transposed);
  return unpack2x16float(tile[operand.at + outer * operand.stride][inner / 2u])[inner % 2u];
}
fn multiply_accumulate(left: Operand, right: Operand, sums: ptr<function, Matrix>) {
  for (var i = 0u; i < 64u; i++) {
    var sum = sums[i];
    for (var k = 0u; k < 8u; k++) { sum += number_of(left, i / 8u, k) * number_of(right, k, i % 8u); }
    sums[i] = sum;
  }
}
fn store_tile(at: u32, m: ptr<function, Matrix>, stride: u32) {
  for (var i = 0u; i < 64u; i++) { tile[at + i / 8u * stride + i / 4u % 2u][i % 4u] = bitcast<u32>(m[i]); }
}`,
  residual: `
fn load_residual_row(at: u32, stride: u32) -> Matrix {
  var m = Matrix();
  for (var i = 0u; i < 64u; i++) { m[i] = residual[at + i / 8u * stride + i / 4u % 2u][i % 4u]; }
  return m;
}`,
  c: `
fn store_c(at: u32, m: ptr<function, Matrix>, stride: u32) {
  for (var i = 0u; i < 64u; i++) { c[at + i / 8u * stride + i / 4u % 2u][i % 4u] = m[i]; }
}`,
};

/** A product with every use of the extension replaced by a function above; what is staged is rounded to f16 as it should be. */
export function emulatedByEights(kernel: Kernel): Kernel {
  const common = `
alias Matrix = array<f32, 64>;
struct Operand { at: u32, stride: u32, transposed: bool }
fn scaled(m: Matrix, factor: f32) -> Matrix {
  var product = m;
  for (var i = 0u; i < 64u; i++) { product[i] *= factor; }
  return product;
}`;
  // Chunks are bound as words, f16 or not.
  const inChunks = (name: string): boolean => kernel.code.includes(`> ${name}: array<vec4<u32>>;`);
  const words = kernel.bindings.map((b) => (inChunks(b.name) ? ({ ...b, dtype: "u32" } as const) : b));
  const code = replaced(kernel.code, "Matrix", EIGHTS)
    .replace(/(\w+) = multiply_accumulate\((\w+), (\w+), \1\);/g, "multiply_accumulate($2, $3, &$1);")
    // Matrices are scaled last, in place.
    .replace(/(store_c\([^;]*), scaled\((\w+), ([^)]*)\), /g, "$2 = scaled($2, $3);\n$1, $2, ")
    .replace(/(store_(?:tile|c)\([^;]*), (c\d+_\d+), /g, "$1, &$2, ");
  return withoutF16({ ...kernel, bindings: words, code: code + common });
}
