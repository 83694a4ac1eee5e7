/** Kernels with variants to choose from, whatever their family. */
import { attention, attentionName, type AttentionSource } from "./attention/choose.js";
import { attentionBackward, attentionVariants } from "./attention/choose_backward.js";
import type { Capabilities } from "./capabilities.js";
import type { Kernel, KernelSource } from "./core/kernel.js";
import { matmul, matmulName, matmulVariants, type MatmulSource } from "./matmul/choose.js";

/** The source of a kernel that may have variants. */
export type TunableSource = MatmulSource | AttentionSource;

/** The variants of a kernel. */
export interface Alternatives {
  /** The family and the spec. */
  readonly source: TunableSource;
  /** The kernel's name without its variant: the key of `Capabilities.choices`. */
  readonly key: string;
  /** Names of the variants, the default first. */
  readonly variants: readonly string[];
  /** The kernel in one of these variants. */
  readonly make: (variant: string) => Kernel;
}

const FAMILIES: readonly string[] = [
  "matmul",
  "attention",
  "attentionBackward",
] satisfies readonly TunableSource["family"][];

const isTunable = (source: KernelSource | undefined): source is TunableSource =>
  source !== undefined && FAMILIES.includes(source.family);

/** The variants of a kernel on a device with these capabilities; null if its family has no variants to choose from. */
export function alternativesOf({ source }: Kernel, capabilities: Capabilities): Alternatives | null {
  if (!isTunable(source)) return null;
  const [key, variants] =
    source.family === "matmul"
      ? [matmulName(source.spec), matmulVariants(source.spec, capabilities)]
      : [attentionName(source.family, source.spec), attentionVariants(source, capabilities)];
  const make = (variant: string): Kernel => {
    const on = { ...capabilities, choices: { [key]: variant } };
    switch (source.family) {
      case "matmul":
        return matmul(source.spec, on);
      case "attention":
        return attention(source.spec, on);
      case "attentionBackward":
        return attentionBackward(source.spec, on);
    }
  };
  return { source, key, variants, make };
}
