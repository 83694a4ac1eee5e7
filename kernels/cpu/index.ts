/** Kernels made for adapters that run shaders on the CPU, in a module of their own, which GPUs never load. */
import type { CpuKernels } from "../capabilities.js";
import { attentionBackwardShared } from "../attention/four_lanes_backward.js";
import { cpuInference } from "./inference.js";

/** The kernels that adapters which run shaders on the CPU have besides the shared ones. */
export const cpuKernels: CpuKernels = {
  ...cpuInference,
  attentionBackward: (spec, capabilities) => [
    { name: "shared", make: () => attentionBackwardShared(spec, capabilities) },
  ],
};
