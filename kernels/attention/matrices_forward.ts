/**
 * Attention on subgroup matrices. Queries, keys, values and probabilities are rounded to f16 as they are staged in workgroup
 * memory; scores, softmax and all sums are f32. The formulas are in portable.ts. With rope, queries and keys are rotated in
 * f32 as in rope.ts before they are rounded.
 *
 * A workgroup has a block of the queries of one (batch, head), with M queries per subgroup. WGSL does not tell which thread
 * holds which elements of a matrix. Results therefore go through workgroup memory (`exchange`), a few columns at a time, to
 * the threads that own their rows. Positions past the end are zeros and are not stored, so that control flow is uniform.
 */
import { attentionBuffers, headConstants, headBegin, headOf, storedWork } from "./shared.js";
import { forwardWork, nameOf, requireAttention, type AttentionSpec } from "./spec.js";
import { GRADIENT_SCALE, KernelError, type Kernel } from "../core/kernel.js";
import type { Capabilities } from "../capabilities.js";
import type { SubgroupMatrices } from "../matmul/spec.js";
import { bindingsOf, linearDispatch, lines, literal, repeat, shader, type Buffers } from "../core/wgsl.js";

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

/** Bytes of workgroup memory: of `exchange`, and of `tile`, which holds values and, one after the other, queries, keys and probabilities. */
function memoryOf(
  { headDim }: AttentionSpec,
  matrices: SubgroupMatrices,
  { subgroups, keys, buffers }: AttentionTile,
) {
  const { columns } = sharing(matrices);
  const rows = subgroups * matrices.M;
  /** In 4-vectors. */
  const stride = (headDim + PADDING) / 4;
  const strideP = (keys + PADDING) / 4;
  const values = Math.max(rows * stride, keys * stride, rows * strideP);
  const exchanged = (rows * columns) / 4;
  const staged = values + keys * stride;
  return {
    ...{ rows, stride, strideP, values, staged, exchanged },
    bytes: 8 * staged + 16 * exchanged * buffers,
  };
}

