/** Measured work as a share of this adapter's ceilings: the roofline model (Williams, Waterman & Patterson 2009). */
import type { Kernel } from "../../kernels/index.js";
import type { Ceilings } from "./ceilings.js";
import type { Timing } from "./sampling.js";

/** Work as a kernel counts it, with the kernel's text if it is a single kernel. */
export type Work = Pick<Kernel, "flops" | "bytes"> & Partial<Pick<Kernel, "code">>;

/** Least time in ms for work on this roofline, and which ceiling sets it. Kernels on subgroup matrices have the matrices' ceiling. */
export function roofline(
  ceilings: Ceilings,
  { flops, bytes, code }: Work,
): { ms: number; bound: "arithmetic" | "memory" } {
  const onMatrices = code?.includes("subgroupMatrixMultiplyAccumulate");
  const arithmetic = flops / ((onMatrices && ceilings.matrices) || ceilings.fmaF32) / 1e6;
  const memory = bytes / ceilings.copy / 1e6;
  return arithmetic > memory ? { ms: arithmetic, bound: "arithmetic" } : { ms: memory, bound: "memory" };
}

/** Rates of real kernels as a share of the ceilings. They are low, so that the estimate is rather too long. */
const TYPICAL = { arithmetic: 0.08, memory: 0.4 };

/** Seconds that one run of such work may take on this adapter. */
export function estimateSeconds(ceilings: Ceilings, { flops, bytes }: Work): number {
  return (
    flops / (ceilings.fmaF32 * TYPICAL.arithmetic * 1e9) + bytes / (ceilings.copy * TYPICAL.memory * 1e9)
  );
}

/** A timing with the rates that follow from it. */
export function rates(ceilings: Ceilings, work: Work, { n, median, p10, p90, clock, wall, repeats }: Timing) {
  const { flops, bytes } = work;
  const least = roofline(ceilings, work);
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
