/**
 * Matmul made for GPUs. Tiles of a and b are staged in workgroup memory, and each thread computes a block of c. The next
 * tiles are loaded from memory while the present tiles are multiplied.
 */
import {
  addends,
  ENOUGH_WORKGROUPS,
  guarded,
  inVectors,
  productBindings,
  tilePlace,
  widthOf,
} from "./shared.js";
import type { NamedVariant, Product, Variant } from "./spec.js";
import { linearDispatch, lines, repeat, shader } from "../core/wgsl.js";

/** Tile of a workgroup, and of each of its threads. */
interface WorkgroupTile {
  /** Elements of c per workgroup. */
  readonly rows: number;
  readonly columns: number;
  /** Steps along k that are staged at a time, a multiple of 8. */
  readonly depth: number;
  /** Elements of c per thread: blocks of 4x4, as far apart as the tile has threads. */
  readonly threadRows: 4 | 8;
  readonly threadColumns: 4 | 8;
}

/** The fastest tiles on an NVIDIA H200 (docs/lab/matmul.md), for operands that lie along k, and for others. */
const LARGE = {
  alongK: [
    { rows: 128, columns: 256, depth: 8, threadRows: 8, threadColumns: 8 },
    { rows: 128, columns: 128, depth: 8, threadRows: 8, threadColumns: 8 },
    { rows: 64, columns: 128, depth: 8, threadRows: 8, threadColumns: 8 },
    { rows: 64, columns: 64, depth: 16, threadRows: 8, threadColumns: 8 },
  ],
  across: [
    { rows: 64, columns: 128, depth: 32, threadRows: 8, threadColumns: 8 },
    { rows: 64, columns: 128, depth: 8, threadRows: 8, threadColumns: 8 },
    { rows: 128, columns: 64, depth: 8, threadRows: 8, threadColumns: 4 },
    { rows: 64, columns: 64, depth: 16, threadRows: 8, threadColumns: 8 },
  ],
} satisfies Record<string, readonly WorkgroupTile[]>;
/** Tiles with blocks of 4x4 per thread. Every GPU keeps these sums in registers. */
const PORTABLE: readonly WorkgroupTile[] = [
  { rows: 64, columns: 64, depth: 16, threadRows: 4, threadColumns: 4 },
  { rows: 32, columns: 32, depth: 16, threadRows: 4, threadColumns: 4 },
];

const threadsOf = ({ rows, columns, threadRows, threadColumns }: WorkgroupTile): number =>
  (rows / threadRows) * (columns / threadColumns);

/**
 * Tiles that this device allows. The first is the default: the largest tile that leaves no processor idle. The LARGE tiles
 * are used only on GPUs like the measured one: all subgroups have 32 threads, and there are 48 KB of workgroup memory.
 */
function workgroupTiles({ layout, M, N, batch, splits, capabilities }: Product): WorkgroupTile[] {
  const {
    maxComputeInvocationsPerWorkgroup: threads,
    maxComputeWorkgroupStorageSize: bytes,
    subgroups,
  } = capabilities;
  const large = LARGE[layout === "nt" ? "alongK" : "across"];
  const measured = subgroups?.min === 32 && subgroups.max === 32 && bytes >= 49152;
  const allowed = (measured ? [...large, ...PORTABLE] : [...PORTABLE, ...large]).filter(
    (tile) => threadsOf(tile) <= threads && 4 * (tile.rows + tile.columns) * tile.depth <= bytes,
  );
  const enough = ({ rows, columns }: WorkgroupTile): boolean =>
    M > rows / 2 &&
    N > columns / 2 &&
    Math.ceil(M / rows) * Math.ceil(N / columns) * batch * splits >= ENOUGH_WORKGROUPS;
  const candidates = measured ? allowed : allowed.filter((tile) => PORTABLE.includes(tile));
  const first = candidates.find(enough) ?? candidates.at(-1)!;
  return [first, ...allowed.filter((tile) => tile !== first)];
}

/** Variants of a product with the tiles that this device allows, the default first. */
export function tileVariants(product: Product): NamedVariant[] {
  return workgroupTiles(product).map((tile) => ({
    name: `t${tile.rows}x${tile.columns}x${tile.depth}_r${tile.threadRows}x${tile.threadColumns}`,
    build: () => tiles(product, tile),
  }));
}

