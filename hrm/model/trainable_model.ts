/** The model with the gradients of its operations, which model.ts leaves out for inference. */
import { attentionOperation, rmsNormOperation, swigluOperation } from "../../engine/ops/blocks.js";
import { takeRowsRule } from "../../engine/ops/embedding.js";
import { concatRule, sliceRule } from "../../engine/ops/layout.js";
import { takeRowsOperation } from "../../engine/ops/lookup.js";
import { concatOperation, sliceOperation } from "../../engine/ops/moves.js";
import { attentionRule, rmsNormRule, swigluRule } from "../../engine/ops/nn.js";
import { giveGradient } from "../../engine/tensor.js";
import type { HrmConfig } from "./config.js";
import { modelOf as inferenceModel, type Model } from "./model.js";
import type { Weights } from "./parameters.js";

/** A model that reads these weights. */
export function modelOf(config: HrmConfig, weights: Weights): Model {
  giveGradient(attentionOperation, attentionRule);
  giveGradient(concatOperation, concatRule);
  giveGradient(rmsNormOperation, rmsNormRule);
  giveGradient(sliceOperation, sliceRule);
  giveGradient(swigluOperation, swigluRule);
  giveGradient(takeRowsOperation, takeRowsRule);
  return inferenceModel(config, weights);
}
