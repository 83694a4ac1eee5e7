/** Matmul made for GPUs: tiles of a and b are staged in workgroup memory, a block of c to a thread. */
import {
  addends,
  ENOUGH_WORKGROUPS,
  inVectors,
  productBindings,
  widthOf,
  type Product,
  type Variant,
} from "./matmul_product.js";
import { linearDispatch, lines, repeat, shader } from "./wgsl.js";

/** What a workgroup and each of its threads computes. */
export interface WorkgroupTile {
  /** Elements of c to a workgroup. */
  readonly rows: number;
  readonly columns: number;
  /** Steps along k that are staged at a time. */
  readonly depth: number;
  /** Elements of c to a thread: blocks of 4x4, as far apart as the tile has threads. */
  readonly threadRows: 4 | 8;
  readonly threadColumns: 4 | 8;
}

const TILES: readonly WorkgroupTile[] = [
  { rows: 32, columns: 32, depth: 8, threadRows: 4, threadColumns: 4 },
  { rows: 64, columns: 64, depth: 8, threadRows: 4, threadColumns: 4 },
  { rows: 64, columns: 64, depth: 16, threadRows: 4, threadColumns: 4 },
  { rows: 128, columns: 64, depth: 8, threadRows: 8, threadColumns: 4 },
  { rows: 128, columns: 128, depth: 8, threadRows: 8, threadColumns: 8 },
  { rows: 128, columns: 128, depth: 16, threadRows: 8, threadColumns: 8 },
];

const threadsOf = ({ rows, columns, threadRows, threadColumns }: WorkgroupTile): number =>
  (rows / threadRows) * (columns / threadColumns);

/** Tiles that this device allows; the first is the default: 64x64 where there are many, else 32x32. */
export function workgroupTiles({ M, N, batch, capabilities }: Product): WorkgroupTile[] {
  const { maxComputeInvocationsPerWorkgroup: threads, maxComputeWorkgroupStorageSize: bytes } = capabilities;
  const [small, large, ...others] = TILES as [WorkgroupTile, WorkgroupTile, ...WorkgroupTile[]];
  const many = Math.ceil(M / 64) * Math.ceil(N / 64) * batch >= ENOUGH_WORKGROUPS && M > 32 && N > 32;
  const allowed = others.filter(
    (tile) => threadsOf(tile) <= threads && 4 * (tile.rows + tile.columns) * tile.depth <= bytes,
  );
  return many ? [large, small, ...allowed] : [small, large, ...allowed];
}

