/** Gradients checked by finite differences: for operations and models of a user's own. */
import type { Device } from "./device.js";
import { UsageError } from "./errors.js";
import { f32, compile, grad, mul, reshape, sum, type Tensor, type TensorSpec } from "./index.js";
import { sizeOf } from "./tensor.js";

/** An input by its values. */
export interface CheckedInput {
  /** The values at which the gradient is checked. */
  readonly data: Float32Array;
  /** Their shape. */
  readonly shape: readonly number[];
}

/** How a gradient was found to be. */
export interface GradientCheck {
  /** Largest difference between gradient and finite difference, divided by the bound that rounding sets; at most 1 is right. */
  readonly worst: number;
  /** Where that is: the input, and the element in it. */
  readonly at: { readonly input: string; readonly element: number };
  /** The gradient there. */
  readonly gradient: number;
  /** The finite difference there. */
  readonly difference: number;
}

/**
 * Compares d sum(u f(x)) / dx with (f(x + h) - f(x - h)) / 2h for every element of every input, u being pseudorandom. The
 * bound of each comparison follows from f32: the rounding of f, taken as `rounding` units of 2^-24 of the sum of |u f|
 * (default 8), over h; and the difference between two steps h and h/2, which tells how curved f is.
 * @param f a smooth function near these inputs, whose result may have any shape
 */
export async function checkGradient<const K extends string>(
  device: Device,
  f: (inputs: Record<K, Tensor>) => Tensor,
  inputs: Readonly<Record<K, CheckedInput>>,
  { step = 2 ** -7, rounding = 8 }: { readonly step?: number; readonly rounding?: number } = {},
): Promise<GradientCheck> {
  const names = Object.keys(inputs) as K[];
  if (names.length === 0) throw new UsageError("checkGradient: got no inputs; expected at least one.");
  const specs: Record<string, TensorSpec<"f32">> = Object.fromEntries(
    names.map((name) => [name, f32(...inputs[name].shape)]),
  );
  const values = Object.fromEntries(names.map((name) => [name, inputs[name].data])) as Record<
    K,
    Float32Array
  >;
  let count = 0;
  const forward = await compile(device, specs, (x) => {
    const y = f(x as Record<K, Tensor>);
    count = y.size;
    return { y };
  });
  const u = weights(count);
  const weighted: Record<string, TensorSpec<"f32">> = { ...specs, "checkGradient u": f32(count) };
  const backward = await compile(device, weighted, (x): Record<string, Tensor> => {
    const y = f(x as Record<K, Tensor>);
    const total = sum(mul(reshape(x["checkGradient u"]!, y.shape), y));
    const gradients = grad(
      total,
      names.map((name) => x[name]!),
    );
    return Object.fromEntries(names.map((name, i) => [name, gradients[i]!]));
  });
  try {
    const terms = async (name: K, element: number, h: number): Promise<Float64Array> => {
      const moved = values[name].slice();
      moved[element]! += h;
      const { y } = (await forward.call({ ...values, [name]: moved })) as { y: Float32Array };
      return Float64Array.from(y, (v, j) => v * u[j]!);
    };
    const slope = async (name: K, element: number, h: number): Promise<{ slope: number; size: number }> => {
      const [up, down] = [await terms(name, element, h), await terms(name, element, -h)];
      const x = values[name][element]!;
      const width = Math.fround(x + h) - Math.fround(x - h);
      const total = up.reduce((sum, v, j) => sum + v - down[j]!, 0);
      return { slope: total / width, size: up.reduce((sum, v) => sum + Math.abs(v), 0) };
    };
    const found = await backward.call({ ...values, "checkGradient u": u });
    let worst: GradientCheck | null = null;
    for (const name of names)
      for (let element = 0; element < sizeOf(inputs[name].shape); element++) {
        const [coarse, fine] = [await slope(name, element, step), await slope(name, element, step / 2)];
        const gradient = (found[name] as Float32Array)[element]!;
        const bound =
          (rounding * 2 ** -24 * (fine.size + 1e-3)) / (step / 2) +
          2 * Math.abs(coarse.slope - fine.slope) +
          2 ** -20 * Math.abs(gradient);
        const ratio = Math.abs(gradient - fine.slope) / bound;
        if (!worst || !(ratio <= worst.worst))
          worst = { worst: ratio, at: { input: name, element }, gradient, difference: fine.slope };
      }
    return worst!;
  } finally {
    forward.destroy();
    backward.destroy();
  }
}

/** Numbers from -1 to 1 that repeat in no simple pattern. */
const weights = (count: number): Float32Array =>
  Float32Array.from({ length: count }, (_, i) => ((i * 0.6180339887 + 0.3) % 1) * 2 - 1);
