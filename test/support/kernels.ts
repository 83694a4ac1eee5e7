/** Shared by kernel tests: the variants, runs with poisoned outputs, and the errors that WGSL allows for f32. */
import { assert } from "chai";
import { runKernel } from "../../engine/run_kernel.js";
import type { TypedArray } from "../../engine/tensor.js";
import { cpuKernels } from "../../kernels/cpu/index.js";
import { gpuKernels } from "../../kernels/gpu/index.js";
import { KernelError, type Kernel } from "../../kernels/core/kernel.js";
import type { Capabilities } from "../../kernels/capabilities.js";
import { testDevice } from "./device.js";
import { poisoned, poisonedIntegers } from "./random.js";

/** Both shapes that a family may give its kernels; each runs on any adapter. */
export const VARIANTS = [
  { variant: "for software adapters", software: true },
  { variant: "for GPUs", software: false },
] as const;

/** Half a unit in the last place of f32 at 1: the relative error of one rounding. */
export const EPS = 2 ** -24;
/** One unit in the last place of f32 at 1, in which the WGSL specification states its accuracies. */
export const ULP = 2 ** -23;
/** Below this, f32 results may be flushed to zero. */
export const TINY = 2 ** -126;

/** Relative error that WGSL allows exp(x) (section 15.7.4.1, "Accuracy of concrete floating point expressions"). */
export const expError = (x: number): number => (3 + 2 * Math.abs(x)) * ULP;
/** Absolute error that WGSL allows log(x) = `y`: 3 ULP, or 2^-21 near 1. */
export const logError = (y: number): number => Math.max(3 * ULP * Math.abs(y), 2 ** -21);

function poison(kernel: Kernel, name: string, count: number): TypedArray {
  const binding = kernel.bindings.find((b) => b.name === name);
  assert.equal(binding?.access, "read_write", `${kernel.name} writes ${name}`);
  if (binding!.dtype === "f32") return poisoned(count);
  const integers = poisonedIntegers(count);
  return binding!.dtype === "i32" ? integers : new Uint32Array(integers.buffer);
}

/**
 * Makes the kernel for the test device with some capabilities replaced, and runs it once: `data` are its inputs
 * and in-place buffers, `sizes` the lengths of its outputs, which start as poison.
 */
export async function runPoisoned(
  make: (capabilities: Capabilities) => Kernel,
  changed: Partial<Capabilities>,
  data: Readonly<Record<string, TypedArray>>,
  sizes: Readonly<Record<string, number>>,
): Promise<{ kernel: Kernel; results: Record<string, TypedArray> }> {
  const device = await testDevice();
  const kernel = make({ ...device.capabilities, cpu: cpuKernels, gpu: gpuKernels, ...changed });
  const outputs = Object.entries(sizes).map(([name, count]) => [name, poison(kernel, name, count)] as const);
  const results = await runKernel(device, kernel, { ...data, ...Object.fromEntries(outputs) });
  return { kernel, results };
}

/** Bit for bit the same numbers. */
export function assertExact(actual: ArrayLike<number>, expected: ArrayLike<number>, label: string): void {
  assert.equal(actual.length, expected.length, `${label}: length`);
  for (let i = 0; i < expected.length; i++)
    if (!Object.is(actual[i], expected[i]))
      assert.fail(`${label}[${i}] = ${actual[i]}; expected exactly ${expected[i]}`);
}

/** The kernel is refused with a typed error whose message matches. */
export function assertRefused(make: () => Kernel, message: RegExp): void {
  assert.throws(make, KernelError, message);
}
