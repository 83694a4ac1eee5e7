/** What the page knows and shows, as signals: views read them, `client.ts` and the visitor's actions write them. */
import { computed, signal } from "@preact/signals";
import type { AttentionMaps } from "../../../hrm/thinking/attention_weights.js";
import type { Census } from "../../../hrm/thinking/census.js";
import type { Thought } from "../../../hrm/thinking/thoughts.js";
import type { Scores } from "../../../hrm/training/evaluation.js";
import { findTask } from "../../../hrm/puzzles/tasks/registry.js";
import type { Task } from "../../../hrm/puzzles/tasks/task.js";
import type { Failure, ModelInfo, Phase, Source } from "../protocol.js";
import type { RunConfig } from "../run_config.js";
import type { Estimate, Profile, ShownProgram, States } from "../reports.js";

/** The puzzle on the board. */
export interface Puzzle {
  readonly inputs: Int32Array;
  /** The answer, if it is known. */
  readonly label: Int32Array | null;
  /** Its number among the held-out puzzles of a model, from 0; null for the visitor's own. */
  readonly index: number | null;
  /** A sentence that describes the puzzle, if the page made it for the visitor. */
  readonly made?: string;
}

/** A thought with the puzzle and the weights that it belongs to. */
export interface ShownThought {
  readonly source: Source;
  readonly step: number;
  readonly inputs: Int32Array;
  readonly thought: Thought;
}

export const phase = signal<Phase>("preparing");
/** The run that is prepared or goes on. */
export const run = signal<RunConfig>(undefined as unknown as RunConfig);
/** What the options say; another run once it is applied. */
export const draft = signal<RunConfig>(undefined as unknown as RunConfig);
/** What was asked for and not yet done, so that the button answers at once. */
export const pending = signal<"start" | "pause" | null>(null);
export const step = signal(0);
/** Peak learning rate and share of puzzles that explore, as the next step has them; null without a run. */
export const settings = signal<{ readonly lr: number; readonly exploration: number } | null>(null);
export const stepsPerSecond = signal(NaN);
export const adapter = signal<{ name: string; software: boolean; products: string } | null>(null);
export const compiling = signal<{ what: string; done: number; total: number } | null>(null);
export const failure = signal<Failure | null>(null);
/** A file that could not be opened, or what in the address cannot be: in sentences. */
export const notice = signal<string | null>(null);
/** A file of weights that does not say what puzzles it is for, until the visitor says which; null without one. */
export const asking = signal<{ readonly name: string; readonly presets: readonly string[] } | null>(null);
/** No WebGPU here: the help is the page. */
export const unsupported = signal(false);
/** The GPU went away since the page was loaded. */
export const lost = signal(false);
export const sizes = signal<{ train: number; validation: number; test: number } | null>(null);
export const validation = signal<{ step: number; scores: Scores } | null>(null);
export const test = signal<{ reached: boolean; scores: Scores } | null>(null);

export const models = signal<Readonly<Record<Source, ModelInfo | null>>>({ run: null, file: null });
/** Which model the board shows. */
export const watched = signal<Source>("file");
export const model = computed(() => models.value[watched.value]);
export const task = computed<Task | null>(() => {
  const info = model.value;
  return info ? (findTask(info.task) ?? null) : null;
});
export const puzzle = signal<Puzzle | null>(null);
/** A new puzzle is being made. */
export const making = signal(false);
export const thought = signal<ShownThought | null>(null);
/** The same puzzle with the initial weights. */
export const twin = signal<ShownThought | null>(null);
/** The cell whose attention is shown; null if the visitor points at none. */
export const attended = signal<number | null>(null);
/** Where cells attend, with the puzzle and the weights that it belongs to. */
export const attention = signal<{
  readonly source: Source;
  readonly step: number;
  readonly inputs: Int32Array;
  readonly maps: AttentionMaps | null;
} | null>(null);
/** Update that the board shows, counted over all segments from 0; -1 for the puzzle before the first. */
export const cursor = signal(-1);
export const playing = signal(false);
/** Figures below the first screen are computed once somebody comes near them. */
export const figuresWanted = signal(false);
export const census = signal<{
  readonly source: Source;
  readonly step: number;
  readonly census: Census;
} | null>(null);

/** The newest look at the states of a model. */
export const states = signal<{
  readonly source: Source;
  readonly step: number;
  readonly states: States;
} | null>(null);
/** Dimensions that the states fill, look by look, of the model that is watched. */
export const participations = signal<
  readonly { readonly step: number; readonly L: number; readonly H: number }[]
>([]);

/** What the drafted run would need. */
export const estimate = signal<Estimate | null>(null);
/** The programs of the run's step. */
export const programs = signal<readonly ShownProgram[] | null>(null);
/** How long the run's kernels take, once that was measured. */
export const profile = signal<Profile | null>(null);
export const profiling = signal(false);

/** Puzzles solved of those that the watched model never saw, as far as they were looked at. */
export const score = computed<{ solved: number; of: number; step: number } | null>(() => {
  if (watched.value === "run") {
    const look = validation.value;
    return look && { solved: look.scores.exact, of: look.scores.count, step: look.step };
  }
  const taken = census.value;
  if (taken?.source !== "file") return null;
  const { right, puzzles, segments } = taken.census;
  // After the trained number of segments.
  const at = Math.min(segments, models.value.file?.segments ?? segments) - 1;
  let solved = 0;
  for (let i = 0; i < puzzles; i++) solved += right[i * segments + at]!;
  return { solved, of: puzzles, step: taken.step };
});
