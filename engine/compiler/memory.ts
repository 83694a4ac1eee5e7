/**
 * The memory plan: intermediates share slots by lifetime. A slot is a whole GPU buffer that holds one
 * intermediate at a time, so that two values that live at once never share a buffer. This also rules out
 * the bindings that WebGPU forbids (one dispatch that reads and writes one buffer, even in disjoint ranges).
 */
import type { MemoryPlan, PlannedDispatch, Storage } from "./plan.js";

interface Interval {
  readonly id: number;
  readonly bytes: number;
  readonly first: number;
  last: number;
}

/** Assigns slots, largest intermediates first (Pisarchyk & Lee 2020, shared objects, greedy by size). */
export function planMemory(dispatches: readonly PlannedDispatch[]): MemoryPlan {
  const slots: { bytes: number; intervals: Interval[] }[] = [];
  const slotOf = new Map<number, number>();
  const intervals = lifetimes(dispatches).sort((a, b) => b.bytes - a.bytes || a.first - b.first);
  for (const interval of intervals) {
    // Intermediates are sorted by size, so that every slot is large enough. Take the slot that fits most tightly in time.
    let best = -1;
    let bestGap = Infinity;
    slots.forEach((slot, i) => {
      if (slot.intervals.some((other) => other.first <= interval.last && interval.first <= other.last))
        return;
      const gap = Math.min(
        ...slot.intervals.map((o) =>
          o.last < interval.first ? interval.first - o.last : o.first - interval.last,
        ),
      );
      if (gap < bestGap) [best, bestGap] = [i, gap];
    });
    if (best < 0) best = slots.push({ bytes: interval.bytes, intervals: [] }) - 1;
    slots[best]!.intervals.push(interval);
    slotOf.set(interval.id, best);
  }
  return { slots: slots.map((s) => s.bytes), slotOf };
}

function lifetimes(dispatches: readonly PlannedDispatch[]): Interval[] {
  const intervals = new Map<number, Interval>();
  dispatches.forEach(({ storages }, index) => {
    for (const storage of storages.filter(
      (s): s is Storage & { kind: "intermediate" } => s.kind === "intermediate",
    )) {
      const known = intervals.get(storage.id);
      if (known) known.last = index;
      else intervals.set(storage.id, { id: storage.id, bytes: storage.bytes, first: index, last: index });
    }
  });
  return [...intervals.values()];
}
