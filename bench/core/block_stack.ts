/**
 * A stack of post-norm transformer layers with a classifier, and one step of gradient descent on it. Other libraries can
 * run this training step too. It has no rotary positions, softmax cross entropy and plain SGD.
 */
import {
  add,
  assign,
  attention,
  compile,
  crossEntropy,
  grad,
  hostTensor,
  linear,
  mul,
  rmsNorm,
  scale,
  sub,
  sum,
  swiglu,
  variable,
  type Device,
  type Program,
  type Variable,
} from "../../engine/index.js";
import type { ModelShape } from "./cases/shapes.js";
import { crossEntropy64, layer64, linear64, type LayerWeights } from "./float64.js";
import { WrongResultError } from "./kernel_case.js";
import { randomSource } from "./random.js";

export interface BlockStack extends ModelShape {
  readonly layers: number;
}

export const EPS = 1e-5;
/** Learning rate for the gradient of the mean loss. */
export const LEARNING_RATE = 0.5;

/** Start of a step, the same for every library. */
export interface BlockStackData {
  /** [B S, D] */
  readonly x: Float32Array;
  /** [B S] */
  readonly labels: Int32Array;
  /** By name, in a fixed order, with [out, in] shapes. */
  readonly weights: ReadonlyMap<
    string,
    { readonly shape: readonly [number, number]; readonly data: Float32Array }
  >;
}

/** Names of one layer's weights. */
export const layerNames = (i: number) =>
  ({ qkv: `${i}.qkv`, o: `${i}.o`, gateUp: `${i}.gate_up`, down: `${i}.down` }) as const;
export const HEAD = "head";

export function blockStackData(stack: BlockStack, seed: number): BlockStackData {
  const { batch, length, width, inner, classes, layers } = stack;
  const random = randomSource(seed);
  const weights = new Map<string, { shape: readonly [number, number]; data: Float32Array }>();
  const weight = (name: string, outputs: number, inputs: number): void => {
    // Uniform numbers with standard deviation 1 / sqrt(inputs).
    const bound = Math.sqrt(3 / inputs);
    weights.set(name, { shape: [outputs, inputs], data: random.floats(outputs * inputs, -bound, bound) });
  };
  for (let i = 0; i < layers; i++) {
    const names = layerNames(i);
    weight(names.qkv, 3 * width, width);
    weight(names.o, width, width);
    weight(names.gateUp, 2 * inner, width);
    weight(names.down, width, inner);
  }
  weight(HEAD, classes, width);
  return {
    x: random.floats(batch * length * width, -1.7, 1.7),
    labels: random.integers(batch * length, 0, classes),
    weights,
  };
}

/** Operations of a step: those of the forward pass, and twice as many backward. */
export function blockStackFlops({ batch, length, width, inner, classes, layers }: BlockStack): number {
  const weights = layers * (4 * width * width + 3 * inner * width) + classes * width;
  const attentionFlops = 4 * layers * batch * length * length * width;
  return 3 * (2 * batch * length * weights + attentionFlops);
}

/** The compiled step with its variables. */
export interface BlockStackStep {
  /** The program. Its output `loss` is the mean over labelled rows before the update. */
  readonly program: Program;
  readonly weights: ReadonlyMap<string, Variable>;
  readonly labels: Variable;
  /** [1]: 1 over the number of labelled rows. */
  readonly share: Variable;
  destroy(): void;
}

export async function createBlockStack(
  device: Device,
  stack: BlockStack,
  data: BlockStackData,
): Promise<BlockStackStep> {
  const { batch, length, width, heads, layers } = stack;
  const x = variable(device, hostTensor(data.x, [batch, length, width]), "x");
  const labels = variable(device, hostTensor(data.labels, [batch, length]), "labels");
  const share = variable(device, hostTensor(Float32Array.of(1 / (batch * length)), [1]), "share");
  const weights = new Map(
    [...data.weights].map(([name, w]) => [name, variable(device, hostTensor(w.data, w.shape), name)]),
  );
  const w = (name: string): Variable => weights.get(name)!;
  const program = await compile(
    device,
    {},
    () => {
      let h = add(x, 0);
      for (let i = 0; i < layers; i++) {
        const names = layerNames(i);
        const attended = linear(attention(linear(h, w(names.qkv)), { heads }), w(names.o));
        const mixed = rmsNorm(attended, { residual: h, eps: EPS });
        const activated = swiglu(linear(mixed, w(names.gateUp)));
        h = rmsNorm(linear(activated, w(names.down)), { residual: mixed, eps: EPS });
      }
      const { loss: rows } = crossEntropy(linear(h, w(HEAD)), labels);
      const loss = mul(sum(rows), share);
      const all = [...weights.values()];
      const gradients = grad(sum(loss), all);
      all.forEach((v, i) => assign(v, sub(v, scale(gradients[i]!, LEARNING_RATE))));
      return { loss };
    },
    { name: "block stack step" },
  );
  await program.finishCompiling();
  return {
    program,
    weights,
    labels,
    share,
    destroy() {
      program.destroy();
      for (const v of [x, labels, share, ...weights.values()]) v.destroy();
    },
  };
}