/** Builds the variant with this tile. */
function tiles(product: Product, tile: WorkgroupTile): Variant {
  const work = workOf(product, tile);
  const { threads, staged, widthA, widthB, widthC } = work;
  const { count, prologue } = tilePlace(product, tile);
  const { workgroups, group } = linearDispatch(product.name, count, product.capabilities);
  const bindings = productBindings(product, widthA, widthB, widthC);
  const code = shader({
    bindings,
    workgroupSize: threads,
    declarations: `var<workgroup> tile: array<vec4f, ${staged}>;`,
    body: lines(
      prologue(group),
      places(work),
      repeat(tile.threadRows, (r) => eachQuad(work, (j) => `var c${r}_${j} = vec4f();`)),
      repeat(work.perThread, (p) => repeat(4, (q) => `var next${p}_${q} = vec4f();`)),
      eachBlock(work, load),
      "loop {",
      eachBlock(work, stage),
      "workgroupBarrier();",
      `k0 += ${tile.depth}u;`,
      "if (k0 < k_end) {",
      eachBlock(work, load),
      "}",
      multiply(work),
      "if (k0 >= k_end) { break; }",
      "workgroupBarrier();",
      "}",
      store(work),
    ),
  });
  return { code, bindings, workgroups };
}

/** The sizes on which all steps rely. */
type Work = ReturnType<typeof workOf>;

function workOf(product: Product, tile: WorkgroupTile) {
  const { layout, M, N, K } = product;
  const { rows, columns, depth, threadRows, threadColumns } = tile;
  const threads = threadsOf(tile);
  const [alongKA, alongKB] = [layout !== "tn", layout === "nt"];
  /** A tile is staged in quads for each k. A quad has 4 neighbours along M (or N). */
  const [quadsA, quadsB] = [rows / 4, columns / 4];
  const stagedA = quadsA * depth;
  const staged = stagedA + quadsB * depth;
  /** A thread moves blocks. A block is a quad at four k. */
  const [blocksA, blocks] = [stagedA / 4, staged / 4];
  return {
    ...{ product, tile, threads, alongKA, alongKB, quadsA, quadsB, stagedA, staged, blocksA, blocks },
    threadsM: rows / threadRows,
    threadsN: columns / threadColumns,
    widthA: widthOf(alongKA ? K : M),
    widthB: widthOf(alongKB ? K : N),
    widthC: widthOf(N),
    perThread: Math.ceil(blocks / threads),
  };
}

const COMPONENTS = "xyzw";

/** The row and column of a thread. A subgroup of 32 covers a block of 4 x 8 threads, which reads the fewest different quads. */
function places({ threadsM, threadsN }: Work): string {
  const blocked = threadsN % 8 === 0 && threadsM % 4 === 0;
  return blocked
    ? lines(
        `let column = lane / 32u % ${threadsN / 8}u * 8u + lane % 8u;`,
        `let row = lane / ${4 * threadsN}u * 4u + lane / 8u % 4u;`,
      )
    : lines(`let column = lane % ${threadsN}u;`, `let row = lane / ${threadsN}u;`);
}

/** Text about a block of one matrix, whose quads are in variables that begin with `next`. */
type BlockText = (work: Work, matrix: "a" | "b", next: string) => string;

/** A text for every block that a thread moves. */
function eachBlock(work: Work, text: BlockText): string {
  const { threads, blocksA, blocks, perThread } = work;
  return repeat(perThread, (p) => {
    const first = p * threads;
    const last = Math.min(blocks, first + threads);
    const own = (matrix: "a" | "b"): string =>
      lines(
        `let item = lane + ${first}u${matrix === "b" ? ` - ${blocksA}u` : ""};`,
        text(work, matrix, `next${p}`),
      );
    const inner =
      last <= blocksA
        ? lines("{", own("a"), "}")
        : first >= blocksA
          ? lines("{", own("b"), "}")
          : lines(`if (lane < ${blocksA - first}u) {`, own("a"), "} else {", own("b"), "}");
    return last - first < threads ? lines(`if (lane < ${last - first}u) {`, inner, "}") : inner;
  });
}

/** Position of block `item` of a tile. Neighbouring lanes read neighbouring addresses and write to different banks. */
const blockPlace = (alongK: boolean, quads: number): string =>
  alongK
    ? lines(`let deep = item % 2u + item / ${2 * quads}u * 2u;`, `let quad = item / 2u % ${quads}u;`)
    : lines(`let deep = item / ${quads}u;`, `let quad = item % ${quads}u;`);

