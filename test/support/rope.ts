/** Rotary positions in float64. */
import type { RopeSpec, ropeTables } from "../../kernels/rope.js";

export type Tables = ReturnType<typeof ropeTables>;

/** y = x cos + rotate_half(x) sin on q and k in float64, or the transpose of that; v as it is. */
export function turned(
  { length: S, heads: H, headDim: D, inverse }: RopeSpec,
  x: Float32Array | Float64Array,
  tables: Tables,
): Float64Array<ArrayBuffer> {
  const half = D / 2;
  const y = new Float64Array(x.length);
  for (let i = 0; i < x.length; i++) {
    const d = i % D;
    const third = Math.floor(i / (D * H)) % 3;
    const t = (Math.floor(i / (D * H * 3)) % S) * D + d;
    const [partner, sign] = d < half ? [half, -1] : [-half, 1];
    // The transpose takes the partner's sine and the opposite sign.
    y[i] =
      third === 2
        ? x[i]!
        : x[i]! * tables.cos[t]! +
          (inverse ? -sign * tables.sin[t + partner]! : sign * tables.sin[t]!) * x[i + partner]!;
  }
  return y;
}
