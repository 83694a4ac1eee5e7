/** The figures of a report, computed from a model's weights: what the paper draws in its figures 3, 5, 7 and 8. */
import type { Device, Target } from "../../engine/index.js";
import { Scope } from "../../engine/ownership.js";
import { inferenceSegments, type HrmConfig } from "../model/config.js";
import { createWeights, initialState, type StateDict } from "../model/parameters.js";
import { takePuzzles, type PuzzleSet } from "../puzzles/puzzle_set.js";
import { createCensus, earlyHalting, rightAfter } from "../thinking/census.js";
import { stateSpaceOf, type LevelView } from "../thinking/state_space.js";
import { createThinker, type Thought } from "../thinking/thoughts.js";
import { createRecorder } from "../thinking/trajectories.js";

/** What is computed, and on what. */
export interface FigureOptions {
  readonly device: Device;
  /** What to compile for; default: the device's target. */
  readonly target?: Target;
  readonly config: HrmConfig;
  readonly state: StateDict;
  /** Held-out puzzles. */
  readonly data: PuzzleSet;
  /** Decides the weights of the untrained twin. */
  readonly seed: number;
  /** Puzzles for the accuracy against segments. */
  readonly limit: number;
  /** Puzzles that are shown segment by segment. */
  readonly examples: number;
  /** Puzzles whose states are followed. */
  readonly followed: number;
  /** Told what is computed next; may throw to give up. */
  readonly onProgress?: (what: string) => void;
}

/** A puzzle and how its answer came about. */
export interface Example {
  readonly inputs: Int32Array;
  readonly labels: Int32Array;
  readonly thought: Thought;
}

/** What a report draws of one model. */
export interface Figures {
  readonly examples: readonly Example[];
  /** Puzzles that were counted, and those that are right after each segment. */
  readonly accuracy: {
    readonly puzzles: number;
    readonly right: readonly number[];
    readonly trained: number;
  };
  /** What stopping at the first q_halt above 0 gives over these puzzles. */
  readonly halting: { readonly exact: number; readonly meanSegments: number };
  /** States of both levels over all updates, and those of a model with its first weights. */
  readonly states: {
    readonly puzzles: number;
    readonly updates: number;
    readonly trained: { readonly L: LevelView; readonly H: LevelView };
    readonly untrained: { readonly L: LevelView; readonly H: LevelView };
  };
}

/** The share of segments beyond the trained ones that the accuracy is followed to. */
const BEYOND = 2;

/** Computes the figures. Everything that it makes on the device is freed. @throws what `onProgress` throws */
export async function computeFigures(options: FigureOptions): Promise<Figures> {
  const {
    device,
    target,
    config,
    state,
    data,
    seed,
    limit,
    examples,
    followed,
    onProgress = () => undefined,
  } = options;
  const scope = new Scope();
  const weightsOf = (from: StateDict) => {
    const weights = createWeights(device, config, from);
    for (const v of weights.values()) scope.own(v);
    return weights;
  };
  try {
    const weights = weightsOf(state);
    onProgress("examples");
    const thinker = scope.own(await createThinker({ device, target, config, weights }));
    const shown: Example[] = [];
    for (let i = 0; i < Math.min(examples, data.count); i++) {
      const part = (values: Int32Array): Int32Array => values.slice(i * data.length, (i + 1) * data.length);
      const inputs = part(data.inputs);
      const thought = await thinker.think(inputs, { identifier: data.identifiers[i]! });
      shown.push({ inputs, labels: part(data.labels), thought });
    }
    onProgress("accuracy against segments");
    const segments = Math.max(inferenceSegments(config), BEYOND * config.halt_max_steps);
    const rows = { ...config, batch_size: Math.min(config.batch_size, data.count, limit) };
    const censor = scope.own(
      await createCensus({ device, target: target ?? device.target, config: rows, weights, data, segments }),
    );
    const census = await censor.take(limit);
    onProgress("states of the levels");
    const watched = takePuzzles(
      data,
      Array.from({ length: Math.min(followed, data.count) }, (_, i) => i),
    );
    const spaceOf = async (of: ReturnType<typeof weightsOf>) => {
      const recorder = scope.own(
        await createRecorder({ device, target, config, weights: of, data: watched }),
      );
      return stateSpaceOf(await recorder.record());
    };
    const trained = await spaceOf(weights);
    onProgress("states of the untrained twin");
    const untrained = await spaceOf(weightsOf(initialState(config, seed)));
    return {
      examples: shown,
      accuracy: { puzzles: census.puzzles, right: [...rightAfter(census)], trained: config.halt_max_steps },
      halting: earlyHalting(census),
      states: {
        ...{ puzzles: trained.puzzles, updates: trained.updates },
        trained: { L: trained.L, H: trained.H },
        untrained: { L: untrained.L, H: untrained.H },
      },
    };
  } finally {
    scope.destroy();
  }
}
