/** A device without a GPU: it allocates, binds and compiles as told, counts, and computes nothing. Reads never finish. */
import type { DeviceTraits } from "../../engine/adapter.js";
import { Device } from "../../engine/index.js";
import { defaultTraits, targetOf } from "../../engine/planning.js";

/** Functions of a `GPUDevice`, by name. */
export type StubFunctions = Record<string, (...args: unknown[]) => unknown>;

/** A device with these traits. `replaced` stands for functions of its `GPUDevice`. */
export function stubDevice(
  { limits, features, adapterInfo }: DeviceTraits = defaultTraits,
  replaced: StubFunctions = {},
): Device {
  const nothing = (): object => ({});
  const gpu = {
    limits,
    features,
    adapterInfo,
    lost: new Promise(() => undefined),
    queue: { writeBuffer: nothing },
    createBuffer: ({ size, label }: GPUBufferDescriptor) => ({ size, label, destroy: nothing }),
    createComputePipelineAsync: () => Promise.resolve({}),
    popErrorScope: () => Promise.resolve(null),
    ...Object.fromEntries(
      [
        "createBindGroup",
        "createBindGroupLayout",
        "createPipelineLayout",
        "createShaderModule",
        "destroy",
        "pushErrorScope",
      ].map((name) => [name, nothing]),
    ),
    ...replaced,
  } as unknown as GPUDevice;
  return new Device(gpu, {}, adapterInfo, targetOf(gpu));
}
