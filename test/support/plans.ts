/** Properties of every plan, checked by its dispatches alone. */
import { assert } from "chai";
import type { Plan } from "../../engine/index.js";

interface Life {
  readonly slot: number;
  readonly first: number;
  last: number;
}

/**
 * No two values that live at once share a slot, every slot is large enough, every value is written before it is
 * read, and no dispatch binds one buffer twice if it writes it.
 */
export function assertSound({ dispatches, memory }: Plan): void {
  const lives = new Map<number, Life>();
  dispatches.forEach(({ kernel, label, storages }, at) => {
    const bound = storages.map((s) => {
      switch (s.kind) {
        case "intermediate":
          return `slot ${memory.slotOf.get(s.id)}`;
        case "variable":
          return s.variable.pack ?? s.variable;
        case "output":
          return `output ${s.name}`;
        case "source":
          return s.tensor;
      }
    });
    storages.forEach((s, i) => {
      const writes = kernel.bindings[i]!.access === "read_write";
      assert.isFalse(
        writes && bound.indexOf(bound[i]!) !== bound.lastIndexOf(bound[i]!),
        `${label} binds one buffer twice`,
      );
      if (s.kind !== "intermediate") return;
      const slot = memory.slotOf.get(s.id)!;
      assert.isAtLeast(memory.slots[slot]!, s.bytes, `slot ${slot} holds ${label}`);
      const life = lives.get(s.id);
      if (life) life.last = at;
      else {
        assert.isTrue(writes, `${label} reads what nothing wrote`);
        lives.set(s.id, { slot, first: at, last: at });
      }
    });
  });
  // Sorted by slot, then by time: if any two overlap, two neighbours overlap.
  const all = [...lives.values()].sort((a, b) => a.slot - b.slot || a.first - b.first);
  for (const [i, b] of all.entries()) {
    const a = all[i - 1];
    if (a?.slot === b.slot && b.first <= a.last)
      assert.fail(
        `slot ${a.slot} holds two values: dispatches ${a.first}-${a.last} and ${b.first}-${b.last}`,
      );
  }
}

/** Bytes that live at once at the worst moment: no plan can need less. */
export function peakOfLifetimes({ dispatches }: Plan): number {
  const lives = new Map<number, { bytes: number; first: number; last: number }>();
  dispatches.forEach(({ storages }, at) => {
    for (const s of storages)
      if (s.kind === "intermediate") {
        const life = lives.get(s.id);
        if (life) life.last = at;
        else lives.set(s.id, { bytes: s.bytes, first: at, last: at });
      }
  });
  return Math.max(
    0,
    ...dispatches.map((_, at) =>
      [...lives.values()].reduce((sum, l) => sum + (l.first <= at && at <= l.last ? l.bytes : 0), 0),
    ),
  );
}
