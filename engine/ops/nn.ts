/** The blocks of a transformer: normalisation, gated activation, attention, rotary positions, losses. */
import {
  attention as attentionKernel,
  attentionBackward,
  attentionDelta,
  quadsTurn,
} from "../../kernels/attention/choose.js";
import { crossEntropy as crossEntropyKernel, crossEntropyBackward } from "../../kernels/cross_entropy.js";
import { rmsNorm as rmsNormKernel, rmsNormBackward } from "../../kernels/rms_norm.js";
import { rope as ropeKernel } from "../../kernels/rope.js";
import { swiglu as swigluKernel, swigluBackward } from "../../kernels/swiglu.js";
import { ShapeError } from "../errors.js";
import {
  formatSpec,
  makeNode,
  makeTensor,
  requireDtype,
  requireShape,
  sizeOf,
  type LowerContext,
  type Lowering,
  type Operation,
  type Place,
  type Tensor,
} from "../tensor.js";
import { type TensorLike, asTensor } from "../trace.js";

/** [rows, size] of a tensor seen as rows of its last dimension. */
function rowsOf(shape: readonly number[]): { rows: number; size: number } {
  return { rows: sizeOf(shape.slice(0, -1)), size: shape.at(-1) ?? 1 };
}

const rmsNormOperation: Operation<{ eps: number }> = {
  name: "rmsNorm",
  kind: "kernel",
  f16: { inputs: ["x", "residual"], outputs: ["y"] },
  lower({ attributes: { eps }, inputs, capabilities, halves }) {
    const residual = inputs.length === 2;
    return rmsNormKernel({ ...rowsOf(inputs[0]!.shape), eps, residual, halves }, capabilities);
  },
  gradient({ inputs, outputs: [y, inverseRms], gradients: [dy] }) {
    if (!dy) return inputs.map(() => null);
    const ds = makeTensor(rmsNormGradient, [dy, y!, inverseRms!], null, y!.shape, "f32");
    return inputs.map(() => ds);
  },
};

const rmsNormGradient: Operation<null> = {
  name: "rmsNormGradient",
  kind: "kernel",
  f16: { inputs: [null, "y"], outputs: [] },
  isGradient: () => true,
  lower({ inputs, capabilities, halves }) {
    return rmsNormBackward({ ...rowsOf(inputs[0]!.shape), halves }, capabilities);
  },
};

/** RMSNorm over the last dimension without a gain: y = s / sqrt(mean(s^2) + eps), s = x (+ residual). */
export function rmsNorm(
  x: TensorLike,
  { eps = 1e-5, residual }: { eps?: number; residual?: TensorLike } = {},
): Tensor {
  const input = asTensor(x);
  requireDtype("rmsNorm", input, "f32");
  const inputs = residual === undefined ? [input] : [input, asTensor(residual)];
  for (const t of inputs) requireShape("rmsNorm", t, input.shape);
  const { rows } = rowsOf(input.shape);
  return makeNode(rmsNormOperation, inputs, { eps }, [
    { shape: input.shape, dtype: "f32" },
    { shape: [rows], dtype: "f32" },
  ]).outputs[0]!;
}

const swigluOperation: Operation<null> = {
  name: "swiglu",
  kind: "kernel",
  f16: { role: "gate", inputs: ["gate_up"], outputs: ["y"] },
  lower({ outputs, capabilities, halves }) {
    const { rows, size: inner } = rowsOf(outputs[0]!.shape);
    return swigluKernel({ rows, inner, halves }, capabilities);
  },
  gradient: ({ inputs: [gateUp], gradients: [dy] }) => [
    makeTensor(swigluGradient, [gateUp!, dy!], null, gateUp!.shape, "f32"),
  ],
};

const swigluGradient: Operation<null> = {
  name: "swigluGradient",
  kind: "kernel",
  f16: { inputs: ["gate_up"], outputs: ["d_gate_up"] },
  isGradient: () => true,
  lower({ inputs, capabilities, halves, scaled }) {
    const { rows, size: inner } = rowsOf(inputs[1]!.shape);
    return swigluBackward({ rows, inner, halves, scaled }, capabilities);
  },
};

