/** Rows written over rows of a variable, by index. No gradients. */
import { putRows as putRowsKernel } from "../../kernels/put_rows.js";
import { makeNode, requireDtype, requireShape, sizeOf, type Operation } from "../tensor.js";
import { asTensor, assign, type TensorLike } from "../trace.js";
import type { Variable } from "../variable.js";

const putRowsOperation: Operation<null> = {
  name: "putRows",
  kind: "kernel",
  lower({ inputs: [table, indices], capabilities }) {
    const [tableRows, ...row] = table!.shape;
    const rows = indices!.shape[0]!;
    const spec = { rows, size: sizeOf(row), tableRows: tableRows!, dtype: table!.dtype };
    const kernel = putRowsKernel(spec, capabilities);
    return {
      dispatches: [{ kernel, bind: [{ output: 0 }, { input: 1 }, { input: 2 }] }],
      inPlace: [[0, 0]],
    };
  },
};

/**
 * Writes `rows` [N, row] over the rows of `table` [V, row] at `indices` (i32 [N]), in place. Other rows stay as they are, and
 * an index outside 0..V-1 writes nothing. Indices in that range must differ.
 * @throws ShapeError, DtypeError
 */
export function putRows(table: Variable, indices: TensorLike, rows: TensorLike): void {
  const inputs = [asTensor(table), asTensor(indices), asTensor(rows)] as const;
  requireDtype("putRows indices", inputs[1], "i32");
  requireDtype("putRows rows", inputs[2], table.dtype);
  const { shape, dtype } = table;
  requireShape("putRows rows", inputs[2], [inputs[1].size, ...shape.slice(1)]);
  assign(table, makeNode(putRowsOperation, inputs, null, [{ shape, dtype }]).outputs[0]!);
}
