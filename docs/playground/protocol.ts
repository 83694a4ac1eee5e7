/**
 * What the page and its worker say to each other. The worker owns the device, the run and the model of a file; the page
 * owns what is shown. Both sides are typed here and nowhere else.
 *
 *              prepare                start              target or end of plan
 *   (loaded) ----------> preparing -> ready --> training ----------------------> testing -> finished
 *                            ^                  |      ^
 *                            |            pause v      | start
 *                            |                  paused-+
 *                            +-- prepare, from every phase; any error -> failed
 *
 * The worker has two lanes. The first lane does what changes the run: it takes commands in order, between two events of
 * the run, and judges a command when its turn comes. A command that its phase does not accept changes nothing. The lane
 * announces every change of phase, so what arrives before `preparing` belongs to the run before. The second lane answers
 * looks, which change nothing: one at a time, while the first lane compiles or trains. A look at a model that is not there
 * is dropped.
 */
import type { AttentionMaps } from "../../hrm/thinking/attention_weights.js";
import type { Census } from "../../hrm/thinking/census.js";
import type { Thought } from "../../hrm/thinking/thoughts.js";
import type { Scores } from "../../hrm/training/evaluation.js";
import type { StepMetrics } from "../../hrm/training/trainer.js";
import type { RunConfig } from "./run_config.js";
import type { Estimate, Profile, ShownProgram, States } from "./reports.js";

/** Where a run stands. */
export type Phase = "preparing" | "ready" | "training" | "paused" | "testing" | "finished" | "failed";

/** The model to look at: the model of the run, or the model of a file (shipped with the page, or opened by the visitor). */
export type Source = "run" | "file";

/** What the page asks for. */
export type Command =
  /**
   * Begins a run, and frees the one before. Without `resume` it begins from its initial weights; reset is this with the same
   * configuration. `resume` is a checkpoint of this run, which goes on.
   */
  | {
      readonly type: "prepare";
      readonly run: RunConfig;
      readonly resume?: Uint8Array<ArrayBuffer>;
      /** The puzzles, if they are those of a file. */
      readonly puzzles?: PuzzleFile;
    }
  | { readonly type: "start" }
  | { readonly type: "pause" }
  /** Applies to the next step, and is recorded in the run; answered by `changed`. */
  | { readonly type: "change"; readonly lr: number; readonly exploration: number }
  /** Answers with a checkpoint: to download, or to keep in the browser. */
  | { readonly type: "save"; readonly purpose: "download" | "keep" }
  /**
   * Opens a checkpoint of any origin; its model takes the place of the file's before. `preset` says what a file of weights
   * alone is for; without it such a file may be answered by `which`.
   */
  | {
      readonly type: "open";
      readonly name: string;
      readonly bytes: Uint8Array<ArrayBuffer>;
      readonly own: boolean;
      readonly preset?: string;
    };