/** silu(gate) up, where gateUp [..., 2 I] holds gate and up side by side. @returns [..., I] */
export function swiglu(gateUp: TensorLike): Tensor {
  const input = asTensor(gateUp);
  requireDtype("swiglu", input, "f32");
  const { size } = rowsOf(input.shape);
  if (size % 2 !== 0)
    throw new ShapeError(`swiglu: got ${formatSpec(input)}; expected an even last dimension (gate and up).`);
  return makeTensor(swigluOperation, [input], null, [...input.shape.slice(0, -1), size / 2], "f32");
}

interface AttentionAttributes {
  readonly batch: number;
  readonly length: number;
  readonly heads: number;
  readonly headDim: number;
  readonly causal: boolean;
}

/** A dispatch that rotates packed qkv by rope, or d_qkv back. */
const turning = (
  { attributes, capabilities, halves, scaled }: LowerContext<AttentionAttributes>,
  inverse: boolean,
  [from, ...tables]: readonly Place[],
  to: Place,
): Lowering["dispatches"][number] => ({
  kernel: ropeKernel(
    {
      ...{ ...attributes, inverse },
      halves: !inverse && halves.includes("qkv") ? ["x"] : [],
      scaled: inverse && scaled.includes("d_qkv") ? ["y"] : [],
    },
    capabilities,
  ),
  bind: [from!, ...tables, to],
});

/** Inputs: qkv, and with rope the tables of cosines and sines. Kernels that do not rotate by themselves read a rotated copy. */
const attentionOperation: Operation<AttentionAttributes> = {
  name: "attention",
  kind: "kernel",
  f16: { inputs: ["qkv"], outputs: ["o"] },
  lower(context) {
    const { attributes, inputs, capabilities, halves } = context;
    const rope = inputs.length > 1;
    const tables = rope ? [{ input: 1 }, { input: 2 }] : [];
    const results = [{ output: 0 }, { output: 1 }];
    if (!rope || quadsTurn(attributes, capabilities)) {
      const kernel = attentionKernel({ ...attributes, rope, halves }, capabilities);
      return { dispatches: [{ kernel, bind: [{ input: 0 }, ...results, ...tables] }] };
    }
    const turned = { temporary: 0 };
    return {
      temporaries: [4 * sizeOf(inputs[0]!.shape)],
      dispatches: [
        turning(context, false, [{ input: 0 }, ...tables], turned),
        {
          kernel: attentionKernel(
            { ...attributes, halves: halves.filter((name) => name !== "qkv") },
            capabilities,
          ),
          bind: [turned, ...results],
        },
      ],
    };
  },
  gradient({ attributes, inputs: [qkv, ...tables], outputs: [o, lse], gradients: [dO] }) {
    const inputs = [qkv!, o!, lse!, dO!, ...tables];
    return [makeTensor(attentionGradient, inputs, attributes, qkv!.shape, "f32"), ...tables.map(() => null)];
  },
};

/** Inputs: qkv, o, log-sum-exp, d_o, and with rope the tables. */
const attentionGradient: Operation<AttentionAttributes> = {
  name: "attentionGradient",
  kind: "kernel",
  f16: { inputs: ["qkv", "o"], outputs: ["d_qkv"] },
  isGradient: () => true,
  lower(context) {
    const { attributes, inputs, capabilities, halves, scaled } = context;
    const rope = inputs.length > 4;
    const tables = rope ? [{ input: 4 }, { input: 5 }] : [];
    const [delta, turned, dTurned] = [{ temporary: 0 }, { temporary: 1 }, { temporary: 2 }];
    const [deltaBytes, bytes] = [4 * sizeOf(inputs[2]!.shape), 4 * sizeOf(inputs[0]!.shape)];
    const first = {
      kernel: attentionDelta({ ...attributes, halves }, capabilities),
      bind: [{ input: 1 }, { input: 3 }, delta],
    };
    const others = [{ input: 3 }, { input: 2 }, delta];
    if (!rope || quadsTurn(attributes, capabilities)) {
      const kernel = attentionBackward({ ...attributes, rope, halves, scaled }, capabilities);
      const bind = [{ input: 0 }, ...others, { output: 0 }, ...tables];
      return { temporaries: [deltaBytes], dispatches: [first, { kernel, bind }] };
    }
    // Rotating once more costs less than keeping a rotated copy from the forward pass on.
    return {
      temporaries: [deltaBytes, bytes, bytes],
      dispatches: [
        first,
        turning(context, false, [{ input: 0 }, ...tables], turned),
        { kernel: attentionBackward(attributes, capabilities), bind: [turned, ...others, dTurned] },
        turning(context, true, [dTurned, ...tables], { output: 0 }),
      ],
    };
  },
};

