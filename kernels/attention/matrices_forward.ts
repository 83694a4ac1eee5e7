/**
 * Attention on subgroup matrices. Queries, keys, values and probabilities are rounded to f16 as they are staged in workgroup
 * memory; scores, softmax and all sums are f32. The formulas are in portable.ts. With rope, queries and keys are rotated in
 * f32 as in rope.ts before they are rounded. A workgroup has a block of queries; matrices.ts tells how threads share it.
 */
import type { Capabilities } from "../capabilities.js";
import type { Kernel } from "../core/kernel.js";
import { bindingsOf, linearDispatch, lines, repeat, shader, type Buffers } from "../core/wgsl.js";
import type { SubgroupMatrices } from "../matmul/spec.js";
import {
  DIRECTIVES,
  exchanging,
  matrixTypes,
  noTile,
  PADDING,
  places,
  sharing,
  stagedVectors,
  tilesOf,
  type AttentionTile,
} from "./matrices.js";
import { attentionBuffers, headConstants, storedWork } from "./shared.js";
import { forwardWork, nameOf, requireAttention, type AttentionSpec } from "./spec.js";

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

/** The variant of `attention`. Bindings: qkv, o, lse; with rope also cos_table and sin_table. */
export function attentionMatrices(
  spec: AttentionSpec,
  capabilities: Capabilities,
  matrices: SubgroupMatrices,
  tile = attentionTiles(spec, capabilities, matrices)[0],
): Kernel {
  requireAttention(spec, capabilities);
  if (!tile) throw noTile("attention", spec, matrices);
  const { rows, values, staged, exchanged } = memoryOf(spec, matrices, tile);
  const name = `${nameOf("attention", spec)}_m${rows}x${tile.keys}`;
  const buffers = attentionBuffers(name, spec, [
    ["qkv", "read", 4],
    ["o", "read_write", 4],
    ["lse", "read_write", 1],
  ]);
  const work = workOf(spec, matrices, tile, buffers);
  const count = spec.batch * spec.heads * work.blocks;
  const { workgroups, group } = linearDispatch(name, count, capabilities);
  const code = shader({
    bindings: buffers.bindings,
    workgroupSize: work.threads,
    directives: DIRECTIVES,
    declarations: lines(
      headConstants(spec, 4),
      `var<workgroup> tile: array<vec4<f16>, ${staged}>; // queries, then keys, then probabilities; from ${values} on values`,
      `var<workgroup> exchange: array<vec4f, ${exchanged * tile.buffers}>;`,
    ),
    body: lines(`let group = ${group};`, `if (group >= ${count}u) { return; }`, bodyOf(work)),
  });
  return {
    name: `${name}${buffers.suffix}`,
    code,
    bindings: bindingsOf(buffers.bindings),
    workgroups,
    ...storedWork(spec, forwardWork(spec), buffers),
  };
}

/** The sizes and texts on which all steps rely. */
type Work = ReturnType<typeof workOf>;

function workOf(spec: AttentionSpec, matrices: SubgroupMatrices, tile: AttentionTile, buffers: Buffers) {
  const { length, headDim, causal = false } = spec;
  const memory = memoryOf(spec, matrices, tile);
  const { columns } = sharing(matrices);
  return {
    ...{ spec, matrices, tile, buffers, length, headDim, causal, ...memory, ...sharing(matrices) },
    ...matrixTypes(matrices),
    ...exchanging(matrices, memory.exchanged),
    threads: tile.subgroups * matrices.subgroupSize,
    blocks: Math.ceil(length / memory.rows),
    /** True if keys pass in several tiles. */
    several: tile.keys < length,
    keyChunks: tile.keys / columns,
    valueChunks: headDim / columns,
  };
}

/** A workgroup's queries meet one tile of keys and values after another. */
function bodyOf(work: Work): string {
  const { spec, matrices, tile, buffers, length, headDim, causal, several, values } = work;
  const { rows, stride, left, threads, blocks, valueChunks, eachOwn, eachQuad } = work;
  const { K } = matrices;
  const query = stagedVectors(spec, buffers, "q", { count: rows, threads, stride });
  const key = stagedVectors(spec, buffers, "k", { count: tile.keys, threads, stride });
  const value = stagedVectors(spec, buffers, "v", { count: tile.keys, threads, stride });
  const firstQuery = blocks > 1 ? `block * ${rows}u` : "0u";
  return lines(
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
      `for (var base = 0u; base < ${causal ? `min(${firstQuery} + ${rows}u, ${length}u)` : `${length}u`}; base += ${tile.keys}u) {`,
    several && lines(key.load("base"), value.load("base"), value.store(values)),
    key.store(0),
    "workgroupBarrier();",
    scores(work),
    // All threads have read the keys by the last barrier, so that probabilities may take their place.
    softmax(work),
    "workgroupBarrier();",
    sums(work),
    several && "}",
    eachOwn((r) =>
      inside(
        work,
        r,
        lines(
          several && repeat(valueChunks, (c) => eachQuad((u) => stored(work, r, c, u, `sum${r}_${c}_${u}`))),
          `if (part == 0u) { lse[head + i${r}] = top${r} + log(total${r}); }`,
        ),
      ),
    ),
  );
}

