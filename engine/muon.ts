/** Muon: momentum whose update is made nearly orthogonal, for matrices (Jordan et al. 2024, kellerjordan.github.io/posts/muon). */
import { UsageError } from "./errors.js";
import { add, div, matmul, mul, sqrt, sub, transpose, type Tensor } from "./index.js";
import { sumOfSquares } from "./ops/norm.js";
import {
  beside,
  deviceOf,
  requireGradients,
  type LearningRate,
  type Optimizer,
} from "./stateful_optimizers.js";
import { owning } from "./ownership.js";
import { asTensor, assign } from "./trace.js";
import type { Variable } from "./variable.js";

/** What {@link muon} takes. */
export interface MuonSettings {
  /** The learning rate, such as 0.02. */
  readonly learningRate: LearningRate;
  /** Decay of the mean gradient; default 0.95. */
  readonly momentum?: number;
  /** False takes the mean gradient itself instead of Nesterov's look ahead; default true. */
  readonly nesterov?: boolean;
  /** Decay of the parameters at each step, times the learning rate; default 0. */
  readonly weightDecay?: number;
  /** Steps of the Newton-Schulz iteration; default 5. */
  readonly iterations?: number;
}

/** Coefficients of the quintic iteration, which brings singular values near 1 in few steps. */
const [A, B, C] = [3.4445, -4.775, 2.0315];

/**
 * Nearly the closest orthogonal matrix to x, [M, N] with M <= N: the iteration x = A x + (B s + C s s) x with s = x x^T brings
 * the singular values into about 0.7 to 1.2.
 */
function orthogonalized(x: Tensor, iterations: number): Tensor {
  let y = div(x, add(sqrt(sumOfSquares([x])), 1e-7));
  for (let i = 0; i < iterations; i++) {
    const s = matmul(y, y, { transposeB: true });
    const polynomial = add(mul(s, B), mul(matmul(s, s), C));
    y = add(mul(y, A), matmul(polynomial, y));
  }
  return y;
}

/**
 * Muon, for parameters that are matrices: m = momentum m + (1 - momentum) g; p -= learningRate sqrt(max(1, M / N))
 * orthogonal(m), for a parameter of shape [M, N]. With Nesterov's look ahead the update is that of
 * (1 - momentum) g + momentum m. Train embeddings, biases and the last layer with {@link adamW} beside it.
 * @throws UsageError if a parameter is no matrix
 */
export function muon(
  parameters: readonly Variable[],
  { learningRate, momentum = 0.95, nesterov = true, weightDecay = 0, iterations = 5 }: MuonSettings,
): Optimizer {
  const device = deviceOf(parameters, "muon");
  const vector = parameters.find(({ shape }) => shape.length !== 2);
  if (vector)
    throw new UsageError(
      `muon: got the parameter ${vector.name} of shape [${vector.shape.join(", ")}]; expected matrices. Use adamW for it.`,
    );
  const means = owning(() => beside(device, parameters, "muon"));
  return {
    state: means,
    step(gradients) {
      requireGradients("muon", parameters, gradients);
      parameters.forEach((p, i) => {
        const g = mul(gradients[i]!, 1 - momentum);
        const mean = add(mul(means[i]!, momentum), g);
        assign(means[i]!, mean);
        const update = nesterov ? add(g, mul(mean, momentum)) : mean;
        const [M, N] = p.shape as readonly [number, number];
        // The products are smaller on the short side.
        const turned = M > N ? transpose(update, [1, 0]) : update;
        const near = orthogonalized(turned, iterations);
        const move = mul(M > N ? transpose(near, [1, 0]) : near, Math.sqrt(Math.max(1, M / N)));
        const kept = weightDecay === 0 ? asTensor(p) : sub(p, mul(mul(p, weightDecay), learningRate));
        assign(p, sub(kept, mul(move, learningRate)));
      });
    },
    destroy: () => means.forEach((v) => v.destroy()),
  };
}
