/** Matmul for GPUs: tiles of a and b are staged in workgroup memory, 4x4 elements of c to a thread. */
import {
  addends,
  inVectors,
  productBindings,
  widthOf,
  type Product,
  type Variant,
} from "./matmul_product.js";
import { linearDispatch, lines, repeat, shader } from "./wgsl.js";

/** Depth of the tiles of a and b that are staged at a time. */
const TILE_K = 8;
/** Workgroups of large tiles below which smaller tiles fill a GPU better. */
const ENOUGH_WORKGROUPS = 128;

/** Workgroup-memory tiles of 64x64 (or 32x32) elements of c, 4x4 a thread. */
export function tiles(product: Product): Variant {
  const { layout, M, N, K, batch, capabilities } = product;
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
  const bindings = productBindings(product, widthA, widthB, widthC);
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
      const at = (j: number) => `c_row + ${i * (N / widthC) + j}u`;
      const row =
        widthC === 4
          ? `if (n < ${N}u) { c[${at(0)}] = c${i}${addends(product, at(0), "n / 4u")}; }`
          : repeat(
              4,
              (j) =>
                `if (n + ${j}u < ${N}u) { c[${at(j)}] = c${i}.${"xyzw"[j]}${addends(product, at(j), `n + ${j}u`)}; }`,
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
