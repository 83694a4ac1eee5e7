/**
 * The blocks of a transformer with their gradients: normalisation, gated activation, attention, rotary positions. blocks.ts
 * has what inference needs of them.
 */
import { attentionBackward, attentionDelta, backwardTurns } from "../../kernels/attention/choose_backward.js";
import { rmsNormBackward } from "../../kernels/rms_norm.js";
import { rope as ropeKernel } from "../../kernels/rope.js";
import { swigluBackward } from "../../kernels/swiglu.js";
import { gradientByFormula, pullBack } from "../autodiff.js";
import {
  giveGradient,
  makeTensor,
  sizeOf,
  type GradientRule,
  type Operation,
  type Tensor,
} from "../tensor.js";
import { asTensor, type TensorLike } from "../trace.js";
import { attentionFormula, ropeFormula, swigluFormula } from "./block_formulas.js";
import * as blocks from "./blocks.js";
import {
  attentionOperation,
  rmsNormOperation,
  packedShape,
  rowsOf,
  swigluOperation,
  tablesOf,
  turning,
  type AttentionAttributes,
  type AttentionOptions,
  type RmsNormOptions,
} from "./blocks.js";
import { div, mul, square, sub } from "./elementwise.js";
import { mean } from "./reduce.js";
import { reshape } from "./view.js";

/** Numbers of rows [rows] as a column that broadcasts over a tensor of those rows. */
const asColumn = (numbers: Tensor, { shape }: Tensor): Tensor => reshape(numbers, [...shape.slice(0, -1), 1]);

const rmsNormGradient: Operation<null> = {
  name: "rmsNormGradient",
  kind: "kernel",
  f16: { inputs: [null, "y"], outputs: [] },
  isGradient: () => true,
  lower({ inputs, capabilities, halves }) {
    return rmsNormBackward({ ...rowsOf(inputs[0]!.shape), halves }, capabilities);
  },
  gradient: gradientByFormula(([dy, y, r]) => {
    const parallel = mul(y!, mean(mul(dy!, y!), { axes: [-1], keepDims: true }));
    return mul(asColumn(r!, y!), sub(dy!, parallel));
  }),
};

/** The inverse root mean square has a gradient only if gradients have gradients. */
export const rmsNormRule: GradientRule<{ eps: number }> = ({
  inputs,
  outputs: [y, r],
  gradients: [dy, dr],
}) => {
  const through = dy && makeTensor(rmsNormGradient, [dy, y!, r!], null, y!.shape, "f32");
  if (!dr) return inputs.map(() => through!);
  // r = 1 / sqrt(mean(s^2) + eps), so that dr / ds = -r^3 s / D = -r^2 y / D.
  const slope = mul(asColumn(div(mul(square(r!), dr), y!.shape.at(-1) ?? 1), y!), y!);
  return inputs.map(() => (through ? sub(through, slope) : mul(slope, -1)));
};

/** RMSNorm over the last dimension without a gain: y = s / sqrt(mean(s^2) + eps), s = x (+ residual). */
export function rmsNorm(x: TensorLike, options: RmsNormOptions = {}): Tensor {
  giveGradient(rmsNormOperation, rmsNormRule);
  return blocks.rmsNorm(x, options);
}

const swigluGradient: Operation<null> = {
  name: "swigluGradient",
  kind: "kernel",
  f16: { inputs: ["gate_up"], outputs: ["d_gate_up"] },
  isGradient: () => true,
  lower({ inputs, capabilities, halves, scaled }) {
    const { rows, size: inner } = rowsOf(inputs[1]!.shape);
    return swigluBackward({ rows, inner, halves, scaled }, capabilities);
  },
  gradient: gradientByFormula(([gateUp, dy]) => pullBack(([x]) => swigluFormula(x!), [gateUp!], dy!)[0]!),
};

export const swigluRule: GradientRule<null> = ({ inputs: [x], gradients: [dy] }) => [
  makeTensor(swigluGradient, [x!, dy!], null, x!.shape, "f32"),
];

/** silu(gate) up. The tensor gateUp [..., 2 I] holds gate and up side by side. @returns [..., I] */
export function swiglu(gateUp: TensorLike): Tensor {
  giveGradient(swigluOperation, swigluRule);
  return blocks.swiglu(gateUp);
}

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
    if (!rope || backwardTurns(attributes, capabilities)) {
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
  gradient: gradientByFormula(
    ([qkv, , , dO, ...tables], attributes) =>
      pullBack(([x]) => attentionFormula(x!, tables, attributes), [qkv!], dO!)[0]!,
  ),
};

export const attentionRule: GradientRule<AttentionAttributes> = (context) => {
  const {
    attributes,
    outputs: [o, lse],
    gradients: [dO],
    needed,
  } = context;
  const [qkv, ...tables] = context.inputs as [Tensor, ...Tensor[]];
  if (tables.some((_, i) => needed[i + 1]))
    return pullBack(([x, ...t]) => attentionFormula(x!, t, attributes), [qkv, ...tables], dO!);
  return [makeTensor(attentionGradient, [qkv, o!, lse!, dO!, ...tables], attributes, qkv.shape, "f32")];
};

/**
 * Scaled dot-product attention (Vaswani et al. 2017, eq. 1) of packed qkv [B, S, 3 H D] (q, k, v thirds, heads
 * inside). Scale 1 / sqrt(D). No S x S matrix is stored, forward or backward. With `rope` it is the attention of
 * `rope(qkv, cos, sin)`, which GPUs with subgroups compute in the same kernel.
 * @returns [B, S, H D]
 */
export function attention(qkv: TensorLike, options: AttentionOptions): Tensor {
  giveGradient(attentionOperation, attentionRule);
  return blocks.attention(qkv, options);
}

type RopeAttributes = Omit<AttentionAttributes, "causal"> & { readonly inverse: boolean };

const ropeOperation: Operation<RopeAttributes> = {
  name: "rope",
  kind: "kernel",
  lower: ({ attributes, capabilities }) => ropeKernel(attributes, capabilities),
  gradient({ attributes, inputs, gradients: [dy], needed }) {
    if (needed[1] || needed[2])
      return pullBack(([x, cos, sin]) => ropeFormula(x!, cos!, sin!, attributes), inputs, dy!);
    const [x, ...tables] = inputs as [Tensor, Tensor, Tensor];
    const back = { ...attributes, inverse: !attributes.inverse };
    return [makeTensor(ropeOperation, [dy!, ...tables], back, x.shape, "f32"), null, null];
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
