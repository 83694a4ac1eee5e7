/** The state space of a model: where its states move, how many dimensions they fill, and how long its units remember. */
import { alignTo, participationRatio, principalComponents, project } from "./components.js";
import { autocorrelationTimes, sortedTimes } from "./timescales.js";
import type { Trajectories } from "./trajectories.js";

/** What a page or a report draws of one level. */
export interface LevelView {
  /** Coordinates along the first three components [updates, puzzles, 3]. */
  readonly points: Float32Array;
  /** Share of the variance that these three have. */
  readonly share: number;
  /** Dimensions that the states fill; see {@link participationRatio}. */
  readonly participation: number;
  /** Autocorrelation time of each unit in updates, ascending. */
  readonly times: Float64Array;
}

/** Both levels. */
export interface StateSpace {
  readonly puzzles: number;
  readonly updates: number;
  readonly right: Uint8Array;
  readonly L: LevelView;
  readonly H: LevelView;
}

const DIMENSIONS = 3;

/** The state space of trajectories, turned towards an earlier look at the same puzzles. */
export function stateSpaceOf(trajectories: Trajectories, earlier?: StateSpace): StateSpace {
  const { puzzles, updates, width, right, zL, zH } = trajectories;
  const view = (z: Float32Array, before: LevelView | undefined): LevelView => {
    const components = principalComponents(z, width);
    const { variances } = components;
    const dimensions = Math.min(DIMENSIONS, width);
    const found = project(z, components, dimensions);
    const fits = before !== undefined && before.points.length === found.length;
    const total = variances.reduce((a, b) => a + b, 0);
    return {
      points: Float32Array.from(fits ? alignTo(before.points, found, dimensions) : found),
      share: variances.subarray(0, dimensions).reduce((a, b) => a + b, 0) / total,
      participation: participationRatio(variances),
      times: sortedTimes(autocorrelationTimes({ values: z, series: puzzles, units: width })),
    };
  };
  return { puzzles, updates, right, L: view(zL, earlier?.L), H: view(zH, earlier?.H) };
}
