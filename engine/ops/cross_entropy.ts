/** Cross entropy, of softmax or stablemax. */
import { crossEntropy as crossEntropyKernel, crossEntropyBackward } from "../../kernels/cross_entropy.js";
import { gradientByFormula, pullBack } from "../autodiff.js";
import {
  makeNode,
  makeTensor,
  requireDtype,
  requireShape,
  sizeOf,
  type Operation,
  type Tensor,
} from "../tensor.js";
import { asTensor, type TensorLike } from "../trace.js";
import { rowsOf } from "./blocks.js";
import { sum } from "./broadcast.js";
import {
  add,
  bitAnd,
  div,
  equal,
  exp,
  greaterEqual,
  less,
  log,
  max,
  min,
  neg,
  notEqual,
  position,
  sub,
  where,
} from "./elementwise.js";
import { maxOver } from "./reduce.js";
import { reshape, stopGradient } from "./view.js";

const LAST = { axes: [-1], keepDims: true };

interface CrossEntropyAttributes {
  readonly kind: "stablemax" | "softmax";
  readonly ignoreLabel: number;
}

const crossEntropyOperation: Operation<CrossEntropyAttributes> = {
  name: "crossEntropy",
  kind: "kernel",
  lower({ attributes, inputs, capabilities }) {
    const { rows, size: classes } = rowsOf(inputs[0]!.shape);
    return crossEntropyKernel({ rows, classes, ...attributes }, capabilities);
  },
  gradient({ attributes, inputs: [logits, labels], gradients: [dLoss] }) {
    if (!dLoss) return [null, null];
    return [
      makeTensor(crossEntropyGradient, [logits!, labels!, dLoss], attributes, logits!.shape, "f32"),
      null,
    ];
  },
};

const crossEntropyGradient: Operation<CrossEntropyAttributes> = {
  name: "crossEntropyGradient",
  kind: "kernel",
  isGradient: () => true,
  lower({ attributes, inputs, capabilities }) {
    const { rows, size: classes } = rowsOf(inputs[0]!.shape);
    return crossEntropyBackward({ rows, classes, ...attributes }, capabilities);
  },
  gradient: gradientByFormula(
    ([logits, labels, dLoss], attributes) =>
      pullBack(([x]) => crossEntropyFormula(x!, labels!, attributes), [logits!], dLoss!)[0]!,
  ),
};

/** The loss of each row, as kernels/cross_entropy.ts says, made of operations that have all gradients. */
function crossEntropyFormula(
  logits: Tensor,
  labels: Tensor,
  { kind, ignoreLabel }: CrossEntropyAttributes,
): Tensor {
  const classes = logits.shape.at(-1) ?? 1;
  const x = reshape(logits, [sizeOf(labels.shape), classes]);
  const label = reshape(labels, [sizeOf(labels.shape), 1]);
  const hit = equal(position([1, classes]), label);
  const ofLabel = (values: Tensor): Tensor => sum(where(hit, values, 0), LAST);
  let loss: Tensor;
  if (kind === "softmax") {
    const shifted = sub(x, stopGradient(maxOver(x, LAST)));
    loss = sub(log(sum(exp(shifted), LAST)), ofLabel(shifted));
  } else {
    const [right, left] = [add(max(x, 0), 1), sub(1, min(x, 0))];
    const above = greaterEqual(x, 0);
    const total = sum(where(above, right, div(1, left)), LAST);
    loss = sub(log(total), ofLabel(where(above, log(right), neg(log(left)))));
  }
  const counts = bitAnd(notEqual(label, ignoreLabel), bitAnd(greaterEqual(label, 0), less(label, classes)));
  return reshape(where(counts, loss, 0), labels.shape);
}

/**
 * Cross entropy of logits [..., C] against labels [...] (i32), per row, and the predicted class: the first
 * index of the largest logit. Rows with `ignoreLabel` have loss 0 and no gradient.
 * @returns loss [...] f32 and prediction [...] i32
 */
export function crossEntropy(
  logits: TensorLike,
  labels: TensorLike,
  { kind = "softmax", ignoreLabel = -100 }: Partial<CrossEntropyAttributes> = {},
): { loss: Tensor; prediction: Tensor } {
  const [x, y] = [asTensor(logits), asTensor(labels)];
  requireDtype("crossEntropy logits", x, "f32");
  requireDtype("crossEntropy labels", y, "i32");
  const shape = x.shape.slice(0, -1);
  requireShape("crossEntropy labels", y, shape);
  const node = makeNode(crossEntropyOperation, [x, y], { kind, ignoreLabel }, [
    { shape, dtype: "f32" },
    { shape, dtype: "i32" },
  ]);
  return { loss: node.outputs[0]!, prediction: node.outputs[1]! };
}