/** Builds the variant with this tile. */
export function tiles(product: Product, tile: WorkgroupTile): Variant {
  const { name, layout, M, N, K, batch, capabilities } = product;
  const { rows, columns, depth, threadRows, threadColumns } = tile;
  const threads = threadsOf(tile);
  const threadsM = rows / threadRows;
  const threadsN = columns / threadColumns;
  const tilesM = Math.ceil(M / rows);
  const tilesN = Math.ceil(N / columns);
  const count = tilesM * tilesN * batch;
  const { workgroups, group } = linearDispatch(name, count, capabilities);
  const widthA = layout === "tn" ? widthOf(M) : 1;
  const widthB = layout === "nt" ? 1 : widthOf(N);
  const widthC = widthOf(N);
  /** Tiles are staged as 4 neighbours along M (or N), called a quad. */
  const quadsA = rows / 4;
  const quadsB = columns / 4;
  const stagedA = quadsA * depth;
  const stagedB = quadsB * depth;

  /** Stages a quad at one k, zero outside the matrix. */
  const stage = (matrix: "a" | "b", size: number, width: 1 | 4, alongK: boolean) => {
    const quads = matrix === "a" ? quadsA : quadsB;
    const base = `batch * ${(size * K) / width}u`;
    const at = (i: string) =>
      alongK ? `${base} + (${i}) * ${K}u + k` : `${base} + k * ${size / width}u + ${i}`;
    return lines(
      // Neighbouring lanes read neighbouring addresses.
      alongK ? `let depth = item % ${depth}u;` : `let depth = item / ${quads}u;`,
      alongK ? `let quad = item / ${depth}u;` : `let quad = item % ${quads}u;`,
      "let k = k0 + depth;",
      `let i = ${matrix === "a" ? "m0" : "n0"} + quad * 4u;`,
      "var value = vec4f();",
      `if (k < ${K}u) {`,
      width === 4
        ? `if (i < ${size}u) { value = ${matrix}[${at("i / 4u")}]; }`
        : repeat(
            4,
            (q) => `if (i + ${q}u < ${size}u) { value.${"xyzw"[q]} = ${matrix}[${at(`i + ${q}u`)}]; }`,
          ),
      "}",
      `tile_${matrix}[depth * ${quads}u + quad] = value;`,
    );
  };
  const bindings = productBindings(product, widthA, widthB, widthC);
  /** Row `r` of a thread, and the first column of its quad `j`, counted from the thread's first. */
  const rowAt = (r: number) => 4 * threadsM * (r >> 2) + (r & 3);
  const columnAt = (j: number) => 4 * threadsN * j;
  const eachQuad = (text: (j: number) => string) => repeat(threadColumns / 4, text);
  const body = lines(
    `let group = ${group};`,
    `if (group >= ${count}u) { return; }`,
    `let n0 = (group % ${tilesN}u) * ${columns}u;`,
    `let m0 = (group / ${tilesN}u % ${tilesM}u) * ${rows}u;`,
    `let batch = group / ${tilesN * tilesM}u;`,
    `let column = lane % ${threadsN}u;`,
    `let row = lane / ${threadsN}u;`,
    repeat(threadRows, (r) => eachQuad((j) => `var c${r}_${j} = vec4f();`)),
    `for (var k0 = 0u; k0 < ${K}u; k0 += ${depth}u) {`,
    `for (var next = lane; next < ${stagedA + stagedB}u; next += ${threads}u) {`,
    `if (next < ${stagedA}u) {`,
    "let item = next;",
    stage("a", M, widthA, layout !== "tn"),
    "} else {",
    `let item = next - ${stagedA}u;`,
    stage("b", N, widthB, layout === "nt"),
    "}",
    "}",
    "workgroupBarrier();",
    `for (var depth = 0u; depth < ${depth}u; depth++) {`,
    repeat(threadRows / 4, (i) => `let left${i} = tile_a[depth * ${quadsA}u + row + ${i * threadsM}u];`),
    eachQuad((j) => `let right${j} = tile_b[depth * ${quadsB}u + column + ${j * threadsN}u];`),
    repeat(threadRows, (r) =>
      eachQuad((j) => `c${r}_${j} = fma(vec4f(left${r >> 2}.${"xyzw"[r & 3]}), right${j}, c${r}_${j});`),
    ),
    "}",
    "workgroupBarrier();",
    "}",
    "let m = m0 + row * 4u;",
    "let n = n0 + column * 4u;",
    `let c_row = (batch * ${M}u + m) * ${N / widthC}u + ${inVectors("n", widthC)};`,
    repeat(threadRows, (r) =>
      lines(
        `if (m + ${rowAt(r)}u < ${M}u) {`,
        eachQuad((j) => {
          const first = columnAt(j);
          const at = (q: number) => `c_row + ${(rowAt(r) * N + first) / widthC + q}u`;
          const column = `${inVectors("n", widthC)} + ${first / widthC}u`;
          return widthC === 4
            ? `if (n + ${first}u < ${N}u) { c[${at(0)}] = c${r}_${j}${addends(product, at(0), column)}; }`
            : repeat(
                4,
                (q) =>
                  `if (n + ${first + q}u < ${N}u) { c[${at(q)}] = c${r}_${j}.${"xyzw"[q]}${addends(product, at(q), `n + ${first + q}u`)}; }`,
              );
        }),
        "}",
      ),
    ),
  );
  const declarations = lines(
    `var<workgroup> tile_a: array<vec4f, ${stagedA}>;`,
    `var<workgroup> tile_b: array<vec4f, ${stagedB}>;`,
  );
  return { code: shader({ bindings, workgroupSize: threads, declarations, body }), bindings, workgroups };
}
