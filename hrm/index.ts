/** The Hierarchical Reasoning Model: the model, its training and its use. Tasks, checkpoints and file formats are entries of their own. */
export {
  continueTarget,
  createCarry,
  decideHalting,
  destroyCarry,
  minimumHaltSteps,
  randomExploration,
  refill,
  resetCarry,
  storeCarry,
  type Carry,
  type Exploration,
  type Halting,
  type Refilled,
} from "./model/act.js";
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
} from "./model/config.js";
export {
  consecutiveBatch,
  destroyPuzzles,
  randomBatch,
  uploadPuzzles,
  type Batch,
  type GpuPuzzles,
} from "./puzzles/sampling.js";
export {
  createEvaluator,
  createSolver,
  type Evaluator,
  type EvaluatorOptions,
  type Scores,
  type SolvedSegment,
  type SolveOptions,
  type Solver,
  type SolverOptions,
} from "./training/evaluation.js";
export {
  actLoss,
  METRICS,
  metricRow,
  type LossInputs,
  type LossResult,
  type Metric,
  type MetricRow,
} from "./model/loss.js";
export {
  embed,
  forwardResiduals,
  rotaryTables,
  segment,
  type Latents,
  type Model,
  type Parameters,
  type RotaryTables,
  type SegmentResult,
} from "./model/model.js";
export { modelOf } from "./model/trainable_model.js";
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
} from "./model/parameters.js";
export { IGNORE_LABEL, type PuzzleSet, type PuzzleSplits } from "./puzzles/puzzle_set.js";
export { findPreset, presetNames, presets, type Preset, type PresetStatus } from "./training/presets.js";
export { emaDecay, learningRate, scheduleTables, type ScheduleTables } from "./training/schedule.js";
export {
  createSession,
  type BestLook,
  type EndReason,
  type Session,
  type SessionEvent,
  type SessionOptions,
  type SessionSnapshot,
  type TrainingSummary,
} from "./training/session.js";
export {
  ResumeError,
  resumeDifferences,
  type Origin,
  type RunIdentity,
  type TrainingSnapshot,
} from "./training/snapshot.js";
export {
  evaluationSegment,
  gradientNorm,
  trainStep,
  type EvaluationResult,
  type StepResult,
  type TrainingState,
} from "./training/step.js";
export { createTrainingMemory, type TrainingMemory } from "./training/memory.js";
export {
  createTrainer,
  type StepMetrics,
  type Trainer,
  type TrainerOptions,
  type TrainingChanges,
} from "./training/trainer.js";
