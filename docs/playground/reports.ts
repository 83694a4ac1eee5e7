/** What the worker finds out for the figures, the Lab and the Engine part of the page. */
import type { Ceilings } from "../../bench/core/ceilings.js";
import type { ExplainedDispatch } from "../../engine/explain.js";
import type { StateSpace } from "../../hrm/thinking/state_space.js";
import type { MemoryNeeds } from "../../hrm/training/memory_estimate.js";
import type { RunConfig } from "./run_config.js";

/** The states of a model, and what its initial weights make of the same puzzles. */
export interface States {
  readonly trained: StateSpace;
  /** Without its points, which nothing draws. */
  readonly untrained: Untrained;
}

/** What is drawn of the initial weights. */
export type Untrained = Readonly<Record<"L" | "H", Pick<StateSpace["L"], "participation" | "times">>>;

/** The needs of a run. */
export interface Estimate {
  readonly run: RunConfig;
  readonly parameters: number;
  /** Floating-point operations of a training step. */
  readonly flops: number;
  /** Null if it does not fit this device; `refused` says why. */
  readonly memory: MemoryNeeds | null;
  readonly refused: string | null;
  /** Operations of all planned steps of the preset as it is: its duration is known. */
  readonly presetWork: number;
  /** Operations of a step of the run under way, whose duration is measured; null without a run. */
  readonly runFlops: number | null;
}

/** A kernel of the step. */
export interface TimedKernel {
  readonly name: string;
  readonly family: string;
  /** Launches in a step. */
  readonly launches: number;
  /** Milliseconds of one launch. */
  readonly ms: number;
  readonly flops: number;
  readonly bytes: number;
  /** The least time that its work could take here, as a share of the time that it takes. */
  readonly share: number;
}

/** How long the kernels of a step take. */
export interface Profile {
  readonly step: number;
  /** Whether the device measured the time itself; otherwise the clock of the host did, which counts launching too. */
  readonly timestamps: boolean;
  readonly ceilings: Ceilings;
  readonly kernels: readonly TimedKernel[];
}

/** How long an intermediate lives in a slot of memory. */
export interface Interval {
  readonly slot: number;
  /** Dispatches that use it first and last. */
  readonly first: number;
  readonly last: number;
  readonly bytes: number;
}

/** A program of the step. */
export interface ShownProgram {
  readonly name: string;
  /** How often it runs in a step. */
  readonly times: number;
  readonly dispatches: readonly ExplainedDispatch[];
  /** Bytes of each slot. */
  readonly slots: readonly number[];
  readonly intervals: readonly Interval[];
}
