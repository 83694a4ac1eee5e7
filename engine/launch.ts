/** A kernel with its buffers, ready to be dispatched repeatedly. */
import { STORAGE_USAGE } from "./allocator.js";
import type { Device } from "./device.js";
import { dtypeOf, typedArray, type TypedArray } from "./host_data.js";
import { Scope } from "./ownership.js";
import type { Kernel } from "../kernels/core/kernel.js";
import type { Encode } from "./stopwatch.js";
import { labelled } from "./labels.js";

export interface Launch {
  readonly kernel: Kernel;
  /** Encodes one dispatch. */
  readonly encode: Encode;
  /** Pipeline creation and the first run, in ms by the wall clock; close to the warm time if the pipeline was cached. */
  readonly coldMs: number;
  /** Encodes one dispatch of another kernel with the same bindings, over the same data. */
  variant(kernel: Kernel): Promise<Encode>;
  /** Overwrites a binding. */
  write(binding: string, data: TypedArray): void;
  /** The bindings that the kernel writes, as they stand now. */
  read(): Promise<Record<string, TypedArray>>;
  destroy(): void;
}

/** Creates the pipeline, uploads `buffers` (one array a binding) and runs the kernel once. */
export async function launch(
  device: Device,
  kernel: Kernel,
  buffers: Readonly<Record<string, TypedArray>>,
): Promise<Launch> {
  const scope = new Scope();
  try {
    return await launchIn(scope, device, kernel, buffers);
  } catch (error) {
    scope.destroy();
    throw error;
  }
}

async function launchIn(
  scope: Scope,
  device: Device,
  kernel: Kernel,
  buffers: Readonly<Record<string, TypedArray>>,
): Promise<Launch> {
  const bound = kernel.bindings.map(({ name }) => {
    const data = buffers[name];
    if (!data)
      throw new RangeError(
        `${kernel.name}: no data for the binding "${name}"; the case has data for ${Object.keys(buffers).join(", ")}.`,
      );
    dtypeOf(data, `${kernel.name}: binding ${name}`);
    const buffer = device.createBuffer(data.byteLength, STORAGE_USAGE, name);
    scope.own({ destroy: () => device.destroyBuffer(buffer) });
    device.writeBuffer(buffer, data);
    return { data, buffer };
  });
  await device.idle();
  const start = performance.now();
  const pipeline = await device.pipeline(kernel, kernel.name);
  const bindGroup = device.guard(() =>
    device.gpu.createBindGroup({
      label: labelled(kernel.name),
      layout: device.bindGroupLayout(kernel),
      entries: bound.map(({ buffer }, binding) => ({ binding, resource: { buffer } })),
    }),
  );
  const encodeWith =
    (pipeline: GPUComputePipeline, { workgroups }: Kernel): Encode =>
    (pass) => {
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, bindGroup);
      pass.dispatchWorkgroups(...workgroups);
    };
  const encode = encodeWith(pipeline, kernel);
  const encoder = device.gpu.createCommandEncoder({ label: labelled(kernel.name) });
  const pass = encoder.beginComputePass();
  encode(pass);
  pass.end();
  await device.submit(encoder);
  await device.idle();
  const coldMs = performance.now() - start;
  return {
    kernel,
    encode,
    coldMs,
    async variant(other) {
      return encodeWith(await device.pipeline(other, other.name), other);
    },
    write(binding, data) {
      const { buffer } = bound[kernel.bindings.findIndex(({ name }) => name === binding)]!;
      device.writeBuffer(buffer, data);
    },
    async read() {
      const results: Record<string, TypedArray> = {};
      for (const [i, { name, access, dtype }] of kernel.bindings.entries()) {
        if (access !== "read_write") continue;
        const { data, buffer } = bound[i]!;
        results[name] = typedArray(dtype, await device.readBuffer(buffer, data.byteLength));
      }
      return results;
    },
    destroy: () => scope.destroy(),
  };
}
