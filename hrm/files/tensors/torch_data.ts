/** The data of tensors in a `torch.save` file: storages read once, views checked, and those that are not contiguous gathered. */
import { formatValue } from "../../format_value.js";
import type { ZipEntry } from "../archives/zip.js";
import { DTYPE_BYTES, tensorOf, type SafetensorsTensor } from "./safetensors.js";
import { torchProblem } from "./torch_problem.js";
import { storageWidth, type TensorView } from "./torch_views.js";

/**
 * Reads tensors until all of them together have `budget` bytes: a malicious file could
 * otherwise ask for huge views that repeat a storage, or for huge copies.
 */
export function tensorReader(
  storages: (view: TensorView, tensor: string) => Uint8Array,
  budget: number,
): (name: string, view: TensorView) => SafetensorsTensor {
  let left = budget;
  return (name, tensor) => {
    requireInside(name, tensor);
    const dtype = tensor.dtype!;
    const width = DTYPE_BYTES[dtype];
    const count = elements(tensor.shape);
    if ((left -= count * width) < 0)
      throw torchProblem(
        `its shape ${formatValue(tensor.shape)} asks for far more memory than the file has bytes`,
        {
          tensor: name,
        },
      );
    const data = storages(tensor, name);
    if (!isContiguous(tensor)) return tensorOf(dtype, tensor.shape, gather(tensor, data, width));
    const from = tensor.offset * width;
    return tensorOf(dtype, tensor.shape, data.subarray(from, from + count * width));
  };
}

/** Reads the bytes of storages. Each is read and checked once, and aligned for its elements. */
export function storageReader(
  entries: ReadonlyMap<string, ZipEntry>,
  prefix: string,
): (view: TensorView, tensor: string) => Uint8Array {
  const read = new Map<string, Uint8Array>();
  return ({ storage, dtype }, tensor) => {
    const name = `${prefix}data/${storage.key}`;
    const entry = entries.get(name);
    if (!entry)
      throw torchProblem(`its storage ${formatValue(storage.key)} is not in the archive`, { tensor });
    const expected = storage.count * storageWidth(storage);
    if (entry.size !== expected) {
      throw torchProblem(
        `its storage has ${entry.size} bytes; expected ${expected} for ${storage.count} elements of ${dtype}`,
        {
          tensor,
          offset: entry.offset,
        },
      );
    }
    let bytes = read.get(name);
    if (!bytes) {
      bytes = entry.read();
      if (bytes.byteOffset % 8 !== 0) bytes = bytes.slice();
      read.set(name, bytes);
    }
    return bytes;
  };
}

function requireInside(name: string, { storage, dtype, offset, shape, stride }: TensorView): void {
  const place = { tensor: name };
  if (shape.length !== stride.length)
    throw torchProblem(`its shape has ${shape.length} sizes, its stride ${stride.length}`, place);
  if (!Number.isSafeInteger(elements(shape) * 8))
    throw torchProblem(`its shape is ${formatValue(shape)}`, place);
  const held = Math.floor((storage.count * storageWidth(storage)) / DTYPE_BYTES[dtype!]);
  const last = shape.reduce((sum, n, k) => sum + (n - 1) * stride[k]!, offset);
  if (shape.includes(0) ? offset > held : !(last < held)) {
    throw torchProblem(
      `its shape ${formatValue(shape)} with stride ${formatValue(stride)} from element ${offset} reaches past its storage of ${held} elements`,
      place,
    );
  }
}

function isContiguous({ shape, stride }: TensorView): boolean {
  let expected = 1;
  for (let k = shape.length - 1; k >= 0; k--) {
    if (shape[k] !== 1 && stride[k] !== expected) return shape.includes(0);
    expected *= shape[k]!;
  }
  return true;
}

/** Copies a view's elements in row-major order. */
function gather({ offset, shape, stride }: TensorView, data: Uint8Array, width: number): Uint8Array {
  const count = elements(shape);
  const out = new Uint8Array(count * width);
  const index = new Array<number>(shape.length).fill(0);
  let from = offset;
  for (let i = 0; i < count; i++) {
    for (let b = 0; b < width; b++) out[i * width + b] = data[from * width + b]!;
    for (let k = shape.length - 1; k >= 0; k--) {
      from += stride[k]!;
      if (++index[k]! < shape[k]!) break;
      from -= stride[k]! * shape[k]!;
      index[k] = 0;
    }
  }
  return out;
}

/** Elements of a shape. */
export function elements(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1);
}
