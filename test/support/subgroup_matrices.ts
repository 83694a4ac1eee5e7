/** Subgroup matrices in plain WGSL for devices without them: a subgroup is one thread, which holds whole matrices. */
import type { Kernel } from "../../kernels/kernel.js";
import type { SubgroupMatrices } from "../../kernels/matmul_subgroup_matrices.js";

/** What {@link emulated} puts in the place of the device's matrices; f16 stands for f32, so that nothing is rounded. */
export const EMULATED: SubgroupMatrices = { M: 4, N: 4, K: 4, component: "f16", subgroupSize: 1 };

// A mat4x4f holds a matrix by its rows, that is transposed: (L R)^T = R^T L^T.
const FUNCTIONS = `
alias f16 = f32;
fn row_a(at: u32) -> vec4f { return vec4f(tile_a[at], tile_a[at + 1u], tile_a[at + 2u], tile_a[at + 3u]); }
fn row_b(at: u32) -> vec4f { return vec4f(tile_b[at], tile_b[at + 1u], tile_b[at + 2u], tile_b[at + 3u]); }
fn load_left_row(at: u32, stride: u32) -> mat4x4f {
  return mat4x4f(row_a(at), row_a(at + stride), row_a(at + 2u * stride), row_a(at + 3u * stride));
}
fn load_left_col(at: u32, stride: u32) -> mat4x4f { return transpose(load_left_row(at, stride)); }
fn load_right_row(at: u32, stride: u32) -> mat4x4f {
  return mat4x4f(row_b(at), row_b(at + stride), row_b(at + 2u * stride), row_b(at + 3u * stride));
}
fn load_right_col(at: u32, stride: u32) -> mat4x4f { return transpose(load_right_row(at, stride)); }
fn multiply_accumulate(left: mat4x4f, right: mat4x4f, sum: mat4x4f) -> mat4x4f { return right * left + sum; }
fn store_row(at: u32, row: vec4f) {
  scratch[at] = row.x;
  scratch[at + 1u] = row.y;
  scratch[at + 2u] = row.z;
  scratch[at + 3u] = row.w;
}
fn store(at: u32, m: mat4x4f, stride: u32) {
  store_row(at, m[0]);
  store_row(at + stride, m[1]);
  store_row(at + 2u * stride, m[2]);
  store_row(at + 3u * stride, m[3]);
}`;

/** The kernel with every use of the extension replaced by a function above. */
export function emulated(kernel: Kernel): Kernel {
  const code = kernel.code
    .replace(/^(enable|diagnostic).*$/gm, "")
    .replace(
      /subgroupMatrixLoad<subgroup_matrix_(left|right)<[^>]*>, (row|col)_major>\(&tile_[ab], /g,
      "load_$1_$2(",
    )
    .replace(/subgroupMatrixStore<row_major>\(&scratch, /g, "store(")
    .replace(/subgroupMatrixMultiplyAccumulate/g, "multiply_accumulate")
    .replace(/subgroup_matrix_result<[^>]*>/g, "mat4x4f");
  return { ...kernel, name: `${kernel.name}_emulated`, code: `${code}\n${FUNCTIONS}` };
}
