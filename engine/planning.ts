/** Planning without a GPU: a device that compiles programs and counts their memory, and computes nothing. */
import { Device, loadKernels } from "./device.js";

/** What decides how programs are compiled: of a `GPUDevice`, or made up. */
export type DeviceTraits = Pick<GPUDevice, "limits" | "features" | "adapterInfo">;

/** What every WebGPU device has at least (the specification's default limits), as far as the engine looks. */
export const defaultTraits = {
  limits: {
    maxBufferSize: 2 ** 28,
    maxStorageBufferBindingSize: 2 ** 27,
    maxStorageBuffersPerShaderStage: 8,
    maxComputeWorkgroupStorageSize: 16384,
    maxComputeInvocationsPerWorkgroup: 256,
    maxComputeWorkgroupSizeX: 256,
    maxComputeWorkgroupSizeY: 256,
    maxComputeWorkgroupsPerDimension: 65535,
  },
  features: new Set<string>(),
  adapterInfo: {
    vendor: "",
    architecture: "",
    device: "",
    description: "a device with WebGPU's default limits",
  },
} as unknown as DeviceTraits;

/**
 * A device that refuses what a real one of these traits refuses and counts what it would hold in `stats`, without
 * holding anything. Variables, `compile` and `destroy` work; nothing runs, and what is read is never there.
 */
export async function planningDevice({ limits, features, adapterInfo }: DeviceTraits): Promise<Device> {
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
  };
  return new Device(gpu as unknown as GPUDevice, {}, adapterInfo, await loadKernels(adapterInfo));
}
