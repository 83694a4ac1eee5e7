/** Looks at the states of a model, and of its untrained twin, for the same puzzles each time. */
import { createWeights, initialState, type Weights } from "../../../hrm/model/parameters.js";
import { stateSpaceOf, type StateSpace } from "../../../hrm/thinking/state_space.js";
import { createRecorder } from "../../../hrm/thinking/trajectories.js";
import type { Untrained } from "../reports.js";
import { firstPuzzles, type StateWatch, type Subject } from "./subject.js";

/** Puzzles that are followed; fewer if the model is large and runs on the CPU. */
const PUZZLES = { usual: 64, slow: 16 } as const;
/** Numbers of a state from which on a model is large. */
const LARGE = 2000;

export async function watchStates(subject: Subject): Promise<StateWatch> {
  const { device, target, config, weights, held, seed } = subject;
  if (!held) throw new Error("No puzzles are known for this model, so that there are no states to follow.");
  const slow = device.adapter.software && config.seq_len * config.hidden_size > LARGE;
  const data = firstPuzzles(held, slow ? PUZZLES.slow : PUZZLES.usual);
  const record = (of: Weights) => createRecorder({ device, target, config, weights: of, data });
  const recorder = await record(weights);
  let untrained: Untrained | null = null;
  let earlier: StateSpace | undefined;

  /** The twin never changes, so that it is looked at once. */
  const lookAtTwin = async (): Promise<Untrained> => {
    const initial = createWeights(device, config, initialState(config, seed));
    try {
      const twin = await record(initial);
      const { L, H } = stateSpaceOf(await twin.record());
      twin.destroy();
      return { L: withoutPoints(L), H: withoutPoints(H) };
    } finally {
      for (const variable of initial.values()) variable.destroy();
    }
  };
  return {
    async look() {
      earlier = stateSpaceOf(await recorder.record(), earlier);
      untrained ??= await lookAtTwin();
      return { trained: earlier, untrained };
    },
    destroy: () => recorder.destroy(),
  };
}

const withoutPoints = ({ participation, times }: StateSpace["L"]): Untrained["L"] => ({
  participation,
  times,
});
