/** Rows looked up by index, and their gradient: a scatter-add in a fixed order. */
import { gatherRows, scatterAddRows as scatterAddRowsKernel } from "../../kernels/embedding.js";
import { ShapeError } from "../errors.js";
import {
  formatSpec,
  makeTensor,
  requireDtype,
  sizeOf,
  type Operation,
  type Shape,
  type Tensor,
} from "../tensor.js";
import { type TensorLike, asTensor } from "../trace.js";

const takeRowsOperation: Operation<null> = {
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
  gradient: ({ inputs: [table, indices], gradients: [dy] }) => [
    scatterAddRows(dy!, indices!, table!.shape),
    null,
  ],
};

const scatterAddOperation: Operation<null> = {
  name: "scatterAddRows",
  kind: "kernel",
  lower({ inputs: [, indices], outputs: [table], capabilities }) {
    const [tableRows, ...row] = table!.shape;
    const spec = { rows: sizeOf(indices!.shape), size: sizeOf(row), tableRows: tableRows! };
    return scatterAddRowsKernel(spec, capabilities);
  },
  gradient: ({ inputs: [, indices], gradients: [dTable] }) => [takeRows(dTable!, indices!), null],
};

/**
 * Rows [..., row] added up in a table [V, row] of zeros at `indices` [...] (i32), in the order of the rows; those with an
 * index outside 0..V-1 are left out. f32
 */
export function scatterAddRows(rows: Tensor, indices: Tensor, shape: Shape): Tensor {
  return makeTensor(scatterAddOperation, [rows, indices], null, shape, "f32");
}

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
