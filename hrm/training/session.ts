/** A whole training run as a stream of events. The run goes on only while the caller asks for the next event. */
import type { Device, Target } from "../../engine/index.js";
import type { Abortable } from "../../engine/abort.js";
import { owning, type Scope } from "../../engine/ownership.js";
import { ConfigError } from "../model/config.js";
import type { Scores } from "./evaluation.js";
import { createLooks, type BestLook, type EndReason, type Looks, type LooksState } from "./looks.js";
import type { Preset } from "./presets.js";
import type { PuzzleSplits } from "../puzzles/puzzle_set.js";
import { createTrainer, type StepMetrics, type Trainer } from "./trainer.js";
import { initialState, readWeights, type StateDict, type Weights } from "../model/parameters.js";
import { requireSizes } from "./sizes.js";
import type { TrainingSnapshot } from "./snapshot.js";

/** Mean training metrics over the steps since the last event. */
export interface TrainingSummary {
  /** Loss per puzzle: lm + 0.5 q. */
  readonly loss: number;
  /** Mean number of segments of the puzzles that finished; NaN if no puzzle finished. */
  readonly actSteps: number;
}

export type { BestLook, EndReason } from "./looks.js";

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

/** Everything that determines the rest of a run, of training and of validation. */
export interface SessionSnapshot extends TrainingSnapshot, LooksState {}

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
  /**
   * Scores the weights of the best look on the test set; before the first look, the current weights. If `givenUp` returns true,
   * the scores are those of the puzzles that were answered so far.
   */
  test(givenUp?: () => boolean): Promise<Scores>;
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

async function sessionOf(options: SessionOptions, scope: Scope): Promise<Session> {
  const { device, preset, seed, state, resume, signal, patience = Infinity } = options;
  const { model: config, train } = preset;
  if (train.augment && preset.splitBy === "solution")
    throw new ConfigError(
      "augment",
      true,
      `false: the splits of ${preset.name} are by solution, and images of training puzzles would be in the test`,
    );
  const splits = preset.splits(seed);
  const { rows, target } = await sizesOfRun(options, splits);
  const trainer = scope.own(
    await createTrainer({
      device,
      target,
      config,
      train,
      data: splits.train,
      symmetry: preset.task.symmetry,
      seed,
      microBatch: rows,
      signal,
      state: state ?? initialState(config, seed),
      ...(resume && { resume }),
    }),
  );
  const weights = trainer.memory.ema ?? trainer.memory.weights;
  const looks = scope.own(
    await createLooks({
      device,
      target: trainer.target,
      // Evaluation has the rows of training, whose kernels are compiled already: compiling others costs more than a larger batch saves.
      config: { ...config, batch_size: rows ?? config.batch_size },
      preset,
      weights,
      validation: splits.validation,
      patience,
      compileLater: options.compileValidationLater ?? false,
      signal,
      ...(resume && { resume }),
    }),
  );
  return {
    trainer,
    splits,
    weights,
    get best() {
      return looks.state.best;
    },
    get ended() {
      return looks.state.ended;
    },
    events: () => eventsOf(trainer, looks, options),
    async save() {
      return { ...(await trainer.save()), ...looks.state };
    },
    validate: (limit) => looks.score(limit),
    async test(givenUp) {
      return looks.scoreOf(looks.state.best?.weights ?? (await readWeights(weights)), splits.test, givenUp);
    },
    destroy() {
      looks.destroy();
      trainer.destroy();
    },
  };
}

/** The rows of a micro-batch, undefined for the whole batch, and the target: options that are functions are called. */
async function sizesOfRun(
  {
    device,
    target = device.target,
    preset,
    resume,
    microBatch = resume?.microBatch ?? undefined,
  }: SessionOptions,
  splits: PuzzleSplits,
): Promise<{ rows: number | undefined; target: Target }> {
  const { model: config } = preset;
  const rows = typeof microBatch === "function" ? await microBatch(splits) : microBatch;
  requireSizes(config, device.gpu.limits, rows);
  const given = typeof target === "function" ? await target(splits, rows ?? config.batch_size) : target;
  return { rows, target: given };
}

/** Trains and looks in turn, until the run ends or `stopAfter` steps are done. */
async function* eventsOf(
  trainer: Trainer,
  looks: Looks,
  { preset, stepsPerEvent = 25, stopAfter = Infinity, signal }: SessionOptions,
): AsyncGenerator<SessionEvent, void, undefined> {
  const { model: config, train, evalEvery } = preset;
  // A run that was saved before a due look starts with that look.
  const due = (): boolean =>
    trainer.step > looks.state.validatedAt &&
    (trainer.step % evalEvery === 0 || trainer.step >= train.total_steps);
  const until = Math.min(train.total_steps, stopAfter);
  // The first event comes early, so that the duration of the run can be estimated soon.
  const begun = trainer.step;
  const untilEvent = (): number =>
    trainer.step === begun
      ? Math.min(STEPS_OF_FIRST_EVENT, stepsPerEvent)
      : stepsPerEvent - (trainer.step % stepsPerEvent);
  while (!looks.state.ended && (due() || trainer.step < until)) {
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
    const { scores, best } = await looks.look(trainer.step);
    yield { kind: "validation", step: trainer.step, scores, best };
  }
  if (!looks.state.ended && trainer.step < train.total_steps) return;
  const reason = looks.end();
  yield { kind: "end", step: trainer.step, reached: reason === "target", reason };
}

function summarize(rows: Awaited<ReturnType<Trainer["metrics"]>>, batchSize: number): TrainingSummary {
  const total = (pick: (row: (typeof rows)[number]) => number): number =>
    rows.reduce((sum, row) => sum + pick(row), 0);
  return {
    loss: total((r) => r.lm_loss + 0.5 * (r.q_halt_loss + r.q_continue_loss)) / (rows.length * batchSize),
    actSteps: total((r) => r.steps) / total((r) => r.count),
  };
}
