/** Opens a device in a browser window or worker, or wraps a device of the caller's, with the kernels of the caller's choice. */
import { describeAdapter, refuseNullAdapter, SUBGROUP_MATRIX_FEATURE, type DeviceTraits } from "./adapter.js";
import { Device, type DeviceOptions } from "./device.js";
import { AdapterError } from "./errors.js";
import type { Target } from "./target.js";

const USEFUL_FEATURES = ["subgroups", "shader-f16", "timestamp-query", SUBGROUP_MATRIX_FEATURE] as const;

const USEFUL_LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
] as const;

/** {@link openDevice} for targets with other kernels. */
export async function openWith(
  targetOf: (device: DeviceTraits) => Target,
  options: DeviceOptions,
): Promise<Device> {
  const open = (device: GPUDevice, info: GPUAdapterInfo, borrowed: boolean): Device =>
    new Device(device, { ...options, borrowed }, info, targetOf(device));
  if (options.device) return open(options.device, options.device.adapterInfo, true);
  const gpu = options.gpu ?? (globalThis.navigator as Navigator | undefined)?.gpu;
  if (!gpu && !options.adapter) {
    throw new AdapterError(
      "No WebGPU here: navigator.gpu is missing. Use a browser with WebGPU on a secure page (https or localhost); " +
        "in Node install the package webgpu and call openNodeDevice.",
    );
  }
  const powerPreference = options.powerPreference ?? "high-performance";
  const adapter = options.adapter ?? (await gpu!.requestAdapter({ powerPreference }));
  if (!adapter) {
    throw new AdapterError(
      "WebGPU is available but offers no adapter. Update the graphics driver or enable WebGPU's software adapter.",
    );
  }
  refuseNullAdapter(adapter.info);
  const limits: Record<string, number> = {};
  for (const limit of USEFUL_LIMITS) limits[limit] = adapter.limits[limit];
  let device: GPUDevice;
  try {
    device = await adapter.requestDevice({
      requiredFeatures: USEFUL_FEATURES.filter((f) => adapter.features.has(f)) as GPUFeatureName[],
      requiredLimits: limits,
    });
  } catch (cause) {
    throw new AdapterError(`The adapter ${describeAdapter(adapter.info)} gave no device: ${String(cause)}`, {
      cause,
    });
  }
  return open(device, adapter.info, false);
}
