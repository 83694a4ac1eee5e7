/** The variants of an ablation: each changes one part of HRM by options of the model. */
import type { HrmConfig } from "../../model/config.js";

/** A model to compare. */
export interface Variant {
  readonly name: string;
  /** Describes the variant in a clause. */
  readonly summary: string;
  /** The fields that differ from those of the preset. */
  readonly fields: Partial<HrmConfig>;
}

const oneSegment = { halt_max_steps: 1, inference_segments: 0 } as const;

/** Every variant of a configuration with `arch` hrm; the first is the configuration itself. */
export function variantsOf({ H_cycles, L_cycles, H_layers, L_layers }: HrmConfig): Variant[] {
  const both = H_layers + L_layers;
  return [
    { name: "hrm", summary: "the preset: two networks, two levels", fields: {} },
    {
      name: "l-only",
      summary: "one level, as many updates by one network of L's size",
      fields: { arch: "l_only" },
    },
    {
      name: "l-only-wide",
      summary: "one level, as many updates, as many parameters",
      fields: { arch: "l_only", L_layers: both },
    },
    { name: "shared", summary: "H and L share one network of L's size", fields: { arch: "trm" } },
    {
      name: "shared-wide",
      summary: "H and L share one network with as many parameters",
      fields: { arch: "trm", L_layers: both },
    },
    {
      name: "transformer-size",
      summary: "no recursion: a direct-prediction transformer with as many parameters",
      fields: { arch: "transformer", L_layers: both, ...oneSegment },
    },
    {
      name: "transformer-depth",
      summary: "no recursion: a direct-prediction transformer as deep as a segment",
      fields: { arch: "transformer", L_layers: H_cycles * (L_cycles * L_layers + H_layers), ...oneSegment },
    },
    { name: "one-segment", summary: "no deep supervision: one segment", fields: oneSegment },
    { name: "one-step", summary: "the one-step gradient (bp_steps 2)", fields: { bp_steps: 2 } },
    {
      name: "last-cycle",
      summary: `the gradient of the whole last cycle (bp_steps ${L_cycles + 1})`,
      fields: { bp_steps: L_cycles + 1 },
    },
    {
      name: "no-carry",
      summary: "every segment starts from the initial latents",
      fields: { carry_latents: false },
    },
  ];
}

/** Names of all variants. */
export const variantNames = (config: HrmConfig): string[] => variantsOf(config).map(({ name }) => name);
