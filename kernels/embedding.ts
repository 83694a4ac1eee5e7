/**
 * Rows of a table by index, and its transpose for the gradient:
 *
 *   gather:       y[n] = table[indices[n]]                       (zeros where the index is out of range)
 *   scatter-add:  d_table[v] = sum of dy[n] over n with indices[n] = v
 *
 * WGSL has no float atomics, and their order would vary. A thread makes elements of d_table by looking through all
 * indices, and adds in ascending n; small tables on GPUs, which would keep few threads busy, have 64 threads look for
 * an element, each through every 64th index, whose sums meet in a tree. Either order is fixed by the shape.
 */
import { requireBindable, requirePositive, type Capabilities, type Dtype, type Kernel } from "./kernel.js";
import {
  bindingsOf,
  linearDispatch,
  linearThreads,
  lines,
  repeat,
  shader,
  typeName,
  type ShaderBinding,
} from "./wgsl.js";

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

/** Where {@link scatterAddRows} shares an element among threads: as many, for so many neighbouring vectors a workgroup. */
const SHARERS = 64;
const COLUMNS = 4;
/** Rows that one of the sharers looks at before it adds any, so that it waits for memory once. */
const AHEAD = 8;
/** Vectors of a table that give a GPU enough threads of their own. */
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
  const { code, workgroups } = shared
    ? scatterShared(name, spec, bindings, vectors, capabilities)
    : scatterAlone(name, spec, bindings, vectors, workgroupSize, capabilities);
  const bytes = 4 * (rows + rows * size + tableRows * size);
  return { name, code, bindings: bindingsOf(bindings), workgroups, flops: rows * size, bytes };
}

function scatterAlone(
  name: string,
  { rows, tableRows }: EmbeddingSpec,
  bindings: readonly ShaderBinding[],
  vectors: number,
  workgroupSize: number,
  capabilities: Capabilities,
): Pick<Kernel, "code" | "workgroups"> {
  const { workgroups, prologue } = linearThreads(name, tableRows * vectors, workgroupSize, capabilities);
  const body = lines(
    prologue,
    `let row = i32(index / ${vectors}u);`,
    `let column = index % ${vectors}u;`,
    `var total = ${typeName("f32", bindings[0]!.width)}();`,
    `for (var n = 0u; n < ${rows}u; n++) {`,
    `if (indices[n] == row) { total += dy[n * ${vectors}u + column]; }`,
    "}",
    "d_table[index] = total;",
  );
  return { code: shader({ bindings, workgroupSize, body }), workgroups };
}

function scatterShared(
  name: string,
  { rows, tableRows }: EmbeddingSpec,
  bindings: readonly ShaderBinding[],
  vectors: number,
  capabilities: Capabilities,
): Pick<Kernel, "code" | "workgroups"> {
  const type = typeName("f32", bindings[0]!.width);
  const blocks = Math.ceil(vectors / COLUMNS);
  const { workgroups, group } = linearDispatch(name, tableRows * blocks, capabilities);
  const step = SHARERS * AHEAD;
  const whole = rows - (rows % step);
  const body = lines(
    `let group = ${group};`,
    `if (group >= ${tableRows * blocks}u) { return; }`,
    `let row = i32(group / ${blocks}u);`,
    `let column = group % ${blocks}u * ${COLUMNS}u + lane % ${COLUMNS}u;`,
    `let inside = column < ${vectors}u;`,
    `let first = lane / ${COLUMNS}u;`,
    `var total = ${type}();`,
    "if (inside) {",
    whole > 0 && [
      `for (var n = first; n < ${whole}u; n += ${step}u) {`,
      repeat(AHEAD, (i) => `var d${i} = ${type}();`),
      repeat(AHEAD, (i) => {
        const at = `(n + ${i * SHARERS}u)`;
        return `if (indices[${at}] == row) { d${i} = dy[${at} * ${vectors}u + column]; }`;
      }),
      repeat(AHEAD, (i) => `total += d${i};`),
      "}",
    ],
    whole < rows && [
      `for (var n = ${whole}u + first; n < ${rows}u; n += ${SHARERS}u) {`,
      `if (indices[n] == row) { total += dy[n * ${vectors}u + column]; }`,
      "}",
    ],
    "}",
    "partial[lane] = total;",
    `for (var half = ${(SHARERS * COLUMNS) / 2}u; half >= ${COLUMNS}u; half /= 2u) {`,
    "workgroupBarrier();",
    "if (lane < half) { partial[lane] += partial[lane + half]; }",
    "}",
    `if (lane < ${COLUMNS}u && inside) { d_table[u32(row) * ${vectors}u + column] = partial[lane]; }`,
  );
  const workgroupSize = SHARERS * COLUMNS;
  const declarations = `var<workgroup> partial: array<${type}, ${workgroupSize}>;`;
  return { code: shader({ bindings, workgroupSize, declarations, body }), workgroups };
}

function prepare(name: string, { rows, size, tableRows }: EmbeddingSpec, capabilities: Capabilities) {
  requirePositive(name, { rows, size, tableRows });
  requireBindable(name, { rows: rows * size, table: tableRows * size }, capabilities);
  const width: 1 | 4 = size % 4 === 0 ? 4 : 1;
  return { width, vectors: size / width, workgroupSize: capabilities.software ? 16 : 64 };
}
