/**
 * Attention for the device at hand: quads on GPUs with subgroups (quads.ts), or in mixed precision subgroup matrices
 * (matrices_forward.ts, matrices_backward.ts); four_lanes.ts on CPUs whose subgroups have four lanes; else portable.ts,
 * which has the formulas and their sources.
 */
import type { Capabilities } from "../capabilities.js";
import {
  chosenVariant,
  KernelError,
  type Kernel,
  type KernelSource,
  type NamedKernel,
} from "../core/kernel.js";
import { attentionBackwardPortable, attentionDeltaPortable, attentionPortable } from "./portable.js";
import { nameOf, requireAttention, type AttentionSpec } from "./spec.js";

export type { AttentionSpec } from "./spec.js";

/** Families of attention that have variants to choose from. */
export type AttentionFamily = "attention" | "attentionBackward";

/** What a kernel of these families was made from. */
export type AttentionSource = KernelSource<AttentionFamily, AttentionSpec>;

const PORTABLE = { attention: attentionPortable, attentionBackward: attentionBackwardPortable };

/**
 * Bindings: qkv [B, S, 3, H, D], o [B, S, H, D], lse [B, H, S] (log-sum-exp of the scaled scores); with rope also
 * cos_table [S, D] and sin_table [S, D].
 * @throws KernelError for a chosen variant that {@link attentionVariants} does not list, too
 */
export function attention(spec: AttentionSpec, capabilities: Capabilities): Kernel<AttentionSource> {
  return chosen("attention", spec, capabilities);
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
 * @throws KernelError for a chosen variant that {@link attentionVariants} does not list, too
 */
export function attentionBackward(spec: AttentionSpec, capabilities: Capabilities): Kernel<AttentionSource> {
  return chosen("attentionBackward", spec, capabilities);
}

/** Name of a kernel of attention without its variant: the key of `Capabilities.choices`. */
export function attentionName(family: AttentionFamily, spec: AttentionSpec): string {
  const { halves = [], scaled = [] } = spec;
  const stored = [...halves, ...scaled];
  const name = nameOf(family === "attention" ? family : "attention_backward", spec);
  return stored.length > 0 ? `${name}_half_${stored.join("_")}` : name;
}

/** Names of the variants that a device can choose from: the default first. */
export function attentionVariants({ family, spec }: AttentionSource, capabilities: Capabilities): string[] {
  return variantsOf(family, spec, capabilities).map(({ name }) => name);
}

function chosen(
  family: AttentionFamily,
  spec: AttentionSpec,
  capabilities: Capabilities,
): Kernel<AttentionSource> {
  requireAttention(spec, capabilities);
  requireTurns(spec, capabilities);
  const key = attentionName(family, spec);
  const { variant, choice } = chosenVariant(
    key,
    variantsOf(family, spec, capabilities),
    capabilities.choices,
  );
  return { ...variant.make(), source: { family, spec }, ...(choice && { choice }) };
}

function variantsOf(
  family: AttentionFamily,
  spec: AttentionSpec,
  capabilities: Capabilities,
): readonly NamedKernel[] {
  if (quadsApply(spec, capabilities)) return capabilities.gpu![family](spec, capabilities);
  const portable = { name: "portable", make: () => PORTABLE[family](spec, capabilities) };
  if (!sharedApplies(spec, capabilities)) return [portable];
  return [...capabilities.cpu![family](spec, capabilities), portable];
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
