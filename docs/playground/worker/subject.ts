/** A model that is looked at, and what was made to look at it. */
import type { Device, Target } from "../../../engine/index.js";
import type { HrmConfig } from "../../../hrm/model/config.js";
import type { Weights } from "../../../hrm/model/parameters.js";
import { takePuzzles, type PuzzleSet } from "../../../hrm/puzzles/puzzle_set.js";
import type { AttentionRecorder } from "../../../hrm/thinking/attention_maps.js";
import type { Censor } from "../../../hrm/thinking/census.js";
import type { Thinker } from "../../../hrm/thinking/thoughts.js";
import type { States } from "../reports.js";

/** Looks at the states of a model again and again. */
export interface StateWatch {
  look(): Promise<States>;
  destroy(): void;
}

/** A model that is looked at. */
export interface Subject {
  readonly device: Device;
  /** What its programs are compiled for. */
  readonly target: Target;
  readonly config: HrmConfig;
  readonly weights: Weights;
  /** Puzzles that it does not train on; null if none are known. */
  readonly held: PuzzleSet | null;
  /** Decides the initial weights of its untrained twin. */
  readonly seed: number;
  /** Steps of training that the weights had. */
  step(): number;
  /** What was compiled to look at it. */
  readonly made: {
    thinker?: Thinker;
    attention?: AttentionRecorder;
    twin?: Thinker & { weights: Weights };
    census?: Censor;
    states?: StateWatch;
  };
}

/** The first puzzles of a set. */
export const firstPuzzles = (set: PuzzleSet, count: number): PuzzleSet =>
  takePuzzles(
    set,
    Array.from({ length: Math.min(count, set.count) }, (_, row) => row),
  );
