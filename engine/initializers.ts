/** Initial values, drawn on the host from a seed so that every adapter starts from the same bits. */
import { threefry2x32 } from "../kernels/random.js";
import { UsageError } from "./errors.js";
import { f32From } from "./host_data.js";
import { sizeOf, type Shape } from "./tensor.js";
import { hostTensor, type HostTensor } from "./variable.js";

/** Zeros. */
export const zeros = (shape: Shape): HostTensor => hostTensor(new Float32Array(sizeOf(shape)), shape);

/** The same value in every element; NaN and infinities are allowed. @throws UsageError if a finite value does not fit f32 */
export const full = (shape: Shape, value: number): HostTensor =>
  hostTensor(new Float32Array(sizeOf(shape)).fill(f32From([value], "full")[0]!), shape);

/** Standard deviation of a unit normal cut at two standard deviations. */
const TRUNCATED_STD = 0.8796256610342398;

/**
 * Normal values of standard deviation `std`, truncated at two (widened) standard deviations: as JAX does, the
 * width is corrected so that the truncated values have the requested deviation (PyTorch's initializer does not do so).
 * @param seed u32; @param stream tells apart tensors of one seed
 * @throws UsageError if `std` is negative, or too large for f32
 */
export function truncatedNormal(
  shape: Shape,
  std: number,
  { seed = 0, stream = 0 }: { seed?: number; stream?: number } = {},
): HostTensor {
  // Values reach two deviations over the factor below.
  if (!(std >= 0 && Number.isFinite(Math.fround(3 * std))))
    throw new UsageError(`truncatedNormal: got std = ${std}; expected a finite number from 0, below 1e38.`);
  const data = new Float32Array(sizeOf(shape));
  let counter = 0;
  for (let i = 0; i < data.length;) {
    // Box-Muller; values beyond two deviations are drawn again.
    const [a, b] = threefry2x32([seed >>> 0, stream >>> 0], [counter++, 0x6e6f726d]);
    const radius = Math.sqrt(-2 * Math.log((a + 1) / 2 ** 32));
    const angle = (2 * Math.PI * b) / 2 ** 32;
    for (const value of [radius * Math.cos(angle), radius * Math.sin(angle)]) {
      if (Math.abs(value) < 2 && i < data.length) data[i++] = (value / TRUNCATED_STD) * std;
    }
  }
  return hostTensor(data, shape);
}
