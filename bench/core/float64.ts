/** The layers of a transformer in float64 on the host, for references; row-major throughout. */

/** Y [rows, out] = X [rows, in] W^T, W [out, in]. */
export function linear64(x: Float64Array, weight: ArrayLike<number>, inputs: number): Float64Array {
  const w = Float64Array.from(weight);
  const rows = x.length / inputs;
  const outputs = w.length / inputs;
  const y = new Float64Array(rows * outputs);
  for (let r = 0; r < rows; r++) {
    for (let o = 0; o < outputs; o++) {
      let total = 0;
      for (let i = 0, a = r * inputs, b = o * inputs; i < inputs; i++) total += x[a + i]! * w[b + i]!;
      y[r * outputs + o] = total;
    }
  }
  return y;
}

/** Rows of `size` divided by their root mean square, after adding a residual. */
export function rmsNorm64(
  x: Float64Array,
  residual: Float64Array,
  { size, eps }: { size: number; eps: number },
): Float64Array {
  const y = x.map((value, i) => value + residual[i]!);
  for (let row = 0; row < y.length; row += size) {
    let squares = 0;
    for (let i = row; i < row + size; i++) squares += y[i]! ** 2;
    const r = 1 / Math.sqrt(squares / size + eps);
    for (let i = row; i < row + size; i++) y[i]! *= r;
  }
  return y;
}

/** silu(gate) up of rows [2 I]. */
export function swiglu64(gateUp: Float64Array, inner: number): Float64Array {
  const y = new Float64Array(gateUp.length / 2);
  for (let i = 0; i < y.length; i++) {
    const at = Math.floor(i / inner) * 2 * inner + (i % inner);
    y[i] = (gateUp[at]! / (1 + Math.exp(-gateUp[at]!))) * gateUp[at + inner]!;
  }
  return y;
}

/** Sizes of packed qkv [S, 3, H, D] of one sequence. */
export interface Heads {
  readonly heads: number;
  readonly headDim: number;
}

/** Scaled dot-product attention of one sequence's qkv [S, 3, H, D]. @returns [S, H D] */
export function attention64(qkv: Float64Array, { heads, headDim }: Heads): Float64Array {
  const width = heads * headDim;
  const length = qkv.length / (3 * width);
  const out = new Float64Array(length * width);
  const p = new Float64Array(length);
  for (let h = 0; h < heads; h++) {
    for (let i = 0; i < length; i++) {
      const q = i * 3 * width + h * headDim;
      let top = -Infinity;
      for (let j = 0; j < length; j++) {
        const k = (3 * j + 1) * width + h * headDim;
        let score = 0;
        for (let d = 0; d < headDim; d++) score += qkv[q + d]! * qkv[k + d]!;
        p[j] = score / Math.sqrt(headDim);
        top = Math.max(top, p[j]!);
      }
      let total = 0;
      for (let j = 0; j < length; j++) total += p[j] = Math.exp(p[j]! - top);
      for (let j = 0; j < length; j++) {
        const v = (3 * j + 2) * width + h * headDim;
        for (let d = 0; d < headDim; d++) out[i * width + h * headDim + d]! += (p[j]! / total) * qkv[v + d]!;
      }
    }
  }
  return out;
}

/** Rotates the q and k thirds of one sequence's qkv in place by tables [S, D]. */
export function rope64(
  qkv: Float64Array,
  { cos, sin }: { cos: ArrayLike<number>; sin: ArrayLike<number> },
  { heads, headDim }: Heads,
): void {
  const half = headDim / 2;
  const rows = qkv.length / headDim;
  for (let row = 0; row < rows; row++) {
    if (Math.floor(row / heads) % 3 === 2) continue;
    const t = Math.floor(row / (3 * heads)) * headDim;
    for (let d = 0; d < half; d++) {
      const at = row * headDim + d;
      const [a, b] = [qkv[at]!, qkv[at + half]!];
      qkv[at] = a * cos[t + d]! - b * sin[t + d]!;
      qkv[at + half] = b * cos[t + d + half]! + a * sin[t + d + half]!;
    }
  }
}

/** Weights of one post-norm layer. */
export interface LayerWeights {
  /** [3 D, D] */
  readonly qkv: ArrayLike<number>;
  /** [D, D] */
  readonly o: ArrayLike<number>;
  /** [2 I, D] */
  readonly gateUp: ArrayLike<number>;
  /** [D, I] */
  readonly down: ArrayLike<number>;
}

/** h = rms(h + attn(h)); h = rms(h + swiglu(h)) for one sequence [S, D]. */
export function layer64(
  h: Float64Array,
  weights: LayerWeights,
  {
    heads,
    width,
    eps,
    rotary,
  }: {
    heads: number;
    width: number;
    eps: number;
    rotary?: { cos: ArrayLike<number>; sin: ArrayLike<number> } | null;
  },
): Float64Array {
  const shape = { heads, headDim: width / heads };
  const qkv = linear64(h, weights.qkv, width);
  if (rotary) rope64(qkv, rotary, shape);
  const mixed = rmsNorm64(linear64(attention64(qkv, shape), weights.o, width), h, { size: width, eps });
  const inner = weights.down.length / width;
  const activated = swiglu64(linear64(mixed, weights.gateUp, width), inner);
  return rmsNorm64(linear64(activated, weights.down, inner), mixed, { size: width, eps });
}

/** Cross entropy of each row of logits [rows, C]; 0 if the label is negative. */
export function crossEntropy64(
  logits: Float64Array,
  labels: ArrayLike<number>,
  { classes, kind }: { classes: number; kind: "softmax" | "stablemax" },
): Float64Array {
  const s = (x: number): number => (kind === "softmax" ? Math.exp(x) : x >= 0 ? x + 1 : 1 / (1 - x));
  return Float64Array.from({ length: labels.length }, (_, row) => {
    const label = labels[row]!;
    if (label < 0) return 0;
    const x = logits.subarray(row * classes, (row + 1) * classes);
    const total = x.reduce((sum, value) => sum + s(value), 0);
    return Math.log(total) - Math.log(s(x[label]!));
  });
}
