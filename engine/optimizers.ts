/** Optimizers: those that keep their own state, and the steps below them, a dispatch for each pack of parameters. */
export {
  adamAtan2Step,
  adamWStep,
  signSgdRowsStep,
  type AdamOptions,
  type AdamState,
} from "./ops/optimizer.js";
export { pack, packedVariables, type Pack } from "./ops/pack.js";
export {
  adam,
  adamAtan2,
  adamW,
  clipByGlobalNorm,
  sgd,
  type AdamSettings,
  type LearningRate,
  type Optimizer,
} from "./stateful_optimizers.js";
