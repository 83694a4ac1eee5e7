/** Optimizer steps: a dispatch for each tensor. */
export {
  adamAtan2Step,
  adamWStep,
  signSgdRowsStep,
  type AdamOptions,
  type AdamState,
} from "./ops/optimizer.js";
