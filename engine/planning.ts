/** Planning without a GPU: a device that compiles programs, counts their memory and computes nothing. */
import { Device, kernelsFor } from "./device.js";

/** The properties of a device that decide how programs are compiled: those of a `GPUDevice`, or invented ones. */
export type DeviceTraits = Pick<GPUDevice, "limits" | "features" | "adapterInfo">;

/** The specification's default limits, as far as the engine uses them. Every WebGPU device has at least these. */
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
 * A device that refuses whatever a real device with these traits refuses. It counts in `stats` what a real device would
 * hold, and holds nothing. Variables, `compile` and `destroy` work. Nothing runs, and reads never finish.
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
  return Promise.resolve(new Device(gpu as unknown as GPUDevice, {}, adapterInfo, kernelsFor(adapterInfo)));
}
