/** A whole training run as a stream of events. The run goes on only while the caller asks for the next event. */
import type { Device, Target } from "../../engine/index.js";
import type { Abortable } from "../../engine/abort.js";
import { owning, Scope } from "../../engine/ownership.js";
import { ConfigError } from "../model/config.js";
import { createEvaluator, type Evaluator, type Scores } from "./evaluation.js";
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
  /** Mean number of segments of the puzzles that finished; NaN if no puzzle finished. */
  readonly actSteps: number;
}

/** What happens in a run, in order. */
export type SessionEvent =
  | {
      readonly kind: "steps";
      readonly step: number;
      readonly totalSteps: number;
      readonly training: TrainingSummary;
      /** Metrics of each step since the last event. */
      readonly metrics: readonly StepMetrics[];
    }
  | {
      readonly kind: "validation";
      readonly step: number;
      readonly scores: Scores;
      /** Whether this look is the best so far. */
      readonly best: boolean;
    }
  | {
      readonly kind: "end";
      readonly step: number;
      /** Whether the target was reached. */
      readonly reached: boolean;
      readonly reason: EndReason;
    };

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

/** Everything that determines the rest of a run, of training and of validation. */
export interface SessionSnapshot extends TrainingSnapshot {
  /** Step of the last look at the validation set; 0 before the first. */
  readonly validatedAt: number;
  /** Looks since the best one. */
  readonly looksSinceBest: number;
  /** The best look so far; null before the first. */
  readonly best: BestLook | null;
  /** Null if the run has not ended. */
  readonly ended: EndReason | null;
}

/** A run on one device. */
export interface Session {
  /** The trainer of the run. */
  readonly trainer: Trainer;
  /** Training, validation and test puzzles. */
  readonly splits: PuzzleSplits;
  /** The weights for evaluation and solving: the EMA if the run keeps one, else the raw weights. */
  readonly weights: Weights;
  /** The best look so far; null before the first. */
  readonly best: BestLook | null;
  /** Why the run ended; null while it can go on. */
  readonly ended: EndReason | null;
  /** Trains until the target, the last step or the end of patience is reached. */
  events(): AsyncGenerator<SessionEvent, void, undefined>;
  /** The whole state of the run; `createSession({ resume })` continues from it. */
  save(): Promise<SessionSnapshot>;
  /** Scores the current weights on the first `limit` validation puzzles (default: all). Does not affect training. */
  validate(limit?: number): Promise<Scores>;
  /** Scores the weights of the best look on the test set; before the first look, the current weights. */
  test(): Promise<Scores>;
  /** Frees everything on the device; the device stays. */
  destroy(): void;
}

/** If the signal fires, `createSession` and whoever iterates over the events get its reason; `save()` still works then. */
export interface SessionOptions extends Abortable {
  /** The device to run on. */
  readonly device: Device;
  /**
   * What to compile for, or a function that chooses it when puzzles and micro-batch are known; default: the device's target.
   */
  readonly target?: Target | ((splits: PuzzleSplits, microBatch: number) => Target | Promise<Target>);
  /** What to train. */
  readonly preset: Preset;
  /** Decides puzzles, their split, initial weights and all draws. */
  readonly seed: number;
  /** Steps between two events, default 25. The first event comes after at most 5 steps. Small values keep a page responsive. */
  readonly stepsPerEvent?: number;
  /** Start from these weights instead of random ones. */
  readonly state?: StateDict;
  /** Continue from this state. Preset and seed must be the same as in the run. */
  readonly resume?: SessionSnapshot;
  /** Number of looks without an improvement after which training ends; default: no limit. */
  readonly patience?: number;
  /** Rows of a micro-batch, or a function that chooses them from the puzzles. The default is the value of `resume`, else the whole batch. */
  readonly microBatch?: number | ((splits: PuzzleSplits) => number | Promise<number>);
  /**
   * True: validation is compiled in the background, so that training can begin earlier. The first look waits for it, and throws
   * what its compilation threw. Default: false.
   */
  readonly compileValidationLater?: boolean;
  /** Step at which the events stop without an `end` event. The default is the last step of the run. */
  readonly stopAfter?: number;
}

const STEPS_OF_FIRST_EVENT = 5;

/**
 * Prepares the data, and compiles training and validation.
 * @throws ConfigError, LimitError, ResumeError; if a step fails, everything made before is freed
 */
export function createSession(options: SessionOptions): Promise<Session> {
  return owning((scope) => sessionOf(options, scope));
}

async function sessionOf(
  {
    device,
    target: wanted = device.target,
    preset,
    seed,
    stepsPerEvent = 25,
    state,
    resume,
    patience = Infinity,
    microBatch = resume?.microBatch ?? undefined,
    stopAfter = Infinity,
    compileValidationLater = false,
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
  const given = typeof wanted === "function" ? await wanted(splits, rows ?? config.batch_size) : wanted;
  const trainer = scope.own(
    await createTrainer({
      device,
      target: given,
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
  // Evaluation has the rows of training, whose kernels are compiled already: compiling others costs more than a larger batch saves.
  const { target } = trainer;
  const evaluation = {
    device,
    target,
    config: { ...config, batch_size: rows ?? config.batch_size },
    weights,
  };
  let destroyed = false;
  let evaluator: Evaluator | null = null;
  const validation = createEvaluator({ ...evaluation, data: splits.validation, signal }).then((compiled) => {
    if (destroyed) compiled.destroy();
    return (evaluator = compiled);
  });
  if (!compileValidationLater) scope.own(await validation);
  // A look throws why it was not compiled.
  validation.catch(() => undefined);
  const validate = async (limit?: number, options: Abortable = {}): Promise<Scores> =>
    (await validation).run(limit, options);
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

  /** Scores some validation puzzles. A look that reaches the target, or that may be the last, is repeated on all puzzles. */
  const look = async (): Promise<{ scores: Scores; reached: boolean; isBest: boolean }> => {
    const { step } = trainer;
    const some = await validate(evalLimit, { signal });
    // Looks are compared on the same puzzles.
    let better = !best || beats(some, best);
    const last = step >= train.total_steps || (!better && looksSinceBest + 1 >= patience);
    const scores = some.exactAccuracy >= stopAt || last ? await validate(undefined, { signal }) : some;
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
    get ended() {
      return ended;
    },
    async *events() {
      // A run that was saved before a due look starts with that look.
      const due = (): boolean =>
        trainer.step > validatedAt && (trainer.step % evalEvery === 0 || trainer.step >= train.total_steps);
      const until = Math.min(train.total_steps, stopAfter);
      // The first event comes early, so that the duration of the run can be estimated soon.
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
      ended ??= "last_step";
      yield { kind: "end", step: trainer.step, reached: ended === "target", reason: ended };
    },
    async save() {
      const looks = { validatedAt, looksSinceBest, best, ended };
      return { ...(await trainer.save()), ...looks };
    },
    validate: (limit) => validate(limit),
    async test() {
      return score(best?.weights ?? (await readWeights(weights)), splits.test);
    },
    destroy() {
      destroyed = true;
      evaluator?.destroy();
      trainer.destroy();
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

function summarize(rows: Awaited<ReturnType<Trainer["metrics"]>>, batchSize: number): TrainingSummary {
  const total = (pick: (row: (typeof rows)[number]) => number): number =>
    rows.reduce((sum, row) => sum + pick(row), 0);
  return {
    loss: total((r) => r.lm_loss + 0.5 * (r.q_halt_loss + r.q_continue_loss)) / (rows.length * batchSize),
    actSteps: total((r) => r.steps) / total((r) => r.count),
  };
}
