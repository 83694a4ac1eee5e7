/**
 * Matmul on subgroup matrices (tensor cores), the experimental WGSL extension: tiles of a and b are rounded to the
 * matrices' component type as they are staged in workgroup memory, products of it are summed in f32. Storage stays f32.
 */
import { KernelError } from "./kernel.js";
import {
  addends,
  ENOUGH_WORKGROUPS,
  inVectors,
  productBindings,
  widthOf,
  type NamedVariant,
  type Product,
  type Variant,
} from "./matmul_product.js";
import { linearDispatch, lines, literal, repeat, shader } from "./wgsl.js";

/** Shapes that a device multiplies: left M x K and right K x N of `component`, result M x N in f32. */
export interface SubgroupMatrices {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly component: "f16" | "f32";
  /** Threads of every subgroup. */
  readonly subgroupSize: number;
}

/** What a workgroup computes, counted in subgroup matrices. */
interface MatrixTile {
  /** Result matrices of a subgroup. */
  readonly rows: number;
  readonly columns: number;
  /** Subgroups of a workgroup. */
  readonly subgroupRows: number;
  readonly subgroupColumns: number;
  /** Matrices along k that are staged at a time. */
  readonly depth: number;
}

const TILES: readonly MatrixTile[] = [
  { rows: 4, columns: 4, subgroupRows: 2, subgroupColumns: 2, depth: 2 },
  { rows: 2, columns: 4, subgroupRows: 2, subgroupColumns: 2, depth: 2 },
  { rows: 2, columns: 4, subgroupRows: 4, subgroupColumns: 2, depth: 2 },
  { rows: 2, columns: 2, subgroupRows: 2, subgroupColumns: 2, depth: 2 },
  { rows: 1, columns: 1, subgroupRows: 2, subgroupColumns: 2, depth: 2 },
];
/** Elements between the staged rows' ends and the next row, which spread rows over the banks of the memory. */
const PADDING = 8;

/**
 * Gradients of a mean over many tokens are small numbers, of which f16 keeps fewer digits below 2^-14 and none below
 * 2^-25: the operand that is a gradient is multiplied by this as it is rounded, the sum divided by it. Larger ones than
 * 65504 / 2^12 become infinite, and with them the result.
 */
export const GRADIENT_SCALE = 2 ** 12;

/** Tiles that this device allows, the default first; none for products that are smaller than one matrix. */
export function matrixVariants(product: Product, matrices: SubgroupMatrices): NamedVariant[] {
  const { M, N, K, batch, capabilities } = product;
  if (M < matrices.M || N < matrices.N || K < matrices.K) return [];
  const { maxComputeInvocationsPerWorkgroup: threads, maxComputeWorkgroupStorageSize: bytes } = capabilities;
  const allowed = TILES.filter((tile) => {
    const { threads: wanted, stagedA, stagedB, scratch } = layoutOf(product, matrices, tile);
    const componentBytes = matrices.component === "f16" ? 2 : 4;
    return wanted <= threads && componentBytes * (stagedA + stagedB) + 4 * scratch <= bytes;
  });
  const enough = (tile: MatrixTile) => {
    const { rows, columns } = layoutOf(product, matrices, tile);
    return Math.ceil(M / rows) * Math.ceil(N / columns) * batch >= ENOUGH_WORKGROUPS;
  };
  // Compiling a large tile for a CPU takes longer than it saves.
  const first = capabilities.software ? -1 : allowed.findIndex(enough);
  const preferred = allowed.at(first);
  const ordered = preferred ? [preferred, ...allowed.filter((tile) => tile !== preferred)] : [];
  return ordered.map((tile) => {
    const { rows, columns, depth } = layoutOf(product, matrices, tile);
    const subgroups = `${tile.subgroupRows}x${tile.subgroupColumns}`;
    return {
      name: `m${rows}x${columns}x${depth}_${subgroups}_${matrices.component}`,
      build: () => build(product, matrices, tile),
    };
  });
}

