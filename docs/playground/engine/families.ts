/** Kernels of a step by family. */
import type { TimedKernel } from "../reports.js";

/** All launches of a family in a step. */
export interface FamilyTime {
  readonly family: string;
  readonly launches: number;
  readonly ms: number;
  /** Share of the sum over all families. */
  readonly share: number;
  /** The least possible time of its work as a share of the time that it takes. */
  readonly possible: number;
}

/** The time of each family, the longest first. */
export function byFamily(kernels: readonly TimedKernel[]): FamilyTime[] {
  const total = kernels.reduce((sum, { launches, ms }) => sum + launches * ms, 0);
  const families = new Map<string, TimedKernel[]>();
  for (const kernel of kernels) {
    const known = families.get(kernel.family);
    if (known) known.push(kernel);
    else families.set(kernel.family, [kernel]);
  }
  return [...families]
    .map(([family, own]) => {
      const ms = own.reduce((sum, k) => sum + k.launches * k.ms, 0);
      const least = own.reduce((sum, k) => sum + (k.ms > 0 ? k.launches * k.ms * k.share : 0), 0);
      const launches = own.reduce((sum, k) => sum + k.launches, 0);
      return { family, launches, ms, share: ms / total, possible: least / ms };
    })
    .sort((a, b) => b.ms - a.ms);
}