/** Sequences whose loss and gradient the reference computes. The others have no labels during the check. */
const CHECKED_SEQUENCES = 2;
/** Step of the central difference in weight space, along a direction of unit length. */
const DIFFERENCE = 1e-4;
/** Covers f32 with some dozens of roundings per layer, and the truncation error of the central difference. */
export const STACK_TOLERANCE = 1e-4;
/** The tolerance in mixed precision: f16 keeps 11 bits of a number, so that a rounding is up to 2^-11. */
export const MIXED_STEP_TOLERANCE = 1e-2;

/** Tolerance of a step on this device; `f32` is the tolerance without mixed precision. */
export const stepTolerance = ({ capabilities }: Device, f32: number): number =>
  capabilities.mixedPrecision ? MIXED_STEP_TOLERANCE : f32;

/**
 * Compares the loss of the first sequences with float64, and the update's slope along a random direction with a central
 * difference of the float64 loss. Restores the initial weights.
 * @returns the larger relative error
 * @throws WrongResultError
 */
export async function checkBlockStack(
  stack: BlockStack,
  data: BlockStackData,
  { program, weights, labels, share }: BlockStackStep,
  tolerance = STACK_TOLERANCE,
): Promise<number> {
  const reference = blockStackReference(stack, data);
  labels.write(reference.labels);
  share.write(Float32Array.of(1 / reference.rows));
  await program.run();
  const loss = (await program.read("loss"))[0]!;
  const updated = new Map<string, Float32Array>();
  for (const [name, v] of weights) updated.set(name, (await v.read()) as Float32Array);
  const error = reference.compare(loss, updated, tolerance);
  for (const [name, v] of weights) v.write(data.weights.get(name)!.data);
  labels.write(data.labels);
  share.write(Float32Array.of(1 / data.labels.length));
  return error;
}

/** The reference for the first step of any library. */
export interface BlockStackReference {
  /** Labels; -100 in every sequence that is not checked. */
  readonly labels: Int32Array;
  /** Labelled rows. */
  readonly rows: number;
  /**
   * @param tolerance of loss and slope; that of f32 by default
   * @returns the larger relative error of loss and slope. @throws WrongResultError
   */
  compare(loss: number, updated: ReadonlyMap<string, ArrayLike<number>>, tolerance?: number): number;
}

export function blockStackReference(stack: BlockStack, data: BlockStackData): BlockStackReference {
  const sequences = Math.min(stack.batch, CHECKED_SEQUENCES);
  const rows = sequences * stack.length;
  const labels = data.labels.map((label, i) => (i < rows ? label : -100));
  const start = new Map([...data.weights].map(([name, w]) => [name, Float64Array.from(w.data)]));
  const random = randomSource(rows + stack.width);
  const direction = new Map(
    [...start].map(([name, w]) => [name, Float64Array.from(random.floats(w.length))]),
  );
  const norm = Math.sqrt([...direction.values()].reduce((s, r) => s + r.reduce((t, v) => t + v * v, 0), 0));
  const moved = (by: number): Map<string, Float64Array> =>
    new Map(
      [...start].map(([name, w]) => [name, w.map((v, i) => v + (by * direction.get(name)![i]!) / norm)]),
    );
  const expected = loss64(stack, data, start, sequences);
  const slope =
    (loss64(stack, data, moved(DIFFERENCE), sequences) - loss64(stack, data, moved(-DIFFERENCE), sequences)) /
    (2 * DIFFERENCE);
  return {
    labels,
    rows,
    compare(loss, updated, tolerance = STACK_TOLERANCE) {
      let own = 0;
      let squares = 0;
      for (const [name, w] of start) {
        const after = updated.get(name)!;
        w.forEach((before, i) => {
          const g = (before - after[i]!) / LEARNING_RATE;
          own += (g * direction.get(name)![i]!) / norm;
          squares += g * g;
        });
      }
      const errors = {
        loss: Math.abs(loss - expected) / Math.abs(expected),
        // The slope along a random direction is a small part of the gradient, but its error scales with the whole gradient.
        slope: Math.abs(own - slope) / Math.sqrt(squares),
      };
      for (const [name, error] of Object.entries(errors))
        if (!(error <= tolerance))
          throw new WrongResultError(
            `block stack ${stack.name}: ${name} is off by ${error} (loss ${loss}, expected ${expected}; slope ${own}, expected ${slope}).`,
          );
      return Math.max(errors.loss, errors.slope);
    },
  };
}

function loss64(
  { length, width, heads, classes, layers }: BlockStack,
  { x, labels }: BlockStackData,
  weights: ReadonlyMap<string, Float64Array>,
  sequences: number,
): number {
  let total = 0;
  for (let b = 0; b < sequences; b++) {
    let h: Float64Array = Float64Array.from(x.subarray(b * length * width, (b + 1) * length * width));
    for (let i = 0; i < layers; i++) {
      const names = layerNames(i);
      const layer = Object.fromEntries(
        Object.entries(names).map(([key, name]) => [key, weights.get(name)!]),
      ) as unknown as LayerWeights;
      h = layer64(h, layer, { heads, width, eps: EPS });
    }
    const logits = linear64(h, weights.get(HEAD)!, width);
    const rows = crossEntropy64(logits, labels.subarray(b * length, (b + 1) * length), {
      classes,
      kind: "softmax",
    });
    total += rows.reduce((s, v) => s + v, 0);
  }
  return total / (sequences * length);
}
