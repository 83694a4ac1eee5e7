/**
 * Matmul made for software adapters: a rows x columns tile of c in the variables of each thread, no workgroup memory, no
 * barrier. Where subgroups have one size, the threads of a subgroup lie side by side along M or N, and what they
 * all need of the other operand is loaded once between them and broadcast.
 */
import {
  addends,
  inVectors,
  productBindings,
  widthOf,
  type Product,
  type Variant,
} from "./matmul_product.js";
import { linearDispatch, lines, repeat, shader, typeName } from "./wgsl.js";

/** Builds the variant with this tile. */
export function registers(product: Product, { rows, columns, lanes, along }: RegisterTile): Variant {
  const { layout, M, N, K, batch, capabilities } = product;
  const widthA = widthOf(layout === "tn" ? M : K);
  const widthB = widthOf(layout === "nt" ? K : N);
  const widthC = widthOf(N);
  const tileM = along === "M" ? rows * lanes : rows;
  const tileN = along === "N" ? columns * lanes : columns;
  const tilesM = Math.ceil(M / tileM);
  const tilesN = Math.ceil(N / tileN);
  const exactM = M % tileM === 0;
  const exactN = N % tileN === 0;
  const tilesC = tilesM * tilesN * batch;
  // A subgroup fills its workgroup, so that the guard is uniform; else a workgroup is a handful of tiles.
  const workgroupSize = lanes > 1 ? lanes : tilesC < 64 ? 4 : 16;
  const groups = lanes > 1 ? tilesC : Math.ceil(tilesC / workgroupSize);
  const { workgroups, group } = linearDispatch(product.name, groups, capabilities);

  // nt sums scalars; nn and tn sum vectors along N.
  const widthSum = layout === "nt" ? 1 : widthC;
  const sums = columns / widthSum;
  const sumType = typeName("f32", widthSum);
  /** Products that a trip of the loop adds to each sum: storing a sum costs as much as several of them. */
  const depth = widthOf(K);

  const a = operand("a", {
    alongK: layout !== "tn",
    count: rows,
    width: widthA,
    first: "m",
    size: M,
    exact: exactM,
    K,
    depth,
    lanes: along === "N" ? lanes : 1,
  });
  const b = operand("b", {
    alongK: layout === "nt",
    count: columns,
    width: widthB,
    first: "n",
    size: N,
    exact: exactN,
    K,
    depth,
    lanes: along === "M" ? lanes : 1,
  });
  const left = (i: number, q: number) => (widthSum === 4 ? `vec4f(${a.scalar(i, q)})` : a.scalar(i, q));
  const right = (j: number, q: number) => (widthSum === 4 ? `b${q}_${j}` : b.scalar(j, q));
  const sum = (i: number, j: number): string => {
    let total = `c${i}_${j}`;
    for (let q = 0; q < depth; q++) total = `fma(${left(i, q)}, ${right(j, q)}, ${total})`;
    return total;
  };
  const result = (i: number, j: number) =>
    widthSum === widthC ? `c${i}_${j}` : `vec4f(${[0, 1, 2, 3].map((q) => `c${i}_${4 * j + q}`).join(", ")})`;
  /** The first row or column of a tile is inside c, but for the tiles of a subgroup's last lanes. */
  const inside = (exact: boolean, first: boolean, shared: boolean) => exact || (first && !shared);
  const store = repeat(rows, (i) => {
    const row = repeat(columns / widthC, (j) => {
      const at = `c_row + ${i * (N / widthC) + j}u`;
      const value = `c[${at}] = ${result(i, j)}${addends(product, at, `${inVectors("n", widthC)} + ${j}u`)};`;
      return inside(exactN, j === 0, along === "N")
        ? value
        : lines(`if (n + ${j * widthC}u < ${N}u) {`, value, "}");
    });
    return inside(exactM, i === 0, along === "M") ? row : lines(`if (m + ${i}u < ${M}u) {`, row, "}");
  });
  const bindings = productBindings(product, widthA, widthB, widthC);
  const laneAlong = (dimension: "M" | "N", size: number) =>
    along === dimension ? ` + subgroup_lane * ${size}u` : "";
  const body = lines(
    lanes > 1 ? `let index = ${group};` : `let index = ${group} * ${workgroupSize}u + lane;`,
    `if (index >= ${tilesC}u) { return; }`,
    `let n = (index % ${tilesN}u) * ${tileN}u${laneAlong("N", columns)};`,
    `let m = (index / ${tilesN}u % ${tilesM}u) * ${tileM}u${laneAlong("M", rows)};`,
    `let batch = index / ${tilesN * tilesM}u;`,
    a.starts,
    b.starts,
    repeat(rows, (i) => repeat(sums, (j) => `var c${i}_${j} = ${sumType}();`)),
    `for (var k = 0u; k < ${K / depth}u; k++) {`,
    a.loads,
    b.loads,
    repeat(rows, (i) => repeat(sums, (j) => `c${i}_${j} = ${sum(i, j)};`)),
    "}",
    `let c_row = (batch * ${M}u + m) * ${N / widthC}u + ${inVectors("n", widthC)};`,
    store,
  );
  const code = shader({
    bindings,
    workgroupSize,
    body,
    ...(lanes > 1 && {
      directives: "enable subgroups;",
      parameters: ["@builtin(subgroup_invocation_id) subgroup_lane: u32"],
    }),
  });
  return { code, bindings, workgroups };
}

