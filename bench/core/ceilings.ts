/** The ceilings of this adapter, each measured by a kernel that does nothing else. Each result is checked. */
import { STORAGE_USAGE } from "../../engine/allocator.js";
import type { Device } from "../../engine/device.js";
import { subgroupMatrices, type SubgroupMatrices } from "../../engine/mixed_precision.js";
import { typedArray } from "../../engine/host_data.js";
import type { Binding, Kernel } from "../../kernels/index.js";
import { WrongResultError } from "./kernel_case.js";
import { launch, type Launch } from "../../engine/launch.js";
import { sampleInterleaved, type Effort } from "./sampling.js";
import { quantile } from "./statistics.js";
import type { Stopwatch } from "../../engine/stopwatch.js";

/** The ceilings; null where the device lacks the feature. */
export interface Ceilings {
  /** Fused multiply-adds on f32, in GFLOP/s (an FMA counts 2). */
  readonly fmaF32: number;
  /** Fused multiply-adds on f16, in GFLOP/s; null without shader-f16. */
  readonly fmaF16: number | null;
  /** Products of f16 subgroup matrices with f32 sums, in GFLOP/s, if the device multiplies in mixed precision. */
  readonly matrices?: number;
  /** A copy through a shader, in GB/s, read and write counted. */
  readonly copy: number;
  /** Bytes that were copied each way: larger than most caches. */
  readonly copyBytes: number;
  /** One more dispatch of an empty kernel inside a pass, in microseconds. */
  readonly dispatch: number;
  /** One more dispatch that needs the result of the one before, in microseconds. */
  readonly dependentDispatch: number;
  /** Submitting one small command buffer after another, in microseconds each. */
  readonly submit: number;
  /** From submitting a copy of 4 bytes until the host holds them, in microseconds. */
  readonly readback: number;
}

const binding = (name: string, access: Binding["access"]): Binding => ({ name, access, dtype: "f32" });

/** Multiply-adds in a row of each chain; odd, so that the result differs from the start. */
const FMA_ROUNDS = 513;
const FMA_GROUP = 64;

/**
 * x = 1 - x, `FMA_ROUNDS` times on `chains` 4-vectors that do not depend on each other; exact in any precision.
 * Bindings: factors [2] = (-1, 1), x [4 threads].
 */
function fmaKernel(type: "f32" | "f16", chains: number, threads: number): Kernel {
  const v = `vec4<${type}>`;
  const each = (line: (i: number) => string): string =>
    Array.from({ length: chains }, (_, i) => line(i)).join("\n");
  const code = `${type === "f16" ? "enable f16;\n" : ""}@group(0) @binding(0) var<storage, read> factors: array<f32>;
@group(0) @binding(1) var<storage, read_write> x: array<vec4f>;
@compute @workgroup_size(${FMA_GROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
let a = ${v}(${type}(factors[0]));
let b = ${v}(${type}(factors[1]));
let start = ${v}(x[id.x]);
${each((i) => `var x${i} = start + ${v}(${type}(${i}));`)}
for (var round = 0u; round < ${FMA_ROUNDS}u; round++) {
${each((i) => `x${i} = fma(x${i}, a, b);`)}
}
var total = ${v}();
${each((i) => `total += x${i} + ${v}(${type}(${i}));`)}
x[id.x] = vec4f(total) / ${chains}.0;
}`;
  return {
    name: `fma_${type}_${chains}chains`,
    code,
    bindings: [binding("factors", "read"), binding("x", "read_write")],
    workgroups: [threads / FMA_GROUP, 1, 1],
    flops: 2 * 4 * chains * FMA_ROUNDS * threads,
    bytes: 4 * (2 + 8 * threads),
  };
}

/** Side of a subgroup's square of result matrices, which has as many as a tile of a matmul. */
const MATRIX_SIDE = 4;

/**
 * c += a b with matrices of ones that stay in registers, `rounds` times on 16 results that do not depend on each other. All
 * subgroups write the same values. Bindings: ones [M K / 2 or more] in f16, c [16, M, N].
 */
