/**
 * Rows of a table by index, and its transpose for the gradient:
 *
 *   gather:       y[n] = table[indices[n]]                       (zeros where the index is out of range)
 *   scatter-add:  d_table[v] = sum of dy[n] over n with indices[n] = v
 *
 * WGSL has no float atomics, and their order would vary: each element of d_table looks through all indices
 * and adds in ascending n.
 */
import { requireBindable, requirePositive, type Capabilities, type Dtype, type Kernel } from "./kernel.js";
import { bindingsOf, linearThreads, lines, shader, typeName, type ShaderBinding } from "./wgsl.js";

export interface EmbeddingSpec {
  /** Rows to look up: N. */
  readonly rows: number;
  /** Elements of a row: D. */
  readonly size: number;
  /** Rows of the table: V. */
  readonly tableRows: number;
}

/** A {@link EmbeddingSpec} for tables of any dtype. */
export interface GatherSpec extends EmbeddingSpec {
  readonly dtype: Dtype;
}

/** Bindings: table [V, D], indices i32 [N], y [N, D]. An index outside [0, V) gives a row of zeros. */
export function gatherRows(spec: GatherSpec, capabilities: Capabilities): Kernel {
  const { rows, size, tableRows, dtype } = spec;
  const name = `gather_rows_${dtype}_${rows}x${size}_of_${tableRows}`;
  const { width, vectors, workgroupSize } = prepare(name, spec, capabilities);
  const bindings: ShaderBinding[] = [
    { name: "table", access: "read", dtype, width },
    { name: "indices", access: "read", dtype: "i32" },
    { name: "y", access: "read_write", dtype, width },
  ];
  const { workgroups, prologue } = linearThreads(name, rows * vectors, workgroupSize, capabilities);
  const body = lines(
    prologue,
    `let source = indices[index / ${vectors}u];`,
    `var value = ${typeName(dtype, width)}();`,
    `if (source >= 0 && source < ${tableRows}) {`,
    `value = table[u32(source) * ${vectors}u + index % ${vectors}u];`,
    "}",
    "y[index] = value;",
  );
  const code = shader({ bindings, workgroupSize, body });
  // A lookup reads no more of the table than it returns.
  const bytes = 4 * (rows + rows * size + Math.min(rows, tableRows) * size);
  return { name, code, bindings: bindingsOf(bindings), workgroups, flops: 0, bytes };
}

/** Bindings: dy [N, D], indices i32 [N], d_table [V, D]. Indices outside [0, V) add to nothing. */
export function scatterAddRows(spec: EmbeddingSpec, capabilities: Capabilities): Kernel {
  const { rows, size, tableRows } = spec;
  const name = `scatter_add_rows_${rows}x${size}_to_${tableRows}`;
  const { width, vectors, workgroupSize } = prepare(name, spec, capabilities);
  const bindings: ShaderBinding[] = [
    { name: "dy", access: "read", dtype: "f32", width },
    { name: "indices", access: "read", dtype: "i32" },
    { name: "d_table", access: "read_write", dtype: "f32", width },
  ];
  const { workgroups, prologue } = linearThreads(name, tableRows * vectors, workgroupSize, capabilities);
  const body = lines(
    prologue,
    `let row = i32(index / ${vectors}u);`,
    `let column = index % ${vectors}u;`,
    `var total = ${typeName("f32", width)}();`,
    `for (var n = 0u; n < ${rows}u; n++) {`,
    `if (indices[n] == row) { total += dy[n * ${vectors}u + column]; }`,
    "}",
    "d_table[index] = total;",
  );
  const code = shader({ bindings, workgroupSize, body });
  const bytes = 4 * (rows + rows * size + tableRows * size);
  return { name, code, bindings: bindingsOf(bindings), workgroups, flops: rows * size, bytes };
}

function prepare(name: string, { rows, size, tableRows }: EmbeddingSpec, capabilities: Capabilities) {
  requirePositive(name, { rows, size, tableRows });
  requireBindable(name, { rows: rows * size, table: tableRows * size }, capabilities);
  const width: 1 | 4 = size % 4 === 0 ? 4 : 1;
  return { width, vectors: size / width, workgroupSize: capabilities.software ? 16 : 64 };
}
