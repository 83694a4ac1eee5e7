/**
 * Quick forms of kernels: a program starts with forms that compile quickly, and moves to the kernels proper once it has run
 * a few times. Both give equal results to the bit.
 */
import type { Kernel } from "../kernels/core/kernel.js";
import type { Device } from "./device.js";

/** What a dispatch runs: its kernel, or the quick form of it. */
export interface Running {
  readonly code: string;
  readonly pipeline: GPUComputePipeline;
  readonly workgroups: Kernel["workgroups"];
}

/** A dispatch whose form may change between two runs. */
export interface Changing {
  readonly kernel: Kernel;
  readonly label: string;
  running: Running;
}

/** Compiles the form that a dispatch starts with: the kernel itself if it is compiled already or has no quick form. */
export async function startOf(device: Device, kernel: Kernel, label: string): Promise<Running> {
  const form = device.hasPipeline(kernel) ? kernel : (kernel.quick?.() ?? kernel);
  return running(device, form, label);
}

async function running(device: Device, form: Kernel, label: string): Promise<Running> {
  return { code: form.code, pipeline: await device.pipeline(form, label), workgroups: form.workgroups };
}

/** True if a dispatch runs a quick form. */
export const isQuick = ({ kernel, running: { code } }: Changing): boolean => code !== kernel.code;

/** Puts the kernels proper in place of quick forms, one after the other, until `ended()`. */
export async function replaceQuickForms(
  device: Device,
  dispatches: readonly Changing[],
  ended: () => boolean,
): Promise<void> {
  for (const dispatch of dispatches) {
    if (ended()) return;
    if (isQuick(dispatch)) dispatch.running = await running(device, dispatch.kernel, dispatch.label);
  }
}
