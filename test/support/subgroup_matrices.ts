/** Subgroup matrices in plain WGSL for devices without them: every thread of a subgroup holds whole matrices. */
import type { Kernel } from "../../kernels/kernel.js";
import type { SubgroupMatrices } from "../../kernels/matmul_subgroup_matrices.js";
import { withoutF16 } from "./halves.js";

/**
 * What {@link emulated} puts in the place of the device's matrices; f16 stands for f32, so that nothing is rounded. More
 * threads of a subgroup all compute and store the same.
 */
export const EMULATED: SubgroupMatrices = { M: 4, N: 4, K: 4, component: "f16", subgroupSize: 1 };

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
  residual: rowsOf("residual"),
  c: quadsTo("c"),
  exchange: quadsTo("exchange"),
  scratch: `
fn store_scratch(at: u32, m: mat4x4f, stride: u32) {
  for (var row = 0u; row < 4u; row++) {
    for (var column = 0u; column < 4u; column++) { scratch[at + row * stride + column] = m[row][column]; }
  }
}`,
};

/** The kernel with every use of the extension replaced by a function above. */
export function emulated(kernel: Kernel): Kernel {
  const code = kernel.code
    .replace(/^(enable (?!subgroups)|diagnostic).*$/gm, "")
    .replace(/subgroupMatrixLoad<subgroup_matrix_\w+<[^>]*>, (row|col)_major>\(&(\w+), /g, "load_$2_$1(")
    .replace(/subgroupMatrixStore<row_major>\(&(\w+), /g, "store_$1(")
    .replace(/subgroupMatrixScalarMultiply\(/g, "scaled(")
    .replace(/subgroupMatrixMultiplyAccumulate/g, "multiply_accumulate")
    .replace(/subgroup_matrix_result<[^>]*>/g, "mat4x4f");
  const used = Object.entries(FUNCTIONS)
    .filter(([array]) => code.includes(`_${array}(`) || code.includes(`load_${array}_`))
    .map(([, text]) => text);
  const common = `
fn scaled(m: mat4x4f, factor: f32) -> mat4x4f { return m * factor; }
fn multiply_accumulate(left: mat4x4f, right: mat4x4f, sum: mat4x4f) -> mat4x4f { return right * left + sum; }`;
  return withoutF16({ ...kernel, code: [code, common, ...used].join("\n") });
}
