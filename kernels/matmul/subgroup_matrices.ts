/**
 * Matmul on subgroup matrices (tensor cores), an experimental WGSL extension. Tiles of a and b are rounded to f16 as they
 * are staged in workgroup memory, and their products are summed in f32. Storage is f32, except for bindings in `halves`.
 *
 * Data is staged in chunks of 8 numbers, 16 bytes. Results that cannot go to c as whole matrices go through the same memory,
 * one strip of rows of each subgroup at a time.
 */
import {
  GRADIENT_SCALE,
  KernelError,
  requireBindable,
  requirePositive,
  type Kernel,
} from "../core/kernel.js";
import type { Capabilities } from "../capabilities.js";
import {
  addends,
  ENOUGH_WORKGROUPS,
  guarded,
  inVectors,
  productBindings,
  tilePlace,
  widthOf,
} from "./shared.js";
import {
  productOf,
  type NamedVariant,
  type Product,
  type Variant,
  type SubgroupMatrices,
  type GatedSpec,
} from "./spec.js";
import { bindingsOf, buffersOf, linearDispatch, lines, literal, repeat, shader } from "../core/wgsl.js";

/** Tile of a workgroup, counted in subgroup matrices. */
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

/** Ordered by speed on an NVIDIA H100 for operands in f16 (docs/lab/matmul.md). For other operands the second tile comes before the first. */
const TILES: readonly MatrixTile[] = [
  { rows: 4, columns: 4, subgroupRows: 2, subgroupColumns: 2, depth: 2 },
  { rows: 4, columns: 4, subgroupRows: 2, subgroupColumns: 4, depth: 2 },
  { rows: 4, columns: 2, subgroupRows: 2, subgroupColumns: 4, depth: 4 },
  { rows: 2, columns: 2, subgroupRows: 2, subgroupColumns: 2, depth: 4 },
  { rows: 1, columns: 1, subgroupRows: 2, subgroupColumns: 2, depth: 2 },
];
/** Numbers in a chunk. */
const CHUNK = 8;
/** Chunks between staged rows. An odd number spreads neighbouring rows over the banks of the memory. */
const PADDING = 1;

/** Tiles that this device allows, the default first; empty for products that are smaller than one matrix. */
function matrixTiles(product: Product, matrices: SubgroupMatrices): MatrixTile[] {
  const { M, N, K, batch, splits, halves, capabilities } = product;
  if (M < matrices.M || N < matrices.N || K < matrices.K) return [];
  const { maxComputeInvocationsPerWorkgroup: threads, maxComputeWorkgroupStorageSize: bytes } = capabilities;
  const [square, wide, ...others] = TILES as [MatrixTile, MatrixTile];
  const small = ["a", "b"].every((matrix) => halves.includes(matrix));
  const allowed = [...(small ? [square, wide] : [wide, square]), ...others].filter((tile) => {
    const { threads: wanted, staged } = layoutOf(product, matrices, tile);
    return wanted <= threads && 2 * CHUNK * staged <= bytes;
  });
  const enough = (tile: MatrixTile) => {
    const { rows, columns } = layoutOf(product, matrices, tile);
    return Math.ceil(M / rows) * Math.ceil(N / columns) * batch * splits >= ENOUGH_WORKGROUPS;
  };
  // On a CPU, compiling a large tile takes longer than the tile saves.
  const first = capabilities.software ? -1 : allowed.findIndex(enough);
  const preferred = allowed.at(first);
  return preferred ? [preferred, ...allowed.filter((tile) => tile !== preferred)] : [];
}

/** Tiles by name, the default first. */
export function matrixVariants(product: Product, matrices: SubgroupMatrices): NamedVariant[] {
  return matrixTiles(product, matrices).map((tile) => ({
    name: matrixTileName(product, matrices, tile),
    build: () => build(product, matrices, tile),
  }));
}

