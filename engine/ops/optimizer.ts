/** Optimizer steps, in place: one dispatch for all parameters that share a buffer. */
import {
  adamAtan2 as adamAtan2Kernel,
  adamW as adamWKernel,
  signSgd as signSgdKernel,
  type AdamSpec,
} from "../../kernels/optimizer.js";
import type { Capabilities } from "../../kernels/capabilities.js";
import type { Kernel } from "../../kernels/core/kernel.js";
import { UsageError } from "../errors.js";
import { makeNode, requireDtype, requireShape, sizeOf, type Operation, type Tensor } from "../tensor.js";
import { type TensorLike, asTensor, assign } from "../trace.js";
import type { Variable } from "../variable.js";
import { pack } from "./pack.js";
import { reshape } from "./view.js";

/** The state of one parameter under an Adam-like optimizer. Every variable has the parameter's shape. */
export interface AdamState {
  /** The parameter that a step updates in place. */
  readonly parameter: Variable;
  /** Running mean of the gradient. */
  readonly expAvg: Variable;
  /** Running mean of the squared gradient. */
  readonly expAvgSq: Variable;
  /** Exponential moving average of the parameter, if one is kept. */
  readonly ema?: Variable | undefined;
}

/** Constants of a run. */
export interface AdamOptions {
  /** Decay of the first moment, in [0, 1). */
  readonly beta1: number;
  /** Decay of the second moment, in [0, 1). */
  readonly beta2: number;
  /** Decoupled weight decay: the parameter shrinks by the learning rate times this. */
  readonly weightDecay: number;
}

/** The kernel of a rule with its constants. */
type AdamRule = (spec: Pick<AdamSpec, "count" | "ema">, capabilities: Capabilities) => Kernel;

const adamOperation: Operation<AdamRule> = {
  name: "adam",
  kind: "kernel",
  lower({ attributes: rule, inputs, capabilities }) {
    const ema = inputs.length === 6;
    const kernel = rule({ count: sizeOf(inputs[0]!.shape), ema }, capabilities);
    return {
      dispatches: [
        {
          kernel,
          bind: [
            { output: 0 },
            { output: 1 },
            { output: 2 },
            { input: 3 },
            { input: 4 },
            ...(ema ? [{ output: 3 }] : []),
          ],
        },
      ],
      inPlace: [[0, 0], [1, 1], [2, 2], ...(ema ? [[3, 5] as const] : [])],
    };
  },
};

type Role = "parameter" | "expAvg" | "expAvgSq" | "ema";

function adam(
  states: readonly AdamState[],
  gradients: readonly TensorLike[],
  hyper: TensorLike,
  rule: AdamRule,
): void {
  const h = asTensor(hyper);
  requireShape("adam hyper", h, [4]);
  const own = new Map(states.map((state, i) => [state.parameter, { state, g: asTensor(gradients[i]!) }]));
  for (const { state, g } of own.values())
    for (const t of [g, state.parameter, state.expAvg, state.expAvgSq, ...(state.ema ? [state.ema] : [])]) {
      requireDtype("adam", t, "f32");
      requireShape("adam", t, state.parameter.shape);
    }
  const roles: Role[] = ["parameter", "expAvg", "expAvgSq", ...(states[0]?.ema ? (["ema"] as const) : [])];
  for (const whole of new Set(states.map(({ parameter }) => parameter.pack ?? parameter))) {
    const members = whole.members.length > 0 ? whole.members : [whole];
    const together = members.map((v) => own.get(v));
    const targets = roles.map((role) => {
      const of = (v: Variable | undefined): Variable | undefined => v?.pack ?? v;
      const packs = new Set(together.map((one) => of(one?.state[role])));
      const [first] = packs;
      const moved = together.some((one) => one?.state[role]?.first !== one?.state.parameter.first);
      if (!first || packs.size > 1 || first.size !== whole.size || moved)
        throw new UsageError(
          `adam: got ${role}s of ${whole.name} that do not lie in one pack as the parameters do; expected ${role}s made by packedVariables in the same order.`,
        );
      return first;
    });
    const [g] = pack(together.map((one) => one!.g));
    const [p, m, v, ema] = targets.map((t) => asTensor(t));
    const inputs: Tensor[] = [p!, m!, v!, reshape(g!.tensor, whole.shape), h, ...(ema ? [ema] : [])];
    const outputs = targets.map(({ shape, dtype }) => ({ shape, dtype }));
    const node = makeNode(adamOperation, inputs, rule, outputs);
    targets.forEach((target, i) => assign(target, node.outputs[i]!));
  }
}

/**
 * One step of Adam-atan2 (Everett et al. 2024; bias correction of the first moment outside atan2, as the
 * PyPI package adam-atan2 0.0.3 does):
 *
 *   p -= lr wd p;  m, v as in Adam;  p -= lr / (1 - beta1^t) atan2(m, sqrt(v) / sqrt(1 - beta2^t))
 *
 * There is one dispatch for each pack of parameters ({@link packedVariables}); moments and averages are packed likewise.
 * @param gradients one gradient for each state
 * @param hyper f32 [4]: lr, 1 / (1 - beta1^t), 1 / sqrt(1 - beta2^t), EMA decay
 */
export function adamAtan2Step(
  states: readonly AdamState[],
  gradients: readonly TensorLike[],
  hyper: TensorLike,
  { beta1, beta2, weightDecay }: AdamOptions,
): void {
  const options = { beta1, beta2, weightDecay };
  adam(states, gradients, hyper, (spec, capabilities) =>
    adamAtan2Kernel({ ...spec, ...options }, capabilities),
  );
}

/** One step of AdamW (Loshchilov & Hutter 2019) with decoupled decay lr wd; otherwise as {@link adamAtan2Step}. */
export function adamWStep(
  states: readonly AdamState[],
  gradients: readonly TensorLike[],
  hyper: TensorLike,
  { beta1, beta2, weightDecay, epsilon }: AdamOptions & { epsilon: number },
): void {
  const options = { beta1, beta2, weightDecay, epsilon };
  adam(states, gradients, hyper, (spec, capabilities) => adamWKernel({ ...spec, ...options }, capabilities));
}

const signSgdOperation: Operation<{ weightDecay: number }> = {
  name: "signSgd",
  kind: "kernel",
  lower({ attributes: { weightDecay }, inputs: [weights, ids], capabilities }) {
    const [tableRows, size] = weights!.shape;
    const kernel = signSgdKernel(
      { tableRows: tableRows!, size: size!, batch: ids!.shape[0]!, weightDecay },
      capabilities,
    );
    return {
      dispatches: [{ kernel, bind: [{ output: 0 }, { input: 1 }, { input: 2 }, { input: 3 }] }],
      inPlace: [[0, 0]],
    };
  },
};

/**
 * Sign-SGD on the rows of a table that occur in `ids` [B]: gradients [B, D] of equal ids are summed, then
 * w = w (1 - lr wd) - lr sign(g). Other rows stay as they are. `hyper` [4], lr first.
 */
export function signSgdRowsStep(
  table: Variable,
  ids: TensorLike,
  gradient: TensorLike,
  hyper: TensorLike,
  weightDecay: number,
): void {
  const inputs = [asTensor(table), asTensor(ids), asTensor(gradient), asTensor(hyper)];
  requireShape("signSgd gradient", inputs[2]!, [inputs[1]!.shape[0]!, table.shape[1]!]);
  requireShape("signSgd hyper", inputs[3]!, [4]);
  const { shape, dtype } = table;
  assign(table, makeNode(signSgdOperation, inputs, { weightDecay }, [{ shape, dtype }]).outputs[0]!);
}
