/**
 * What attention on subgroup matrices shares, forward and backward. A workgroup has a block of the positions of one (batch,
 * head), with M positions per subgroup. WGSL does not tell which thread holds which elements of a matrix. Results therefore
 * go through workgroup memory (`exchange`), a few columns at a time, to the threads that own their rows. Positions past the
 * end are zeros and are not stored, so that control flow is uniform.
 */
import type { Capabilities } from "../capabilities.js";
import { GRADIENT_SCALE, KernelError } from "../core/kernel.js";
import { lines, literal, repeat, type Buffers } from "../core/wgsl.js";
import type { SubgroupMatrices } from "../matmul/spec.js";
import { headBegin, headOf } from "./shared.js";
import { nameOf, type AttentionSpec } from "./spec.js";

/** How the work is divided. */
export interface AttentionTile {
  /** Subgroups of a workgroup. */
  readonly subgroups: number;
  /** Keys that are staged at a time. */
  readonly keys: number;
  /** 2 if results of the next columns may be stored while the previous ones are read, which saves barriers; else 1. */
  readonly buffers: 1 | 2;
}

/** Elements between staged rows. They spread rows over the banks of the memory. */
export const PADDING = 8;
/** The most numbers (scores, and sums of values) that a thread keeps in registers. */
const MOST_NUMBERS = 96;

/** How a subgroup's threads share the rows of a matrix, and how many columns go through `exchange` at a time. */
export function sharing({ M, N, subgroupSize }: SubgroupMatrices) {
  const threadsPerRow = Math.max(1, subgroupSize / M);
  const columns = N * Math.max(1, Math.ceil((4 * threadsPerRow) / N));
  return {
    threadsPerRow,
    rowsPerThread: Math.max(1, M / subgroupSize),
    columns,
    /** 4-vectors that a thread has of each of its rows. */
    quads: columns / 4 / threadsPerRow,
  };
}

/** Text that moves results to the threads that own their rows, through slots of `exchange` with `size` 4-vectors each. */
export function exchanging(matrices: SubgroupMatrices, size: number) {
  const { threadsPerRow, rowsPerThread, columns, quads } = sharing(matrices);
  return {
    /** Matrix n of a slot's columns. */
    storeColumns: (slot: number, n: number, name: string): string =>
      `subgroupMatrixStore<row_major>(&exchange, corner + ${slot * size + (n * matrices.N) / 4}u, ${name}, ${columns / 4}u);`,
    /** 4-vector u of the thread's row r. */
    ownQuad: (slot: number, r: number, u: number): string =>
      `exchange[own_corner + ${slot * size + (r * columns) / 4 + u * threadsPerRow}u]`,
    /** Position of that 4-vector in the row, if the slot has the columns of a chunk. */
    quadAt: (chunk: number, u: number): string => `part + ${(chunk * columns) / 4 + u * threadsPerRow}u`,
    eachOwn: (text: (r: number) => string): string => repeat(rowsPerThread, text),
    eachQuad: (text: (u: number) => string): string => repeat(quads, text),
  };
}

/**
 * Tiles that fit. `measure` says how many bytes of workgroup memory a tile takes, and how many numbers a thread keeps in
 * registers. Each count of subgroups comes with the most keys that fit.
 */
export function tilesOf(
  { length, headDim }: AttentionSpec,
  { software, maxComputeWorkgroupStorageSize, maxComputeInvocationsPerWorkgroup }: Capabilities,
  matrices: SubgroupMatrices,
  measure: (tile: AttentionTile) => { bytes: number; numbers: number },
): AttentionTile[] {
  const { M, N, K, component, subgroupSize } = matrices;
  const { columns } = sharing(matrices);
  if (component !== "f16" || M % 4 || N % 4 || K % 4 || headDim % 16 || headDim > 128) return [];
  if (headDim % K || headDim % columns) return [];
  const unit = Math.max(columns, K);
  const found: { tile: AttentionTile; cost: number }[] = [];
  // Each subgroup and each key adds text, which a CPU takes long to compile.
  const subgroupsMost = Math.min(
    software ? 1 : 8,
    Math.floor(maxComputeInvocationsPerWorkgroup / subgroupSize),
  );
  const numbersMost = software ? 16 : MOST_NUMBERS;
  for (let subgroups = 1; subgroups <= subgroupsMost; subgroups++)
    for (let keys = unit * Math.ceil(length / unit); keys > 0;) {
      const tiles = Math.ceil(length / keys);
      const fitting = ([2, 1] as const)
        .map((buffers) => ({ subgroups, keys, buffers }))
        .find((tile) => measure(tile).bytes <= maxComputeWorkgroupStorageSize);
      if (fitting && (measure(fitting).numbers <= numbersMost || keys === unit)) {
        // A workgroup has a processor to itself and mostly waits: a tile of keys takes about as long for many subgroups as
        // for few. This estimate orders 20 tiles of lengths 82 and 900 as an H100 does, except for one pair.
        const blocks = Math.ceil(length / (subgroups * M));
        found.push({ tile: fitting, cost: blocks * tiles * (25 + keys) * (1 + 2 / subgroups) });
        break;
      }
      // Tiles have equal sizes as far as whole units allow.
      const more = Math.ceil(length / (keys - unit));
      keys = Math.min(keys - unit, unit * Math.ceil(length / more / unit));
    }
  return found.sort((a, b) => a.cost - b.cost).map(({ tile }) => tile);
}

