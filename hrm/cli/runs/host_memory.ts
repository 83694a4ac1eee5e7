/** This machine's memory, against what a run needs of it. */
import { totalmem } from "node:os";
import { LimitError } from "../../../engine/index.js";
import type { MemoryNeeds } from "../../training/memory_estimate.js";
import { formatGB } from "../output/console.js";

/** Bytes that this process may have: the machine's, or a container's. */
function hostMemory(): number {
  return Math.min(totalmem(), process.constrainedMemory() || Infinity);
}

/**
 * Refuses a run that this machine's memory does not hold. An adapter that computes on the CPU (`software`) holds its
 * buffers there as well.
 * @throws LimitError
 */
export function requireHostMemory(
  { host, peak }: Pick<MemoryNeeds, "host" | "peak">,
  software: boolean,
  memory = hostMemory(),
): void {
  const needed = host + (software ? peak : 0);
  if (needed <= memory) return;
  throw new LimitError(
    `The run needs about ${formatGB(needed)} of this machine's memory, which has ${formatGB(memory)}. Choose a smaller model or batch, or fewer puzzles.`,
  );
}
