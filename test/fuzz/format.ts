/** What a fuzz run does with a format. */
import { FileFormatError } from "../../hrm/files/index.js";
import type { HostRandom } from "../../hrm/puzzles/index.js";

export type Outcome = "accepted" | "refused";

/** A format under attack. */
export interface FuzzFormat {
  readonly name: string;
  /** Damages a valid file and reads it. Rejects with anything but a refusal: a crash of the reader. */
  readonly attempt: (random: HostRandom) => Promise<Outcome>;
}

/** Runs a reader: a FileFormatError is a refusal, any other error is the reader's own and is thrown on. */
export async function outcomeOf(read: () => unknown): Promise<Outcome> {
  try {
    await read();
    return "accepted";
  } catch (error) {
    if (error instanceof FileFormatError) return "refused";
    throw error;
  }
}

/** One of several. */
export function pick<T>(random: HostRandom, items: readonly T[]): T {
  return items[random.below(items.length)]!;
}