/** A file of puzzles. */
export interface PuzzleFile {
  /** Name and hash of the contents: what {@link RunConfig.data} has. */
  readonly id: string;
  readonly name: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Facts about a file of puzzles. */
export interface PuzzleFileInfo {
  readonly id: string;
  readonly name: string;
  /** Name of the task, for `findTask`. */
  readonly task: string;
  readonly count: number;
  /** Assumptions that the reader of the file made, one sentence each. */
  readonly notes: readonly string[];
}

/** What the page wants to see. */
export type Look =
  /** The thought about a puzzle of tokens [S], with the weights as they are. */
  | { readonly type: "think"; readonly source: Source; readonly inputs: Int32Array }
  /** The thought about the same puzzle with the initial weights of the same seed. */
  | { readonly type: "twin"; readonly source: Source; readonly inputs: Int32Array }
  /** Where the cells of a puzzle attend in every update, with the weights as they are. */
  | { readonly type: "attention"; readonly source: Source; readonly inputs: Int32Array }
  /** Where the states of both levels move on held-out puzzles. */
  | { readonly type: "states"; readonly source: Source }
  /** A new puzzle like this one of tokens [S], or a harder one; `seed` decides it. */
  | {
      readonly type: "make";
      readonly task: string;
      readonly inputs: Int32Array;
      readonly harder: boolean;
      readonly seed: number;
    }
  /** Estimated needs of a run. */
  | { readonly type: "estimate"; readonly run: RunConfig }
  /** The programs of the run's training step. */
  | { readonly type: "programs" }
  /** How long each of its kernels takes, on a copy, so that the run stays as it is. */
  | { readonly type: "profile" }
  /** What is in a file of puzzles. */
  | { readonly type: "puzzles"; readonly file: PuzzleFile }
  /** Where the model stops on held-out puzzles. */
  | { readonly type: "census"; readonly source: Source };

/** Commands that change something in a phase. */
export const ACCEPTED: Readonly<Record<Phase, readonly Command["type"][]>> = {
  preparing: ["prepare", "open"],
  ready: ["prepare", "start", "change", "save", "open"],
  training: ["prepare", "pause", "change", "save", "open"],
  paused: ["prepare", "start", "change", "save", "open"],
  testing: ["prepare", "open"],
  finished: ["prepare", "save", "open"],
  failed: ["prepare", "open"],
};

/** What went wrong: `code` decides the advice, `message` is for reading. */
export interface Failure {
  readonly code: "adapter" | "device-lost" | "config" | "diverged" | "file" | "other";
  readonly message: string;
}

/** A model that can be looked at, and puzzles that it does not train on. */
export interface ModelInfo {
  readonly source: Source;
  /** The name of the task, as checkpoints have it. */
  readonly task: string;
  /** Where the weights come from: the name of the file; empty for a run. */
  readonly name: string;
  readonly parameters: number;
  /** Steps of training that its weights had when it was opened. */
  readonly step: number;
  /** Segments that a thought has. */
  readonly segments: number;
  /** It stops once q_halt is above 0, and not once q_halt is above q_continue, as the paper has it. */
  readonly haltOnly: boolean;
  /** What is worth saying of the file, a clause each. */
  readonly notes: readonly string[];
  readonly held: {
    readonly count: number;
    /** [count, S] */
    readonly inputs: Int32Array;
    /** [count, S] */
    readonly labels: Int32Array;
    /** False if nothing says which puzzles the model was trained on, so that these are freshly made ones. */
    readonly unseen: boolean;
  };
  /** The run of its checkpoint, which can go on here; null if it cannot. */
  readonly run: RunConfig | null;
  /** Why the run of a visitor's file cannot go on here, in a sentence; null if it can, or if there is no such file. */
  readonly stuck: string | null;
}

/** What the worker tells. */
export type Report =
  | { readonly type: "phase"; readonly phase: Phase }
  /** `products` tells which kernels multiply matrices, once that is known and if they are not the usual ones. */
  | { readonly type: "adapter"; readonly name: string; readonly software: boolean; readonly products: string }
  /** Kernels compiled so far since compiling began, of those asked for so far. */
  | { readonly type: "compiling"; readonly what: string; readonly done: number; readonly total: number }
  | { readonly type: "model"; readonly model: ModelInfo }
  /** Sizes of the run, and how it goes on: why a resumed run is not bit-identical to one without a stop. */
  | {
      readonly type: "run";
      readonly step: number;
      readonly trainPuzzles: number;
      readonly validationPuzzles: number;
      readonly testPuzzles: number;
      readonly differences: readonly string[];
      /** Peak learning rate and share of puzzles that explore, as the next step has them. */
      readonly lr: number;
      readonly exploration: number;
    }
  /** The steps after `step` have these values. */
  | { readonly type: "changed"; readonly step: number; readonly lr: number; readonly exploration: number }
  /** Means over the steps since the last report, and each of them. */
  | {
      readonly type: "progress";
      readonly step: number;
      readonly totalSteps: number;
      /** Loss per puzzle. */
      readonly loss: number;
      /** Segments per finished puzzle; NaN if none finished. */
      readonly actSteps: number;
      /** Over the last seconds of training, looks at the validation set included, pauses not. */
      readonly stepsPerSecond: number;
      /** Puzzles in a batch, over which the metrics are sums. */
      readonly batch: number;
      /** Learning rate of the last step. */
      readonly lr: number;
      readonly metrics: readonly StepMetrics[];
    }
  | { readonly type: "validation"; readonly step: number; readonly scores: Scores }
  | {
      readonly type: "thought";
      readonly source: Source;
      readonly twin: boolean;
      /** Steps that the weights had. */
      readonly step: number;
      readonly inputs: Int32Array;
      readonly thought: Thought;
    }
  /** `maps` is null for a model whose layers do not attend. */
  | {
      readonly type: "attention";
      readonly source: Source;
      readonly step: number;
      readonly inputs: Int32Array;
      readonly maps: AttentionMaps | null;
    }
  | { readonly type: "census"; readonly source: Source; readonly step: number; readonly census: Census }
  /** The one look at the test set; `reached` tells whether validation reached its target. */
  | { readonly type: "test"; readonly step: number; readonly reached: boolean; readonly scores: Scores }
  | {
      readonly type: "checkpoint";
      readonly purpose: "download" | "keep";
      readonly name: string;
      readonly step: number;
      readonly bytes: Uint8Array<ArrayBuffer>;
    }
  | { readonly type: "states"; readonly source: Source; readonly step: number; readonly states: States }
  | { readonly type: "estimate"; readonly estimate: Estimate }
  | { readonly type: "programs"; readonly programs: readonly ShownProgram[] }
  | { readonly type: "profile"; readonly profile: Profile }
  /** A new puzzle in the place of another one of tokens `from` [S]; `text` says what it is. */
  | {
      readonly type: "made";
      readonly task: string;
      readonly from: Int32Array;
      readonly inputs: Int32Array;
      readonly label: Int32Array;
      readonly text: string;
    }
  /** What is in a file of puzzles, or why it cannot be trained on. */
  | { readonly type: "puzzles"; readonly id: string; readonly info: PuzzleFileInfo }
  | { readonly type: "puzzles"; readonly id: string; readonly problem: string }
  /** A file of weights alone, which does not say what puzzles it is for: the presets that it fits. */
  | { readonly type: "which"; readonly name: string; readonly presets: readonly string[] }
  /** A failure that leaves the run as it is: a file that cannot be opened. */
  | { readonly type: "refused"; readonly failure: Failure }
  | { readonly type: "failure"; readonly failure: Failure };
