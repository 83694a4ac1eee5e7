/** Rows looked up by index, as inference needs it. embedding.ts has the gradient. */
import { gatherRows } from "../../kernels/embedding.js";
import { ShapeError } from "../errors.js";
import { formatSpec, makeTensor, requireDtype, sizeOf, type Operation, type Tensor } from "../tensor.js";
import { type TensorLike, asTensor } from "../trace.js";

export const takeRowsOperation: Operation<null> = {
  name: "takeRows",
  kind: "kernel",
  lower({ inputs: [table, indices], capabilities }) {
    const [tableRows, ...row] = table!.shape;
    const spec = {
      rows: sizeOf(indices!.shape),
      size: sizeOf(row),
      tableRows: tableRows!,
      dtype: table!.dtype,
    };
    return gatherRows(spec, capabilities);
  },
};

/**
 * Rows of `table` [V, ...] at `indices` [...] (i32); an index outside 0..V-1 yields a row of zeros.
 * @returns [...indices, ...row]
 */
export function takeRows(table: TensorLike, indices: TensorLike): Tensor {
  const [t, i] = [asTensor(table), asTensor(indices)];
  requireDtype("takeRows indices", i, "i32");
  if (t.shape.length < 2)
    throw new ShapeError(`takeRows: got a table ${formatSpec(t)}; expected at least two dimensions.`);
  return makeTensor(takeRowsOperation, [t, i], null, [...i.shape, ...t.shape.slice(1)], t.dtype);
}
