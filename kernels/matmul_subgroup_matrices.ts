/**
 * Matmul on subgroup matrices (tensor cores), the experimental WGSL extension: tiles of a and b are rounded to the
 * matrices' component type as they are staged in workgroup memory, products of it are summed in f32. Storage is f32, but
 * for what `halves` names.
 */
import { inHalves } from "./halves.js";
import { KernelError } from "./kernel.js";
import {
  addends,
  ENOUGH_WORKGROUPS,
  guarded,
  inVectors,
  productBindings,
  tilePlace,
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

/** By what was fastest on an NVIDIA H200, see docs/performance.md. */
const TILES: readonly MatrixTile[] = [
  { rows: 4, columns: 4, subgroupRows: 2, subgroupColumns: 2, depth: 2 },
  { rows: 4, columns: 4, subgroupRows: 2, subgroupColumns: 4, depth: 2 },
  { rows: 4, columns: 2, subgroupRows: 2, subgroupColumns: 4, depth: 4 },
  { rows: 2, columns: 2, subgroupRows: 2, subgroupColumns: 2, depth: 4 },
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
  const { M, N, K, batch, splits, capabilities } = product;
  if (M < matrices.M || N < matrices.N || K < matrices.K) return [];
  const { maxComputeInvocationsPerWorkgroup: threads, maxComputeWorkgroupStorageSize: bytes } = capabilities;
  const allowed = TILES.filter((tile) => {
    const { threads: wanted, staged, scratch } = layoutOf(product, matrices, tile);
    const componentBytes = matrices.component === "f16" ? 2 : 4;
    return wanted <= threads && 4 * componentBytes * staged + 4 * scratch <= bytes;
  });
  const enough = (tile: MatrixTile) => {
    const { rows, columns } = layoutOf(product, matrices, tile);
    return Math.ceil(M / rows) * Math.ceil(N / columns) * batch * splits >= ENOUGH_WORKGROUPS;
  };
  // Compiling a large tile for a CPU takes longer than it saves.
  const first = capabilities.software ? -1 : allowed.findIndex(enough);
  const preferred = allowed.at(first);
  const ordered = preferred ? [preferred, ...allowed.filter((tile) => tile !== preferred)] : [];
  return ordered.map((tile) => ({
    name: matrixTileName(product, matrices, tile),
    build: () => build(product, matrices, tile),
  }));
}

function matrixTileName(product: Product, matrices: SubgroupMatrices, tile: MatrixTile): string {
  const { rows, columns, depth } = layoutOf(product, matrices, tile);
  const subgroups = `${tile.subgroupRows}x${tile.subgroupColumns}`;
  return `m${rows}x${columns}x${depth}_${subgroups}_${matrices.component}`;
}

/** Sizes of a tile; what is staged is counted in quads, 4 neighbours in memory. */
function layoutOf({ layout, M, N, bias, halves }: Product, matrices: SubgroupMatrices, tile: MatrixTile) {
  const rows = tile.rows * tile.subgroupRows * matrices.M;
  const columns = tile.columns * tile.subgroupColumns * matrices.N;
  const depth = tile.depth * matrices.K;
  const subgroups = tile.subgroupRows * tile.subgroupColumns;
  // Staged as it lies in memory: rows of k, or rows of m (or n).
  const alongKA = layout !== "tn";
  const alongKB = layout === "nt";
  const strideA = ((alongKA ? depth : rows) + PADDING) / 4;
  const strideB = ((alongKB ? depth : columns) + PADDING) / 4;
  const stagedA = strideA * (alongKA ? rows : depth);
  const stagedB = strideB * (alongKB ? columns : depth);
  /** Whole tiles go to c as matrices; others, a bias, and what is stored in f16, element by element. */
  const rounded = halves.includes("c") || halves.includes("residual");
  const whole = M % rows === 0 && N % columns === 0 && N % 4 === 0 && !bias && !rounded;
  return {
    ...{ rows, columns, depth, alongKA, alongKB, strideA, strideB, stagedA, whole },
    staged: stagedA + stagedB,
    scratch: whole ? 0 : subgroups * matrices.M * matrices.N,
    threads: subgroups * matrices.subgroupSize,
  };
}

function build(product: Product, matrices: SubgroupMatrices, tile: MatrixTile): Variant {
  const { name, layout, M, N, K, gradient, residual, halves, capabilities } = product;
  const { component, subgroupSize } = matrices;
  const layoutOfTile = layoutOf(product, matrices, tile);
  const { rows, columns, depth, alongKA, alongKB, strideA, strideB, stagedA, staged } = layoutOfTile;
  const { scratch, threads, whole } = layoutOfTile;
  if (matrices.M % 4 || matrices.N % 4 || matrices.K % 4)
    throw new KernelError(
      name,
      `subgroup matrices of ${matrices.M}x${matrices.N}x${matrices.K}`,
      "multiples of 4",
    );
  const { count, prologue } = tilePlace(product, layoutOfTile);
  const { workgroups, group } = linearDispatch(name, count, capabilities);
  const widthA = widthOf(layout === "tn" ? M : K);
  const widthB = widthOf(layout === "nt" ? K : N);
  const widthC = widthOf(N);
  const bindings = productBindings(product, widthA, widthB, widthC);

  /** A thread's share of a tile: quad `next` of it, from memory to `next`, then to the tile. */
  const share = (matrix: "a" | "b") => {
    const [alongK, size, extent, width, stride] =
      matrix === "a" ? [alongKA, M, rows, widthA, strideA] : [alongKB, N, columns, widthB, strideB];
    const first = matrix === "a" ? "m0" : "n0";
    const [length, outerStart, outerLimit, innerStart, innerLimit, outerExtent] = alongK
      ? [depth, first, size, "k0", K, extent]
      : [extent, "k0", K, first, size, depth];
    const quads = length / 4;
    const items = outerExtent * quads;
    const at = `(ab_slice * ${outerLimit}u + outer) * ${innerLimit / width}u + ${width === 4 ? "inner / 4u" : "inner"}`;
    const scaled = gradient === matrix && component === "f16" ? ` * ${literal(GRADIENT_SCALE)}` : "";
    const raggedOuter = outerLimit % outerExtent !== 0;
    const raggedInner = innerLimit % length !== 0;
    // Where threads are a whole number of rows, a thread's quads lie below each other.
    const below = threads % quads === 0;
    const each = (body: (next: string) => string) =>
      repeat(Math.ceil(items / threads), (p) => {
        const inside = (p + 1) * threads <= items;
        return lines(
          "{",
          !inside && `if (lane + ${p * threads}u < ${items}u) {`,
          below
            ? [`let quad = lane % ${quads}u;`, `let row = lane / ${quads}u + ${(p * threads) / quads}u;`]
            : [
                `let item = lane + ${p * threads}u;`,
                `let quad = item % ${quads}u;`,
                `let row = item / ${quads}u;`,
              ],
          body(`next_${matrix}${p}`),
          !inside && "}",
          "}",
        );
      });
    return {
      declare: repeat(Math.ceil(items / threads), (p) => `var next_${matrix}${p} = vec4f();`),
      load: each((next) =>
        lines(
          `let outer = ${outerStart} + row;`,
          `let inner = ${innerStart} + quad * 4u;`,
          (raggedOuter || raggedInner) && `${next} = vec4f();`,
          guarded(
            `outer < ${outerLimit}u`,
            raggedOuter,
            width === 4
              ? guarded(`inner < ${innerLimit}u`, raggedInner, `${next} = ${matrix}[${at}];`)
              : repeat(4, (q) =>
                  guarded(
                    `inner + ${q}u < ${innerLimit}u`,
                    raggedInner,
                    `${next}.${"xyzw"[q]} = ${matrix}[${at} + ${q}u];`,
                  ),
                ),
          ),
        ),
      ),
      stage: each(
        (next) =>
          `tile[${matrix === "a" ? 0 : stagedA}u + row * ${stride}u + quad] = vec4<${component}>(${next}${scaled});`,
      ),
    };
  };
  const a = share("a");
  const b = share("b");
  const load = lines(a.load, b.load);
  const stage = lines(a.stage, b.stage);
  const left = `subgroup_matrix_left<${component}, ${matrices.K}, ${matrices.M}>`;
  const right = `subgroup_matrix_right<${component}, ${matrices.N}, ${matrices.K}>`;
  const result = `subgroup_matrix_result<f32, ${matrices.N}, ${matrices.M}>`;
  // Offsets and strides count the elements of the array, which are quads.
  const offset = (alongK: boolean, stride: number, start: number, i: string, k: number) =>
    `${start}u + ` + (alongK ? `(${i}) * ${stride}u + ${k / 4}u` : `${k * stride}u + (${i}) / 4u`);
  const eachResult = (text: (i: number, j: number) => string) =>
    repeat(tile.rows, (i) => repeat(tile.columns, (j) => text(i, j)));
  const scaled = gradient !== null && component === "f16";
  const multiply = repeat(tile.depth, (d) =>
    lines(
      repeat(
        tile.rows,
        (i) =>
          `let a${d}_${i} = subgroupMatrixLoad<${left}, ${alongKA ? "row" : "col"}_major>(&tile, ${offset(alongKA, strideA, 0, `first_row + ${i * matrices.M}u`, d * matrices.K)}, ${strideA}u);`,
      ),
      repeat(
        tile.columns,
        (j) =>
          `let b${d}_${j} = subgroupMatrixLoad<${right}, ${alongKB ? "col" : "row"}_major>(&tile, ${offset(alongKB, strideB, stagedA, `first_column + ${j * matrices.N}u`, d * matrices.K)}, ${strideB}u);`,
      ),
      eachResult(
        (i, j) => `c${i}_${j} = subgroupMatrixMultiplyAccumulate(a${d}_${i}, b${d}_${j}, c${i}_${j});`,
      ),
    ),
  );
  const at = (i: number, j: number) => `corner + ${(i * matrices.M * N + j * matrices.N) / 4}u`;
  const storeMatrix = (i: number, j: number) =>
    `subgroupMatrixStore<row_major>(&c, ${at(i, j)}, ${scaled ? `subgroupMatrixScalarMultiply(c${i}_${j}, ${literal(1 / GRADIENT_SCALE)})` : `c${i}_${j}`}, ${N / 4}u);`;
  const unscaled = scaled ? ` * ${literal(1 / GRADIENT_SCALE)}` : "";
  const quadsOfResult = (matrices.M * matrices.N) / 4;
  const storeElements = (i: number, j: number) => {
    const element = (q: number) => `scratch[corner + item * 4u + ${q}u]`;
    const at = `(c_slice * ${M}u + row) * ${N / widthC}u + ${inVectors("column", widthC)}`;
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
  const corner = whole
    ? `let corner = ((c_slice * ${M}u + m0 + first_row) * ${N}u + n0 + first_column) / 4u;`
    : `let corner = subgroup * ${matrices.M * matrices.N}u;`;
  // A residual is where the sums begin.
  const start = (i: number, j: number) =>
    whole && residual
      ? scaled
        ? `subgroupMatrixScalarMultiply(subgroupMatrixLoad<${result}, row_major>(&residual, ${at(i, j)}, ${N / 4}u), ${literal(GRADIENT_SCALE)})`
        : `subgroupMatrixLoad<${result}, row_major>(&residual, ${at(i, j)}, ${N / 4}u)`
      : `${result}()`;
  const body = lines(
    prologue(group),
    `let subgroup = lane / ${subgroupSize}u;`,
    !whole && `let thread = lane % ${subgroupSize}u;`,
    `let first_row = subgroup / ${tile.subgroupColumns}u * ${tile.rows * matrices.M}u;`,
    `let first_column = subgroup % ${tile.subgroupColumns}u * ${tile.columns * matrices.N}u;`,
    corner,
    eachResult((i, j) => `var c${i}_${j} = ${start(i, j)};`),
    a.declare,
    b.declare,
    load,
    "loop {",
    stage,
    "workgroupBarrier();",
    `k0 += ${depth}u;`,
    "if (k0 < k_end) {",
    load,
    "}",
    multiply,
    "if (k0 >= k_end) { break; }",
    "workgroupBarrier();",
    "}",
    eachResult(whole ? storeMatrix : storeElements),
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
      `var<workgroup> tile: array<vec4<${component}>, ${staged}>;`,
      !whole && `var<workgroup> scratch: array<f32, ${scratch}>;`,
    ),
    body,
  });
  return inHalves({ code, bindings, workgroups }, halves);
}
