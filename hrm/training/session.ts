/** A whole training run, event by event: whoever iterates decides the pace, and pauses by not asking for more. */
import type { Device } from "../../engine/index.js";
import type { Abortable } from "../../engine/abort.js";
import { owning, Scope } from "../../engine/ownership.js";
import { ConfigError } from "../model/config.js";
import { createEvaluator, type Scores } from "./evaluation.js";
import type { Preset } from "./presets.js";
import type { PuzzleSet, PuzzleSplits } from "../puzzles/puzzle_set.js";
import { createTrainer, type StepMetrics, type Trainer } from "./trainer.js";
import {
  createWeights,
  initialState,
  readWeights,
  type StateDict,
  type Weights,
} from "../model/parameters.js";
import { requireSizes } from "./sizes.js";
import type { TrainingSnapshot } from "./snapshot.js";

/** Mean training metrics over the steps since the last event. */
export interface TrainingSummary {
  /** Loss per puzzle: lm + 0.5 q. */
  readonly loss: number;
  /** Segments per finished puzzle; NaN where none finished. */
  readonly actSteps: number;
}

/** What happens in a run, in order. */
export type SessionEvent =
  | {
      readonly kind: "steps";
      readonly step: number;
      readonly totalSteps: number;
      readonly training: TrainingSummary;
      /** Each step since the last event. */
      readonly metrics: readonly StepMetrics[];
    }
  | {
      readonly kind: "validation";
      readonly step: number;
      readonly scores: Scores;
      /** The best look so far, this one included. */
      readonly best: boolean;
    }
  | {
      readonly kind: "end";
      readonly step: number;
      /** The target was reached. */
      readonly reached: boolean;
      readonly reason: EndReason;
    };

/** Why a run ended: the target, the end of the plan, or `patience` looks without a better one. */
export type EndReason = "target" | "plan" | "patience";

/** The best look at the validation set, with the weights that it looked at. */
export interface BestLook {
  readonly step: number;
  readonly exactAccuracy: number;
  readonly cellAccuracy: number;
  readonly weights: StateDict;
}

/** Everything that decides how a run goes on: training and validation. */
export interface SessionSnapshot extends TrainingSnapshot {
  /** Step of the last look at the validation set; 0 before the first. */
  readonly validatedAt: number;
  /** Looks since the best one. */
  readonly looksSinceBest: number;
  readonly best: BestLook | null;
  /** Null while the run can go on. */
  readonly ended: EndReason | null;
}

/** A run on one device. */
export interface Session {
  readonly trainer: Trainer;
  readonly splits: PuzzleSplits;
  /** The weights to evaluate and solve with: the EMA where there is one. */
  readonly weights: Weights;
  /** The best look so far; null before the first. */
  readonly best: BestLook | null;
  /** Trains to the target, to the end of the plan, or until patience ends. */
  events(): AsyncGenerator<SessionEvent, void, undefined>;
  /** Everything that `createSession({ resume })` needs to go on from here. */
  save(): Promise<SessionSnapshot>;
  /** Scores of the weights as they are on the first `limit` validation puzzles (default all); training does not notice. */
  validate(limit?: number): Promise<Scores>;
  /** The one look at the test set, with the weights of the best look (before any: with those of now). */
  test(): Promise<Scores>;
  destroy(): void;
}

/** If the signal fires, `createSession` and whoever iterates over the events get its reason; `save()` still works then. */
export interface SessionOptions extends Abortable {
  readonly device: Device;
  readonly preset: Preset;
  readonly seed: number;
  /** Steps between two events, the first of which comes after 5 at most; small steps keep a page lively. */
  readonly stepsPerEvent?: number;
  readonly state?: StateDict;
  /** Go on from here; preset and seed must be those of the run. */
  readonly resume?: SessionSnapshot;
  /** Looks at the validation set without a better one that end training; default: no limit. */
  readonly patience?: number;
  /** Rows of a micro-batch, or who chooses them once the puzzles are there; default that of `resume`, else the batch. */
  readonly microBatch?: number | ((splits: PuzzleSplits) => Promise<number>);
  /** Events end at this step, without an `end`, where the plan goes further; default: the plan's end. */
  readonly stopAfter?: number;
}

const STEPS_OF_FIRST_EVENT = 5;

/** Prepares data, compiles training and validation. */
export function createSession(options: SessionOptions): Promise<Session> {
  return owning((scope) => sessionOf(options, scope));
}

