/**
 * Matmul made for software adapters. Each thread has a rows x columns tile of c in its variables; there is no workgroup
 * memory and no barrier. If all subgroups have the same size, the threads of a subgroup lie side by side along N. They all
 * need the same rows of a: each thread loads a part of them and broadcasts it.
 */
import { addends, guarded, inVectors, productBindings, widthOf } from "./shared.js";
import type { NamedVariant, Product, Variant } from "./spec.js";
import { linearDispatch, lines, repeat, shader } from "../core/wgsl.js";

/** A tile of c in the variables of a thread. */
export interface RegisterTile {
  readonly rows: number;
  readonly columns: number;
  /** Steps along k in a trip of the loop: how many products are added to a sum before it is stored. */
  readonly depth: number;
  /** Threads of a subgroup that lie side by side along N; 1 if threads do not share loads. */
  readonly lanes: number;
}

/** `r16x8_4N`. The depth is named only if it differs from the width of vectors along k. */
export function registerTileName({ K }: Product, { rows, columns, depth, lanes }: RegisterTile): string {
  return `r${rows}x${columns}${depth === widthOf(K) ? "" : `x${depth}`}${lanes > 1 ? `_${lanes}N` : ""}`;
}

/** Multiply-adds in a trip of the loop of tiles that SwiftShader compiles in about 0.2 s. Larger ones take up to 2 s. */
const MOST_QUICK = 512;

/** The variants of {@link registerTiles}. Those that take long to compile name a quick one. */
export function registerVariants(product: Product): NamedVariant[] {
  const tiles = registerTiles(product);
  const isQuick = ({ rows, columns, depth }: RegisterTile): boolean => rows * columns * depth <= MOST_QUICK;
  const named = (tile: RegisterTile): NamedVariant => ({
    name: registerTileName(product, tile),
    build: () => registers(product, tile),
  });
  const quickest = tiles.find(isQuick);
  return tiles.map((tile) => ({
    ...named(tile),
    ...(quickest && !isQuick(tile) && { quick: named(quickest) }),
  }));
}

