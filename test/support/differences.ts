/** Gradient rules against finite differences of the forward pass on the device. */
import {
  compile,
  f32,
  grad,
  mul,
  reshape,
  sum,
  type Device,
  type Shape,
  type Tensor,
} from "../../engine/index.js";
import { assertClose, random, uniform } from "./random.js";

/** An input by shape (values uniform in [-1, 1)), by shape and range, or by its values. */
export type Given =
  | Shape
  | { readonly shape: Shape; readonly low: number; readonly high: number }
  | { readonly shape: Shape; readonly data: Float32Array };

/** Step of the differences; a power of two, so that x + h loses nothing for |x| < 2. */
const H = 2 ** -5;

/** Five-point central difference: f'(x) h = (8 (f(x+h) - f(x-h)) - (f(x+2h) - f(x-2h))) / 12, error h^4 f^(5) / 30. */
const STENCIL = [
  [1, 8 / 12],
  [-1, -8 / 12],
  [2, -1 / 12],
  [-2, 1 / 12],
] as const;

/** Elements of an input that are moved one by one; besides, all are moved together along two directions. */
const ELEMENTS = 6;

/**
 * Checks d sum(u * f(x)) / d x for every input x, with random u. The forward values are summed in float64 here.
 * Tolerance: a value's rounding error of about 3 x 2^-24 |f| is amplified by 18 / (12 h) = 48, which is 1e-5 |f|;
 * summed over the outputs, with 1 for the truncation of functions whose fifth derivative is below 1000.
 */
export async function checkGradients(
  device: Device,
  given: Readonly<Record<string, Given>>,
  f: (inputs: Record<string, Tensor>) => Tensor,
): Promise<void> {
  const values: Record<string, Float32Array> = {};
  const specs = Object.fromEntries(
    Object.entries(given).map(([name, g]) => {
      const shape: Shape = "shape" in g ? g.shape : g;
      const size = shape.reduce((a, b) => a * b, 1);
      values[name] = "data" in g ? g.data : "low" in g ? random(size, g.low, g.high) : random(size);
      return [name, f32(...shape)];
    }),
  );
  let outputs = 0;
  const forward = await compile(
    device,
    specs,
    (inputs) => {
      const y = f(inputs);
      outputs = y.size;
      return { y };
    },
    { name: "forward" },
  );
  const u = random(outputs);
  const backward = await compile(
    device,
    { ...specs, upstream: f32(outputs) },
    ({ upstream, ...inputs }) => {
      const y = f(inputs);
      const names = Object.keys(specs);
      const gradients = grad(
        sum(mul(reshape(upstream, y.shape), y)),
        names.map((name) => (inputs as Record<string, Tensor>)[name]!),
      );
      return Object.fromEntries(names.map((name, i) => [name, gradients[i]!]));
    },
    { name: "gradient" },
  );
  try {
    const evaluate = async (inputs: Record<string, Float32Array>): Promise<Float64Array> => {
      await forward.run(inputs);
      return Float64Array.from(await forward.read("y"), (y, j) => y * u[j]!);
    };
    const magnitude = (await evaluate(values)).reduce((total, x) => total + Math.abs(x), 0);
    const tolerance = 1e-5 * (1 + magnitude);
    await backward.run({ ...values, upstream: u });
    for (const [name, x] of Object.entries(values)) {
      const gradient = await backward.read(name);
      for (const [label, direction] of directions(x.length)) {
        let difference = 0;
        for (const [times, weight] of STENCIL) {
          const moved = x.map((value, i) => value + times * H * direction[i]!);
          const terms = await evaluate({ ...values, [name]: moved });
          difference += (weight / H) * terms.reduce((a, b) => a + b, 0);
        }
        const claimed = direction.reduce((total, d, i) => total + d * gradient[i]!, 0);
        assertClose([claimed], [difference], tolerance, `d ${name} ${label}`);
      }
    }
  } finally {
    forward.destroy();
    backward.destroy();
  }
}

/** Some unit vectors, and two vectors of length 1 in which every element moves. */
function directions(n: number): [string, Float64Array][] {
  const all = Array.from({ length: n }, (_, i) => i).sort(() => uniform() - 0.5);
  const single = all.slice(0, ELEMENTS).map((i): [string, Float64Array] => {
    const direction = new Float64Array(n);
    direction[i] = 1;
    return [`[${i}]`, direction];
  });
  const together = [0, 1].map((k): [string, Float64Array] => [
    `along direction ${k}`,
    Float64Array.from({ length: n }, () => (uniform() < 0.5 ? -1 : 1) / Math.sqrt(n)),
  ]);
  return n === 1 ? single : [...single, ...together];
}
