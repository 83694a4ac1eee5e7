/** Compares the memory that a run needs with the memory of this machine. */
import { totalmem } from "node:os";
import { LimitError } from "../../../engine/index.js";
import type { MemoryNeeds } from "../../training/memory_estimate.js";
import { formatGB } from "../output/console.js";

/** Bytes that this process may use: those of the machine or of the container. */
function hostMemory(): number {
  return Math.min(totalmem(), process.constrainedMemory() || Infinity);
}

/**
 * Refuses a run that needs more memory than this machine has. A software adapter keeps its buffers in the machine's memory, too.
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