/** Loads block `item` of a matrix into four quads, with zeros outside the matrix. */
const load: BlockText = (work, matrix, next) => {
  const { product, tile, alongKA, alongKB, widthA, widthB, quadsA, quadsB } = work;
  const { M, N, K } = product;
  const { rows, columns, depth } = tile;
  const [alongK, size, extent, width, first, quads] =
    matrix === "a"
      ? ([alongKA, M, rows, widthA, "m0", quadsA] as const)
      : ([alongKB, N, columns, widthB, "n0", quadsB] as const);
  const k = { name: "k", limit: K, ragged: K % depth !== 0 };
  const i = { name: "i", limit: size, ragged: size % extent !== 0 };
  // Lines of the matrix, and positions along them.
  const [outer, inner] = alongK ? [i, k] : [k, i];
  const rowsOfFour = (q: number): string => {
    const at = (place: string) =>
      `${matrix}[ab_slice * ${(size * K) / width}u + (${outer.name} + ${q}u) * ${inner.limit / width}u + ${place}]`;
    const inside = (place: string, statement: string) =>
      guarded(`${place} < ${inner.limit}u`, inner.ragged, statement);
    return guarded(
      `${outer.name} + ${q}u < ${outer.limit}u`,
      outer.ragged,
      width === 4
        ? inside(inner.name, `line${q} = ${at(`${inner.name} / 4u`)};`)
        : repeat(4, (j) => {
            const place = `${inner.name} + ${j}u`;
            return inside(place, `line${q}.${COMPONENTS[j]} = ${at(place)};`);
          }),
    );
  };
  return lines(
    blockPlace(alongK, quads),
    `let k = k0 + deep * 4u;`,
    `let i = ${first} + quad * 4u;`,
    repeat(4, (q) => `var line${q} = vec4f();`),
    repeat(4, rowsOfFour),
    repeat(4, (q) =>
      alongK
        ? `${next}_${q} = vec4f(${[0, 1, 2, 3].map((j) => `line${j}.${COMPONENTS[q]}`).join(", ")});`
        : `${next}_${q} = line${q};`,
    ),
  );
};

/** Stores block `item` of a matrix. Quads of every second group of four k are swapped, which spreads them over the banks. */
const stage: BlockText = ({ alongKA, alongKB, quadsA, quadsB, stagedA }, matrix, next) => {
  const [alongK, quads, offset] =
    matrix === "a" ? ([alongKA, quadsA, 0] as const) : ([alongKB, quadsB, stagedA] as const);
  return lines(
    blockPlace(alongK, quads),
    `let at = ${offset}u + deep * ${4 * quads}u + (quad ^ (deep % 2u * 4u));`,
    repeat(4, (q) => `tile[at + ${q * quads}u] = ${next}_${q};`),
  );
};

/** A text for each quad of columns of a thread. */
const eachQuad = ({ tile }: Work, text: (j: number) => string): string =>
  repeat(tile.threadColumns / 4, text);

/** Multiplies the staged tiles. */
function multiply(work: Work): string {
  const { tile, quadsA, quadsB, stagedA, threadsM, threadsN } = work;
  const { depth, threadRows } = tile;
  return lines(
    `for (var deep = 0u; deep < ${depth / 4}u; deep++) {`,
    "let swap = deep % 2u * 4u;",
    `let at_a = deep * ${4 * quadsA}u;`,
    `let at_b = ${stagedA}u + deep * ${4 * quadsB}u;`,
    repeat(4, (q) =>
      lines(
        "{",
        repeat(
          threadRows / 4,
          (i) => `let left${i} = tile[at_a + ${q * quadsA}u + ((row + ${i * threadsM}u) ^ swap)];`,
        ),
        eachQuad(
          work,
          (j) => `let right${j} = tile[at_b + ${q * quadsB}u + ((column + ${j * threadsN}u) ^ swap)];`,
        ),
        repeat(threadRows, (r) =>
          eachQuad(
            work,
            (j) => `c${r}_${j} = fma(vec4f(left${r >> 2}.${COMPONENTS[r & 3]}), right${j}, c${r}_${j});`,
          ),
        ),
        "}",
      ),
    ),
    "}",
  );
}

/** Stores a thread's sums to c, with bias and residual. */
function store(work: Work): string {
  const { product, tile, threadsM, threadsN, widthC } = work;
  const { M, N } = product;
  /** Row `r` of a thread, and the first column of its quad `j`, counted from the thread's first. */
  const rowAt = (r: number) => 4 * threadsM * (r >> 2) + (r & 3);
  const columnAt = (j: number) => 4 * threadsN * j;
  return lines(
    "let m = m0 + row * 4u;",
    "let n = n0 + column * 4u;",
    `let c_row = (c_slice * ${M}u + m) * ${N / widthC}u + ${inVectors("n", widthC)};`,
    repeat(tile.threadRows, (r) =>
      lines(
        `if (m + ${rowAt(r)}u < ${M}u) {`,
        eachQuad(work, (j) => {
          const first = columnAt(j);
          const at = (q: number) => `c_row + ${(rowAt(r) * N + first) / widthC + q}u`;
          const column = `${inVectors("n", widthC)} + ${first / widthC}u`;
          return widthC === 4
            ? `if (n + ${first}u < ${N}u) { c[${at(0)}] = c${r}_${j}${addends(product, at(0), column)}; }`
            : repeat(
                4,
                (q) =>
                  `if (n + ${first + q}u < ${N}u) { c[${at(q)}] = c${r}_${j}.${COMPONENTS[q]}${addends(product, at(q), `n + ${first + q}u`)}; }`,
              );
        }),
        "}",
      ),
    ),
  );
}
