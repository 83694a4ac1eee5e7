/** Times several libraries interleaved, with patience for slow ones. */
import type { Timing } from "./sampling.js";
import { summarize } from "./statistics.js";

/** Work that a library has taken on. */
export interface PeerWork {
  /** Issues one run. */
  run(): void | Promise<void>;
  /** Waits for everything issued. */
  drain(): Promise<void>;
  dispose(): void;
}

interface Effort {
  /** Short work is repeated until a sample lasts this long. */
  readonly sampleMs: number;
  readonly samples: number;
  /** Work that has taken this long takes no part in further rounds if it has three samples. */
  readonly limitMs: number;
}
const QUICK: Effort = { sampleMs: 30, samples: 5, limitMs: 2500 };
const FULL: Effort = { sampleMs: 100, samples: 11, limitMs: 20_000 };
/** The fewest samples: fewer do not tell their spread. */
const FEWEST = 3;

/** @throws Error if the promise has not settled after this many seconds */
export async function within<T>(seconds: number, promise: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${seconds} s`)), seconds * 1000);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/**
 * Times rounds of all works, interleaved forth and back, by the wall clock of a drained queue. Every work has run once
 * before. A work that fails, or does not finish a sample within `patience` seconds, drops out with the reason; the others
 * go on.
 */
export async function timeInTurn(
  works: readonly PeerWork[],
  { quick, patience }: { quick: boolean; patience: number },
): Promise<(Timing | { readonly reason: string })[]> {
  const effort = quick ? QUICK : FULL;
  const states = works.map((work) => ({ work, repeats: 1, times: [] as number[], spentMs: 0, reason: "" }));
  const sample = async (state: (typeof states)[number]): Promise<number> => {
    const { work, repeats } = state;
    await work.drain();
    const start = performance.now();
    for (let i = 0; i < repeats; i++) await work.run();
    await work.drain();
    const elapsed = performance.now() - start;
    state.spentMs += elapsed;
    return elapsed / repeats;
  };
  const attempt = async (state: (typeof states)[number], body: () => Promise<void>): Promise<void> => {
    if (state.reason) return;
    await within(patience, body()).catch((error: unknown) => {
      state.reason = `failed while it was timed: ${String((error as Error).message ?? error)}`;
    });
  };
  for (const state of states)
    await attempt(state, async () => {
      const once = await sample(state);
      // A long run is a sample already; a short one may still pay for warming up.
      if (once > effort.sampleMs) state.times.push(once);
      else state.repeats = Math.min(200, Math.ceil(effort.sampleMs / (await sample(state))));
    });
  for (let round = 0; round < effort.samples; round++)
    for (const state of round % 2 === 0 ? states : [...states].reverse())
      if (
        state.times.length < FEWEST ||
        (state.spentMs < effort.limitMs && state.times.length < effort.samples)
      )
        await attempt(state, async () => {
          state.times.push(await sample(state));
        });
  return states.map(({ times, repeats, reason }) => {
    if (reason) return { reason };
    const summary = summarize(times);
    return { ...summary, clock: "wall" as const, wall: summary.median, repeats };
  });
}
