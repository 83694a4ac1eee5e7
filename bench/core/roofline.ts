/** Where measured work stands below this adapter's ceilings (Williams, Waterman & Patterson 2009). */
import type { Kernel } from "../../kernels/index.js";
import type { Ceilings } from "./ceilings.js";
import type { Timing } from "./sampling.js";

/** Work as a kernel counts it. */
export type Work = Pick<Kernel, "flops" | "bytes">;

/** Least time in ms for work on this roofline, and which ceiling sets it. */
export function roofline(
  ceilings: Ceilings,
  { flops, bytes }: Work,
): { ms: number; bound: "arithmetic" | "memory" } {
  const arithmetic = flops / ceilings.fmaF32 / 1e6;
  const memory = bytes / ceilings.copy / 1e6;
  return arithmetic > memory ? { ms: arithmetic, bound: "arithmetic" } : { ms: memory, bound: "memory" };
}

/** Rates of real kernels as a share of the ceilings, low, so that the estimate errs on the long side. */
const TYPICAL = { arithmetic: 0.08, memory: 0.4 };

/** Seconds that one run of such work may take on this adapter. */
export function estimateSeconds(ceilings: Ceilings, { flops, bytes }: Work): number {
  return (
    flops / (ceilings.fmaF32 * TYPICAL.arithmetic * 1e9) + bytes / (ceilings.copy * TYPICAL.memory * 1e9)
  );
}

/** A timing with the rates that follow from it. */
export function rates(
  ceilings: Ceilings,
  { flops, bytes }: Work,
  { n, median, p10, p90, clock, wall, repeats }: Timing,
) {
  const least = roofline(ceilings, { flops, bytes });
  return {
    n,
    ms: median,
    p10,
    p90,
    clock,
    wallMs: wall,
    repeats,
    gflops: flops / median / 1e6,
    gbps: bytes / median / 1e6,
    ceilingFraction: least.ms / median,
    bound: least.bound,
    flops,
    bytes,
  };
}
