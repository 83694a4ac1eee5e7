/** Opens a device without the kernels of gradients, which programs compile on it in slower, portable forms. */
import { cpuInference } from "../kernels/cpu/inference.js";
import { gpuInference } from "../kernels/gpu/inference.js";
import { targetWith } from "./adapter.js";
import type { Device, DeviceOptions } from "./device.js";
import { openWith } from "./open_with.js";

/** Opens a device as {@link openDevice} does, without the kernels of gradients. */
export const openForInference = (options: DeviceOptions = {}): Promise<Device> =>
  openWith((device) => targetWith({ gpu: gpuInference, cpu: cpuInference }, device), options);
