/** What programs are compiled for. */
import type { Capabilities, KernelChoices } from "../kernels/capabilities.js";
import type { F16Storage } from "./compiler/plan.js";

/**
 * Everything that decides which kernels a program becomes: limits, kernel library, chosen variants and precision. A
 * target is a value, which `compile` and everything that compiles take as an option. A device offers one
 * ({@link Device.target}); {@link withChoices} and `hrm-webgpu/engine/mixed-precision` make others of it.
 */
export interface Target {
  /** What kernels may depend on. */
  readonly capabilities: Capabilities;
  /** Bytes of the largest buffer; absent: any size. */
  readonly maxBufferSize?: number;
  /** The pass that decides which tensors programs store in f16; absent: none. */
  readonly f16Storage?: F16Storage;
}

/**
 * The target with these kernel variants in place of all that were chosen before; kernels that `choices` does not name
 * take their default. `hrm-webgpu/engine/autotune` measures choices.
 */
export function withChoices(target: Target, choices: KernelChoices): Target {
  return { ...target, capabilities: { ...target.capabilities, choices } };
}