/** WGSL types of the matrices. */
export const matrixTypes = ({ M, N, K }: SubgroupMatrices) => ({
  left: `subgroup_matrix_left<f16, ${K}, ${M}>`,
  right: `subgroup_matrix_right<f16, ${N}, ${K}>`,
  result: `subgroup_matrix_result<f32, ${N}, ${M}>`,
});

export const noTile = (family: string, spec: AttentionSpec, { M, N, K, component }: SubgroupMatrices) =>
  new KernelError(
    nameOf(family, spec),
    `subgroup matrices of ${M}x${N}x${K} in ${component}`,
    "matrices of f16 whose sizes divide the head size, a multiple of 16 up to 128, and workgroup memory for them",
    "Use the kernel without matrices.",
  );

export const DIRECTIVES = lines(
  "enable f16;",
  "enable subgroups;",
  "enable chromium_experimental_subgroup_matrix;",
  // Subgroups are assumed to lie one after the other along the workgroup. WGSL does not promise this; the self-check tests it.
  "diagnostic(off, chromium.subgroup_matrix_uniformity);",
);

/** Positions of the head's vectors and the thread's rows, with `blocks` workgroups per head and `passes` per block. */
export function places(spec: AttentionSpec, matrices: SubgroupMatrices, blocks: number, passes = 1): string {
  const { threadsPerRow, rowsPerThread, columns } = sharing(matrices);
  const { M, subgroupSize } = matrices;
  return lines(
    `let block = group / ${passes}u % ${blocks}u;`,
    headOf(spec, "group", passes * blocks),
    headBegin(spec, 4),
    `let first_row = lane / ${subgroupSize}u * ${M}u;`,
    `let thread = lane % ${subgroupSize}u;`,
    `let part = thread % ${threadsPerRow}u;`,
    `let own = first_row + thread / ${threadsPerRow}u * ${rowsPerThread}u;`,
    `let corner = first_row * ${columns / 4}u;`,
    `let own_corner = own * ${columns / 4}u + part;`,
  );
}

export type Staged = ReturnType<typeof stagedVectors>;

/** Head vectors to stage: queries, keys, values or gradients of the output. */
export type Source = "q" | "k" | "v" | "d_o";

/**
 * Loads `count` head vectors to variables of all threads, and stores them rounded in `tile`. With rope, queries and keys are
 * rotated. Neighbouring lanes read neighbouring addresses, and a thread holds both halves of a rotated pair. Queries are
 * multiplied by the scale of scores, gradients by {@link GRADIENT_SCALE}. Vectors past the end are zeros.
 */
export function stagedVectors(
  { length, headDim, rope = false }: AttentionSpec,
  { load }: Pick<Buffers, "load">,
  source: Source,
  { count, threads, stride }: { count: number; threads: number; stride: number },
) {
  const half = headDim / 8;
  const items = count * half;
  const each = (body: (x: string, y: string) => string): string =>
    repeat(Math.ceil(items / threads), (p) => {
      const whole = (p + 1) * threads <= items;
      return lines(
        "{",
        `let item = lane + ${p * threads}u;`,
        `let row = item / ${half}u;`,
        `let quad = item % ${half}u;`,
        !whole && `if (item < ${items}u) {`,
        body(`${source}${p}_x`, `${source}${p}_y`),
        !whole && "}",
        "}",
      );
    });
  const [buffer, at] =
    source === "d_o"
      ? ["d_o", "first_out + position * HEADS + quad"]
      : ["qkv", `first + position * ROW + ${"qkv".indexOf(source)}u * HEADS + quad`];
  const scaled = source === "q" ? " * SCALE" : source === "d_o" ? ` * ${literal(GRADIENT_SCALE)}` : "";
  return {
    load: (base: string): string =>
      lines(
        repeat(Math.ceil(items / threads), (p) =>
          lines(`var ${source}${p}_x = vec4f();`, `var ${source}${p}_y = vec4f();`),
        ),
        each((x, y) =>
          lines(
            `let position = ${base} + row;`,
            `if (position < ${length}u) {`,
            `let at = ${at};`,
            `${x} = ${load(buffer, "at")};`,
            `${y} = ${load(buffer, `at + ${half}u`)};`,
            rope &&
              (source === "q" || source === "k") && [
                `let turn = position * ${2 * half}u + quad;`,
                `let turned = ${x} * cos_table[turn] - ${y} * sin_table[turn];`,
                `${y} = ${y} * cos_table[turn + ${half}u] + ${x} * sin_table[turn + ${half}u];`,
                `${x} = turned;`,
              ],
            "}",
          ),
        ),
      ),
    store: (start: number): string =>
      each((x, y) =>
        lines(
          `tile[${start}u + row * ${stride}u + quad] = vec4<f16>(${x}${scaled});`,
          `tile[${start}u + row * ${stride}u + quad + ${half}u] = vec4<f16>(${y}${scaled});`,
        ),
      ),
  };
}
