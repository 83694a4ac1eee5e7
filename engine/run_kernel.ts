/** Running one kernel by hand, as kernel tests do. */
import type { Binding, Kernel } from "../kernels/core/kernel.js";
import { STORAGE_USAGE } from "./allocator.js";
import type { Device } from "./device.js";
import { UsageError } from "./errors.js";
import { dtypeOf, typedArray, type TypedArray } from "./host_data.js";
import { Scope } from "./ownership.js";
import { labelled } from "./labels.js";

/**
 * Runs a kernel once on host data. `buffers` has an array per binding name. The result has the `read_write` bindings after
 * the run. Fill pure outputs with poison to prove that every element is written.
 */
export async function runKernel(
  device: Device,
  kernel: Kernel,
  buffers: Readonly<Record<string, TypedArray>>,
): Promise<Record<string, TypedArray>> {
  const pipeline = await device.pipeline(kernel, kernel.name);
  const scope = new Scope();
  const upload = ({ name }: Binding): { name: string; data: TypedArray; buffer: GPUBuffer } => {
    const data = buffers[name];
    if (!data)
      throw new UsageError(
        `runKernel(${kernel.name}): no buffer "${name}"; expected ${kernel.bindings.map((b) => b.name).join(", ")}.`,
      );
    dtypeOf(data, `runKernel(${kernel.name}): buffer ${name}`);
    const buffer = device.createBuffer(data.byteLength, STORAGE_USAGE, name);
    scope.own({ destroy: () => device.destroyBuffer(buffer) });
    device.writeBuffer(buffer, data);
    return { name, data, buffer };
  };
  try {
    const bound = kernel.bindings.map(upload);
    const bindGroup = device.guard(() =>
      device.gpu.createBindGroup({
        label: labelled(kernel.name),
        layout: device.bindGroupLayout(kernel),
        entries: bound.map(({ data, buffer }, binding) => ({
          binding,
          resource: { buffer, size: Math.ceil(data.byteLength / 16) * 16 },
        })),
      }),
    );
    const encoder = device.gpu.createCommandEncoder({ label: labelled(kernel.name) });
    const pass = encoder.beginComputePass({ label: labelled(kernel.name) });
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, bindGroup);
    pass.dispatchWorkgroups(...kernel.workgroups);
    pass.end();
    device.stats.dispatches++;
    await device.submit(encoder);
    const results: Record<string, TypedArray> = {};
    for (const [i, { name, data, buffer }] of bound.entries()) {
      const binding = kernel.bindings[i]!;
      if (binding.access === "read_write")
        results[name] = typedArray(binding.dtype, await device.readBuffer(buffer, data.byteLength));
    }
    return results;
  } finally {
    scope.destroy();
  }
}
