/**
 * What the page and its worker say to each other. The worker owns the device and the run; the page owns what is
 * shown. Both sides are typed here and nowhere else.
 *
 *              prepare                start              target or end of plan
 *   (loaded) ----------> preparing -> ready --> training ----------------------> testing -> finished
 *                            ^                  |      ^
 *                            |            pause v      | start
 *                            |                  paused-+
 *                            +-- prepare, from every phase; any error -> failed
 *
 * The worker does one thing at a time: it takes commands in order, between two events of the run, and judges a
 * command when its turn comes. One that its phase does not accept changes nothing. It announces every change
 * of phase, so what arrives before `preparing` belongs to the run before.
 */
import type { Scores, SolvedSegment } from "../../hrm/training/evaluation.js";
import type { RunConfig } from "./run_config.js";

/** Where a run stands. */
export type Phase = "preparing" | "ready" | "training" | "paused" | "testing" | "finished" | "failed";

/** What the page asks for. */
export type Command =
  /** Begins a run from its initial weights; frees the one before. Reset is this with the same configuration. */
  | { readonly type: "prepare"; readonly run: RunConfig }
  | { readonly type: "start" }
  | { readonly type: "pause" }
  /** Solves validation puzzle `puzzle` from now on, at once with the weights as they are. */
  | { readonly type: "show"; readonly puzzle: number }
  /** Answers with a checkpoint. */
  | { readonly type: "save" };

/** Commands that change something in a phase. */
export const ACCEPTED: Readonly<Record<Phase, readonly Command["type"][]>> = {
  preparing: ["prepare"],
  ready: ["prepare", "start", "show", "save"],
  training: ["prepare", "pause", "show", "save"],
  paused: ["prepare", "start", "show", "save"],
  testing: ["prepare"],
  finished: ["prepare", "show", "save"],
  failed: ["prepare"],
};

/** What went wrong: `code` decides the advice, `message` is for reading. */
export interface Failure {
  readonly code: "adapter" | "device-lost" | "config" | "diverged" | "other";
  readonly message: string;
}

/** What the worker tells. */
export type Report =
  | { readonly type: "phase"; readonly phase: Phase }
  /** `products` tells which kernels multiply matrices, once that is known and where it is not the usual ones. */
  | {
      readonly type: "adapter";
      readonly name: string;
      readonly software: boolean;
      readonly products: string;
    }
  /** Sizes of the run being prepared. */
  | {
      readonly type: "run";
      readonly parameters: number;
      readonly trainPuzzles: number;
      readonly validationPuzzles: number;
      readonly testPuzzles: number;
    }
  /** Means over the steps since the last report. */
  | {
      readonly type: "progress";
      readonly step: number;
      readonly totalSteps: number;
      /** Loss per puzzle. */
      readonly loss: number;
      /** Segments per finished puzzle; NaN where none finished. */
      readonly actSteps: number;
      /** Over the last seconds of training, looks at the validation set included, pauses not. */
      readonly stepsPerSecond: number;
    }
  | { readonly type: "validation"; readonly step: number; readonly scores: Scores }
  /** A validation puzzle and the answer after each segment, with the weights after `step` steps. */
  | {
      readonly type: "solution";
      readonly step: number;
      readonly puzzle: number;
      readonly inputs: Int32Array;
      readonly segments: readonly SolvedSegment[];
    }
  /** The one look at the test set; `reached` tells whether validation reached its target. */
  | { readonly type: "test"; readonly step: number; readonly reached: boolean; readonly scores: Scores }
  | { readonly type: "checkpoint"; readonly name: string; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly type: "failure"; readonly failure: Failure };
