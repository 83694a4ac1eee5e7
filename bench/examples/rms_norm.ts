/**
 * Your own kernel on the roofline: `npm run bench -- --kernel bench/examples/rms_norm.ts`.
 *
 * This first version computes a row of RMSNorm in one thread, a scalar at a time. The suite checks it against float64,
 * times it interleaved with the library's kernel, and prints both as a share of what this adapter can do. Copy the file,
 * change `mine`, and watch the line.
 */
import { rmsNorm, type Kernel } from "../../kernels/index.js";
import { sumTolerance, type KernelCase } from "../core/kernel_case.js";

const ROWS = 2592;
const SIZE = 128;
const EPS = 1e-5;

/** y = x / sqrt(mean(x^2) + eps). Shapes are constants of the shader; bindings are named as `inputs` names data. */
const mine: Kernel = {
  name: `rms_norm_scalar_${ROWS}x${SIZE}`,
  code: `
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read_write> inverse_rms: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let row = id.x;
  if (row >= ${ROWS}u) { return; }
  var total = 0.0;
  for (var i = 0u; i < ${SIZE}u; i++) {
    let value = x[row * ${SIZE}u + i];
    total += value * value;
  }
  let r = inverseSqrt(total / ${SIZE}.0 + ${EPS});
  inverse_rms[row] = r;
  for (var i = 0u; i < ${SIZE}u; i++) {
    y[row * ${SIZE}u + i] = x[row * ${SIZE}u + i] * r;
  }
}`,
  bindings: [
    { name: "x", access: "read", dtype: "f32" },
    { name: "y", access: "read_write", dtype: "f32" },
    { name: "inverse_rms", access: "read_write", dtype: "f32" },
  ],
  workgroups: [Math.ceil(ROWS / 64), 1, 1],
  // The fewest operations and bytes that the work needs, even if this kernel spends more.
  flops: 4 * ROWS * SIZE,
  bytes: 4 * (2 * ROWS * SIZE + ROWS),
};

const rmsNormCase: KernelCase = {
  kernel: "rms_norm",
  shape: `${ROWS}x${SIZE}`,
  quick: true,
  flops: mine.flops,
  alternatives: (capabilities) => [
    { variant: "ours", kernel: rmsNorm({ rows: ROWS, size: SIZE, eps: EPS }, capabilities) },
    { variant: "mine", kernel: mine },
  ],
  inputs: (random) => ({ x: random.floats(ROWS * SIZE) }),
  outputs: { y: ROWS * SIZE, inverse_rms: ROWS },
  // One element in float64, and the magnitude that its rounding error scales with.
  expected({ x }, binding, index) {
    const row = binding === "y" ? Math.floor(index / SIZE) : index;
    let squares = 0;
    for (let i = row * SIZE; i < (row + 1) * SIZE; i++) squares += x![i]! ** 2;
    const r = 1 / Math.sqrt(squares / SIZE + EPS);
    const value = binding === "y" ? x![index]! * r : r;
    return { value, scale: Math.abs(value) };
  },
  tolerance: sumTolerance(SIZE),
};

export default rmsNormCase;
