/** Optimizer steps: one dispatch per variable, in place. */
import {
  adamAtan2 as adamAtan2Kernel,
  adamW as adamWKernel,
  signSgd as signSgdKernel,
} from "../../kernels/optimizer.js";
import {
  makeNode,
  requireDtype,
  requireShape,
  sizeOf,
  type Operation,
  type Tensor,
  type TensorLike,
} from "../tensor.js";
import { asTensor, assign } from "../trace.js";
import type { Variable } from "../variable.js";

/** The state of one parameter under an Adam-like optimizer; all of the parameter's shape. */
export interface AdamState {
  readonly parameter: Variable;
  /** Running mean of the gradient. */
  readonly expAvg: Variable;
  /** Running mean of the squared gradient. */
  readonly expAvgSq: Variable;
  /** Exponential moving average of the parameter, where one is kept. */
  readonly ema?: Variable | undefined;
}

/** What stays the same over a run. */
export interface AdamOptions {
  readonly beta1: number;
  readonly beta2: number;
  readonly weightDecay: number;
}

type AdamAttributes = AdamOptions & { readonly epsilon?: number };

const adamOperation: Operation<AdamAttributes> = {
  name: "adam",
  lower({ attributes, inputs, capabilities }) {
    const ema = inputs.length === 6;
    const { epsilon, ...options } = attributes;
    const spec = { ...options, count: sizeOf(inputs[0]!.shape), ema };
    const kernel =
      epsilon === undefined
        ? adamAtan2Kernel(spec, capabilities)
        : adamWKernel({ ...spec, epsilon }, capabilities);
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

function adam(state: AdamState, gradient: TensorLike, hyper: TensorLike, attributes: AdamAttributes): void {
  const targets = [state.parameter, state.expAvg, state.expAvgSq, ...(state.ema ? [state.ema] : [])];
  const g = asTensor(gradient);
  const h = asTensor(hyper);
  for (const t of [g, ...targets]) {
    requireDtype("adam", t, "f32");
    requireShape("adam", t, state.parameter.shape);
  }
  requireShape("adam hyper", h, [4]);
  const [p, m, v, ema] = targets.map((t) => asTensor(t));
  const inputs: Tensor[] = [p!, m!, v!, g, h, ...(ema ? [ema] : [])];
  const node = makeNode(
    adamOperation,
    inputs,
    attributes,
    targets.map(({ shape, dtype }) => ({ shape, dtype })),
  );
  targets.forEach((target, i) => assign(target, node.outputs[i]!));
}

/**
 * One step of Adam-atan2 (Everett et al. 2024; bias correction of the first moment outside atan2, as the
 * PyPI package adam-atan2 0.0.3 does):
 *
 *   p -= lr wd p;  m, v as in Adam;  p -= lr / (1 - beta1^t) atan2(m, sqrt(v) / sqrt(1 - beta2^t))
 *
 * @param hyper f32 [4]: lr, 1 / (1 - beta1^t), 1 / sqrt(1 - beta2^t), EMA decay
 */
export function adamAtan2Step(
  state: AdamState,
  gradient: TensorLike,
  hyper: TensorLike,
  options: AdamOptions,
): void {
  const { beta1, beta2, weightDecay } = options;
  adam(state, gradient, hyper, { beta1, beta2, weightDecay });
}

/** One step of AdamW (Loshchilov & Hutter 2019) with decoupled decay lr wd; `hyper` as in {@link adamAtan2Step}. */
export function adamWStep(
  state: AdamState,
  gradient: TensorLike,
  hyper: TensorLike,
  options: AdamOptions & { epsilon: number },
): void {
  const { beta1, beta2, weightDecay, epsilon } = options;
  adam(state, gradient, hyper, { beta1, beta2, weightDecay, epsilon });
}

const signSgdOperation: Operation<{ weightDecay: number }> = {
  name: "signSgd",
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
