/**
 * The blocks of a transformer as inference needs them: normalisation, gated activation, attention, rotary positions. nn.ts
 * has the same functions with gradients, whose kernels only training loads.
 */
import { attention as attentionKernel, quadsTurn } from "../../kernels/attention/choose.js";
import { rmsNorm as rmsNormKernel } from "../../kernels/rms_norm.js";
import { rope as ropeKernel } from "../../kernels/rope.js";
import { swiglu as swigluKernel } from "../../kernels/swiglu.js";
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
export function rowsOf(shape: readonly number[]): { rows: number; size: number } {
  return { rows: sizeOf(shape.slice(0, -1)), size: shape.at(-1) ?? 1 };
}

export const rmsNormOperation: Operation<{ eps: number }> = {
  name: "rmsNorm",
  kind: "kernel",
  f16: { inputs: ["x", "residual"], outputs: ["y"] },
  lower({ attributes: { eps }, inputs, capabilities, halves }) {
    const residual = inputs.length === 2;
    return rmsNormKernel({ ...rowsOf(inputs[0]!.shape), eps, residual, halves }, capabilities);
  },
};

/** Options of {@link rmsNorm}. */
export interface RmsNormOptions {
  /** Added to the mean square, above 0; default 1e-5. */
  readonly eps?: number;
  /** Added to x, whose shape it has. */
  readonly residual?: TensorLike;
}

/** RMSNorm over the last dimension without a gain: y = s / sqrt(mean(s^2) + eps), s = x (+ residual). */
export function rmsNorm(x: TensorLike, { eps = 1e-5, residual }: RmsNormOptions = {}): Tensor {
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

export const swigluOperation: Operation<null> = {
  name: "swiglu",
  kind: "kernel",
  f16: { role: "gate", inputs: ["gate_up"], outputs: ["y"] },
  lower({ outputs, capabilities, halves }) {
    const { rows, size: inner } = rowsOf(outputs[0]!.shape);
    return swigluKernel({ rows, inner, halves }, capabilities);
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

export interface AttentionAttributes {
  readonly batch: number;
  readonly length: number;
  readonly heads: number;
  readonly headDim: number;
  readonly causal: boolean;
}

/** A dispatch that rotates packed qkv by rope, or d_qkv back. */
export const turning = (
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
export const attentionOperation: Operation<AttentionAttributes> = {
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
};

/** [B, S, 3 H D] or [B, S, 3, H, D] checked against the number of heads. */
export function packedShape(
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
export function tablesOf({ cos, sin }: RopeTensors, length: number, headDim: number): readonly Tensor[] {
  const tables = [asTensor(cos), asTensor(sin)];
  for (const table of tables) requireShape("rope table", table, [length, headDim]);
  return tables;
}

/** How {@link attention} reads its input. */
export interface AttentionOptions {
  /** H: heads. */
  readonly heads: number;
  /** Queries look at keys up to their own position; default false. */
  readonly causal?: boolean;
  /** Tables that rotate queries and keys. */
  readonly rope?: RopeTensors | null;
}

/**
 * Scaled dot-product attention (Vaswani et al. 2017, eq. 1) of packed qkv [B, S, 3 H D] (q, k, v thirds, heads
 * inside). Scale 1 / sqrt(D). No S x S matrix is stored, forward or backward. With `rope` it is the attention of
 * `rope(qkv, cos, sin)`, which GPUs with subgroups compute in the same kernel.
 * @returns [B, S, H D]
 */
export function attention(qkv: TensorLike, { heads, causal = false, rope }: AttentionOptions): Tensor {
  const input = asTensor(qkv);
  const shape = packedShape("attention", input, heads);
  const { batch, length, headDim } = shape;
  const tables = rope ? tablesOf(rope, length, headDim) : [];
  return makeNode(attentionOperation, [input, ...tables], { ...shape, causal }, [
    { shape: [batch, length, heads * headDim], dtype: "f32" },
    { shape: [batch, heads, length], dtype: "f32" },
  ]).outputs[0]!;
}
