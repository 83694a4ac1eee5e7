/** Arrays from the host: which types are accepted, and the checks that every array passes. */
import type { Dtype, StorageType } from "../kernels/core/kernel.js";
import { ShapeError, UsageError } from "./errors.js";

/** Lengths of the axes, the slowest first; `[]` is a scalar. */
export type Shape = readonly number[];
/** The arrays that tensors are made from: an array of 4-byte elements for each dtype. */
export type TypedArray = Float32Array | Int32Array | Uint32Array;

/** Shape and element type of a tensor. */
export interface TensorSpec<D extends Dtype = Dtype, S extends Shape = Shape> {
  /** Lengths of the axes, the slowest first. */
  readonly shape: S;
  /** Type of the elements. */
  readonly dtype: D;
}

/** The typed array that holds elements of a dtype on the host. */
export type ArrayOf<D extends Dtype> = { f32: Float32Array; i32: Int32Array; u32: Uint32Array }[D];

const ARRAYS = { f32: Float32Array, i32: Int32Array, u32: Uint32Array } as const;

/** The type's name, such as `Float32Array`. It also works for arrays of another window, for which `instanceof` fails. */
const kindOf = (value: unknown): string => Object.prototype.toString.call(value).slice(8, -1);

/** A value for a message, in a few words: `Uint8Array(4)`, `Array(3)`, `null`, `string`. */
export function described(value: unknown): string {
  if (ArrayBuffer.isView(value) || Array.isArray(value)) {
    const { length, byteLength } = value as unknown as { length?: number; byteLength: number };
    return `${kindOf(value)}(${length ?? byteLength})`;
  }
  return value === null ? "null" : typeof value === "number" ? String(value) : typeof value;
}

/**
 * The dtype that a typed array stands for.
 * @throws UsageError for every other array and value: their bytes would be read as packed words
 */
export function dtypeOf(data: TypedArray, where: string): Dtype {
  const kind = kindOf(data);
  for (const dtype of Object.keys(ARRAYS) as Dtype[]) if (ARRAYS[dtype].name === kind) return dtype;
  throw new UsageError(
    `${where}: got ${described(data)}; expected a Float32Array, Int32Array or Uint32Array. ` +
      `Convert the values, for example with Int32Array.from(data).`,
  );
}

/** Wraps bytes as the typed array of a dtype; f16 comes as words of two numbers, the first in the lower bits. */
export function typedArray(dtype: StorageType, data: ArrayBuffer): TypedArray {
  return new (dtype === "f16" ? Uint32Array : ARRAYS[dtype])(data);
}

/** Number of elements of a shape: the product of its lengths. */
export function sizeOf(shape: Shape): number {
  return shape.reduce((product, n) => product * n, 1);
}

/** `f32[32, 64]` */
export function formatSpec({ dtype, shape }: TensorSpec): string {
  return `${dtype}${formatShape(shape)}`;
}

/** Dimensions that messages show at most: someone may have passed an array of data for a shape. */
const MOST_DIMENSIONS = 8;

/** `[32, 64]` */
export function formatShape(shape: Shape): string {
  const more = shape.length - MOST_DIMENSIONS;
  return `[${shape.slice(0, MOST_DIMENSIONS).join(", ")}${more > 0 ? `, ... ${more} more` : ""}]`;
}

/** Throws ShapeError unless the shape is a list of positive integers. */
export function checkShape(shape: Shape, where: string): void {
  if (!Array.isArray(shape))
    throw new ShapeError(`${where}: got shape ${described(shape)}; expected a list.`);
  if (!shape.every((n) => Number.isInteger(n) && n > 0)) {
    throw new ShapeError(`${where}: shape ${formatShape(shape)} must consist of positive integers.`);
  }
}

/** Throws unless the value is a shape with a dtype. */
export function checkSpec(spec: TensorSpec, where: string): void {
  if (typeof spec !== "object" || spec === null || !Object.hasOwn(ARRAYS, spec.dtype))
    throw new UsageError(
      `${where}: got ${described(spec)}; expected a shape with a dtype, such as f32(2, 3), i32(4) or u32(1).`,
    );
  checkShape(spec.shape, where);
}

/** Throws UsageError unless `data` fits the spec exactly. */
export function requireData(where: string, data: TypedArray, spec: TensorSpec): void {
  if (dtypeOf(data, where) !== spec.dtype || data.length !== sizeOf(spec.shape)) {
    throw new UsageError(
      `${where}: got ${described(data)}; expected ${sizeOf(spec.shape)} elements for ${formatSpec(spec)}.`,
    );
  }
}

/** The same numbers in memory that WebGPU accepts: a copy if their memory is shared between threads or can be resized. */
export function uploadable(data: TypedArray): TypedArray {
  const buffer: ArrayBufferLike & { readonly resizable?: boolean } = data.buffer;
  const copied = kindOf(buffer) === "SharedArrayBuffer" || buffer.resizable === true;
  return copied ? data.slice() : data;
}

/** A list of numbers as f32. @throws UsageError for elements that are not numbers, or too large for f32 */
export function f32From(values: readonly number[], where: string): Float32Array {
  values.forEach((value, i) => {
    if (typeof value !== "number" || (Number.isFinite(value) && !Number.isFinite(Math.fround(value))))
      throw new UsageError(`${where}: element ${i} is ${described(value)}; expected a number that fits f32.`);
  });
  return Float32Array.from(values);
}
