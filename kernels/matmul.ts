/**
 * Matrix multiplication in the three layouts that a linear layer and its gradients need:
 *
 *   nn: c = a b      a [M, K], b [K, N]        (dX = dY W)
 *   nt: c = a b^T    a [M, K], b [N, K]        (Y = X W^T)
 *   tn: c = a^T b    a [K, M], b [K, N]        (dW = dY^T X)
 *
 * Every element of c sums over k in ascending order by one thread. A software adapter, which pays for
 * memory accesses and barriers, keeps a tile of c in the variables of each thread and streams a and b past
 * it; a GPU stages tiles of a and b in workgroup memory and computes 4x4 elements a thread.
 */
import { requireBindable, requirePositive, type Capabilities, type Kernel } from "./kernel.js";
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

export type MatmulLayout = "nn" | "nt" | "tn";

export interface MatmulSpec {
  readonly layout: MatmulLayout;
  readonly M: number;
  readonly N: number;
  readonly K: number;
  /** Independent products; a, b and c then have this leading dimension. Default 1. */
  readonly batch?: number;
  /** Add bias [N] to every row of c. */
  readonly bias?: boolean;
}

/**
 * Bindings: a, b, (bias [N]), c [batch, M, N]; all f32.
 * @throws KernelError for sizes that are not positive integers or exceed what the device can bind or dispatch.
 */
export function matmul(spec: MatmulSpec, capabilities: Capabilities): Kernel {
  const { layout, M, N, K, batch = 1, bias = false } = spec;
  const name = `matmul_${layout}${bias ? "_bias" : ""}_${batch > 1 ? `${batch}x` : ""}${M}x${N}x${K}`;
  requirePositive(name, { M, N, K, batch });
  requireBindable(name, { a: batch * M * K, b: batch * K * N, c: batch * M * N }, capabilities);
  const product: Product = { name, layout, M, N, K, batch, bias, capabilities };
  const variant = capabilities.software ? registers(product) : tiles(product);
  return {
    ...variant,
    bindings: bindingsOf(variant.bindings),
    flops: batch * M * N * (2 * K + (bias ? 1 : 0)),
    bytes: 4 * (batch * (M * K + K * N + M * N) + (bias ? N : 0)),
  };
}

interface Product extends Required<MatmulSpec> {
  readonly name: string;
  readonly capabilities: Capabilities;
}

interface Variant extends Pick<Kernel, "name" | "code" | "workgroups"> {
  readonly bindings: readonly ShaderBinding[];
}

/** Vector width at which rows of `length` contiguous elements can be bound. */
function widthOf(length: number): 1 | 4 {
  return length % 4 === 0 ? 4 : 1;
}

function shaderBindings(bias: boolean, a: 1 | 4, b: 1 | 4, c: 1 | 4): ShaderBinding[] {
  return [
    { name: "a", access: "read", dtype: "f32", width: a },
    { name: "b", access: "read", dtype: "f32", width: b },
    ...(bias ? [{ name: "bias", access: "read", dtype: "f32", width: c } as const] : []),
    { name: "c", access: "read_write", dtype: "f32", width: c },
  ];
}

/** Position `n` (a multiple of `width`) counted in vectors. */
function inVectors(n: string, width: 1 | 4): string {
  return width === 1 ? n : `${n} / 4u`;
}

/** `expression`, kept below `limit` where it may pass it: the clamped loads feed elements that are never stored. */
function clamped(expression: string, limit: number, divides: boolean): string {
  return divides ? `(${expression})` : `min(${expression}, ${limit - 1}u)`;
}