function layoutOf({ layout }: Product, matrices: SubgroupMatrices, tile: MatrixTile) {
  const rows = tile.rows * tile.subgroupRows * matrices.M;
  const columns = tile.columns * tile.subgroupColumns * matrices.N;
  const depth = tile.depth * matrices.K;
  const subgroups = tile.subgroupRows * tile.subgroupColumns;
  // Staged as it lies in memory: rows of k, or rows of m (or n).
  const alongKA = layout !== "tn";
  const alongKB = layout === "nt";
  const strideA = (alongKA ? depth : rows) + PADDING;
  const strideB = (alongKB ? depth : columns) + PADDING;
  return {
    ...{ rows, columns, depth, alongKA, alongKB, strideA, strideB },
    stagedA: strideA * (alongKA ? rows : depth),
    stagedB: strideB * (alongKB ? columns : depth),
    scratch: subgroups * matrices.M * matrices.N,
    threads: subgroups * matrices.subgroupSize,
  };
}

function build(product: Product, matrices: SubgroupMatrices, tile: MatrixTile): Variant {
  const { name, layout, M, N, K, batch, gradient, capabilities } = product;
  const { component, subgroupSize } = matrices;
  const { rows, columns, depth, alongKA, alongKB, strideA, strideB, stagedA, stagedB, scratch, threads } =
    layoutOf(product, matrices, tile);
  if (matrices.M % 4 || matrices.N % 4 || matrices.K % 4)
    throw new KernelError(
      name,
      `subgroup matrices of ${matrices.M}x${matrices.N}x${matrices.K}`,
      "multiples of 4",
    );
  const tilesM = Math.ceil(M / rows);
  const tilesN = Math.ceil(N / columns);
  const count = tilesM * tilesN * batch;
  const { workgroups, group } = linearDispatch(name, count, capabilities);
  const widthA = widthOf(layout === "tn" ? M : K);
  const widthB = widthOf(layout === "nt" ? K : N);
  const widthC = widthOf(N);
  const bindings = productBindings(product, widthA, widthB, widthC);

  /** Stages a tile quad by quad, each 4 neighbours in memory, zero outside the matrix. */
  const stage = (matrix: "a" | "b") => {
    const [alongK, size, extent, width, stride] =
      matrix === "a" ? [alongKA, M, rows, widthA, strideA] : [alongKB, N, columns, widthB, strideB];
    const first = matrix === "a" ? "m0" : "n0";
    const [length, outerStart, outerLimit, innerStart, innerLimit, outerExtent] = alongK
      ? [depth, first, size, "k0", K, extent]
      : [extent, "k0", K, first, size, depth];
    const quads = length / 4;
    const at = `(batch * ${outerLimit}u + outer) * ${innerLimit / width}u + ${width === 4 ? "inner / 4u" : "inner"}`;
    const scaled = gradient === matrix && component === "f16" ? ` * ${literal(GRADIENT_SCALE)}` : "";
    return lines(
      `for (var item = lane; item < ${outerExtent * quads}u; item += ${threads}u) {`,
      `let quad = item % ${quads}u;`,
      `let row = item / ${quads}u;`,
      `let outer = ${outerStart} + row;`,
      `let inner = ${innerStart} + quad * 4u;`,
      "var value = vec4f();",
      `if (outer < ${outerLimit}u) {`,
      width === 4
        ? `if (inner < ${innerLimit}u) { value = ${matrix}[${at}]; }`
        : repeat(
            4,
            (q) => `if (inner + ${q}u < ${innerLimit}u) { value.${"xyzw"[q]} = ${matrix}[${at} + ${q}u]; }`,
          ),
      "}",
      `let rounded = vec4<${component}>(value${scaled});`,
      repeat(4, (q) => `tile_${matrix}[row * ${stride}u + quad * 4u + ${q}u] = rounded.${"xyzw"[q]};`),
      "}",
    );
  };
  const left = `subgroup_matrix_left<${component}, ${matrices.K}, ${matrices.M}>`;
  const right = `subgroup_matrix_right<${component}, ${matrices.N}, ${matrices.K}>`;
  const result = `subgroup_matrix_result<f32, ${matrices.N}, ${matrices.M}>`;
  const offset = (alongK: boolean, stride: number, i: string, k: number) =>
    alongK ? `(${i}) * ${stride}u + ${k}u` : `${k * stride}u + ${i}`;
  const eachResult = (text: (i: number, j: number) => string) =>
    repeat(tile.rows, (i) => repeat(tile.columns, (j) => text(i, j)));
  const unscaled = gradient && component === "f16" ? ` * ${literal(1 / GRADIENT_SCALE)}` : "";
  const quadsOfResult = (matrices.M * matrices.N) / 4;
  const store = (i: number, j: number) => {
    const element = (q: number) => `scratch[corner + item * 4u + ${q}u]`;
    const at = `(batch * ${M}u + row) * ${N / widthC}u + ${inVectors("column", widthC)}`;
    return lines(
      `subgroupMatrixStore<row_major>(&scratch, corner, c${i}_${j}, ${matrices.N}u);`,
      "workgroupBarrier();",
      `for (var item = thread; item < ${quadsOfResult}u; item += ${subgroupSize}u) {`,
      `let row = m0 + first_row + ${i * matrices.M}u + item / ${matrices.N / 4}u;`,
      `let column = n0 + first_column + ${j * matrices.N}u + item % ${matrices.N / 4}u * 4u;`,
      `if (row < ${M}u) {`,
      widthC === 4
        ? `if (column < ${N}u) { c[${at}] = vec4f(${[0, 1, 2, 3].map(element).join(", ")})${unscaled}${addends(product, at, "column / 4u")}; }`
        : repeat(
            4,
            (q) =>
              `if (column + ${q}u < ${N}u) { c[${at} + ${q}u] = ${element(q)}${unscaled}${addends(product, `${at} + ${q}u`, `column + ${q}u`)}; }`,
          ),
      "}",
      "}",
      "workgroupBarrier();",
    );
  };
  const body = lines(
    `let group = ${group};`,
    `if (group >= ${count}u) { return; }`,
    `let n0 = (group % ${tilesN}u) * ${columns}u;`,
    `let m0 = (group / ${tilesN}u % ${tilesM}u) * ${rows}u;`,
    `let batch = group / ${tilesN * tilesM}u;`,
    `let thread = lane % ${subgroupSize}u;`,
    `let subgroup = lane / ${subgroupSize}u;`,
    `let first_row = subgroup / ${tile.subgroupColumns}u * ${tile.rows * matrices.M}u;`,
    `let first_column = subgroup % ${tile.subgroupColumns}u * ${tile.columns * matrices.N}u;`,
    eachResult((i, j) => `var c${i}_${j} = ${result}();`),
    `for (var k0 = 0u; k0 < ${K}u; k0 += ${depth}u) {`,
    stage("a"),
    stage("b"),
    "workgroupBarrier();",
    repeat(tile.depth, (d) =>
      lines(
        repeat(
          tile.rows,
          (i) =>
            `let a${d}_${i} = subgroupMatrixLoad<${left}, ${alongKA ? "row" : "col"}_major>(&tile_a, ${offset(alongKA, strideA, `first_row + ${i * matrices.M}u`, d * matrices.K)}, ${strideA}u);`,
        ),
        repeat(
          tile.columns,
          (j) =>
            `let b${d}_${j} = subgroupMatrixLoad<${right}, ${alongKB ? "col" : "row"}_major>(&tile_b, ${offset(alongKB, strideB, `first_column + ${j * matrices.N}u`, d * matrices.K)}, ${strideB}u);`,
        ),
        eachResult(
          (i, j) => `c${i}_${j} = subgroupMatrixMultiplyAccumulate(a${d}_${i}, b${d}_${j}, c${i}_${j});`,
        ),
      ),
    ),
    "workgroupBarrier();",
    "}",
    `let corner = subgroup * ${matrices.M * matrices.N}u;`,
    eachResult(store),
  );
  const code = shader({
    bindings,
    workgroupSize: threads,
    directives: lines(
      component === "f16" && "enable f16;",
      "enable subgroups;",
      "enable chromium_experimental_subgroup_matrix;",
      // Subgroups lie along the workgroup one after the other, which the language does not promise: see the self-check.
      "diagnostic(off, chromium.subgroup_matrix_uniformity);",
    ),
    declarations: lines(
      `var<workgroup> tile_a: array<${component}, ${stagedA}>;`,
      `var<workgroup> tile_b: array<${component}, ${stagedB}>;`,
      `var<workgroup> scratch: array<f32, ${scratch}>;`,
    ),
    body,
  });
  return { code, bindings, workgroups };
}
