/** Repeated, interleaved timing of alternatives. */
import { summarize, type Summary } from "./statistics.js";
import type { Encode, Stopwatch } from "../../engine/stopwatch.js";

/** How long to measure. */
export interface Effort {
  /** GPU time that one sample should last at least, past the clock's quantisation, in ms. */
  readonly sampleMs: number;
  readonly minSamples: number;
  readonly maxSamples: number;
  /** No further sample begins after this, in ms for each alternative. */
  readonly limitMs: number;
}

export const FULL_EFFORT: Effort = { sampleMs: 20, minSamples: 5, maxSamples: 30, limitMs: 2000 };
export const QUICK_EFFORT: Effort = { sampleMs: 5, minSamples: 3, maxSamples: 7, limitMs: 120 };

/** Repeats that one pass holds at most. */
const MAX_REPEATS = 2000;

/** Timings of one alternative, per repeat, in ms. */
export interface Timing extends Summary {
  readonly clock: "timestamp" | "wall";
  /** Median by the wall clock of a drained queue, submission included. */
  readonly wall: number;
  /** Repeats inside each timed pass. */
  readonly repeats: number;
}

/**
 * Times alternatives that run once per `encode`. Each is warmed and calibrated so that a sample lasts `sampleMs`;
 * then rounds go forth and back through the alternatives (A B, B A, ...), so that drift hits all alike.
 */
export async function sampleInterleaved(
  stopwatch: Stopwatch,
  alternatives: readonly Encode[],
  effort: Effort,
): Promise<Timing[]> {
  const states = [];
  for (const encode of alternatives) states.push(await calibrate(stopwatch, encode, effort));
  const end = performance.now() + effort.limitMs * alternatives.length;
  for (let round = 0; round < effort.maxSamples; round++) {
    if (round >= effort.minSamples && performance.now() > end) break;
    for (const state of round % 2 === 0 ? states : [...states].reverse()) {
      const { gpu, wall } = await stopwatch.time((pass) => {
        for (let i = 0; i < state.repeats; i++) state.encode(pass);
      });
      if (gpu) state.gpu.push(gpu / state.repeats);
      state.wall.push(wall / state.repeats);
    }
  }
  return states.map(({ gpu, wall, repeats }) => {
    // Timestamps that ran backwards or were too short are dropped. If most of them are dropped, the wall clock decides.
    const trusted = gpu.length >= Math.max(1, wall.length / 2);
    return {
      ...summarize(trusted ? gpu : wall),
      clock: trusted ? ("timestamp" as const) : ("wall" as const),
      wall: summarize(wall).median,
      repeats,
    };
  });
}

async function calibrate(stopwatch: Stopwatch, encode: Encode, { sampleMs }: Effort) {
  let repeats = 1;
  for (;;) {
    const count = repeats;
    const { gpu, wall } = await stopwatch.time((pass) => {
      for (let i = 0; i < count; i++) encode(pass);
    });
    const lasted = gpu || wall;
    if (lasted >= sampleMs / 2 || repeats >= MAX_REPEATS) {
      const wanted = Math.ceil((repeats * sampleMs) / lasted);
      repeats = Math.min(MAX_REPEATS, Math.max(1, wanted));
      return { encode, repeats, gpu: [] as number[], wall: [] as number[] };
    }
    const factor = Math.ceil(sampleMs / Math.max(lasted, sampleMs / 50));
    repeats = Math.min(MAX_REPEATS, repeats * Math.max(2, factor));
  }
}