/** A rows x columns tile of c in the variables of each thread; no workgroup memory, no barrier. */
function registers(product: Product): Variant {
  const { layout, M, N, K, batch, bias, capabilities } = product;
  const widthA = widthOf(layout === "tn" ? M : K);
  const widthB = widthOf(layout === "nt" ? K : N);
  const widthC = widthOf(N);
  const { rows, columns } = registerTile(product, layout === "tn" ? widthA : 1, widthC);
  const name = `${product.name}_r${rows}x${columns}`;
  const tilesM = Math.ceil(M / rows);
  const tilesN = Math.ceil(N / columns);
  const exactM = M % rows === 0;
  const exactN = N % columns === 0;
  const threads = tilesM * tilesN * batch;
  const workgroupSize = threads < 64 ? 4 : 16;
  const { workgroups, prologue } = linearThreads(name, threads, workgroupSize, capabilities);

  // nt sums scalars; nn and tn sum vectors along N.
  const widthSum = layout === "nt" ? 1 : widthC;
  const sums = columns / widthSum;
  const sumType = typeName("f32", widthSum);
  /** Products that a trip of the loop adds to each sum: storing a sum costs as much as several of them. */
  const depth = widthOf(K);

  // Operands are rows (contiguous along K: one load gives `depth` of them) or columns (contiguous along M or N).
  const a = operand("a", {
    alongK: layout !== "tn",
    count: rows,
    width: widthA,
    first: "m",
    size: M,
    exact: exactM,
    K,
    depth,
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
  });
  const right = (j: number, q: number) => (widthSum === 4 ? `b${q}_${j}` : b.scalar(j, q));
  const sum = (i: number, j: number) =>
    Array.from({ length: depth }).reduce<string>(
      (total, _, q) =>
        `fma(${widthSum === 4 ? `vec4f(${a.scalar(i, q)})` : a.scalar(i, q)}, ${right(j, q)}, ${total})`,
      `c${i}_${j}`,
    );

  const result = (i: number, j: number) => {
    if (widthSum === widthC) return `c${i}_${j}`;
    return `vec4f(${[0, 1, 2, 3].map((q) => `c${i}_${4 * j + q}`).join(", ")})`;
  };
  const store = repeat(rows, (i) => {
    const row = repeat(columns / widthC, (j) => {
      const value = `c[c_row + ${i * (N / widthC) + j}u] = ${result(i, j)}${bias ? ` + bias[${inVectors("n", widthC)} + ${j}u]` : ""};`;
      return exactN || j === 0 ? value : `if (n + ${j * widthC}u < ${N}u) { ${value} }`;
    });
    return exactM || i === 0 ? row : lines(`if (m + ${i}u < ${M}u) {`, row, "}");
  });
  const bindings = shaderBindings(bias, widthA, widthB, widthC);
  const body = lines(
    prologue,
    `let n = (index % ${tilesN}u) * ${columns}u;`,
    `let m = (index / ${tilesN}u % ${tilesM}u) * ${rows}u;`,
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
  return { name, code: shader({ bindings, workgroupSize, body }), bindings, workgroups };
}

interface OperandTile {
  /** Rows contiguous along K, else columns contiguous along the other dimension. */
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
}

/** WGSL that loads a tile of an operand for `depth` values of k, and the name of each loaded scalar. */
function operand(name: "a" | "b", { alongK, count, width, first, size, exact, K, depth }: OperandTile) {
  const start = `batch * ${(size * K) / width}u`;
  if (alongK) {
    return {
      starts: repeat(
        count,
        (i) =>
          `let ${name}_row${i} = ${start} + ${clamped(`${first} + ${i}u`, size, exact)} * ${K / width}u;`,
      ),
      loads: repeat(count, (i) => `let ${name}${i} = ${name}[${name}_row${i} + k];`),
      scalar: (i: number, q: number) => (width === 4 ? `${name}${i}.${"xyzw"[q]}` : `${name}${i}`),
    };
  }
  const vectors = count / width;
  return {
    starts: repeat(
      vectors,
      (i) =>
        `let ${name}_column${i} = ${start} + ${clamped(`${inVectors(first, width)} + ${i}u`, size / width, exact)};`,
    ),
    loads: repeat(depth, (q) =>
      repeat(
        vectors,
        (i) =>
          `let ${name}${q}_${i} = ${name}[${name}_column${i} + ${depth === 1 ? "k" : `(k * 4u + ${q}u)`} * ${size / width}u];`,
      ),
    ),
    scalar: (i: number, q: number) =>
      width === 4 ? `${name}${q}_${i >> 2}.${"xyzw"[i & 3]}` : `${name}${q}_${i}`,
  };
}

/**
 * The register tile that costs the least. A loaded scalar costs about as much as 8 multiply-adds on
 * software adapters, which run some 8 threads at a time (cores times SIMD lanes).
 */
function registerTile(
  { M, N, batch }: Product,
  minRows: number,
  minColumns: number,
): { rows: number; columns: number } {
  let best = { rows: 0, columns: 0, cost: Infinity };
  for (const rows of [16, 8, 4, 2, 1].filter((n) => n >= minRows)) {
    for (const columns of [16, 8, 4, 2, 1].filter((n) => n >= minColumns)) {
      const threads = Math.ceil(M / rows) * Math.ceil(N / columns) * batch;
      const cost = Math.ceil(threads / 8) * (8 * (rows + columns) + rows * columns);
      if (cost < best.cost) best = { rows, columns, cost };
    }
  }
  return best;
}

/** Depth of the tiles of a and b that are staged at a time. */
const TILE_K = 8;
/** Workgroups of large tiles below which smaller tiles fill a GPU better. */
const ENOUGH_WORKGROUPS = 128;

/** Workgroup-memory tiles of 64x64 (or 32x32) elements of c, 4x4 a thread. */
function tiles(product: Product): Variant {
  const { layout, M, N, K, batch, bias, capabilities } = product;
  const large = Math.ceil(M / 64) * Math.ceil(N / 64) * batch >= ENOUGH_WORKGROUPS && M > 32 && N > 32;
  const tile = large ? 64 : 32;
  const name = `${product.name}_t${tile}x${tile}x${TILE_K}_r4x4`;
  const side = tile / 4;
  const threads = side * side;
  const tilesM = Math.ceil(M / tile);
  const tilesN = Math.ceil(N / tile);
  const count = tilesM * tilesN * batch;
  const { workgroups, group } = linearDispatch(name, count, capabilities);
  const widthA = layout === "tn" ? widthOf(M) : 1;
  const widthB = layout === "nt" ? 1 : widthOf(N);
  const widthC = widthOf(N);
  const staged = side * TILE_K;

  /** Stages 4 neighbours along M (or N) at one k, zero outside the matrix. */
  const stage = (matrix: "a" | "b", size: number, width: 1 | 4, alongK: boolean, first: string) => {
    const base = `batch * ${(size * K) / width}u`;
    const at = (i: string) =>
      alongK ? `${base} + (${i}) * ${K}u + k` : `${base} + k * ${size / width}u + ${i}`;
    return lines(
      // Neighbouring lanes read neighbouring addresses.
      alongK ? `let depth = item % ${TILE_K}u;` : `let depth = item / ${side}u;`,
      alongK ? `let quad = item / ${TILE_K}u;` : `let quad = item % ${side}u;`,
      "let k = k0 + depth;",
      `let i = ${first} + quad * 4u;`,
      "var value = vec4f();",
      `if (k < ${K}u) {`,
      width === 4
        ? `if (i < ${size}u) { value = ${matrix}[${at("i / 4u")}]; }`
        : repeat(
            4,
            (q) => `if (i + ${q}u < ${size}u) { value.${"xyzw"[q]} = ${matrix}[${at(`i + ${q}u`)}]; }`,
          ),
      "}",
      `tile_${matrix}[depth * ${side}u + quad] = value;`,
    );
  };
  const bindings = shaderBindings(bias, widthA, widthB, widthC);
  const body = lines(
    `let group = ${group};`,
    `if (group >= ${count}u) { return; }`,
    `let n0 = (group % ${tilesN}u) * ${tile}u;`,
    `let m0 = (group / ${tilesN}u % ${tilesM}u) * ${tile}u;`,
    `let batch = group / ${tilesN * tilesM}u;`,
    `let column = lane % ${side}u;`,
    `let row = lane / ${side}u;`,
    repeat(4, (i) => `var c${i} = vec4f();`),
    `for (var k0 = 0u; k0 < ${K}u; k0 += ${TILE_K}u) {`,
    // The first `staged` items fill the tile of a, the others that of b.
    `for (var next = lane; next < ${2 * staged}u; next += ${threads}u) {`,
    `let item = next % ${staged}u;`,
    `if (next < ${staged}u) {`,
    stage("a", M, widthA, layout !== "tn", "m0"),
    "} else {",
    stage("b", N, widthB, layout === "nt", "n0"),
    "}",
    "}",
    "workgroupBarrier();",
    `for (var depth = 0u; depth < ${TILE_K}u; depth++) {`,
    `let left = tile_a[depth * ${side}u + row];`,
    `let right = tile_b[depth * ${side}u + column];`,
    repeat(4, (i) => `c${i} = fma(vec4f(left.${"xyzw"[i]}), right, c${i});`),
    "}",
    "workgroupBarrier();",
    "}",
    "let m = m0 + row * 4u;",
    "let n = n0 + column * 4u;",
    `let c_row = (batch * ${M}u + m) * ${N / widthC}u + ${inVectors("n", widthC)};`,
    repeat(4, (i) => {
      const at = (j: number) => `c[c_row + ${i * (N / widthC) + j}u]`;
      const row =
        widthC === 4
          ? `if (n < ${N}u) { ${at(0)} = c${i}${bias ? " + bias[n / 4u]" : ""}; }`
          : repeat(
              4,
              (j) =>
                `if (n + ${j}u < ${N}u) { ${at(j)} = c${i}.${"xyzw"[j]}${bias ? ` + bias[n + ${j}u]` : ""}; }`,
            );
      return lines(`if (m + ${i}u < ${M}u) {`, row, "}");
    }),
  );
  const declarations = lines(
    `var<workgroup> tile_a: array<vec4f, ${staged}>;`,
    `var<workgroup> tile_b: array<vec4f, ${staged}>;`,
  );
  return {
    name,
    code: shader({ bindings, workgroupSize: threads, declarations, body }),
    bindings,
    workgroups,
  };
}
