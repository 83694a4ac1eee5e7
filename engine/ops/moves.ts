/** Operations that move elements: slices, transposes, concatenation. layout.ts has the gradients of slices and concatenation. */
import { concat as concatKernel, stridedCopy } from "../../kernels/layout.js";
import { ShapeError } from "../errors.js";
import { formatSpec, makeTensor, sizeOf, type Operation, type Shape, type Tensor } from "../tensor.js";
import { type TensorLike, asTensor } from "../trace.js";

/** Row-major strides in elements. */
function stridesOf(shape: Shape): number[] {
  return shape.map((_, k) => sizeOf(shape.slice(k + 1)));
}

function strided(
  input: Tensor | { shape: Shape; dtype: Tensor["dtype"] },
  shape: Shape,
  strides: readonly number[],
  offset: number,
) {
  return {
    shape: [...shape],
    strides: [...strides],
    offset,
    sourceElements: sizeOf(input.shape),
    dtype: input.dtype,
  };
}

const transposeOperation: Operation<{ permutation: readonly number[] }> = {
  name: "transpose",
  kind: "kernel",
  lower({ attributes: { permutation }, inputs: [x], outputs: [y], capabilities }) {
    const source = stridesOf(x!.shape);
    const spec = strided(
      x!,
      y!.shape,
      permutation.map((k) => source[k]!),
      0,
    );
    return stridedCopy(spec, capabilities);
  },
  gradient({ attributes: { permutation }, gradients: [dy] }) {
    return [
      transpose(
        dy!,
        permutation.map((_, k) => permutation.indexOf(k)),
      ),
    ];
  },
};

/** Reorders the dimensions. By default it swaps the last two. */
export function transpose(x: TensorLike, permutation?: readonly number[]): Tensor {
  const input = asTensor(x);
  const rank = input.shape.length;
  const axes = input.shape.map((_, k) => k);
  const order = permutation ?? [...axes.slice(0, -2), rank - 1, rank - 2];
  if (rank < 2 || order.length !== rank || axes.some((k) => !order.includes(k))) {
    throw new ShapeError(
      `transpose: got ${formatSpec(input)} with permutation [${order.join(", ")}]; expected a permutation of 0..${rank - 1}.`,
    );
  }
  return makeTensor(
    transposeOperation,
    [input],
    { permutation: order },
    order.map((k) => input.shape[k]!),
    input.dtype,
  );
}

export const sliceOperation: Operation<{ start: readonly number[] }> = {
  name: "slice",
  kind: "kernel",
  lower({ attributes: { start }, inputs: [x], outputs: [y], capabilities }) {
    const strides = stridesOf(x!.shape);
    const offset = start.reduce((sum, n, k) => sum + n * strides[k]!, 0);
    return stridedCopy(strided(x!, y!.shape, strides, offset), capabilities);
  },
};

/** The block of `shape` that begins at `start`. */
export function slice(x: TensorLike, start: readonly number[], shape: Shape): Tensor {
  const input = asTensor(x);
  const fits = input.shape.every((n, k) => start[k]! >= 0 && shape[k]! > 0 && start[k]! + shape[k]! <= n);
  if (start.length !== input.shape.length || shape.length !== input.shape.length || !fits) {
    throw new ShapeError(
      `slice: got ${formatSpec(input)} at [${start.join(", ")}] of [${shape.join(", ")}]; expected a block inside the tensor.`,
    );
  }
  return makeTensor(sliceOperation, [input], { start }, shape, input.dtype);
}

export const concatOperation: Operation<{ axis: number }> = {
  name: "concat",
  kind: "kernel",
  lower({ attributes: { axis }, inputs, capabilities }) {
    const { shape, dtype } = inputs[0]!;
    const spec = {
      outer: sizeOf(shape.slice(0, axis)),
      sizes: inputs.map((x) => x.shape[axis]!),
      inner: sizeOf(shape.slice(axis + 1)),
      dtype,
    };
    return concatKernel(spec, capabilities);
  },
};

/** Tensors one after the other along an axis; at most 7. */
export function concat(values: readonly TensorLike[], axis: number): Tensor {
  const inputs = values.map((v) => asTensor(v));
  const first = inputs[0];
  const fits =
    first &&
    inputs.every(
      (x) =>
        x.dtype === first.dtype &&
        x.shape.length === first.shape.length &&
        x.shape.every((n, k) => k === axis || n === first.shape[k]),
    );
  if (!fits || axis < 0 || axis >= first.shape.length || inputs.length > 7) {
    throw new ShapeError(
      `concat: got ${inputs.map(formatSpec).join(", ")} along axis ${axis}; expected 1 to 7 tensors equal but for that axis.`,
    );
  }
  if (inputs.length === 1) return first;
  const shape = first.shape.map((n, k) =>
    k === axis ? inputs.reduce((total, x) => total + x.shape[k]!, 0) : n,
  );
  return makeTensor(concatOperation, inputs, { axis }, shape, first.dtype);
}