/** Bindings: a [rows, K], b [2 inner, K], c [rows, inner]. Null if no tile holds gates with their values. */
export function gatedProduct(
  { rows, inner, K, halves }: GatedSpec,
  capabilities: Capabilities,
  matrices: SubgroupMatrices,
): Kernel | null {
  const gatedName = `matmul_gated_${halves.length > 0 ? `half_${halves.join("_")}_` : ""}${rows}x${inner}x${K}`;
  requirePositive(gatedName, { rows, inner, K });
  requireBindable(gatedName, { a: rows * K, b: 2 * inner * K, c: rows * inner }, capabilities);
  const product = productOf({ layout: "nt", M: rows, N: 2 * inner, K, halves }, capabilities);
  const tiles = matrixTiles(product, matrices).filter((tile) => {
    const { columns } = layoutOf(product, matrices, tile);
    return tile.columns % 2 === 0 && (2 * inner) % columns === 0;
  });
  const tile = tiles.at(capabilities.software ? -1 : 0);
  if (!tile) return null;
  const { code, bindings, workgroups } = build(product, matrices, tile, true);
  const bytes = (name: string): number => (halves.includes(name) ? 2 : 4);
  return {
    name: `${gatedName}_${matrixTileName(product, matrices, tile)}`,
    code,
    bindings: bindingsOf(bindings),
    workgroups,
    flops: rows * inner * (4 * K + 6),
    bytes: bytes("a") * rows * K + bytes("b") * 2 * inner * K + bytes("c") * rows * inner,
  };
}

function matrixTileName(product: Product, matrices: SubgroupMatrices, tile: MatrixTile): string {
  const { rows, columns, depth } = layoutOf(product, matrices, tile);
  const subgroups = `${tile.subgroupRows}x${tile.subgroupColumns}`;
  return `m${rows}x${columns}x${depth}_${subgroups}_f16`;
}

/** Sizes of a tile. Strides and staged sizes are counted in chunks. */
function layoutOf(
  { layout, M, N, bias, residual, halves }: Product,
  matrices: SubgroupMatrices,
  tile: MatrixTile,
  gated = false,
) {
  const rows = tile.rows * tile.subgroupRows * matrices.M;
  const columns = tile.columns * tile.subgroupColumns * matrices.N;
  const depth = tile.depth * matrices.K;
  const subgroups = tile.subgroupRows * tile.subgroupColumns;
  // An operand is staged as it lies in memory: in rows of k, or in rows of m (or n).
  const alongKA = layout !== "tn";
  const alongKB = layout === "nt";
  const strideA = (alongKA ? depth : rows) / CHUNK + PADDING;
  const strideB = (alongKB ? depth : columns) / CHUNK + PADDING;
  const stagedA = strideA * (alongKA ? rows : depth);
  const stagedB = strideB * (alongKB ? columns : depth);
  /** Whole tiles of f32 go to c as matrices. Other tiles, and results with a bias or in f16, go strip by strip. */
  const rounded = halves.includes("c") || (residual && halves.includes("residual"));
  const whole = M % rows === 0 && N % columns === 0 && N % 4 === 0 && !bias && !rounded && !gated;
  /** Stride of a strip: the f32 result matrices of a subgroup that lie side by side. */
  const strideC = (tile.columns * matrices.N) / 4 + PADDING;
  const strip = matrices.M * strideC;
  return {
    ...{ rows, columns, depth, alongKA, alongKB, strideA, strideB, stagedA, strideC, strip, whole },
    staged: Math.max(stagedA + stagedB, whole ? 0 : subgroups * strip),
    threads: subgroups * matrices.subgroupSize,
  };
}

/**
 * @param gated true if b has rows of gates and as many rows of values, and c is silu(gate) value. A tile then alternates
 * between a matrix of gates and a matrix of their values.
 */
