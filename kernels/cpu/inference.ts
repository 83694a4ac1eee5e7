/** Kernels made for adapters that run shaders on the CPU, those of gradients left out. */
import type { CpuKernels } from "../capabilities.js";
import { attentionShared } from "../attention/four_lanes.js";

/** The kernels that inference on the CPU has besides the shared ones. */
export const cpuInference: CpuKernels = {
  attention: (spec, capabilities) => [{ name: "shared", make: () => attentionShared(spec, capabilities) }],
};
