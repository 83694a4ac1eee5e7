/** Single elements by index. Integers only: no gradients. */
import { gatherPacked } from "../../kernels/gather.js";
import { ShapeError } from "../errors.js";
import { formatSpec, makeTensor, requireDtype, sizeOf, type Operation, type Tensor } from "../tensor.js";
import { type TensorLike, asTensor } from "../trace.js";

/** Bits of an element in a packed table. */
export type PackedBits = 8 | 16 | 32;

const takePackedOperation: Operation<{ elements: number; bits: PackedBits }> = {
  name: "takePacked",
  kind: "kernel",
  lower({ attributes: { elements, bits }, outputs: [y], capabilities }) {
    return gatherPacked({ count: sizeOf(y!.shape), elements, bits }, capabilities);
  },
};

/**
 * Elements at `indices` [...] (i32) of `table` (u32 [ceil(elements bits / 32)]). The table packs signed integers of 8 or 16
 * bits, the first in the lowest bits of a word, or holds 32-bit integers. An index outside 0..elements-1 yields 0.
 * @returns i32 [...]
 */
export function takePacked(
  table: TensorLike,
  indices: TensorLike,
  { elements, bits }: { readonly elements: number; readonly bits: PackedBits },
): Tensor {
  const [t, i] = [asTensor(table), asTensor(indices)];
  requireDtype("takePacked table", t, "u32");
  requireDtype("takePacked indices", i, "i32");
  const words = Math.ceil((elements * bits) / 32);
  if (t.size !== words)
    throw new ShapeError(`takePacked: got a table ${formatSpec(t)}; expected ${words} words.`);
  return makeTensor(takePackedOperation, [t, i], { elements, bits }, i.shape, "i32");
}