function matrixKernel(
  { M, N, K, subgroupSize }: SubgroupMatrices,
  subgroups: number,
  rounds: number,
  maxGroups: number,
): Kernel {
  const each = (line: (i: number, j: number) => string): string =>
    Array.from({ length: MATRIX_SIDE ** 2 }, (_, n) =>
      line(n % MATRIX_SIDE, Math.floor(n / MATRIX_SIDE)),
    ).join("\n");
  const operands = (name: string, type: string, side: number): string =>
    Array.from(
      { length: MATRIX_SIDE },
      (_, i) => `let ${name}${i} = subgroupMatrixLoad<${type}, row_major>(&ones, ${i}u, ${side / 8}u);`,
    ).join("\n");
  const groups = Math.ceil(subgroups / 4);
  const code = `enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
@group(0) @binding(0) var<storage, read> ones: array<vec4u>;
@group(0) @binding(1) var<storage, read_write> c: array<vec4f>;
@compute @workgroup_size(${4 * subgroupSize})
fn main() {
${operands("a", `subgroup_matrix_left<f16, ${K}, ${M}>`, K)}
${operands("b", `subgroup_matrix_right<f16, ${N}, ${K}>`, N)}
${each((i, j) => `var c${i}_${j} = subgroup_matrix_result<f32, ${N}, ${M}>();`)}
for (var round = 0u; round < ${rounds}u; round++) {
${each((i, j) => `c${i}_${j} = subgroupMatrixMultiplyAccumulate(a${i}, b${j}, c${i}_${j});`)}
}
${each((i, j) => `subgroupMatrixStore<row_major>(&c, ${((i * MATRIX_SIDE + j) * M * N) / 4}u, c${i}_${j}, ${N / 4}u);`)}
}`;
  return {
    name: `matrices_f16_${M}x${N}x${K}`,
    code,
    bindings: [{ ...binding("ones", "read"), dtype: "f16" }, binding("c", "read_write")],
    workgroups: [Math.min(groups, maxGroups), 1, 1],
    flops: 2 * M * N * K * MATRIX_SIDE ** 2 * rounds * 4 * Math.min(groups, maxGroups),
    bytes: 0,
  };
}

async function matrixCeiling(device: Device, stopwatch: Stopwatch, effort: Effort): Promise<number> {
  const matrices = subgroupMatrices(device);
  const { M, N, K } = matrices;
  const { software, maxComputeWorkgroupsPerDimension } = device.capabilities;
  const [subgroups, rounds] = software ? [16, 8] : [4096, 512];
  const ones = new Uint32Array(M * K + K * N + 16 * MATRIX_SIDE).fill(0x3c003c00);
  const kernel = matrixKernel(matrices, subgroups, rounds, maxComputeWorkgroupsPerDimension);
  const one = await launch(device, kernel, { ones, c: new Float32Array(MATRIX_SIDE ** 2 * M * N) });
  try {
    const wrong = (await one.read())["c"]!.findIndex((value) => value !== rounds * K);
    if (wrong >= 0) throw new WrongResultError(`${kernel.name}: c[${wrong}] is not ${rounds * K}.`);
    const [timing] = await sampleInterleaved(stopwatch, [one.encode], effort);
    return kernel.flops / timing!.median / 1e6;
  } finally {
    one.destroy();
  }
}

function copyKernel(vectors: number, maxGroups: number): Kernel {
  const groups = vectors / 64;
  const columns = Math.min(groups, maxGroups);
  return {
    name: `copy_${vectors * 16}_bytes`,
    code: `@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
let i = (group.y * ${columns}u + group.x) * 64u + lane;
if (i < ${vectors}u) { y[i] = x[i]; }
}`,
    bindings: [binding("x", "read"), binding("y", "read_write")],
    workgroups: [columns, Math.ceil(groups / columns), 1],
    flops: 0,
    bytes: 32 * vectors,
  };
}

const EMPTY: Kernel = {
  name: "empty",
  code: `@group(0) @binding(0) var<storage, read> x: array<f32>;
@compute @workgroup_size(1)
fn main() { _ = &x; }`,
  bindings: [binding("x", "read")],
  workgroups: [1, 1, 1],
  flops: 0,
  bytes: 0,
};

const COUNT_UP: Kernel = {
  name: "count_up",
  code: `@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@compute @workgroup_size(1)
fn main() { x[0] += 1.0; }`,
  bindings: [binding("x", "read_write")],
  workgroups: [1, 1, 1],
  flops: 1,
  bytes: 8,
};

/** Measures every ceiling. @throws WrongResultError if the adapter computes a wrong result */
export async function measureCeilings(
  device: Device,
  stopwatch: Stopwatch,
  effort: Effort,
): Promise<Ceilings> {
  const { capabilities } = device;
  const threads = capabilities.software ? 4096 : 1 << 18;
  // The size exceeds a GPU's last-level cache. A software adapter would need seconds for as much.
  const copyBytes = Math.min(
    capabilities.software ? 16 << 20 : 256 << 20,
    2 ** Math.floor(Math.log2(capabilities.maxStorageBufferBindingSize)),
  );
  const copySource = Float32Array.from({ length: copyBytes / 4 }, (_, i) => i % 8191);
  const copy = await launch(
    device,
    copyKernel(copyBytes / 16, capabilities.maxComputeWorkgroupsPerDimension),
    { x: copySource, y: new Float32Array(copyBytes / 4) },
  );
  try {
    const { y } = await copy.read();
    const wrong = copySource.findIndex((value, i) => value !== y![i]);
    if (wrong >= 0)
      throw new WrongResultError(`copy: y[${wrong}] = ${y![wrong]}; expected ${copySource[wrong]}.`);
    const [timing] = await sampleInterleaved(stopwatch, [copy.encode], effort);
    return {
      fmaF32: await fmaCeiling(device, stopwatch, effort, "f32", threads),
      fmaF16: capabilities.shaderF16 ? await fmaCeiling(device, stopwatch, effort, "f16", threads) : null,
      ...(capabilities.mixedPrecision && { matrices: await matrixCeiling(device, stopwatch, effort) }),
      copy: copy.kernel.bytes / timing!.median / 1e6,
      copyBytes,
      ...(await dispatchCeilings(device, stopwatch, effort)),
      submit: await submitLatency(device),
      readback: await readbackLatency(device),
    };
  } finally {
    copy.destroy();
  }
}

