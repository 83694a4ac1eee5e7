/** A whole training run, event by event: whoever iterates decides the pace, and pauses by not asking for more. */
import type { Device } from "../engine/index.js";
import { createEvaluator, type Scores } from "./evaluate.js";
import type { Preset } from "./presets.js";
import type { PuzzleSplits } from "./puzzles.js";
import { createTrainer, type Trainer } from "./trainer.js";
import { initialState, type StateDict, type Weights } from "./parameters.js";

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
    }
  | { readonly kind: "validation"; readonly step: number; readonly scores: Scores }
  | { readonly kind: "end"; readonly step: number; readonly reached: boolean };

/** A run on one device. */
export interface Session {
  readonly trainer: Trainer;
  readonly splits: PuzzleSplits;
  /** The weights to evaluate and solve with: the EMA where there is one. */
  readonly weights: Weights;
  /** Trains to the target or to the end of the plan. */
  events(): AsyncGenerator<SessionEvent, void, undefined>;
  /** The one look at the test set. */
  test(): Promise<Scores>;
  destroy(): void;
}

export interface SessionOptions {
  readonly device: Device;
  readonly preset: Preset;
  readonly seed: number;
  /** Steps between two events; small steps keep a page lively. */
  readonly stepsPerEvent?: number;
  readonly state?: StateDict;
}

/** Rows that an evaluation runs side by side: larger than a training batch, for fewer dispatches. */
const EVALUATION_BATCH = 64;

/** Prepares data, compiles training and validation. */
export async function createSession({
  device,
  preset,
  seed,
  stepsPerEvent = 25,
  state,
}: SessionOptions): Promise<Session> {
  const { model: config, train, stopAt, evalEvery, evalLimit } = preset;
  const splits = preset.splits(seed);
  const trainer = await createTrainer({
    device,
    config,
    train,
    data: splits.train,
    seed,
    state: state ?? initialState(config, seed),
  });
  const weights = trainer.memory.ema ?? trainer.memory.weights;
  const evaluation = { device, config: { ...config, batch_size: EVALUATION_BATCH }, weights };
  const validation = await createEvaluator({ ...evaluation, data: splits.validation });
  return {
    trainer,
    splits,
    weights,
    async *events() {
      let reached = false;
      while (trainer.step < train.total_steps && !reached) {
        const untilLook = evalEvery - (trainer.step % evalEvery);
        await trainer.run(Math.min(stepsPerEvent, untilLook));
        const { step } = trainer;
        yield {
          kind: "steps",
          step,
          totalSteps: train.total_steps,
          training: summarize(await trainer.metrics(), config.batch_size),
        };
        if (step % evalEvery !== 0 && step < train.total_steps) continue;
        let scores = await validation.run(evalLimit);
        if (scores.exactAccuracy >= stopAt && evalLimit < splits.validation.count)
          scores = await validation.run();
        yield { kind: "validation", step, scores };
        reached = scores.exactAccuracy >= stopAt;
      }
      yield { kind: "end", step: trainer.step, reached };
    },
    async test() {
      const evaluator = await createEvaluator({ ...evaluation, data: splits.test });
      try {
        return await evaluator.run();
      } finally {
        evaluator.destroy();
      }
    },
    destroy() {
      validation.destroy();
      trainer.destroy();
    },
  };
}

function summarize(rows: Awaited<ReturnType<Trainer["metrics"]>>, batchSize: number): TrainingSummary {
  const total = (pick: (row: (typeof rows)[number]) => number): number =>
    rows.reduce((sum, row) => sum + pick(row), 0);
  return {
    loss: total((r) => r.lm_loss + 0.5 * (r.q_halt_loss + r.q_continue_loss)) / (rows.length * batchSize),
    actSteps: total((r) => r.steps) / total((r) => r.count),
  };
}