/** Computes columns of a product through `exchange`: `parts(n)` multiplies into matrix n, `use(r, u, quad)` takes the results. */
function exchange(
  { tile: { buffers }, matrices, columns, result, storeColumns, ownQuad, eachOwn, eachQuad }: Work,
  chunk: number,
  prefix: string,
  parts: (to: string, n: number) => string,
  use: (r: number, u: number, quad: string) => string,
): string {
  const slot = chunk % buffers;
  return lines(
    repeat(columns / matrices.N, (n) =>
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
}

/** Scores of the owned queries with the staged keys. */
function scores(work: Work): string {
  const { tile, matrices, length, headDim, causal, several, stride, columns, right, keyChunks, quadAt } =
    work;
  const { N, K } = matrices;
  return repeat(keyChunks, (c) =>
    exchange(
      work,
      c,
      `s${c}`,
      (to, n) =>
        repeat(headDim / K, (k) => {
          const at = `${(c * columns + n * N) * stride + (k * K) / 4}u`;
          return `${to} = subgroupMatrixMultiplyAccumulate(q${k}, subgroupMatrixLoad<${right}, col_major>(&tile, ${at}, ${stride}u), ${to});`;
        }),
      (r, u, quad) => {
        const score = `score${r}_${c}_${u}`;
        const ragged = several ? length % tile.keys !== 0 : (c + 1) * columns > length;
        if (!causal && !ragged) return `let ${score} = ${quad};`;
        const key = `(${several ? "base + " : ""}4u * (${quadAt(c, u)}) + vec4u(0u, 1u, 2u, 3u))`;
        const seen = causal ? `${key} <= vec4u(min(i${r}, ${length - 1}u))` : `${key} < vec4u(${length}u)`;
        return `let ${score} = select(vec4f(-1e30), ${quad}, ${seen});`;
      },
    ),
  );
}

/** Turns scores into probabilities, which are staged, and rescales what was summed before. */
function softmax({
  several,
  strideP,
  quads,
  threadsPerRow,
  keyChunks,
  eachOwn,
  eachQuad,
  quadAt,
}: Work): string {
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
  return eachOwn((r) =>
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
}

const stored = ({ buffers, quadAt }: Work, r: number, c: number, u: number, sum: string): string =>
  buffers.store("o", `out${r} + ${quadAt(c, u)}`, `${sum} / total${r}`);

/** The text for the thread's row r, under a condition if the row may be past the end. */
const inside = ({ length, rows }: Work, r: number, text: string): string =>
  length % rows === 0 ? text : lines(`if (i${r} < ${length}u) {`, text, "}");

/** Sums of values by the staged probabilities: stored at once, or added up if keys pass in several tiles. */
function sums(work: Work): string {
  const { tile, matrices, several, strideP, stride, values, columns } = work;
  const { left, right, keyChunks, valueChunks } = work;
  const { N, K } = matrices;
  return lines(
    repeat(
      tile.keys / K,
      (k) =>
        `let p_matrix${k} = subgroupMatrixLoad<${left}, row_major>(&tile, first_row * ${strideP}u + ${(k * K) / 4}u, ${strideP}u);`,
    ),
    repeat(valueChunks, (c) =>
      exchange(
        work,
        keyChunks + c,
        `o${c}`,
        (to, n) =>
          repeat(tile.keys / K, (k) => {
            const at = `${values + k * K * stride + (c * columns + n * N) / 4}u`;
            return `${to} = subgroupMatrixMultiplyAccumulate(p_matrix${k}, subgroupMatrixLoad<${right}, row_major>(&tile, ${at}, ${stride}u), ${to});`;
          }),
        (r, u, quad) => {
          const sum = `sum${r}_${c}_${u}`;
          return several
            ? `${sum} = ${sum} * old${r} + ${quad};`
            : inside(work, r, stored(work, r, c, u, quad));
        },
      ),
    ),
  );
}
