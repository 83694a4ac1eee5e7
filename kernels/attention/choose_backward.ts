/** The gradient of attention for the device at hand, and the variants of both. choose.ts explains which kernel runs where. */
import type { Capabilities } from "../capabilities.js";
import type { Kernel, NamedKernel } from "../core/kernel.js";
import {
  chosen,
  forwardVariants,
  quadsApply,
  quadsTurn,
  sharedApplies,
  type AttentionSource,
} from "./choose.js";
import { attentionBackwardPortable, attentionDeltaPortable } from "./portable_backward.js";
import { requireAttention, type AttentionSpec } from "./spec.js";

/** Bindings: o [B, S, H, D], d_o [B, S, H, D], delta [B, H, S]. */
export function attentionDelta(spec: AttentionSpec, capabilities: Capabilities): Kernel {
  requireAttention(spec, capabilities);
  const { gpu } = capabilities;
  if (gpu?.attentionDelta && quadsApply(spec, capabilities)) return gpu.attentionDelta(spec, capabilities);
  return attentionDeltaPortable(spec, capabilities);
}

/**
 * Bindings: qkv [B, S, 3, H, D], d_o [B, S, H, D], lse [B, H, S], delta [B, H, S], d_qkv [B, S, 3, H, D]; with rope also
 * cos_table [S, D] and sin_table [S, D].
 * @throws KernelError for a chosen variant that {@link attentionVariants} does not list, too
 */
export function attentionBackward(spec: AttentionSpec, capabilities: Capabilities): Kernel<AttentionSource> {
  return chosen("attentionBackward", spec, capabilities, backwardVariants, backwardTurns);
}

/** Names of the variants that a device can choose from: the default first. */
export function attentionVariants({ family, spec }: AttentionSource, capabilities: Capabilities): string[] {
  const variants = family === "attention" ? forwardVariants : backwardVariants;
  return variants(spec, capabilities).map(({ name }) => name);
}

function backwardVariants(spec: AttentionSpec, capabilities: Capabilities): readonly NamedKernel[] {
  const { gpu, cpu } = capabilities;
  if (gpu?.attentionBackward && quadsApply(spec, capabilities))
    return gpu.attentionBackward(spec, capabilities);
  const portable = { name: "portable", make: () => attentionBackwardPortable(spec, capabilities) };
  if (!cpu?.attentionBackward || !sharedApplies(spec, capabilities)) return [portable];
  return [...cpu.attentionBackward(spec, capabilities), portable];
}

/** True if the kernel of the gradient rotates queries and keys, and their gradients back. */
export function backwardTurns(spec: AttentionSpec, capabilities: Capabilities): boolean {
  return capabilities.gpu?.attentionBackward !== undefined && quadsTurn(spec, capabilities);
}
