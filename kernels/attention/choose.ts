/**
 * Attention for the device at hand: quads on GPUs with subgroups (quads.ts), or in mixed precision subgroup matrices
 * (matrices_forward.ts, matrices_backward.ts); four_lanes.ts on CPUs whose subgroups have four lanes; else portable.ts,
 * which has the formulas and their sources.
 */
import type { Capabilities } from "../capabilities.js";
import { KernelError, type Kernel } from "../core/kernel.js";
import { attentionBackwardPortable, attentionDeltaPortable, attentionPortable } from "./portable.js";
import { nameOf, requireAttention, type AttentionSpec } from "./spec.js";

export type { AttentionSpec } from "./spec.js";

/**
 * Bindings: qkv [B, S, 3, H, D], o [B, S, H, D], lse [B, H, S] (log-sum-exp of the scaled scores); with rope also
 * cos_table [S, D] and sin_table [S, D].
 */
export function attention(spec: AttentionSpec, capabilities: Capabilities): Kernel {
  requireAttention(spec, capabilities);
  requireTurns(spec, capabilities);
  if (quadsApply(spec, capabilities)) return capabilities.gpu!.attention(spec, capabilities);
  if (sharedApplies(spec, capabilities)) return capabilities.cpu!.attention(spec, capabilities);
  return attentionPortable(spec, capabilities);
}

/** Bindings: o [B, S, H, D], d_o [B, S, H, D], delta [B, H, S]. */
export function attentionDelta(spec: AttentionSpec, capabilities: Capabilities): Kernel {
  requireAttention(spec, capabilities);
  if (quadsApply(spec, capabilities)) return capabilities.gpu!.attentionDelta(spec, capabilities);
  return attentionDeltaPortable(spec, capabilities);
}

/**
 * Bindings: qkv [B, S, 3, H, D], d_o [B, S, H, D], lse [B, H, S], delta [B, H, S], d_qkv [B, S, 3, H, D]; with rope also
 * cos_table [S, D] and sin_table [S, D].
 */
export function attentionBackward(spec: AttentionSpec, capabilities: Capabilities): Kernel {
  requireAttention(spec, capabilities);
  requireTurns(spec, capabilities);
  if (quadsApply(spec, capabilities)) return capabilities.gpu!.attentionBackward(spec, capabilities);
  if (sharedApplies(spec, capabilities)) return capabilities.cpu!.attentionBackward(spec, capabilities);
  return attentionBackwardPortable(spec, capabilities);
}

function requireTurns(spec: AttentionSpec, capabilities: Capabilities): void {
  if (spec.rope && !quadsTurn(spec, capabilities))
    throw new KernelError(
      nameOf("attention", spec),
      `rope with head size ${spec.headDim}`,
      "a GPU with subgroups of four, and heads divisible by 32",
      "Rotate queries and keys by the rope kernel first.",
    );
}

/** True if the quads of subgroups can share head vectors: `quads.ts`. */
export function quadsApply({ headDim }: AttentionSpec, { software, subgroups, gpu }: Capabilities): boolean {
  const quads = !software && gpu !== undefined && subgroups !== null && subgroups.min >= 4;
  return quads && headDim % 16 === 0 && headDim <= 256;
}

/** True if quads can also rotate queries and keys: both halves of a head vector lie in the same lanes. */
export function quadsTurn(spec: AttentionSpec, capabilities: Capabilities): boolean {
  return quadsApply(spec, capabilities) && spec.headDim % 32 === 0;
}

/** True if the four lanes of a subgroup on a CPU can share keys and values: `four_lanes.ts`. */
export function sharedApplies({ headDim }: AttentionSpec, { cpu, subgroups }: Capabilities): boolean {
  return (
    cpu !== undefined && subgroups?.min === 4 && subgroups.max === 4 && headDim % 4 === 0 && headDim <= 128
  );
}
