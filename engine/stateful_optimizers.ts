/** Optimizers that keep their own state: variables beside the parameters, updated by the program that calls `step`. */
import type { Allocator } from "./allocator.js";
import { UsageError } from "./errors.js";
import {
  constant,
  div,
  max,
  min,
  mul,
  add,
  sqrt,
  sub,
  concat,
  reshape,
  slice,
  type Tensor,
  type TensorLike,
} from "./index.js";
import { sumOfSquares } from "./ops/norm.js";
import { adamAtan2Step, adamWStep, type AdamOptions, type AdamState } from "./ops/optimizer.js";
import { owning } from "./ownership.js";
import { asTensor, assign } from "./trace.js";
import { variable, type Variable } from "./variable.js";

/** Updates parameters inside of a traced function. */
export interface Optimizer {
  /** One step, in place. `gradients` are in the order of the parameters. Call it once in a traced function. */
  step(gradients: readonly TensorLike[]): void;
  /** What the optimizer keeps between steps: save and restore it with the parameters. */
  readonly state: readonly Variable[];
  /** Frees the state; the parameters stay. */
  destroy(): void;
}

/** A learning rate: a number, or a scalar tensor or variable of one element that the program or the host changes. */
export type LearningRate = TensorLike;

/** The device of the parameters. @throws UsageError unless they are f32 variables of one device */
export function deviceOf(parameters: readonly Variable[], where: string): Allocator {
  const [first] = parameters;
  if (!first || parameters.some((p) => p.device !== first.device || p.dtype !== "f32"))
    throw new UsageError(
      `${where}: got ${parameters.length} parameters; expected f32 variables of one device, at least one.`,
    );
  return first.device;
}

/** @throws UsageError unless there is a gradient for each parameter */
export function requireGradients(
  where: string,
  parameters: readonly Variable[],
  gradients: readonly TensorLike[],
): void {
  if (gradients.length !== parameters.length)
    throw new UsageError(
      `${where}: got ${gradients.length} gradients; expected ${parameters.length}, one for each parameter.`,
    );
}

/** Zeros beside each parameter. */
export const beside = (device: Allocator, parameters: readonly Variable[], name: string): Variable[] =>
  parameters.map((p) => variable(device, { shape: p.shape, dtype: "f32" }, `${name}.${p.name}`));

const scalarOf = (value: TensorLike): Tensor => reshape(asTensor(value), [1]);

/**
 * Gradient descent: v = momentum v + g + weightDecay p; p -= learningRate v (PyTorch's SGD without dampening). With
 * `nesterov` the step is g + momentum v.
 */
export function sgd(
  parameters: readonly Variable[],
  {
    learningRate,
    momentum = 0,
    weightDecay = 0,
    nesterov = false,
  }: {
    readonly learningRate: LearningRate;
    readonly momentum?: number;
    readonly weightDecay?: number;
    readonly nesterov?: boolean;
  },
): Optimizer {
  const device = deviceOf(parameters, "sgd");
  const velocities = momentum === 0 ? [] : owning(() => beside(device, parameters, "sgd"));
  return {
    state: velocities,
    step(gradients) {
      requireGradients("sgd", parameters, gradients);
      parameters.forEach((p, i) => {
        const g = weightDecay === 0 ? asTensor(gradients[i]!) : add(gradients[i]!, mul(p, weightDecay));
        const velocity = velocities[i];
        let move = g;
        if (velocity) {
          const v = add(mul(velocity, momentum), g);
          assign(velocity, v);
          move = nesterov ? add(g, mul(v, momentum)) : v;
        }
        assign(p, sub(p, mul(move, learningRate)));
      });
    },
    destroy: () => velocities.forEach((v) => v.destroy()),
  };
}

/** What Adam-like optimizers take. */
export interface AdamSettings {
  /** The learning rate: a number, or a tensor that may change from step to step. */
  readonly learningRate: LearningRate;
  /** Decay of the mean gradient; default 0.9. */
  readonly beta1?: number;
  /** Decay of the mean squared gradient; default 0.999. */
  readonly beta2?: number;
  /** Decay of the parameters at each step, times the learning rate. */
  readonly weightDecay?: number;
}

type AdamKernelStep = (
  states: readonly AdamState[],
  gradients: readonly TensorLike[],
  hyper: Tensor,
  options: AdamOptions,
) => void;

function adamLike(
  name: string,
  parameters: readonly Variable[],
  { learningRate, beta1 = 0.9, beta2 = 0.999, weightDecay = 0 }: AdamSettings,
  kernelStep: AdamKernelStep,
): Optimizer {
  const device = deviceOf(parameters, name);
  return owning(() => {
    const means = beside(device, parameters, `${name}.mean`);
    const squares = beside(device, parameters, `${name}.square`);
    /** 1 - beta1^t and 1 - beta2^t. */
    const corrections = variable(device, { shape: [2], dtype: "f32" }, `${name}.corrections`);
    const state = [...means, ...squares, corrections];
    const states = parameters.map((parameter, i) => ({
      parameter,
      expAvg: means[i]!,
      expAvgSq: squares[i]!,
    }));
    return {
      state,
      step(gradients) {
        requireGradients(name, parameters, gradients);
        // By recurrence, since 1 - beta^t of a rounded power would lose half its digits.
        const betas = constant([beta1, beta2]);
        const next = add(mul(corrections, betas), constant([1 - beta1, 1 - beta2]));
        assign(corrections, next);
        const [first, second] = [slice(next, [0], [1]), slice(next, [1], [1])];
        const hyper = concat([scalarOf(learningRate), div(1, first), div(1, sqrt(second)), constant([0])], 0);
        kernelStep(states, gradients, hyper, { beta1, beta2, weightDecay });
      },
      destroy: () => state.forEach((v) => v.destroy()),
    };
  });
}

/** Adam (Kingma & Ba 2015). With `weightDecay` it is AdamW. `epsilon` is added to the root; default 1e-8. */
export function adam(
  parameters: readonly Variable[],
  { epsilon = 1e-8, ...settings }: AdamSettings & { readonly epsilon?: number },
): Optimizer {
  return adamLike("adam", parameters, settings, (states, gradients, hyper, options) =>
    adamWStep(states, gradients, hyper, { ...options, epsilon }),
  );
}

/** AdamW (Loshchilov & Hutter 2019): Adam, and p -= learningRate weightDecay p; `weightDecay` is 0.01 by default. */
export const adamW: typeof adam = (parameters, settings) =>
  adam(parameters, { weightDecay: 0.01, ...settings });

/** Adam-atan2 (Everett et al. 2024), which has no epsilon; see {@link adamAtan2Step}. */
export function adamAtan2(parameters: readonly Variable[], settings: AdamSettings): Optimizer {
  return adamLike("adamAtan2", parameters, settings, adamAtan2Step);
}

/** Gradients scaled so that the L2 norm over all of them is at most `most`, and the norm that it was. */
export function clipByGlobalNorm(
  gradients: readonly TensorLike[],
  most: number,
): { readonly gradients: Tensor[]; readonly norm: Tensor } {
  if (!(most > 0)) throw new UsageError(`clipByGlobalNorm: got ${most}; expected a number above 0.`);
  const norm = sqrt(sumOfSquares(gradients));
  const factor = min(1, div(most, max(norm, 2 ** -100)));
  return { gradients: gradients.map((g) => mul(g, factor)), norm };
}