function build(product: Product, matrices: SubgroupMatrices, tile: MatrixTile, gated = false): Variant {
  const { name, layout, M, N, K, splits, gradient, residual, halves, capabilities } = product;
  const { subgroupSize } = matrices;
  const layoutOfTile = layoutOf(product, matrices, tile, gated);
  const { rows, columns, depth, alongKA, alongKB, strideA, strideB, stagedA, staged } = layoutOfTile;
  const { strideC, strip, threads, whole } = layoutOfTile;
  if (matrices.M % CHUNK || matrices.N % CHUNK || matrices.K % CHUNK)
    throw new KernelError(
      name,
      `subgroup matrices of ${matrices.M}x${matrices.N}x${matrices.K}`,
      `multiples of ${CHUNK}`,
    );
  const { count, prologue } = tilePlace(product, layoutOfTile);
  const { workgroups, group } = linearDispatch(name, count, capabilities);
  /** Chunks of f16 are staged without conversion. */
  const widthOfOperand = (matrix: "a" | "b", length: number) =>
    halves.includes(matrix) && length % CHUNK === 0 ? CHUNK : widthOf(length);
  const widthA = widthOfOperand("a", layout === "tn" ? M : K);
  const widthB = widthOfOperand("b", layout === "nt" ? K : N);
  const widthC = widthOf(N);
  const inChunks = (["a", "b"] as const).filter((_, i) => [widthA, widthB][i] === CHUNK);
  const buffers = buffersOf(
    name,
    productBindings(product, widthOf(widthA), widthOf(widthB), widthC).map((b) =>
      inChunks.some((matrix) => matrix === b.name) ? ({ ...b, dtype: "f16", width: CHUNK } as const) : b,
    ),
    { halves: halves.filter((half) => !inChunks.some((matrix) => matrix === half)) },
  );
  const { bindings } = buffers;

  const [tilesN, steps] = [Math.ceil(N / columns), K / depth];
  /**
   * Neighbouring workgroups share rows of a. If there are many of them, each begins at another k, so that they do not all
   * wait for the same part of a. Its sums then begin at that k too.
   */
  const rotated = tilesN >= 8 && splits === 1 && Number.isInteger(steps);
  const k = rotated ? "k_rotated" : "k0";
  const rotation = rotated && `let k_rotated = (k0 + first_k) % ${K}u;`;

  /** Moves a thread's share of a tile: chunk `next` goes from memory to registers, then to the tile. */
  const share = (matrix: "a" | "b") => {
    const [alongK, size, extent, width, stride] =
      matrix === "a" ? [alongKA, M, rows, widthA, strideA] : [alongKB, N, columns, widthB, strideB];
    const first = matrix === "a" ? "m0" : "n0";
    const [length, outerStart, outerLimit, innerStart, innerLimit, outerExtent] = alongK
      ? [depth, first, size, k, K, extent]
      : [extent, k, K, first, size, depth];
    const chunks = length / CHUNK;
    const items = outerExtent * chunks;
    const at = `(ab_slice * ${outerLimit}u + outer) * ${innerLimit / width}u + inner${width > 1 ? ` / ${width}u` : ""}`;
    const raggedOuter = outerLimit % outerExtent !== 0;
    const raggedInner = innerLimit % length !== 0;
    // If the threads cover a whole number of rows, a thread's chunks lie below each other.
    const below = threads % chunks === 0;
    // Eight threads write at a time. With four threads to a row, rows 0 and 4 of eight, then 1 and 5, share no bank.
    const spread = below && chunks === 4 && (threads / chunks) % 8 === 0;
    const row = spread ? "(lane / 32u * 8u + lane / 4u % 2u * 4u + lane / 8u % 4u)" : `lane / ${chunks}u`;
    const each = (body: (next: string) => string) =>
      repeat(Math.ceil(items / threads), (p) => {
        const inside = (p + 1) * threads <= items;
        return lines(
          "{",
          !inside && `if (lane + ${p * threads}u < ${items}u) {`,
          below
            ? [`let chunk = lane % ${chunks}u;`, `let row = ${row} + ${(p * threads) / chunks}u;`]
            : [
                `let item = lane + ${p * threads}u;`,
                `let chunk = item % ${chunks}u;`,
                `let row = item / ${chunks}u;`,
              ],
          body(`next_${matrix}${p}`),
          !inside && "}",
          "}",
        );
      });
    const inside = (offset: number): string => `inner${offset ? ` + ${offset}u` : ""} < ${innerLimit}u`;
    /** Statements that load a chunk into `next`: one 4-vector of words, or two 4-vectors of f32. */
    const loaded = (next: string): string =>
      width === CHUNK
        ? guarded(inside(0), raggedInner, `${next} = ${matrix}[${at}];`)
        : repeat(CHUNK / width, (q) => {
            const part = `${next}_${width === 4 ? q : `${Math.floor(q / 4)}.${"xyzw"[q % 4]}`}`;
            return guarded(
              inside(q * width),
              raggedInner,
              `${part} = ${buffers.load(matrix, `${at} + ${q}u`)};`,
            );
          });
    const parts = (next: string): string[] => (width === CHUNK ? [next] : [`${next}_0`, `${next}_1`]);
    const type = width === CHUNK ? "vec4u" : "vec4f";
    const scaled = gradient === matrix && !halves.includes(matrix) ? ` * ${literal(GRADIENT_SCALE)}` : "";
    return {
      declare: repeat(Math.ceil(items / threads), (p) =>
        lines(parts(`next_${matrix}${p}`).map((part) => `var ${part} = ${type}();`)),
      ),
      load: each((next) =>
        lines(
          gated && matrix === "b"
            ? `let outer = n0 / 2u + row / ${2 * matrices.N}u * ${matrices.N}u + row % ${matrices.N}u + row / ${matrices.N}u % 2u * ${N / 2}u;`
            : `let outer = ${outerStart} + row;`,
          `let inner = ${innerStart} + chunk * ${CHUNK}u;`,
          (raggedOuter || raggedInner) && parts(next).map((part) => `${part} = ${type}();`),
          guarded(`outer < ${outerLimit}u`, raggedOuter, loaded(next)),
        ),
      ),
      stage: each(
        (next) =>
          `tile[${matrix === "a" ? 0 : stagedA}u + row * ${stride}u + chunk] = ${width === CHUNK ? next : `rounded(${next}_0${scaled}, ${next}_1${scaled})`};`,
      ),
    };
  };
  const a = share("a");
  const b = share("b");
  const load = lines(rotated && "{", rotation, a.load, b.load, rotated && "}");
  const stage = lines(a.stage, b.stage);
  const left = `subgroup_matrix_left<f16, ${matrices.K}, ${matrices.M}>`;
  const right = `subgroup_matrix_right<f16, ${matrices.N}, ${matrices.K}>`;
  const result = `subgroup_matrix_result<f32, ${matrices.N}, ${matrices.M}>`;
  // Offsets and strides count the array's elements: chunks, or 4-vectors for a strip.
  const offset = (alongK: boolean, stride: number, start: number, i: string, k: number) =>
    `${start}u + ` + (alongK ? `(${i}) * ${stride}u + ${k / CHUNK}u` : `${k * stride}u + (${i}) / ${CHUNK}u`);
  const eachResult = (text: (i: number, j: number) => string) =>
    repeat(tile.rows, (i) => repeat(tile.columns, (j) => text(i, j)));
  const unscaled = gradient === null ? "" : ` * ${literal(1 / GRADIENT_SCALE)}`;
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
    `subgroupMatrixStore<row_major>(&c, ${at(i, j)}, ${unscaled ? `subgroupMatrixScalarMultiply(c${i}_${j}, ${literal(1 / GRADIENT_SCALE)})` : `c${i}_${j}`}, ${N / 4}u);`;
  /** 4-vectors of a strip's row that go to c. */
  const quads = (tile.columns * matrices.N) / (gated ? 8 : 4);
  const storeStrip = (i: number) => {
    const at = `(c_slice * ${M}u + row) * ${(gated ? N / 2 : N) / widthC}u + ${inVectors("column", widthC)}`;
    return lines(
      "workgroupBarrier();",
      repeat(
        tile.columns,
        (j) =>
          `subgroupMatrixStore<row_major>(&tile, corner + ${(j * matrices.N) / 4}u, c${i}_${j}, ${strideC}u);`,
      ),
      "workgroupBarrier();",
      `for (var item = thread; item < ${matrices.M * quads}u; item += ${subgroupSize}u) {`,
      `let row = m0 + first_row + ${i * matrices.M}u + item / ${quads}u;`,
      `let start = corner + item / ${quads}u * ${strideC}u;`,
      `let quad = item % ${quads}u;`,
      gated
        ? [
            "let column = (n0 + first_column) / 2u + quad * 4u;",
            // A matrix of gates and a matrix of values lie beside each other.
            `let gate_at = start + quad / ${matrices.N / 4}u * ${matrices.N / 2}u + quad % ${matrices.N / 4}u;`,
            "let gate = bitcast<vec4f>(tile[gate_at]);",
            `let value = bitcast<vec4f>(tile[gate_at + ${matrices.N / 4}u]);`,
            // The formula is that of swiglu.ts.
            "let e = exp(-abs(gate));",
            "let sums = gate * (select(e, vec4f(1.0), gate >= vec4f()) / (1.0 + e)) * value;",
          ]
        : [
            "let column = n0 + first_column + quad * 4u;",
            `let sums = bitcast<vec4f>(tile[start + quad])${unscaled};`,
          ],
      guarded(
        `row < ${M}u`,
        M % rows !== 0,
        widthC === 4
          ? guarded(
              `column < ${N}u`,
              N % columns !== 0,
              buffers.store("c", at, `sums${addends(product, at, "column / 4u", buffers)}`),
            )
          : repeat(
              4,
              (q) =>
                `if (column + ${q}u < ${N}u) { ${buffers.store("c", `${at} + ${q}u`, `sums.${"xyzw"[q]}${addends(product, `${at} + ${q}u`, `column + ${q}u`, buffers)}`)} }`,
            ),
      ),
      "}",
    );
  };
  const corner = whole
    ? `let corner = ((c_slice * ${M}u + m0 + first_row) * ${N}u + n0 + first_column) / 4u;`
    : `let corner = subgroup * ${strip}u;`;
  // The sums begin with the residual.
  const start = (i: number, j: number) =>
    whole && residual
      ? unscaled
        ? `subgroupMatrixScalarMultiply(subgroupMatrixLoad<${result}, row_major>(&residual, ${at(i, j)}, ${N / 4}u), ${literal(GRADIENT_SCALE)})`
        : `subgroupMatrixLoad<${result}, row_major>(&residual, ${at(i, j)}, ${N / 4}u)`
      : `${result}()`;
  const body = lines(
    prologue(group),
    rotated && `let first_k = group % ${tilesN}u * ${steps}u / ${tilesN}u * ${depth}u;`,
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
    whole ? eachResult(storeMatrix) : repeat(tile.rows, storeStrip),
  );
  const code = shader({
    bindings,
    workgroupSize: threads,
    directives: lines(
      "enable f16;",
      "enable subgroups;",
      "enable chromium_experimental_subgroup_matrix;",
      // Subgroups are assumed to lie one after the other along the workgroup. WGSL does not promise this; the self-check tests it.
      "diagnostic(off, chromium.subgroup_matrix_uniformity);",
    ),
    declarations: lines(
      `var<workgroup> tile: array<vec4u, ${staged}>;`,
      inChunks.length < 2 &&
        lines(
          "fn rounded(x: vec4f, y: vec4f) -> vec4u {",
          "return vec4u(pack2x16float(x.xy), pack2x16float(x.zw), pack2x16float(y.xy), pack2x16float(y.zw));",
          "}",
        ),
    ),
    body,
  });
  return { code, bindings, workgroups };
}
