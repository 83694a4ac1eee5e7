/**
 * The text of a matmul on subgroup matrices, from a product and a tile: tiles of a and b are staged in chunks of 8 numbers,
 * and multiplied as matrices. subgroup_matrices.ts chooses the tile.
 */
import { GRADIENT_SCALE, KernelError } from "../core/kernel.js";
import { buffersOf, linearDispatch, lines, literal, repeat, shader } from "../core/wgsl.js";
import { addends, guarded, inVectors, productBindings, tilePlace, widthOf } from "./shared.js";
import type { Product, SubgroupMatrices, Variant } from "./spec.js";

/** Tile of a workgroup, counted in subgroup matrices. */
export interface MatrixTile {
  /** Result matrices of a subgroup. */
  readonly rows: number;
  readonly columns: number;
  /** Subgroups of a workgroup. */
  readonly subgroupRows: number;
  readonly subgroupColumns: number;
  /** Matrices along k that are staged at a time. */
  readonly depth: number;
}

/** Numbers in a chunk. */
export const CHUNK = 8;
/** Chunks between staged rows. An odd number spreads neighbouring rows over the banks of the memory. */
const PADDING = 1;

/** Sizes of a tile. Strides and staged sizes are counted in chunks. */
export function layoutOf(
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
export function build(
  product: Product,
  matrices: SubgroupMatrices,
  tile: MatrixTile,
  gated = false,
): Variant {
  const { name, capabilities } = product;
  if (matrices.M % CHUNK || matrices.N % CHUNK || matrices.K % CHUNK)
    throw new KernelError(
      name,
      `subgroup matrices of ${matrices.M}x${matrices.N}x${matrices.K}`,
      `multiples of ${CHUNK}`,
    );
  const work = workOf(product, matrices, tile, gated);
  const { buffers, inChunks, threads, staged } = work;
  const { count, prologue } = tilePlace(product, work);
  const { workgroups, group } = linearDispatch(name, count, capabilities);
  const code = shader({
    bindings: buffers.bindings,
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
    body: lines(prologue(group), bodyOf(work)),
  });
  return { code, bindings: buffers.bindings, workgroups };
}

/** The sizes and texts on which all steps rely. */
type Work = ReturnType<typeof workOf>;

function workOf(product: Product, matrices: SubgroupMatrices, tile: MatrixTile, gated: boolean) {
  const { name, layout, M, N, K, splits, gradient, halves } = product;
  const sizes = layoutOf(product, matrices, tile, gated);
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
  const [tilesN, steps] = [Math.ceil(N / sizes.columns), K / sizes.depth];
  return {
    ...{ product, matrices, tile, gated, buffers, inChunks, widthA, widthB, widthC, tilesN, steps },
    ...sizes,
    /**
     * Neighbouring workgroups share rows of a. If there are many of them, each begins at another k, so that they do not all
     * wait for the same part of a. Its sums then begin at that k too.
     */
    rotated: tilesN >= 8 && splits === 1 && Number.isInteger(steps),
    /** True if sums have to be divided by the scale of a gradient. */
    unscaled: gradient !== null,
    result: `subgroup_matrix_result<f32, ${matrices.N}, ${matrices.M}>`,
  };
}

/** A text for each result matrix of a subgroup. */
const eachResult = ({ tile }: Work, text: (i: number, j: number) => string): string =>
  repeat(tile.rows, (i) => repeat(tile.columns, (j) => text(i, j)));

/** The loop over k, from the first sums to c. */
function bodyOf(work: Work): string {
  const { product, matrices, tile, depth, strip, whole, tilesN, steps, rotated } = work;
  const { M, N, K } = product;
  const { subgroupSize } = matrices;
  const [a, b] = [share(work, "a"), share(work, "b")];
  const rotation = rotated && `let k_rotated = (k0 + first_k) % ${K}u;`;
  const load = lines(rotated && "{", rotation, a.load, b.load, rotated && "}");
  return lines(
    rotated && `let first_k = group % ${tilesN}u * ${steps}u / ${tilesN}u * ${depth}u;`,
    `let subgroup = lane / ${subgroupSize}u;`,
    !whole && `let thread = lane % ${subgroupSize}u;`,
    `let first_row = subgroup / ${tile.subgroupColumns}u * ${tile.rows * matrices.M}u;`,
    `let first_column = subgroup % ${tile.subgroupColumns}u * ${tile.columns * matrices.N}u;`,
    whole
      ? `let corner = ((c_slice * ${M}u + m0 + first_row) * ${N}u + n0 + first_column) / 4u;`
      : `let corner = subgroup * ${strip}u;`,
    eachResult(work, (i, j) => `var c${i}_${j} = ${startOf(work, i, j)};`),
    a.declare,
    b.declare,
    load,
    "loop {",
    a.stage,
    b.stage,
    "workgroupBarrier();",
    `k0 += ${depth}u;`,
    "if (k0 < k_end) {",
    load,
    "}",
    multiply(work),
    "if (k0 >= k_end) { break; }",
    "workgroupBarrier();",
    "}",
    whole
      ? eachResult(work, (i, j) => storeMatrix(work, i, j))
      : repeat(tile.rows, (i) => storeStrip(work, i)),
  );
}

/** The share of a thread in the chunks of an operand's tile: how many there are, and a text for each, with `row` and `chunk`. */
function chunksOf({ threads }: Work, matrix: "a" | "b", rows: number, length: number) {
  const chunks = length / CHUNK;
  const items = rows * chunks;
  // If the threads cover a whole number of rows, a thread's chunks lie below each other.
  const below = threads % chunks === 0;
  // Eight threads write at a time. With four threads to a row, rows 0 and 4 of eight, then 1 and 5, share no bank.
  const spread = below && chunks === 4 && (threads / chunks) % 8 === 0;
  const row = spread ? "(lane / 32u * 8u + lane / 4u % 2u * 4u + lane / 8u % 4u)" : `lane / ${chunks}u`;
  const count = Math.ceil(items / threads);
  const each = (body: (next: string) => string): string =>
    repeat(count, (p) => {
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
  return { count, each };
}

/** Moves a thread's share of a tile: chunk `next` goes from memory to registers, then to the tile. */
function share(work: Work, matrix: "a" | "b") {
  const { product, matrices, gated, buffers, rotated, stagedA } = work;
  const { M, N, K, gradient, halves } = product;
  const [alongK, size, extent, width, stride] =
    matrix === "a"
      ? [work.alongKA, M, work.rows, work.widthA, work.strideA]
      : [work.alongKB, N, work.columns, work.widthB, work.strideB];
  const first = matrix === "a" ? "m0" : "n0";
  const k = rotated ? "k_rotated" : "k0";
  const [length, outerStart, outerLimit, innerStart, innerLimit, outerExtent] = alongK
    ? [work.depth, first, size, k, K, extent]
    : [extent, k, K, first, size, work.depth];
  const { count, each } = chunksOf(work, matrix, outerExtent, length);
  const at = `(ab_slice * ${outerLimit}u + outer) * ${innerLimit / width}u + inner${width > 1 ? ` / ${width}u` : ""}`;
  const raggedOuter = outerLimit % outerExtent !== 0;
  const raggedInner = innerLimit % length !== 0;
  const inside = (offset: number): string => `inner${offset ? ` + ${offset}u` : ""} < ${innerLimit}u`;
  /** Statements that load a chunk into `next`: one 4-vector of words, or two 4-vectors of f32. */
  const loaded = (next: string): string =>
    width === CHUNK
      ? guarded(inside(0), raggedInner, `${next} = ${matrix}[${at}];`)
      : repeat(CHUNK / width, (q) => {
          const part = `${next}_${width === 4 ? q : `${Math.floor(q / 4)}.${"xyzw"[q % 4]}`}`;
          const value = buffers.load(matrix, `${at} + ${q}u`);
          return guarded(inside(q * width), raggedInner, `${part} = ${value};`);
        });
  const parts = (next: string): string[] => (width === CHUNK ? [next] : [`${next}_0`, `${next}_1`]);
  const type = width === CHUNK ? "vec4u" : "vec4f";
  const scaled = gradient === matrix && !halves.includes(matrix) ? ` * ${literal(GRADIENT_SCALE)}` : "";
  return {
    declare: repeat(count, (p) =>
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
}

/** Multiplies the staged tiles, matrix by matrix. */
function multiply(work: Work): string {
  const { matrices, tile, alongKA, alongKB, strideA, strideB, stagedA } = work;
  const { M, N, K } = matrices;
  const left = `subgroup_matrix_left<f16, ${K}, ${M}>`;
  const right = `subgroup_matrix_right<f16, ${N}, ${K}>`;
  // Offsets and strides count the array's elements: chunks.
  const offset = (alongK: boolean, stride: number, start: number, i: string, k: number) =>
    `${start}u + ` + (alongK ? `(${i}) * ${stride}u + ${k / CHUNK}u` : `${k * stride}u + (${i}) / ${CHUNK}u`);
  return repeat(tile.depth, (d) =>
    lines(
      repeat(
        tile.rows,
        (i) =>
          `let a${d}_${i} = subgroupMatrixLoad<${left}, ${alongKA ? "row" : "col"}_major>(&tile, ${offset(alongKA, strideA, 0, `first_row + ${i * M}u`, d * K)}, ${strideA}u);`,
      ),
      repeat(
        tile.columns,
        (j) =>
          `let b${d}_${j} = subgroupMatrixLoad<${right}, ${alongKB ? "col" : "row"}_major>(&tile, ${offset(alongKB, strideB, stagedA, `first_column + ${j * N}u`, d * K)}, ${strideB}u);`,
      ),
      eachResult(
        work,
        (i, j) => `c${i}_${j} = subgroupMatrixMultiplyAccumulate(a${d}_${i}, b${d}_${j}, c${i}_${j});`,
      ),
    ),
  );
}

/** Where a result matrix lies in c, and in a residual. */
const placeInC = ({ product: { N }, matrices }: Work, i: number, j: number): string =>
  `corner + ${(i * matrices.M * N + j * matrices.N) / 4}u`;

/** The sums begin with the residual if they are stored as whole matrices. */
function startOf(work: Work, i: number, j: number): string {
  const { product, whole, unscaled, result } = work;
  if (!whole || !product.residual) return `${result}()`;
  const residual = `subgroupMatrixLoad<${result}, row_major>(&residual, ${placeInC(work, i, j)}, ${product.N / 4}u)`;
  return unscaled ? `subgroupMatrixScalarMultiply(${residual}, ${literal(GRADIENT_SCALE)})` : residual;
}

/** Stores a whole result matrix to c. */
function storeMatrix(work: Work, i: number, j: number): string {
  const sum = `c${i}_${j}`;
  const value = work.unscaled ? `subgroupMatrixScalarMultiply(${sum}, ${literal(1 / GRADIENT_SCALE)})` : sum;
  return `subgroupMatrixStore<row_major>(&c, ${placeInC(work, i, j)}, ${value}, ${work.product.N / 4}u);`;
}

/** Stores row i of a subgroup's matrices, through workgroup memory, with bias and residual. */
function storeStrip(work: Work, i: number): string {
  const { product, matrices, tile, gated, buffers, rows, columns, strideC, widthC, unscaled } = work;
  const { M, N } = product;
  /** 4-vectors of a strip's row that go to c. */
  const quads = (tile.columns * matrices.N) / (gated ? 8 : 4);
  const at = `(c_slice * ${M}u + row) * ${(gated ? N / 2 : N) / widthC}u + ${inVectors("column", widthC)}`;
  return lines(
    "workgroupBarrier();",
    repeat(
      tile.columns,
      (j) =>
        `subgroupMatrixStore<row_major>(&tile, corner + ${(j * matrices.N) / 4}u, c${i}_${j}, ${strideC}u);`,
    ),
    "workgroupBarrier();",
    `for (var item = thread; item < ${matrices.M * quads}u; item += ${matrices.subgroupSize}u) {`,
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
          `let sums = bitcast<vec4f>(tile[start + quad])${unscaled ? ` * ${literal(1 / GRADIENT_SCALE)}` : ""};`,
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
        : repeat(4, (q) => {
            const [to, column] = [`${at} + ${q}u`, `column + ${q}u`];
            const value = `sums.${"xyzw"[q]}${addends(product, to, column, buffers)}`;
            return `if (${column} < ${N}u) { ${buffers.store("c", to, value)} }`;
          }),
    ),
    "}",
  );
}
