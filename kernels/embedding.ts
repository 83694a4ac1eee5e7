/**
 * Rows of a table by index, and its transpose for the gradient:
 *
 *   gather:       y[n] = table[indices[n]]                       (zeros if the index is out of range)
 *   scatter-add:  d_table[v] = sum of dy[n] over n with indices[n] = v
 *
 * WGSL has no float atomics, and their order would vary. A thread makes elements of d_table by searching all indices, and
 * adds in ascending n. A small table would keep few threads of a GPU busy: there 64 threads share an element. Each
 * searches every 64th index, and a tree adds their sums. The shape fixes the order in both cases.
 */
import { requireBindable, requirePositive, type Dtype, type Kernel } from "./core/kernel.js";
import type { Capabilities } from "./capabilities.js";
import {
  bindingsOf,
  linearDispatch,
  linearThreads,
  lines,
  repeat,
  shader,
  typeName,
  type ShaderBinding,
} from "./core/wgsl.js";

/** A lookup of rows in a table. */
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
  /** Type of the elements. */
  readonly dtype: Dtype;
}

/** Bindings: table [V, D], indices i32 [N], y [N, D]. An index outside [0, V) yields a row of zeros. */
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
  // A lookup reads only the part of the table that it returns.
  const bytes = 4 * (rows + rows * size + Math.min(rows, tableRows) * size);
  return { name, code, bindings: bindingsOf(bindings), workgroups, flops: 0, bytes };
}

/** If {@link scatterAddRows} shares an element among threads: threads per element, and vectors per workgroup. */
const SHARERS = 64;
const COLUMNS = 4;
/** Rows that a sharing thread loads before it adds them, so that it waits for memory once. */
const AHEAD = 8;
/** A table with this many vectors has enough threads for a GPU without sharing. */
const MANY_VECTORS = 131072;

/** Bindings: dy [N, D], indices i32 [N], d_table [V, D]. Indices outside [0, V) add to nothing. */
export function scatterAddRows(spec: EmbeddingSpec, capabilities: Capabilities): Kernel {
  const { rows, size, tableRows } = spec;
  const family = `scatter_add_rows_${rows}x${size}_to_${tableRows}`;
  const { width, vectors, workgroupSize } = prepare(family, spec, capabilities);
  const shared = !capabilities.software && rows >= SHARERS && tableRows * vectors < MANY_VECTORS;
  const name = shared ? `${family}_shared` : family;
  const bindings: ShaderBinding[] = [
    { name: "dy", access: "read", dtype: "f32", width },
    { name: "indices", access: "read", dtype: "i32" },
    { name: "d_table", access: "read_write", dtype: "f32", width },
  ];
  const type = typeName("f32", width);
  const add = (to: string, n: string): string =>
    `if (indices[${n}] == row) { ${to} dy[${n} * ${vectors}u + column]; }`;
  const bytes = 4 * (rows + rows * size + tableRows * size);
  const kernel = { name, bindings: bindingsOf(bindings), flops: rows * size, bytes };
  if (!shared) {
    const { workgroups, prologue } = linearThreads(name, tableRows * vectors, workgroupSize, capabilities);
    const body = lines(
      prologue,
      `let row = i32(index / ${vectors}u);`,
      `let column = index % ${vectors}u;`,
      `var total = ${type}();`,
      `for (var n = 0u; n < ${rows}u; n++) {`,
      add("total +=", "n"),
      "}",
      "d_table[index] = total;",
    );
    return { ...kernel, code: shader({ bindings, workgroupSize, body }), workgroups };
  }
  const blocks = Math.ceil(vectors / COLUMNS);
  const lanes = SHARERS * COLUMNS;
  const step = SHARERS * AHEAD;
  const { workgroups, group } = linearDispatch(name, tableRows * blocks, capabilities);
  const body = lines(
    `let group = ${group};`,
    `if (group >= ${tableRows * blocks}u) { return; }`,
    `let row = i32(group / ${blocks}u);`,
    `let column = group % ${blocks}u * ${COLUMNS}u + lane % ${COLUMNS}u;`,
    `let inside = column < ${vectors}u;`,
    `var total = ${type}();`,
    "if (inside) {",
    `var n = lane / ${COLUMNS}u;`,
    `for (; n < ${rows - (rows % step)}u; n += ${step}u) {`,
    repeat(AHEAD, (i) => `var d${i} = ${type}();`),
    repeat(AHEAD, (i) => add(`d${i} =`, `(n + ${i * SHARERS}u)`)),
    repeat(AHEAD, (i) => `total += d${i};`),
    "}",
    `for (; n < ${rows}u; n += ${SHARERS}u) {`,
    add("total +=", "n"),
    "}",
    "}",
    "partial[lane] = total;",
    `for (var half = ${lanes / 2}u; half >= ${COLUMNS}u; half /= 2u) {`,
    "workgroupBarrier();",
    "if (lane < half) { partial[lane] += partial[lane + half]; }",
    "}",
    `if (lane < ${COLUMNS}u && inside) { d_table[u32(row) * ${vectors}u + column] = partial[lane]; }`,
  );
  const declarations = `var<workgroup> partial: array<${type}, ${lanes}>;`;
  return { ...kernel, code: shader({ bindings, workgroupSize: lanes, declarations, body }), workgroups };
}

function prepare(name: string, { rows, size, tableRows }: EmbeddingSpec, capabilities: Capabilities) {
  requirePositive(name, { rows, size, tableRows });
  requireBindable(name, { rows: rows * size, table: tableRows * size }, capabilities);
  const width: 1 | 4 = size % 4 === 0 ? 4 : 1;
  return { width, vectors: size / width, workgroupSize: capabilities.software ? 16 : 64 };
}