interface OperandTile {
  /** The tile is rows contiguous along K, each load giving `depth` of k; else columns contiguous along M or N. */
  readonly alongK: boolean;
  /** Rows or columns of the tile. */
  readonly count: number;
  readonly width: 1 | 4;
  /** WGSL position of the tile's first row or column. */
  readonly first: string;
  /** Rows or columns of the matrix. */
  readonly size: number;
  /** True where tiles never reach past `size`. */
  readonly exact: boolean;
  readonly K: number;
  readonly depth: 1 | 4;
  /** Threads that need the same tile and load it between them; 1 where each has its own. */
  readonly lanes: number;
}

interface OperandText {
  /** Addresses of the loads at k = 0. */
  readonly starts: string;
  /** The loads of a trip. */
  readonly loads: string;
  /** The loaded scalar of row or column `i` at the trip's k number `q`. */
  scalar(i: number, q: number): string;
}

/** WGSL that loads a tile of an operand for `depth` values of k. */
function operand(name: "a" | "b", tile: OperandTile): OperandText {
  const { alongK, count, width, first, size, exact, K, depth, lanes } = tile;
  const vectors = alongK ? count : count / width;
  /** A load is an item: a row, or a vector of columns at one k. */
  const items = alongK ? vectors : vectors * depth;
  const item = (t: number) => (alongK ? `${name}${t}` : `${name}${t % depth}_${Math.floor(t / depth)}`);
  const address = (vector: string, q: string) => {
    const position = alongK || width === 1 ? `${first} + ${vector}` : `${first} / 4u + ${vector}`;
    const limit = alongK ? size : size / width;
    // Clamped loads feed elements that are never stored.
    const clamped = exact ? `(${position})` : `min(${position}, ${limit - 1}u)`;
    const start = `batch * ${(size * K) / width}u`;
    return alongK
      ? `${start} + ${clamped} * ${K / width}u`
      : `${start} + ${clamped} + ${q} * ${size / width}u`;
  };
  const step = alongK ? "k" : depth === 1 ? `k * ${size / width}u` : `k * ${(4 * size) / width}u`;
  const scalar = (i: number, q: number) =>
    alongK
      ? `${name}${i}${width === 4 ? `.${"xyzw"[q]}` : ""}`
      : width === 4
        ? `${name}${q}_${i >> 2}.${"xyzw"[i & 3]}`
        : `${name}${q}_${i}`;
  if (lanes === 1) {
    const at = (t: number) =>
      alongK ? address(`${t}u`, "0u") : address(`${Math.floor(t / depth)}u`, `${t % depth}u`);
    return {
      starts: repeat(items, (t) => `let ${item(t)}_at = ${at(t)};`),
      loads: repeat(items, (t) => `let ${item(t)} = ${name}[${item(t)}_at + ${step}];`),
      scalar,
    };
  }
  const loadsEach = items / lanes;
  const mine = (s: number) => `(subgroup_lane + ${s * lanes}u)`;
  return {
    starts: repeat(loadsEach, (s) =>
      alongK
        ? `let ${name}_at${s} = ${address(mine(s), "0u")};`
        : `let ${name}_at${s} = ${address(`${mine(s)} / ${depth}u`, `${mine(s)} % ${depth}u`)};`,
    ),
    loads: lines(
      repeat(loadsEach, (s) => `let ${name}_share${s} = ${name}[${name}_at${s} + ${step}];`),
      repeat(
        items,
        (t) => `let ${item(t)} = subgroupBroadcast(${name}_share${Math.floor(t / lanes)}, ${t % lanes}u);`,
      ),
    ),
    scalar,
  };
}

