/** Convolutions and pooling over images of channels last, by looking up the elements under each window (im2col). */
import { ShapeError } from "../errors.js";
import {
  add,
  constant,
  formatSpec,
  matmul,
  mean,
  reshape,
  sizeOf,
  takeRows,
  type Tensor,
  type TensorLike,
} from "../index.js";
import { requireDtype } from "../tensor.js";
import { asTensor } from "../trace.js";
import { reduceMax } from "./over_axes.js";

/** How windows move over an image: rows, then columns. */
export interface WindowOptions {
  /** Steps between windows; default 1. */
  readonly stride?: number | readonly [number, number];
  /** Zeros on each side; default 0. */
  readonly padding?: number | readonly [number, number];
  /** Steps between the elements of a window; default 1. */
  readonly dilation?: number | readonly [number, number];
}

const both = (n: number | readonly [number, number]): readonly [number, number] =>
  typeof n === "number" ? [n, n] : n;

/** The windows of x [B, H, W, C] as [B, OH, OW, KH KW, C]: rows of channels, zeros outside the image. */
function windows(
  where: string,
  x: Tensor,
  [KH, KW]: readonly [number, number],
  options: WindowOptions,
): Tensor {
  const [B, H, W, C] = x.shape as readonly [number, number, number, number];
  const [[sh, sw], [ph, pw], [dh, dw]] = [
    both(options.stride ?? 1),
    both(options.padding ?? 0),
    both(options.dilation ?? 1),
  ];
  const [OH, OW] = [
    Math.floor((H + 2 * ph - dh * (KH - 1) - 1) / sh) + 1,
    Math.floor((W + 2 * pw - dw * (KW - 1) - 1) / sw) + 1,
  ];
  const whole =
    [sh, sw, dh, dw, KH, KW].every((n) => Number.isInteger(n) && n >= 1) &&
    [ph, pw].every((n) => Number.isInteger(n) && n >= 0);
  if (!whole || !(OH >= 1 && OW >= 1))
    throw new ShapeError(
      `${where}: got windows of ${KH} x ${KW} over ${formatSpec(x)} with ${JSON.stringify(options)}; expected positive integers that leave at least one window.`,
    );
  const indices = new Int32Array(B * OH * OW * KH * KW);
  let at = 0;
  for (let b = 0; b < B; b++)
    for (let oh = 0; oh < OH; oh++)
      for (let ow = 0; ow < OW; ow++)
        for (let kh = 0; kh < KH; kh++)
          for (let kw = 0; kw < KW; kw++) {
            const [h, w] = [oh * sh - ph + kh * dh, ow * sw - pw + kw * dw];
            // takeRows gives zeros for an index outside.
            indices[at++] = h >= 0 && h < H && w >= 0 && w < W ? (b * H + h) * W + w : -1;
          }
  const rows = takeRows(reshape(x, [B * H * W, C]), constant(indices));
  return reshape(rows, [B, OH, OW, KH * KW, C]);
}

function image(where: string, value: TensorLike): Tensor {
  const x = asTensor(value);
  requireDtype(where, x, "f32");
  if (x.shape.length !== 4) throw new ShapeError(`${where}: got ${formatSpec(x)}; expected [B, H, W, C].`);
  return x;
}

/**
 * Cross-correlation of x [B, H, W, C] with weights [KH, KW, C, O], plus a bias [O]: [B, OH, OW, O] with
 * OH = floor((H + 2 padding - dilation (KH - 1) - 1) / stride) + 1. f32. Stores KH KW times x.
 */
export function conv2d(
  value: TensorLike,
  weights: TensorLike,
  { bias, ...options }: WindowOptions & { readonly bias?: TensorLike } = {},
): Tensor {
  const [x, w] = [image("conv2d", value), asTensor(weights)];
  const [KH, KW, C, O] = w.shape as readonly [number, number, number, number];
  if (w.shape.length !== 4 || C !== x.shape[3])
    throw new ShapeError(
      `conv2d: got ${formatSpec(x)} and weights ${formatSpec(w)}; expected [KH, KW, ${x.shape[3]}, O].`,
    );
  const patches = windows("conv2d", x, [KH, KW], options);
  const [B, OH, OW] = patches.shape as readonly [number, number, number];
  const y = matmul(reshape(patches, [B * OH * OW, KH * KW * C]), reshape(w, [KH * KW * C, O]));
  return reshape(bias === undefined ? y : add(y, bias), [B, OH, OW, O]);
}

/** {@link conv2d} of one row: x [B, L, C], weights [K, C, O]; gives [B, OL, O]. */
export function conv1d(
  value: TensorLike,
  weights: TensorLike,
  {
    stride = 1,
    padding = 0,
    dilation = 1,
    bias,
  }: {
    readonly stride?: number;
    readonly padding?: number;
    readonly dilation?: number;
    readonly bias?: TensorLike;
  } = {},
): Tensor {
  const [x, w] = [asTensor(value), asTensor(weights)];
  if (x.shape.length !== 3 || w.shape.length !== 3)
    throw new ShapeError(
      `conv1d: got ${formatSpec(x)} and weights ${formatSpec(w)}; expected [B, L, C] and [K, C, O].`,
    );
  const [B, L, C] = x.shape as readonly [number, number, number];
  const y = conv2d(reshape(x, [B, 1, L, C]), reshape(w, [1, ...w.shape]), {
    stride: [1, stride],
    padding: [0, padding],
    dilation: [1, dilation],
    ...(bias !== undefined && { bias }),
  });
  return reshape(y, [B, sizeOf(y.shape.slice(1, 3)), y.shape[3]!]);
}

/** The largest element of each window of x [B, H, W, C], by default side by side; ties share the gradient equally. f32 */
export function maxPool2d(
  value: TensorLike,
  size: number | readonly [number, number],
  stride: WindowOptions["stride"] = size,
): Tensor {
  const patches = windows("maxPool2d", image("maxPool2d", value), both(size), { stride });
  return reduceMax(patches, { axes: [3] });
}

/** The mean of each window of x [B, H, W, C], by default side by side. f32 */
export function avgPool2d(
  value: TensorLike,
  size: number | readonly [number, number],
  stride: WindowOptions["stride"] = size,
): Tensor {
  const patches = windows("avgPool2d", image("avgPool2d", value), both(size), { stride });
  return mean(patches, { axes: [3] });
}
