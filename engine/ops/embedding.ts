/** Rows looked up by index, and their gradient: a scatter-add in a fixed order. */
import { scatterAddRows as scatterAddRowsKernel } from "../../kernels/embedding.js";
import {
  giveGradient,
  makeTensor,
  sizeOf,
  type GradientRule,
  type Operation,
  type Shape,
  type Tensor,
} from "../tensor.js";
import type { TensorLike } from "../trace.js";
import { takeRows as lookUp, takeRowsOperation } from "./lookup.js";

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

export const takeRowsRule: GradientRule<null> = ({ inputs: [table, indices], gradients: [dy] }) => [
  scatterAddRows(dy!, indices!, table!.shape),
  null,
];

/**
 * Rows of `table` [V, ...] at `indices` [...] (i32); an index outside 0..V-1 yields a row of zeros.
 * @returns [...indices, ...row]
 */
export function takeRows(table: TensorLike, indices: TensorLike): Tensor {
  giveGradient(takeRowsOperation, takeRowsRule);
  return lookUp(table, indices);
}
