/** When the model would stop on each puzzle of a set, and whether its answer is right then (paper, fig. 5). */
import { owning } from "../../engine/ownership.js";
import { createEvaluator, type BatchAnswers, type EvaluatorOptions } from "../training/evaluation.js";

/** What the model thinks of each puzzle after each segment. */
export interface Census {
  readonly puzzles: number;
  readonly segments: number;
  /** [puzzles, segments] */
  readonly qHalt: Float32Array;
  /** [puzzles, segments] */
  readonly qContinue: Float32Array;
  /** 1 if every labelled cell is right [puzzles, segments]. */
  readonly right: Uint8Array;
  /** False for full ACT, which stops at q_halt > q_continue; else a puzzle stops at q_halt > 0. */
  readonly haltOnly?: boolean;
  /** What q_halt, or with full ACT q_halt minus q_continue, must be above for a puzzle to stop; default 0. */
  readonly haltAbove?: number;
}

/** Looks at a puzzle set; compiled once, run often. */
export interface Censor {
  /** The first `limit` puzzles (default all), from two read-backs for each batch. */
  take(limit?: number): Promise<Census>;
  destroy(): void;
}

/** `segments` is how many every puzzle runs, also beyond those that the model was trained for; default those of inference. */
export type CensusOptions = Omit<EvaluatorOptions, "onAnswers">;

/** Compiles a census. `config.batch_size` may differ from training. */
export function createCensus(options: CensusOptions): Promise<Censor> {
  return owning(async () => {
    let batches: BatchAnswers[] = [];
    const evaluator = await createEvaluator({ ...options, onAnswers: (batch) => batches.push(batch) });
    return {
      async take(limit?: number) {
        batches = [];
        await evaluator.run(limit);
        return censusOf(batches);
      },
      destroy: () => evaluator.destroy(),
    };
  });
}

/** The batches of a run as one census. */
export function censusOf(batches: readonly BatchAnswers[]): Census {
  const puzzles = batches.reduce((sum, batch) => sum + batch.puzzles, 0);
  const segments = batches[0]?.segments ?? 0;
  const census = {
    ...{ puzzles, segments },
    qHalt: new Float32Array(puzzles * segments),
    qContinue: new Float32Array(puzzles * segments),
    right: new Uint8Array(puzzles * segments),
  };
  for (const { first, qHalt, qContinue, right } of batches) {
    census.qHalt.set(qHalt, first * segments);
    census.qContinue.set(qContinue, first * segments);
    census.right.set(right, first * segments);
  }
  return census;
}

/** What a rule of halting costs and gives over a census. */
export interface Halting {
  /** Puzzles whose answer is right where they stop. */
  readonly exact: number;
  /** Mean segments until they stop. */
  readonly meanSegments: number;
}

/** True if the model would stop there; `at` counts through [puzzles, segments]. */
export const stopsAt = ({ qHalt, qContinue, haltOnly = true, haltAbove = 0 }: Census, at: number): boolean =>
  Math.fround(haltOnly ? qHalt[at]! : qHalt[at]! - qContinue[at]!) > Math.fround(haltAbove);

/**
 * The segment, from 1, after which each puzzle first stops: q_halt > 0, or with full ACT q_halt > q_continue; `segments` if it
 * never does.
 */
export function firstHalts(census: Census): Int32Array {
  const { puzzles, segments } = census;
  return Int32Array.from({ length: puzzles }, (_, puzzle) => {
    for (let s = 0; s < segments; s++) if (stopsAt(census, puzzle * segments + s)) return s + 1;
    return segments;
  });
}

/** What stopping where `firstHalts` says gives, at the latest after `limit` segments. */
export function earlyHalting(census: Census, limit = census.segments): Halting {
  const halts = firstHalts(census).map((halt) => Math.min(halt, limit));
  return {
    exact: halts.reduce((sum, halt, puzzle) => sum + census.right[puzzle * census.segments + halt - 1]!, 0),
    meanSegments: halts.reduce((sum, halt) => sum + halt, 0) / Math.max(1, census.puzzles),
  };
}

/** Puzzles that are right after each segment [segments]. */
export function rightAfter({ puzzles, segments, right }: Census): Int32Array {
  const counts = new Int32Array(segments);
  for (let at = 0; at < puzzles * segments; at++) counts[at % segments]! += right[at]!;
  return counts;
}