/** A tile of c in the variables of a thread. */
export interface RegisterTile {
  readonly rows: number;
  readonly columns: number;
  /** Threads of a subgroup that lie side by side along `along`; 1 where threads are on their own. */
  readonly lanes: number;
  readonly along: "M" | "N" | null;
}

/** Relative costs on a software adapter: a loaded scalar, a broadcast one, a multiply-add. */
const COST = { load: 8, broadcast: 1.2, multiplyAdd: 1 };
/** SIMD groups that run at a time: one a core. */
const GROUPS_AT_A_TIME = 2;
/** Elements of c that a SIMD group computes; beyond, compiling a kernel takes longer than it saves. */
const MOST_ELEMENTS = 512;

/** Tiles that this product and device allow, those first for which a step along k costs least over all of c. */
export function registerTiles({ layout, M, N, K, batch, capabilities }: Product): RegisterTile[] {
  const minRows = layout === "tn" ? widthOf(M) : 1;
  const minColumns = widthOf(N);
  const { subgroups } = capabilities;
  const size = subgroups && subgroups.min === subgroups.max && subgroups.min <= 16 ? subgroups.min : 1;
  const vectors = widthOf(K) === 4 && widthOf(N) === 4 && (layout !== "tn" || widthOf(M) === 4);
  const arrangements: Pick<RegisterTile, "lanes" | "along">[] = [
    { lanes: 1, along: null },
    ...(size > 1 && vectors ? (["N", "M"] as const).map((along) => ({ lanes: size, along })) : []),
  ];
  const found: (RegisterTile & { cost: number })[] = [];
  for (const { lanes, along } of arrangements) {
    for (const rows of [16, 8, 4, 2, 1].filter((n) => n >= minRows)) {
      for (const columns of [16, 8, 4, 2, 1].filter((n) => n >= minColumns)) {
        if (rows * columns * Math.max(4, lanes) > MOST_ELEMENTS) continue;
        // The shared operand's loads must divide among the lanes.
        const shared = along === "N" ? rows : columns;
        if (along && shared % lanes !== 0) continue;
        const tiles =
          Math.ceil(M / (along === "M" ? rows * lanes : rows)) *
          Math.ceil(N / (along === "N" ? columns * lanes : columns)) *
          batch;
        // Threads on their own share a SIMD group of 4 with their neighbours.
        const groups = lanes > 1 ? tiles : Math.ceil(tiles / 4);
        const loads = along ? shared / lanes + (along === "N" ? columns : rows) : rows + columns;
        const each =
          COST.load * loads + COST.broadcast * (along ? shared : 0) + COST.multiplyAdd * rows * columns;
        found.push({ rows, columns, lanes, along, cost: Math.ceil(groups / GROUPS_AT_A_TIME) * each });
      }
    }
  }
  return found.sort((a, b) => a.cost - b.cost);
}
