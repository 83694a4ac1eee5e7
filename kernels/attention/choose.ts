/**
 * Attention for the device at hand: quads on GPUs with subgroups (quads.ts), or in mixed precision subgroup matrices
 * (matrices_forward.ts); four_lanes.ts on CPUs whose subgroups have four lanes; else portable.ts, which has the formulas and
 * their sources. choose_backward.ts does the same for the gradient, which inference does not load.
 */
import type { Capabilities } from "../capabilities.js";
import {
  chosenVariant,
  KernelError,
  type Kernel,
  type KernelSource,
  type NamedKernel,
} from "../core/kernel.js";
import { attentionPortable } from "./portable.js";
import { nameOf, requireAttention, type AttentionSpec } from "./spec.js";

export type { AttentionSpec } from "./spec.js";

/** Families of attention that have variants to choose from. */
export type AttentionFamily = "attention" | "attentionBackward";

/** What a kernel of these families was made from. */
export type AttentionSource = KernelSource<AttentionFamily, AttentionSpec>;

/**
 * Bindings: qkv [B, S, 3, H, D], o [B, S, H, D], lse [B, H, S] (log-sum-exp of the scaled scores); with rope also
 * cos_table [S, D] and sin_table [S, D].
 * @throws KernelError for a chosen variant that {@link attentionVariants} does not list, too
 */
export function attention(spec: AttentionSpec, capabilities: Capabilities): Kernel<AttentionSource> {
  return chosen("attention", spec, capabilities, forwardVariants, quadsTurn);
}

/** Name of a kernel of attention without its variant: the key of `Capabilities.choices`. */
export function attentionName(family: AttentionFamily, spec: AttentionSpec): string {
  const { halves = [], scaled = [] } = spec;
  const stored = [...halves, ...scaled];
  const name = nameOf(family === "attention" ? family : "attention_backward", spec);
  return stored.length > 0 ? `${name}_half_${stored.join("_")}` : name;
}

/** The variants of `attention` that a device can choose from: the default first. */
export function forwardVariants(spec: AttentionSpec, capabilities: Capabilities): readonly NamedKernel[] {
  if (quadsApply(spec, capabilities)) return capabilities.gpu!.attention(spec, capabilities);
  const portable = { name: "portable", make: () => attentionPortable(spec, capabilities) };
  if (!sharedApplies(spec, capabilities)) return [portable];
  return [...capabilities.cpu!.attention(spec, capabilities), portable];
}

/** The chosen variant of a family. @throws KernelError for rope if `turns` denies that the family's kernels can rotate */
export function chosen(
  family: AttentionFamily,
  spec: AttentionSpec,
  capabilities: Capabilities,
  variantsOf: typeof forwardVariants,
  turns: typeof quadsTurn,
): Kernel<AttentionSource> {
  requireAttention(spec, capabilities);
  if (spec.rope && !turns(spec, capabilities))
    throw new KernelError(
      nameOf("attention", spec),
      `rope with head size ${spec.headDim}`,
      "a GPU with subgroups of four, and heads divisible by 32",
      "Rotate queries and keys by the rope kernel first.",
    );
  const key = attentionName(family, spec);
  const { variant, choice } = chosenVariant(key, variantsOf(spec, capabilities), capabilities.choices);
  return { ...variant.make(), source: { family, spec }, ...(choice && { choice }) };
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
