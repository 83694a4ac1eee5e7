/** A custom operation as a kernel benchmark: its kernel against a reference in float64. */
import { baselineCapabilities, constant, sizeOf } from "../../engine/index.js";
import type { CustomOperation } from "../../engine/custom_op.js";
import type { Capabilities, Kernel } from "../../kernels/index.js";
import { FUNCTION_TOLERANCE, type Expected, type KernelCase } from "./kernel_case.js";

/** A custom operation (docs/guides/custom-operation.md) with what a benchmark needs to know beside it. */
export interface OperationCase {
  /** The operation, as `customOp` is given it. */
  readonly operation: CustomOperation;
  /** The shape of each input, by name, in the order of the operation. All are f32, from -1 to 1. */
  readonly inputs: Readonly<Record<string, readonly number[]>>;
  /**
   * Element `index` of the result in float64, from the inputs by name. Rounding errors are measured by its magnitude, or by
   * the `scale` beside it: for a sum, the sum of magnitudes.
   */
  reference(inputs: Readonly<Record<string, Float32Array>>, index: number): number | Expected;
  /** Largest allowed error relative to that magnitude; default a few roundings of WGSL's functions. */
  readonly tolerance?: number;
}

/** True if a file exports an operation and not a kernel case. */
export const isOperationCase = (one: unknown): one is OperationCase =>
  typeof one === "object" && one !== null && "operation" in one;

/** The operation's kernel as a case of the benchmark. */
export function kernelCaseOf(one: OperationCase): KernelCase {
  const { operation, inputs, tolerance } = one;
  const names = Object.keys(inputs);
  const shapes = Object.values(inputs);
  const specs = shapes.map((shape) => ({ shape, dtype: "f32" as const }));
  const output = operation.shape(...shapes.map((shape) => constant(new Float32Array(sizeOf(shape)), shape)));
  const kernelFor = (capabilities: Capabilities): Kernel =>
    operation.kernel({ inputs: specs, output, capabilities });
  // Bindings are the inputs in order, then the result.
  const { bindings, flops } = kernelFor(baselineCapabilities);
  const bindingOf = (i: number): string => bindings[i]!.name;
  return {
    kernel: operation.name,
    shape: shapes.map((shape) => shape.join("x")).join(" "),
    quick: true,
    flops,
    alternatives: (capabilities) => [{ variant: "mine", kernel: kernelFor(capabilities) }],
    inputs: (random) =>
      Object.fromEntries(shapes.map((shape, i) => [bindingOf(i), random.floats(sizeOf(shape))])),
    outputs: { [bindingOf(names.length)]: sizeOf(output.shape) },
    expected(data, _, index) {
      const named = Object.fromEntries(names.map((name, i) => [name, data[bindingOf(i)] as Float32Array]));
      const value = one.reference(named, index);
      return typeof value === "number" ? { value, scale: Math.abs(value) } : value;
    },
    tolerance: tolerance ?? FUNCTION_TOLERANCE,
  };
}