/** Tiles that the device allows, the fastest first. Empty if matrices do not divide head vectors. */
export function attentionTiles(
  spec: AttentionSpec,
  capabilities: Capabilities,
  matrices: SubgroupMatrices,
): AttentionTile[] {
  const { length, headDim } = spec;
  const { threadsPerRow, rowsPerThread } = sharing(matrices);
  return tilesOf(spec, capabilities, matrices, (tile) => ({
    bytes: memoryOf(spec, matrices, tile).bytes,
    numbers: (rowsPerThread * (tile.keys + (length > tile.keys ? headDim : 0))) / threadsPerRow,
  }));
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

/** The variant of `attention`. Bindings: qkv, o, lse; with rope also cos_table and sin_table. */
export function attentionMatrices(
  spec: AttentionSpec,
  capabilities: Capabilities,
  matrices: SubgroupMatrices,
  tile = attentionTiles(spec, capabilities, matrices)[0],
): Kernel {
  requireAttention(spec, capabilities);
  const { batch, length, heads, headDim, causal = false } = spec;
  if (!tile) throw noTile("attention", spec, matrices);
  const { M, N, K, subgroupSize } = matrices;
  const { keys, buffers, subgroups } = tile;
  const { rows, stride, strideP, values, staged, exchanged } = memoryOf(spec, matrices, tile);
  const { threadsPerRow, columns, quads } = sharing(matrices);
  const threads = subgroups * subgroupSize;
  const blocks = Math.ceil(length / rows);
  const several = keys < length;
  const name = `${nameOf("attention", spec)}_m${rows}x${keys}`;
  const stores = attentionBuffers(name, spec, [
    ["qkv", "read", 4],
    ["o", "read_write", 4],
    ["lse", "read_write", 1],
  ]);
  const { bindings } = stores;
  const count = batch * heads * blocks;
  const { workgroups, group } = linearDispatch(name, count, capabilities);
  const left = `subgroup_matrix_left<f16, ${K}, ${M}>`;
  const right = `subgroup_matrix_right<f16, ${N}, ${K}>`;
  const result = `subgroup_matrix_result<f32, ${N}, ${M}>`;
  const wide = columns / N;
  const { storeColumns, ownQuad, eachOwn, eachQuad, quadAt } = exchanging(matrices, exchanged);

  /** Computes columns of a product through `exchange`: `parts(n)` multiplies into matrix n, `use(r, u, quad)` takes the results. */
  const exchange = (
    chunk: number,
    prefix: string,
    parts: (to: string, n: number) => string,
    use: (r: number, u: number, quad: string) => string,
  ): string => {
    const slot = chunk % buffers;
    return lines(
      repeat(wide, (n) =>
        lines(
          `var ${prefix}_${n} = ${result}();`,
          parts(`${prefix}_${n}`, n),
          storeColumns(slot, n, `${prefix}_${n}`),
        ),
      ),
      "workgroupBarrier();",
      eachOwn((r) => eachQuad((u) => use(r, u, ownQuad(slot, r, u)))),
      buffers === 1 && "workgroupBarrier();",
    );
  };
  const keyChunks = keys / columns;
  const scores = repeat(keyChunks, (c) =>
    exchange(
      c,
      `s${c}`,
      (to, n) =>
        repeat(headDim / K, (k) => {
          const at = `${(c * columns + n * N) * stride + (k * K) / 4}u`;
          return `${to} = subgroupMatrixMultiplyAccumulate(q${k}, subgroupMatrixLoad<${right}, col_major>(&tile, ${at}, ${stride}u), ${to});`;
        }),
      (r, u, quad) => {
        const score = `score${r}_${c}_${u}`;
        const ragged = several ? length % keys !== 0 : (c + 1) * columns > length;
        if (!causal && !ragged) return `let ${score} = ${quad};`;
        const key = `(${several ? "base + " : ""}4u * (${quadAt(c, u)}) + vec4u(0u, 1u, 2u, 3u))`;
        const seen = causal ? `${key} <= vec4u(min(i${r}, ${length - 1}u))` : `${key} < vec4u(${length}u)`;
        return `let ${score} = select(vec4f(-1e30), ${quad}, ${seen});`;
      },
    ),
  );
  const ofRow = (join: (a: string, b: string) => string, r: number, prefix: string): string =>
    Array.from(
      { length: keyChunks * quads },
      (_, i) => `${prefix}${r}_${Math.floor(i / quads)}_${i % quads}`,
    ).reduce(join);
  /** Combines a variable over all threads that share a row. */
  const shared = (variable: string, join: (a: string, b: string) => string): string =>
    repeat(
      Math.log2(threadsPerRow),
      (i) => `${variable} = ${join(variable, `subgroupShuffleXor(${variable}, ${2 ** i}u)`)};`,
    );
  const max = (a: string, b: string): string => `max(${a}, ${b})`;
  const add = (a: string, b: string): string => `${a} + ${b}`;
  const softmax = eachOwn((r) =>
    lines(
      `let tops${r} = ${ofRow(max, r, "score")};`,
      `var new_top${r} = max(max(tops${r}.x, tops${r}.y), max(tops${r}.z, tops${r}.w));`,
      shared(`new_top${r}`, max),
      several && `new_top${r} = max(new_top${r}, top${r});`,
      several && `let old${r} = exp(top${r} - new_top${r});`,
      `top${r} = new_top${r};`,
      repeat(keyChunks, (c) =>
        eachQuad((u) =>
          lines(
            // Keys past the end get the score -1e30, and exp(-1e30) = 0.
            `let p${r}_${c}_${u} = exp(score${r}_${c}_${u} - new_top${r});`,
            `tile[(own + ${r}u) * ${strideP}u + ${quadAt(c, u)}] = vec4<f16>(p${r}_${c}_${u});`,
          ),
        ),
      ),
      `let sums${r} = ${ofRow(add, r, "p")};`,
      `var sum${r} = sums${r}.x + sums${r}.y + sums${r}.z + sums${r}.w;`,
      shared(`sum${r}`, add),
      `total${r} = ${several ? `total${r} * old${r} + ` : ""}sum${r};`,
    ),
  );
  const valueChunks = headDim / columns;
  const stored = (r: number, c: number, u: number, sum: string): string =>
    stores.store("o", `out${r} + ${quadAt(c, u)}`, `${sum} / total${r}`);
  const inside = (r: number, text: string): string =>
    length % rows === 0 ? text : lines(`if (i${r} < ${length}u) {`, text, "}");
  const sums = lines(
    repeat(
      keys / K,
      (k) =>
        `let p_matrix${k} = subgroupMatrixLoad<${left}, row_major>(&tile, first_row * ${strideP}u + ${(k * K) / 4}u, ${strideP}u);`,
    ),
    repeat(valueChunks, (c) =>
      exchange(
        keyChunks + c,
        `o${c}`,
        (to, n) =>
          repeat(keys / K, (k) => {
            const at = `${values + k * K * stride + (c * columns + n * N) / 4}u`;
            return `${to} = subgroupMatrixMultiplyAccumulate(p_matrix${k}, subgroupMatrixLoad<${right}, row_major>(&tile, ${at}, ${stride}u), ${to});`;
          }),
        (r, u, quad) => {
          const sum = `sum${r}_${c}_${u}`;
          return several ? `${sum} = ${sum} * old${r} + ${quad};` : inside(r, stored(r, c, u, quad));
        },
      ),
    ),
  );
  const query = stagedVectors(spec, stores, "q", { count: rows, threads, stride });
  const [key, value] = (["k", "v"] as const).map((source) =>
    stagedVectors(spec, stores, source, { count: keys, threads, stride }),
  ) as [Staged, Staged];
  const base = several ? "base" : "0u";
  const firstQuery = blocks > 1 ? `block * ${rows}u` : "0u";
  const body = lines(
    `let group = ${group};`,
    `if (group >= ${count}u) { return; }`,
    places(spec, matrices, blocks),
    eachOwn((r) =>
      lines(
        `let i${r} = ${firstQuery} + own + ${r}u;`,
        `let out${r} = first_out + i${r} * HEADS;`,
        `var top${r} = -1e30;`,
        `var total${r} = 0.0;`,
        several && repeat(valueChunks, (c) => eachQuad((u) => `var sum${r}_${c}_${u} = vec4f();`)),
      ),
    ),
    // Keys are loaded while queries are staged. Keys then take the place of the queries.
    !several && key.load("0u"),
    query.load(firstQuery),
    query.store(0),
    !several && lines(value.load("0u"), value.store(values)),
    "workgroupBarrier();",
    repeat(
      headDim / K,
      (k) =>
        `let q${k} = subgroupMatrixLoad<${left}, row_major>(&tile, first_row * ${stride}u + ${(k * K) / 4}u, ${stride}u);`,
    ),
    "workgroupBarrier();",
    several &&
      `for (var base = 0u; base < ${causal ? `min(${firstQuery} + ${rows}u, ${length}u)` : `${length}u`}; base += ${keys}u) {`,
    several && lines(key.load(base), value.load(base), value.store(values)),
    key.store(0),
    "workgroupBarrier();",
    scores,
    // All threads have read the keys by the last barrier, so that probabilities may take their place.
    softmax,
    "workgroupBarrier();",
    sums,
    several && "}",
    eachOwn((r) =>
      inside(
        r,
        lines(
          several && repeat(valueChunks, (c) => eachQuad((u) => stored(r, c, u, `sum${r}_${c}_${u}`))),
          `if (part == 0u) { lse[head + i${r}] = top${r} + log(total${r}); }`,
        ),
      ),
    ),
  );
  const code = shader({
    bindings,
    workgroupSize: threads,
    directives: DIRECTIVES,
    declarations: lines(
      headConstants(spec, 4),
      `var<workgroup> tile: array<vec4<f16>, ${staged}>; // queries, then keys, then probabilities; from ${values} on values`,
      `var<workgroup> exchange: array<vec4f, ${exchanged * buffers}>;`,
    ),
    body,
  });
  return {
    name: `${name}${stores.suffix}`,
    code,
    bindings: bindingsOf(bindings),
    workgroups,
    ...storedWork(spec, forwardWork(spec), stores),
  };
}

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
