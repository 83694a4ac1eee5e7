/** Rows written over rows of a table, by index. */
import { requireBindable, requirePositive, type Dtype, type Kernel } from "./core/kernel.js";
import type { Capabilities } from "./capabilities.js";
import { bindingsOf, linearThreads, lines, shader, type ShaderBinding } from "./core/wgsl.js";

/** Rows to write. */
export interface PutRowsSpec {
  /** Rows to write: N. */
  readonly rows: number;
  /** Elements of a row: D. */
  readonly size: number;
  /** Rows of the table: V. */
  readonly tableRows: number;
  /** Type of the elements. */
  readonly dtype: Dtype;
}

/**
 * Bindings: table [V, D], changed in place; indices i32 [N]; rows [N, D]. Row n takes the place indices[n]; an index outside
 * [0, V) writes nothing. Indices in [0, V) must differ, or it is not known whose row stays.
 */
export function putRows(spec: PutRowsSpec, capabilities: Capabilities): Kernel {
  const { rows, size, tableRows, dtype } = spec;
  const name = `put_rows_${dtype}_${rows}x${size}_in_${tableRows}`;
  requirePositive(name, { rows, size, tableRows });
  requireBindable(name, { rows: rows * size, table: tableRows * size }, capabilities);
  const width = size % 4 === 0 ? 4 : 1;
  const vectors = size / width;
  const bindings: ShaderBinding[] = [
    { name: "table", access: "read_write", dtype, width },
    { name: "indices", access: "read", dtype: "i32" },
    { name: "rows", access: "read", dtype, width },
  ];
  const workgroupSize = capabilities.software ? 16 : 64;
  const { workgroups, prologue } = linearThreads(name, rows * vectors, workgroupSize, capabilities);
  const body = lines(
    prologue,
    `let row = indices[index / ${vectors}u];`,
    `if (row >= 0 && row < ${tableRows}) {`,
    `table[u32(row) * ${vectors}u + index % ${vectors}u] = rows[index];`,
    "}",
  );
  const code = shader({ bindings, workgroupSize, body });
  const bytes = 4 * (rows + 2 * rows * size);
  return { name, code, bindings: bindingsOf(bindings), workgroups, flops: 0, bytes };
}
