/** Optimizer steps: a dispatch for each pack of parameters. */
export {
  adamAtan2Step,
  adamWStep,
  signSgdRowsStep,
  type AdamOptions,
  type AdamState,
} from "./ops/optimizer.js";
export { pack, packedVariables, type Pack } from "./ops/pack.js";
