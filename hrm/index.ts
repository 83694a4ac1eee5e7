/** The Hierarchical Reasoning Model: the model, its training and its use. Tasks, checkpoints and file formats are entries of their own. */
export {
  continueTarget,
  createCarry,
  decideHalting,
  destroyCarry,
  minimumHaltSteps,
  refill,
  resetCarry,
  storeCarry,
  type Batch,
  type Carry,
  type Halting,
  type Refilled,
} from "./act.js";
export { VERSION } from "./version.js";
export {
  ConfigError,
  defaultConfig,
  defaultTrainConfig,
  derive,
  levelUpdates,
  modelConfig,
  trainConfig,
  type Derived,
  type HrmConfig,
  type TrainConfig,
} from "./config.js";
export {
  consecutiveBatch,
  destroyPuzzles,
  randomBatch,
  randomExploration,
  uploadPuzzles,
  type GpuPuzzles,
} from "./data.js";
export {
  createEvaluator,
  createSolver,
  type Evaluator,
  type EvaluatorOptions,
  type Scores,
  type SolvedSegment,
  type Solver,
} from "./evaluate.js";
export {
  actLoss,
  METRICS,
  metricRow,
  type LossInputs,
  type LossResult,
  type Metric,
  type MetricRow,
} from "./loss.js";
export {
  embed,
  forwardResiduals,
  segment,
  type Latents,
  type Model,
  type Parameters,
  type RotaryTables,
  type SegmentResult,
} from "./model.js";
export {
  countParameters,
  createWeights,
  initialState,
  parameterSpecs,
  readWeights,
  StateError,
  type ParameterSpec,
  type StateDict,
  type Weights,
} from "./parameters.js";
export { IGNORE_LABEL, type PuzzleSet, type PuzzleSplits } from "./puzzles.js";
export { emaDecay, learningRate, scheduleTables, type ScheduleTables } from "./schedule.js";
export {
  createSession,
  type BestLook,
  type EndReason,
  type Session,
  type SessionEvent,
  type SessionOptions,
  type SessionSnapshot,
  type TrainingSummary,
} from "./session.js";
export {
  ResumeError,
  resumeDifferences,
  type Origin,
  type RunIdentity,
  type TrainingSnapshot,
} from "./snapshot.js";
export {
  evaluationSegment,
  gradientNorm,
  trainStep,
  type EvaluationResult,
  type Exploration,
  type StepResult,
  type TrainingState,
} from "./step.js";
export {
  createTrainer,
  createTrainingMemory,
  modelOf,
  rotaryTables,
  type StepMetrics,
  type Trainer,
  type TrainerOptions,
  type TrainingMemory,
} from "./trainer.js";
