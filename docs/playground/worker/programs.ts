/** The programs of a training step as the page lists and draws them. */
import type { Storage } from "../../../engine/compiler/plan.js";
import type { Interval, ShownProgram } from "../reports.js";
import type { Trainer } from "../../../hrm/training/trainer.js";

export const shownPrograms = ({ sequence }: Trainer): ShownProgram[] =>
  sequence.map(([program, times]) => {
    const { dispatches, memory } = program.plan;
    return {
      ...{ name: program.name, times, dispatches: program.dispatchList(), slots: memory.slots },
      intervals: intervalsOf(dispatches, memory.slotOf),
    };
  });

/** The lifetimes of a plan's intermediates, by slot. */
export function intervalsOf(
  dispatches: readonly { readonly storages: readonly Storage[] }[],
  slotOf: ReadonlyMap<number, number>,
): Interval[] {
  const found = new Map<number, { slot: number; first: number; last: number; bytes: number }>();
  dispatches.forEach(({ storages }, index) => {
    for (const storage of storages) {
      if (storage.kind !== "intermediate") continue;
      const { id, bytes } = storage;
      const known = found.get(id);
      if (known) known.last = index;
      else found.set(id, { slot: slotOf.get(id)!, first: index, last: index, bytes });
    }
  });
  return [...found.values()];
}
