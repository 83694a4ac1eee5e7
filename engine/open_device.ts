/** Opens a device with all kernels. */
import type { Device, DeviceOptions } from "./device.js";
import { openWith } from "./open_with.js";
import { targetOf } from "./target_of.js";

/**
 * Opens the best device in this browser window or worker.
 * In Node use `openNodeDevice` from `hrm-webgpu/node`.
 * @throws AdapterError if there is no WebGPU, no adapter, or only a null adapter.
 */
export const openDevice = (options: DeviceOptions = {}): Promise<Device> => openWith(targetOf, options);