/** [B, S, 3 H D] or [B, S, 3, H, D] checked against the number of heads. */
function packedShape(
  where: string,
  qkv: Tensor,
  heads: number,
): { batch: number; length: number; heads: number; headDim: number } {
  requireDtype(where, qkv, "f32");
  const [batch, length, ...rest] = qkv.shape;
  const headDim = sizeOf(rest) / (3 * heads);
  if (rest.length === 0 || !Number.isInteger(headDim)) {
    throw new ShapeError(`${where}: got ${formatSpec(qkv)}; expected [B, S, 3 H D] with H = ${heads}.`);
  }
  return { batch: batch!, length: length!, heads, headDim };
}

/** Tables of rotary positions. */
export interface RopeTensors {
  /** [S, D] */
  readonly cos: TensorLike;
  /** [S, D] */
  readonly sin: TensorLike;
}

/** The tables as tensors, checked. */
function tablesOf({ cos, sin }: RopeTensors, length: number, headDim: number): readonly Tensor[] {
  const tables = [asTensor(cos), asTensor(sin)];
  for (const table of tables) requireShape("rope table", table, [length, headDim]);
  return tables;
}

/**
 * Scaled dot-product attention (Vaswani et al. 2017, eq. 1) of packed qkv [B, S, 3 H D] (q, k, v thirds, heads
 * inside). Scale 1 / sqrt(D). No S x S matrix is stored, forward or backward. With `rope` it is the attention of
 * `rope(qkv, cos, sin)`, which GPUs with subgroups compute in the same kernel.
 * @returns [B, S, H D]
 */
export function attention(
  qkv: TensorLike,
  { heads, causal = false, rope }: { heads: number; causal?: boolean; rope?: RopeTensors | null },
): Tensor {
  const input = asTensor(qkv);
  const shape = packedShape("attention", input, heads);
  const { batch, length, headDim } = shape;
  const tables = rope ? tablesOf(rope, length, headDim) : [];
  return makeNode(attentionOperation, [input, ...tables], { ...shape, causal }, [
    { shape: [batch, length, heads * headDim], dtype: "f32" },
    { shape: [batch, heads, length], dtype: "f32" },
  ]).outputs[0]!;
}

interface RopeAttributes {
  readonly batch: number;
  readonly length: number;
  readonly heads: number;
  readonly headDim: number;
  readonly inverse: boolean;
}

const ropeOperation: Operation<RopeAttributes> = {
  name: "rope",
  kind: "kernel",
  lower({ attributes, capabilities }) {
    return ropeKernel(attributes, capabilities);
  },
  gradient({ attributes, inputs: [qkv, cos, sin], gradients: [dy] }) {
    return [
      makeTensor(
        ropeOperation,
        [dy!, cos!, sin!],
        { ...attributes, inverse: !attributes.inverse },
        qkv!.shape,
        "f32",
      ),
      null,
      null,
    ];
  },
};

/**
 * Rotary positions (Su et al. 2021) by rotate-half on the q and k thirds of packed qkv [B, S, 3 H D];
 * cos and sin are tables [S, D].
 */
export function rope(
  qkv: TensorLike,
  cos: TensorLike,
  sin: TensorLike,
  { heads }: { heads: number },
): Tensor {
  const input = asTensor(qkv);
  const shape = packedShape("rope", input, heads);
  const tables = tablesOf({ cos, sin }, shape.length, shape.headDim);
  return makeTensor(ropeOperation, [input, ...tables], { ...shape, inverse: false }, input.shape, "f32");
}

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
};

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