/** Builds the variant with this tile. */
export function registers(product: Product, { rows, columns, depth, lanes }: RegisterTile): Variant {
  const { layout, M, N, K, batch, capabilities } = product;
  const widthA = widthOf(layout === "tn" ? M : K);
  const widthB = widthOf(layout === "nt" ? K : N);
  const widthC = widthOf(N);
  const tileN = columns * lanes;
  const tilesM = Math.ceil(M / rows);
  const tilesN = Math.ceil(N / tileN);
  const exactM = M % rows === 0;
  const exactN = N % tileN === 0;
  const tilesC = tilesM * tilesN * batch;
  // A subgroup fills its workgroup, so that the guard is uniform. Without lanes a workgroup has a handful of tiles.
  const workgroupSize = lanes > 1 ? lanes : tilesC < 64 ? 4 : 16;
  const groups = lanes > 1 ? tilesC : Math.ceil(tilesC / workgroupSize);
  const { workgroups, group } = linearDispatch(product.name, groups, capabilities);

  const a = operand("a", {
    alongK: layout !== "tn",
    count: rows,
    width: widthA,
    first: "m",
    size: M,
    exact: exactM,
    K,
    depth,
    lanes,
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
    lanes: 1,
  });
  const sum = (i: number, j: number): string => {
    let total = `c${i}_${j}`;
    for (let q = 0; q < depth; q++) total = `fma(${a.scalar(i, q)}, ${b.scalar(j, q)}, ${total})`;
    return total;
  };
  const result = (i: number, j: number) =>
    widthC === 1 ? `c${i}_${j}` : `vec4f(${[0, 1, 2, 3].map((q) => `c${i}_${4 * j + q}`).join(", ")})`;
  const store = repeat(rows, (i) => {
    const row = repeat(columns / widthC, (j) => {
      const at = `c_row + ${i * (N / widthC) + j}u`;
      const value = `c[${at}] = ${result(i, j)}${addends(product, at, `${inVectors("n", widthC)} + ${j}u`)};`;
      // The first column of a tile is inside c, except in the tiles of a subgroup's last lanes.
      return guarded(`n + ${j * widthC}u < ${N}u`, !exactN && (j > 0 || lanes > 1), value);
    });
    return guarded(`m + ${i}u < ${M}u`, !exactM && i > 0, row);
  });
  const bindings = productBindings(product, widthA, widthB, widthC);
  const body = lines(
    lanes > 1 ? `let index = ${group};` : `let index = ${group} * ${workgroupSize}u + lane;`,
    `if (index >= ${tilesC}u) { return; }`,
    `let n = (index % ${tilesN}u) * ${tileN}u${lanes > 1 ? ` + subgroup_lane * ${columns}u` : ""};`,
    `let m = (index / ${tilesN}u % ${tilesM}u) * ${rows}u;`,
    `let batch = index / ${tilesN * tilesM}u;`,
    a.starts,
    b.starts,
    repeat(rows, (i) => repeat(columns, (j) => `var c${i}_${j} = 0f;`)),
    `for (var k = 0u; k < ${K / depth}u; k++) {`,
    a.loads,
    b.loads,
    repeat(rows, (i) => repeat(columns, (j) => `c${i}_${j} = ${sum(i, j)};`)),
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
  /** True if the tile has rows that are contiguous along K; false if it has columns contiguous along M or N. */
  readonly alongK: boolean;
  /** Rows or columns of the tile. */
  readonly count: number;
  readonly width: 1 | 4;
  /** WGSL position of the tile's first row or column. */
  readonly first: string;
  /** Rows or columns of the matrix. */
  readonly size: number;
  /** True if tiles never reach past `size`. */
  readonly exact: boolean;
  readonly K: number;
  readonly depth: number;
  /** Threads that need the same tile and share its loads; 1 if each thread has a tile of its own. */
  readonly lanes: number;
}

interface OperandText {
  /** Addresses of the loads at k = 0. */
  readonly starts: string;
  /** The loads of a trip. */
  readonly loads: string;
  /** The loaded scalar of row or column `i` at step `q` of the trip. */
  scalar(i: number, q: number): string;
}

/** WGSL that loads a tile of an operand for `depth` values of k. */
function operand(name: "a" | "b", tile: OperandTile): OperandText {
  const { alongK, count, width, first, size, exact, K, depth, lanes } = tile;
  /** Loads per row or column vector. A load is a vector along a row's k, or a vector of columns at one k. */
  const each = alongK ? depth / width : depth;
  const items = (alongK ? count : count / width) * each;
  const item = (t: number) => `${name}${t % each}_${Math.floor(t / each)}`;
  const address = (t: string) => {
    const position = alongK || width === 1 ? `${first} + ${t} / ${each}u` : `${first} / 4u + ${t} / ${each}u`;
    // Clamped loads feed only elements that are not stored.
    const clamped = exact ? `(${position})` : `min(${position}, ${(alongK ? size : size / width) - 1}u)`;
    const [across, along] = alongK ? [K / width, 1] : [1, size / width];
    return `batch * ${(size * K) / width}u + ${clamped} * ${across}u + ${t} % ${each}u * ${along}u`;
  };
  const step = `k * ${alongK ? each : (depth * size) / width}u`;
  const load = (s: number) => (lanes > 1 ? `${name}_share${s}` : item(s));
  return {
    starts: repeat(
      items / lanes,
      (s) => `let ${load(s)}_at = ${address(lanes > 1 ? `(subgroup_lane + ${s * lanes}u)` : `${s}u`)};`,
    ),
    loads: lines(
      repeat(items / lanes, (s) => `let ${load(s)} = ${name}[${load(s)}_at + ${step}];`),
      lanes > 1
        ? repeat(
            items,
            (t) => `let ${item(t)} = subgroupBroadcast(${load(Math.floor(t / lanes))}, ${t % lanes}u);`,
          )
        : "",
    ),
    scalar: (i, q) =>
      width === 1
        ? `${name}${q}_${i}`
        : alongK
          ? `${name}${q >> 2}_${i}.${"xyzw"[q & 3]}`
          : `${name}${q}_${i >> 2}.${"xyzw"[i & 3]}`,
  };
}

/** Relative costs on a software adapter: of a loaded scalar, a broadcast scalar, a multiply-add, and a sum kept between trips. */
interface Costs {
  readonly load: number;
  readonly broadcast: number;
  readonly multiplyAdd: number;
  readonly keep: number;
  /**
   * Cost of compiling per sum of a SIMD group, in trips of the loop on one core, spread over the runs of a kernel in
   * training. With more sums, each instruction also takes longer to compile.
   */
  readonly compile: number;
  /** The most sums of a SIMD group with this many lanes, and the most multiply-adds per trip. More take too long to compile. */
  readonly mostSums: number;
  readonly mostUnrolled: number;
}
/**
 * SwiftShader, which has four lanes: instructions that its compiler emits for four lanes at once. It keeps variables on
 * the stack, loads lane by lane, and masks every store (docs/lab/matmul.md, "SwiftShader: what bounds matmul").
 */
const FOUR_LANES: Costs = {
  load: 100,
  broadcast: 12,
  multiplyAdd: 4.6,
  keep: 9,
  compile: 0.12,
  mostSums: 4 * 512,
  mostUnrolled: 4 * 2048,
};
/** lavapipe, which has eight or four lanes. Its compiler keeps sums in registers as long as registers suffice. */
const OTHERS: Costs = {
  load: 8,
  broadcast: 1.2,
  multiplyAdd: 1,
  keep: 0,
  compile: 0,
  mostSums: 512,
  mostUnrolled: 4 * 512,
};
/** SIMD groups that run at a time: one per core. */
const GROUPS_AT_A_TIME = 2;
const SIDES = [32, 16, 8, 4, 2, 1];

/** Tiles that this product and device allow, the cheapest over all of c first. */
export function registerTiles({ layout, M, N, K, batch, capabilities }: Product): RegisterTile[] {
  const minRows = layout === "tn" ? widthOf(M) : 1;
  const minColumns = widthOf(N);
  const { subgroups } = capabilities;
  const size = subgroups && subgroups.min === subgroups.max && subgroups.min <= 16 ? subgroups.min : 1;
  const costs = size === 4 ? FOUR_LANES : OTHERS;
  const vectors = widthOf(K) === 4 && widthOf(N) === 4 && (layout !== "tn" || widthOf(M) === 4);
  const found: (RegisterTile & { cost: number })[] = [];
  for (const lanes of size > 1 && vectors ? [1, size] : [1]) {
    // Threads without shared loads still share a SIMD group of 4 with their neighbours. Large tiles do not help them.
    const simd = Math.max(4, lanes);
    const most = lanes > 1 ? costs : OTHERS;
    const depths = lanes > 1 && costs.keep > 0 && K % 8 === 0 ? [4, 8] : [widthOf(K)];
    for (const rows of SIDES.filter((n) => n >= minRows && n % lanes === 0)) {
      for (const columns of SIDES.filter((n) => n >= minColumns)) {
        const sums = rows * columns;
        const tiles = Math.ceil(M / rows) * Math.ceil(N / (columns * lanes)) * batch;
        const groups = Math.ceil((lanes > 1 ? tiles : Math.ceil(tiles / 4)) / GROUPS_AT_A_TIME);
        const step =
          costs.load * (rows / lanes + columns) +
          costs.broadcast * (lanes > 1 ? rows : 0) +
          costs.multiplyAdd * sums;
        for (const depth of depths) {
          if (sums * simd > most.mostSums || sums * simd * depth > most.mostUnrolled) continue;
          const trip = step * depth + costs.keep * sums;
          const cost = trip * (groups * (K / depth) + costs.compile * sums * simd);
          found.push({ rows, columns, depth, lanes, cost });
        }
      }
    }
  }
  return found.sort((a, b) => a.cost - b.cost);
}
