/** The target of a device: all kernels. */
import { cpuKernels } from "../kernels/cpu/index.js";
import { gpuKernels } from "../kernels/gpu/index.js";
import { targetWith, type DeviceTraits } from "./adapter.js";
import type { Target } from "./target.js";

/**
 * The target that a device with these traits offers, with the kernels made for its kind of adapter. They are part of the
 * bundle: a module that is loaded later would save a page with a GPU nothing, and some bundlers allow none in a worker.
 */
export const targetOf = (traits: DeviceTraits): Target =>
  targetWith({ gpu: gpuKernels, cpu: cpuKernels }, traits);