/** The best rate among a few numbers of independent chains. */
async function fmaCeiling(
  device: Device,
  stopwatch: Stopwatch,
  effort: Effort,
  type: "f32" | "f16",
  threads: number,
): Promise<number> {
  const launches: Launch[] = [];
  try {
    for (const chains of [2, 4, 8]) {
      const x = Float32Array.from({ length: 4 * threads }, (_, i) => (i % 5) / 4);
      const one = await launch(device, fmaKernel(type, chains, threads), {
        factors: Float32Array.of(-1, 1),
        x,
      });
      launches.push(one);
      const { x: result } = await one.read();
      const wrong = x.findIndex((start, i) => result![i] !== 1 - start);
      if (wrong >= 0)
        throw new WrongResultError(
          `${one.kernel.name}: x[${wrong}] = ${result![wrong]}; expected ${1 - x[wrong]!}.`,
        );
    }
    const timings = await sampleInterleaved(
      stopwatch,
      launches.map((l) => l.encode),
      effort,
    );
    return Math.max(...timings.map((t, i) => launches[i]!.kernel.flops / t.median / 1e6));
  } finally {
    for (const one of launches) one.destroy();
  }
}

async function dispatchCeilings(
  device: Device,
  stopwatch: Stopwatch,
  effort: Effort,
): Promise<Pick<Ceilings, "dispatch" | "dependentDispatch">> {
  const empty = await launch(device, EMPTY, { x: new Float32Array(4) });
  const chain = await launch(device, COUNT_UP, { x: new Float32Array(4) });
  try {
    const [one, other] = await sampleInterleaved(stopwatch, [empty.encode, chain.encode], effort);
    const before = (await chain.read())["x"]![0]!;
    await stopwatch.time((pass) => {
      for (let i = 0; i < 100; i++) chain.encode(pass);
    });
    const counted = (await chain.read())["x"]![0]! - before;
    if (counted !== 100)
      throw new WrongResultError(`A chain of 100 dependent dispatches counted to ${counted}.`);
    return { dispatch: one!.median * 1000, dependentDispatch: other!.median * 1000 };
  } finally {
    empty.destroy();
    chain.destroy();
  }
}

const SUBMITS = 32;
const LATENCY_ROUNDS = 9;

async function submitLatency(device: Device): Promise<number> {
  const empty = await launch(device, EMPTY, { x: new Float32Array(4) });
  try {
    const times: number[] = [];
    for (let round = 0; round < LATENCY_ROUNDS; round++) {
      const commands = Array.from({ length: SUBMITS }, () => {
        const encoder = device.gpu.createCommandEncoder();
        const pass = encoder.beginComputePass();
        empty.encode(pass);
        pass.end();
        return encoder.finish();
      });
      await device.idle();
      const start = performance.now();
      for (const command of commands) device.gpu.queue.submit([command]);
      await device.gpu.queue.onSubmittedWorkDone();
      times.push(performance.now() - start);
    }
    return (quantile(times, 0.5) / SUBMITS) * 1000;
  } finally {
    empty.destroy();
  }
}

async function readbackLatency(device: Device): Promise<number> {
  const source = device.createBuffer(16, STORAGE_USAGE, "read-back source");
  const staging = device.gpu.createBuffer({ size: 4, usage: 1 | 8 /* MAP_READ | COPY_DST */ });
  try {
    const times: number[] = [];
    for (let round = 0; round < LATENCY_ROUNDS; round++) {
      device.gpu.queue.writeBuffer(source, 0, Float32Array.of(round));
      await device.idle();
      const start = performance.now();
      const encoder = device.gpu.createCommandEncoder();
      encoder.copyBufferToBuffer(source, 0, staging, 0, 4);
      device.gpu.queue.submit([encoder.finish()]);
      await staging.mapAsync(1, 0, 4);
      const value = typedArray("f32", staging.getMappedRange(0, 4).slice(0))[0];
      times.push(performance.now() - start);
      staging.unmap();
      if (value !== round) throw new WrongResultError(`A read-back of ${round} gave ${value}.`);
    }
    return quantile(times, 0.5) * 1000;
  } finally {
    device.destroyBuffer(source);
    staging.destroy();
  }
}
