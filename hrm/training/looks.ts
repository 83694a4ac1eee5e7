/** Looks at the validation set: which weights are the best so far, and when a run has reached its end. */
import type { Device, Target } from "../../engine/index.js";
import type { Abortable } from "../../engine/abort.js";
import { Scope } from "../../engine/ownership.js";
import type { HrmConfig } from "../model/config.js";
import { createWeights, readWeights, type StateDict, type Weights } from "../model/parameters.js";
import type { PuzzleSet } from "../puzzles/puzzle_set.js";
import { createEvaluator, type Evaluator, type Scores } from "./evaluation.js";
import type { Preset } from "./presets.js";

/** Why a run ended: it reached its target, or its last step (`last_step`), or `patience` looks brought no improvement. */
export type EndReason = "target" | "last_step" | "patience";

/** The best look at the validation set, with the weights that it scored. */
export interface BestLook {
  /** Finished steps at that look. */
  readonly step: number;
  /** Share of solved validation puzzles. */
  readonly exactAccuracy: number;
  /** Mean over puzzles of the share of right cells. */
  readonly cellAccuracy: number;
  /** The weights for evaluation at that look, by official name. */
  readonly weights: StateDict;
}

/** The part of a run's state that looks decide. */
export interface LooksState {
  /** Step of the last look at the validation set; 0 before the first. */
  readonly validatedAt: number;
  /** Looks since the best one. */
  readonly looksSinceBest: number;
  /** The best look so far; null before the first. */
  readonly best: BestLook | null;
  /** Null if the run has not ended. */
  readonly ended: EndReason | null;
}

/** Scores weights on the validation set, and keeps the best. */
export interface Looks {
  readonly state: LooksState;
  /** Scores the current weights after `step` steps. A look that reaches the target, or that may be the last, takes all puzzles. */
  look(step: number): Promise<{ readonly scores: Scores; readonly best: boolean }>;
  /** Ends a run that has done its last step. Returns why the run ended. */
  end(): EndReason;
  /** Scores of the current weights on the first `limit` validation puzzles (default: all). */
  score(limit?: number): Promise<Scores>;
  /** Scores of a state dict on a whole set, or on the puzzles that were answered before `givenUp` returned true. */
  scoreOf(state: StateDict, data: PuzzleSet, givenUp?: () => boolean): Promise<Scores>;
  /** Frees the evaluator; the weights stay. */
  destroy(): void;
}

interface LooksOptions extends Abortable {
  readonly device: Device;
  readonly target: Target;
  /** The model's configuration with the rows of evaluation. */
  readonly config: HrmConfig;
  readonly preset: Pick<Preset, "train" | "stopAt" | "evalLimit">;
  readonly weights: Weights;
  readonly validation: PuzzleSet;
  /** Looks without an improvement after which training ends. */
  readonly patience: number;
  /** True: evaluation is compiled in the background. The first look waits for it, and throws what its compilation threw. */
  readonly compileLater: boolean;
  readonly resume?: LooksState;
}

/** Compiles evaluation on the validation set. @throws LimitError */
export async function createLooks(options: LooksOptions): Promise<Looks> {
  const { device, target, config, preset, weights, validation, patience, compileLater, signal, resume } =
    options;
  const { train, stopAt, evalLimit } = preset;
  const evaluation = { device, target, config };
  let destroyed = false;
  let evaluator: Evaluator | null = null;
  const compiled = createEvaluator({ ...evaluation, weights, data: validation, signal }).then((ready) => {
    if (destroyed) ready.destroy();
    return (evaluator = ready);
  });
  if (!compileLater) await compiled;
  // A look throws why evaluation was not compiled.
  compiled.catch(() => undefined);
  const score = async (limit?: number, until: Abortable = {}): Promise<Scores> =>
    (await compiled).run(limit, until);
  let state: LooksState = {
    validatedAt: resume?.validatedAt ?? 0,
    looksSinceBest: resume?.looksSinceBest ?? 0,
    best: resume?.best ?? null,
    ended: resume?.ended ?? null,
  };

  const scoreOf: Looks["scoreOf"] = async (dict, data, givenUp) => {
    const own = new Scope();
    try {
      const restored = createWeights(device, config, dict);
      for (const v of restored.values()) own.own(v);
      const evaluator = own.own(await createEvaluator({ ...evaluation, weights: restored, data }));
      return await evaluator.run(undefined, { ...(givenUp && { givenUp }) });
    } finally {
      own.destroy();
    }
  };

  return {
    get state() {
      return state;
    },
    async look(step) {
      const { best, looksSinceBest } = state;
      const some = await score(evalLimit, { signal });
      // Looks are compared on the same puzzles.
      let better = !best || beats(some, best);
      const last = step >= train.total_steps || (!better && looksSinceBest + 1 >= patience);
      const scores = some.exactAccuracy >= stopAt || last ? await score(undefined, { signal }) : some;
      // Only the whole set decides that the target is reached, and which weights a run without it keeps: the best
      // of many looks at a few puzzles is a lucky one.
      const reached = scores.exactAccuracy >= stopAt;
      if (last && !reached && best) better = !beats(await scoreOf(best.weights, validation), scores);
      const isBest = reached || better;
      const since = isBest ? 0 : looksSinceBest + 1;
      const { exactAccuracy, cellAccuracy } = some;
      state = {
        validatedAt: step,
        looksSinceBest: since,
        best: isBest ? { step, exactAccuracy, cellAccuracy, weights: await readWeights(weights) } : best,
        ended: reached ? "target" : since >= patience ? "patience" : null,
      };
      return { scores, best: isBest };
    },
    end() {
      const ended = state.ended ?? "last_step";
      state = { ...state, ended };
      return ended;
    },
    score,
    scoreOf,
    destroy() {
      destroyed = true;
      evaluator?.destroy();
    },
  };
}

type Accuracies = Pick<Scores, "exactAccuracy" | "cellAccuracy">;

/** Compares exact accuracies, and cell accuracies if these are equal, as they are before the first solved puzzle. */
function beats(a: Accuracies, b: Accuracies): boolean {
  return (
    a.exactAccuracy > b.exactAccuracy ||
    (a.exactAccuracy === b.exactAccuracy && a.cellAccuracy > b.cellAccuracy)
  );
}