async function sessionOf(
  {
    device,
    preset,
    seed,
    stepsPerEvent = 25,
    state,
    resume,
    patience = Infinity,
    microBatch = resume?.microBatch ?? undefined,
    stopAfter = Infinity,
    signal,
  }: SessionOptions,
  scope: Scope,
): Promise<Session> {
  const { task, model: config, train, stopAt, evalEvery, evalLimit } = preset;
  if (train.augment && preset.splitBy === "solution")
    throw new ConfigError(
      "augment",
      true,
      `false: the splits of ${preset.name} are by solution, and images of training puzzles would be in the test`,
    );
  const splits = preset.splits(seed);
  const rows = typeof microBatch === "function" ? await microBatch(splits) : microBatch;
  requireSizes(config, device.gpu.limits, rows);
  const trainer = scope.own(
    await createTrainer({
      device,
      config,
      train,
      data: splits.train,
      symmetry: task.symmetry,
      seed,
      microBatch: rows,
      signal,
      state: state ?? initialState(config, seed),
      ...(resume && { resume }),
    }),
  );
  const weights = trainer.memory.ema ?? trainer.memory.weights;
  // The rows of training again: their kernels are compiled already, which costs more than a larger batch would save.
  const evaluation = { device, config: { ...config, batch_size: rows ?? config.batch_size }, weights };
  const validation = scope.own(await createEvaluator({ ...evaluation, data: splits.validation, signal }));
  let validatedAt = resume?.validatedAt ?? 0;
  let looksSinceBest = resume?.looksSinceBest ?? 0;
  let best = resume?.best ?? null;
  let ended = resume?.ended ?? null;

  /** Scores of a state dict on a whole set. */
  const score = async (state: StateDict, data: PuzzleSet): Promise<Scores> => {
    const own = new Scope();
    try {
      const restored = createWeights(device, config, state);
      for (const v of restored.values()) own.own(v);
      return await own.own(await createEvaluator({ ...evaluation, weights: restored, data })).run();
    } finally {
      own.destroy();
    }
  };

  /** Looks at some validation puzzles; a look that reaches the target or may be the last is repeated on all of them. */
  const look = async (): Promise<{ scores: Scores; reached: boolean; isBest: boolean }> => {
    const { step } = trainer;
    const some = await validation.run(evalLimit, { signal });
    // Looks are compared on the same puzzles.
    let better = !best || beats(some, best);
    const last = step >= train.total_steps || (!better && looksSinceBest + 1 >= patience);
    const scores = some.exactAccuracy >= stopAt || last ? await validation.run(undefined, { signal }) : some;
    // Only the whole set decides that the target is reached, and which weights a run without it keeps: the best
    // of many looks at a few puzzles is a lucky one.
    const reached = scores.exactAccuracy >= stopAt;
    if (last && !reached && best) better = !beats(await score(best.weights, splits.validation), scores);
    const isBest = reached || better;
    if (isBest) {
      const { exactAccuracy, cellAccuracy } = some;
      best = { step, exactAccuracy, cellAccuracy, weights: await readWeights(weights) };
    }
    looksSinceBest = isBest ? 0 : looksSinceBest + 1;
    validatedAt = step;
    return { scores, reached, isBest };
  };

  return {
    trainer,
    splits,
    weights,
    get best() {
      return best;
    },
    async *events() {
      // A run saved between a step and the look due there looks first.
      const due = (): boolean =>
        trainer.step > validatedAt && (trainer.step % evalEvery === 0 || trainer.step >= train.total_steps);
      const until = Math.min(train.total_steps, stopAfter);
      // The first event comes early, so that who follows can soon tell how long the run will take.
      const begun = trainer.step;
      const untilEvent = (): number =>
        trainer.step === begun
          ? Math.min(STEPS_OF_FIRST_EVENT, stepsPerEvent)
          : stepsPerEvent - (trainer.step % stepsPerEvent);
      while (!ended && (due() || trainer.step < until)) {
        signal?.throwIfAborted();
        if (!due()) {
          const untilLook = evalEvery - (trainer.step % evalEvery);
          await trainer.run(Math.min(untilEvent(), untilLook, until - trainer.step), { signal });
          const { step } = trainer;
          const metrics = await trainer.metrics();
          const training = summarize(metrics, config.batch_size);
          yield { kind: "steps", step, totalSteps: train.total_steps, training, metrics };
          if (!due()) continue;
        }
        const { scores, reached, isBest } = await look();
        ended = reached ? "target" : looksSinceBest >= patience ? "patience" : null;
        yield { kind: "validation", step: trainer.step, scores, best: isBest };
      }
      if (!ended && trainer.step < train.total_steps) return;
      ended ??= "plan";
      yield { kind: "end", step: trainer.step, reached: ended === "target", reason: ended };
    },
    async save() {
      const looks = { validatedAt, looksSinceBest, best, ended };
      return { ...(await trainer.save()), ...looks };
    },
    validate: (limit) => validation.run(limit),
    async test() {
      return score(best?.weights ?? (await readWeights(weights)), splits.test);
    },
    destroy() {
      validation.destroy();
      trainer.destroy();
    },
  };
}

type Accuracies = Pick<Scores, "exactAccuracy" | "cellAccuracy">;

/** Before the first whole puzzle is right, cells tell scores apart. */
function beats(a: Accuracies, b: Accuracies): boolean {
  return (
    a.exactAccuracy > b.exactAccuracy ||
    (a.exactAccuracy === b.exactAccuracy && a.cellAccuracy > b.cellAccuracy)
  );
}

function summarize(rows: Awaited<ReturnType<Trainer["metrics"]>>, batchSize: number): TrainingSummary {
  const total = (pick: (row: (typeof rows)[number]) => number): number =>
    rows.reduce((sum, row) => sum + pick(row), 0);
  return {
    loss: total((r) => r.lm_loss + 0.5 * (r.q_halt_loss + r.q_continue_loss)) / (rows.length * batchSize),
    actSteps: total((r) => r.steps) / total((r) => r.count),
  };
}
