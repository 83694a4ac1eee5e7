/**
 * The gradient of attention on subgroup matrices, in two passes. A workgroup holds a block of queries, or of keys with their
 * values, as matrices in registers. All other positions pass through workgroup memory. Scores and slopes (d_o v) go through
 * `exchange` to the threads that own their rows. These threads put probabilities and score gradients back, rounded to f16, as
 * operands of the next products. matrices.ts explains how matrices and threads share the work.
 *
 * Gradients of outputs are multiplied by `GRADIENT_SCALE` as they are rounded, and gradients of qkv are divided by it.
 */
import { attentionBuffers, headConstants, storedWork } from "./shared.js";
import { backwardWork, nameOf, requireAttention, type AttentionSpec } from "./spec.js";
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
  type Source,
} from "./matrices.js";
import type { Capabilities } from "../capabilities.js";
import { GRADIENT_SCALE, type Kernel } from "../core/kernel.js";
import type { SubgroupMatrices } from "../matmul/spec.js";
import { bindingsOf, linearDispatch, lines, literal, repeat, shader, type Buffers } from "../core/wgsl.js";

/** Bytes of workgroup memory. Both operands of scores and slopes are staged; the tile's `keys` positions pass at a time. */
function memoryOf(
  { headDim }: AttentionSpec,
  matrices: SubgroupMatrices,
  { subgroups, keys, buffers }: AttentionTile,
) {
  const rows = subgroups * matrices.M;
  /** In 4-vectors. */
  const stride = (headDim + PADDING) / 4;
  const strideP = (keys + PADDING) / 4;
  const operand = Math.max(rows, keys) * stride;
  const staged = 2 * (operand + rows * strideP);
  const exchanged = (rows * sharing(matrices).columns) / 4;
  const bytes = 8 * staged + 16 * (2 * buffers * exchanged + keys / 2);
  return { rows, stride, strideP, operand, staged, exchanged, bytes };
}

/** As `attentionTiles`. Empty if rope rotates elements that do not lie in whole chunks of columns. */
export function attentionBackwardTiles(
  spec: AttentionSpec,
  capabilities: Capabilities,
  matrices: SubgroupMatrices,
): AttentionTile[] {
  if (spec.rope && spec.headDim % (2 * sharing(matrices).columns)) return [];
  return tilesOf(spec, capabilities, matrices, (tile) => ({
    bytes: memoryOf(spec, matrices, tile).bytes,
    // A CPU compiles these tiles slowly.
    numbers: capabilities.software ? tile.keys : 0,
  }));
}

/** The variant of `attentionBackward`. Bindings: qkv, d_o, lse, delta, d_qkv; with rope also cos_table and sin_table. */
export function attentionBackwardMatrices(
  spec: AttentionSpec,
  capabilities: Capabilities,
  matrices: SubgroupMatrices,
  tile = attentionBackwardTiles(spec, capabilities, matrices)[0],
): Kernel {
  requireAttention(spec, capabilities);
  if (!tile) throw noTile("attention_backward", spec, matrices);
  const { rows, operand, staged, exchanged } = memoryOf(spec, matrices, tile);
  const name = `${nameOf("attention_backward", spec)}_m${rows}x${tile.keys}`;
  const buffers = attentionBuffers(name, spec, [
    ["qkv", "read", 4],
    ["d_o", "read", 4],
    ["lse", "read", 1],
    ["delta", "read", 1],
    ["d_qkv", "read_write", 4],
  ]);
  const work = workOf(spec, matrices, tile, buffers);
  const { slopes, probabilities, eachOwn } = work;
  const count = 2 * spec.batch * spec.heads * work.blocks;
  const { workgroups, group } = linearDispatch(name, count, capabilities);
  const code = shader({
    bindings: buffers.bindings,
    workgroupSize: work.threads,
    directives: DIRECTIVES,
    declarations: lines(
      headConstants(spec, 4),
      `var<workgroup> tile: array<vec4<f16>, ${staged}>; // from 0 and ${operand} on operands, from ${slopes} score gradients, from ${probabilities} probabilities`,
      `var<workgroup> exchange: array<vec4f, ${2 * tile.buffers * exchanged}>;`,
      `var<workgroup> passing_lse: array<vec4f, ${tile.keys / 4}>;`,
      `var<workgroup> passing_delta: array<vec4f, ${tile.keys / 4}>;`,
    ),
    body: lines(
      `let group = ${group};`,
      `if (group >= ${count}u) { return; }`,
      places(spec, matrices, work.blocks, 2),
      eachOwn((r) =>
        lines(
          `let i${r} = block * ${rows}u + own + ${r}u;`,
          spec.rope && `let turn${r} = i${r} * ${spec.headDim / 4}u;`,
        ),
      ),
      "if (group % 2u == 0u) {",
      pass(work, ["q", "d_o"], ["k", "v"]),
      "} else {",
      pass(work, ["k", "v"], ["q", "d_o"]),
      "}",
    ),
  });
  return {
    name: `${name}${buffers.suffix}`,
    code,
    bindings: bindingsOf(buffers.bindings),
    workgroups,
    ...storedWork(spec, backwardWork(spec), buffers),
  };
}

/** The sizes and texts on which all steps rely. */
type Work = ReturnType<typeof workOf>;

function workOf(spec: AttentionSpec, matrices: SubgroupMatrices, tile: AttentionTile, buffers: Buffers) {
  const { length, headDim, causal = false, rope = false } = spec;
  const memory = memoryOf(spec, matrices, tile);
  const { columns } = sharing(matrices);
  return {
    ...{ spec, matrices, tile, buffers, length, headDim, causal, rope, columns, ...memory },
    ...matrixTypes(matrices),
    ...exchanging(matrices, memory.exchanged),
    /** Positions that pass at a time. */
    passing: tile.keys,
    threads: tile.subgroups * matrices.subgroupSize,
    blocks: Math.ceil(length / memory.rows),
    /** Matrices side by side in the columns of a chunk, and chunks of a head vector. */
    wide: columns / matrices.N,
    chunks: headDim / columns,
    /** Offsets of score gradients and probabilities in `tile`. */
    slopes: 2 * memory.operand,
    probabilities: 2 * memory.operand + memory.rows * memory.strideP,
  };
}

/** Loads rows of `tile` from an offset on, `size` numbers each, as left matrices. */
const lefts = (
  { matrices: { K }, left }: Work,
  prefix: string,
  from: number,
  size: number,
  rowStride: number,
): string =>
  repeat(
    size / K,
    (k) =>
      `let ${prefix}${k} = subgroupMatrixLoad<${left}, row_major>(&tile, first_row * ${rowStride}u + ${from + (k * K) / 4}u, ${rowStride}u);`,
  );

/** Adds the product with operand `from`, whose vectors are columns, or rows, of the right matrix. */
const multiply = (
  { matrices: { K }, right, stride }: Work,
  to: string,
  prefix: string,
  { from, size, transposed }: { from: (k: number) => number; size: number; transposed: boolean },
): string =>
  repeat(
    size / K,
    (k) =>
      `${to} = subgroupMatrixMultiplyAccumulate(${prefix}${k}, subgroupMatrixLoad<${right}, ${transposed ? "col" : "row"}_major>(&tile, ${from(k)}u, ${stride}u), ${to});`,
  );

/** Products of owned vectors with the passing vectors, a chunk of columns of them. */
function pairs(work: Work, chunk: number): string {
  const { matrices, tile, headDim, operand, stride, columns, wide, result, storeColumns } = work;
  const { N, K } = matrices;
  return repeat(2, (which) =>
    repeat(wide, (n) => {
      const name = `${"st"[which]}${chunk}_${n}`;
      const from = (k: number) => which * operand + (chunk * columns + n * N) * stride + (k * K) / 4;
      return lines(
        `var ${name} = ${result}();`,
        multiply(work, name, "ab"[which]!, { from, size: headDim, transposed: true }),
        storeColumns(2 * (chunk % tile.buffers) + which, n, name),
      );
    }),
  );
}

/** `${prefix}${chunk}_${n}` += the rows of `tile` at `scores`, times the passing vectors of an operand. */
function accumulate(work: Work, prefix: string, scores: number, which: 0 | 1): string {
  const { matrices, passing, operand, stride, strideP, columns, wide, chunks } = work;
  const { N, K } = matrices;
  return lines(
    lefts(work, `${prefix}_left`, scores, passing, strideP),
    repeat(chunks, (c) =>
      repeat(wide, (n) =>
        multiply(work, `${prefix}${c}_${n}`, `${prefix}_left`, {
          from: (k) => which * operand + k * K * stride + (c * columns + n * N) / 4,
          size: passing,
          transposed: false,
        }),
      ),
    ),
  );
}

/** Stores sums to their rows of a third of d_qkv, rotated back. */
function store(work: Work, prefix: string, third: number): string {
  const { buffers, length, rope, rows, wide, chunks, storeColumns, ownQuad, eachOwn, eachQuad, quadAt } =
    work;
  const turn = rope && third < 2;
  const factor = `${literal(1 / GRADIENT_SCALE)}${third === 0 ? " * SCALE" : ""}`;
  const inside = (r: number, text: string): string =>
    length % rows === 0 ? text : lines(`if (i${r} < ${length}u) {`, text, "}");
  return lines(
    repeat(chunks, (c) =>
      lines(
        repeat(wide, (n) => storeColumns(c % 2, n, `${prefix}${c}_${n}`)),
        "workgroupBarrier();",
        eachOwn((r) => eachQuad((u) => `let ${prefix}_${r}_${c}_${u} = ${ownQuad(c % 2, r, u)};`)),
      ),
    ),
    // The next sums begin with the first slot again.
    "workgroupBarrier();",
    eachOwn((r) =>
      inside(
        r,
        repeat(chunks, (c) =>
          eachQuad((u) => {
            const other = (c + chunks / 2) % chunks;
            const [x, y] = [`${prefix}_${r}_${c}_${u}`, `${prefix}_${r}_${other}_${u}`];
            const turned = `(${x} * cos_table[turn${r} + ${quadAt(c, u)}] ${c < other ? "+" : "-"} ${y} * sin_table[turn${r} + ${quadAt(other, u)}])`;
            return buffers.store(
              "d_qkv",
              `first + i${r} * ROW + ${third}u * HEADS + ${quadAt(c, u)}`,
              `${turn ? turned : x} * (${factor})`,
            );
          }),
        ),
      ),
    ),
  );
}

/** Probabilities and score gradients of the owned with the passing positions, staged as operands. */
function scores(work: Work, asQueries: boolean): string {
  const { tile, length, causal, passing, strideP, columns, slopes, probabilities } = work;
  const { ownQuad, eachOwn, eachQuad, quadAt } = work;
  return repeat(passing / columns, (c) =>
    lines(
      pairs(work, c),
      "workgroupBarrier();",
      eachOwn((r) =>
        eachQuad((u) => {
          const id = `${r}_${c}_${u}`;
          const other = `(base + 4u * (${quadAt(c, u)}) + vec4u(0u, 1u, 2u, 3u))`;
          const seen = causal
            ? asQueries
              ? `${other} <= vec4u(min(i${r}, ${length - 1}u))`
              : `${other} >= vec4u(i${r})`
            : asQueries && length % passing !== 0 && `${other} < vec4u(${length}u)`;
          const [lse, delta] = asQueries
            ? [`lse${r}`, `delta${r}`]
            : [`passing_lse[${quadAt(c, u)}]`, `passing_delta[${quadAt(c, u)}]`];
          const slot = 2 * (c % tile.buffers);
          const whole = `exp(${ownQuad(slot, r, u)} - ${lse})`;
          const at = `(own + ${r}u) * ${strideP}u + ${quadAt(c, u)}`;
          return lines(
            `let p${id} = ${seen ? `select(vec4f(), ${whole}, ${seen})` : whole};`,
            `tile[${slopes}u + ${at}] = vec4<f16>(p${id} * (${ownQuad(slot + 1, r, u)} - ${delta}));`,
            !asQueries && `tile[${probabilities}u + ${at}] = vec4<f16>(p${id});`,
          );
        }),
      ),
      tile.buffers === 1 && "workgroupBarrier();",
    ),
  );
}

/** Stages numbers of the passing queries. Queries past the end get the probability 0. */
function stageRows({ length, passing, threads }: Work): string {
  return repeat(Math.ceil(passing / 4 / threads), (p) => {
    const at = (q: number): string => `head + min(base + item * 4u + ${q}u, ${length - 1}u)`;
    const four = (text: (q: number) => string): string => `vec4f(${[0, 1, 2, 3].map(text).join(", ")})`;
    return lines(
      `if (lane + ${p * threads}u < ${passing / 4}u) {`,
      `let item = lane + ${p * threads}u;`,
      `passing_lse[item] = ${four((q) => `select(1e30, lse[${at(q)}], base + item * 4u + ${q}u < ${length}u)`)};`,
      `passing_delta[item] = ${four((q) => `delta[${at(q)}]`)} * ${literal(GRADIENT_SCALE)};`,
      "}",
    );
  });
}

/** A pass over all positions that hold still as queries, or as keys with their values, while the others pass. */
function pass(work: Work, own: readonly [Source, Source], others: readonly [Source, Source]): string {
  const { spec, buffers, length, headDim, causal, rows, stride, operand, threads, passing } = work;
  const { slopes, probabilities, chunks, wide, result, eachOwn } = work;
  const asQueries = own[0] === "q";
  const stage = (source: Source, count: number, which: number, base: string): string => {
    const vectors = stagedVectors(spec, buffers, source, { count, threads, stride });
    return lines(vectors.load(base), vectors.store(which * operand));
  };
  const sums = asQueries ? ["d_q"] : ["d_k", "d_v"];
  const begin = causal && !asQueries ? `block * ${rows}u / ${passing}u * ${passing}u` : "0u";
  const end = causal && asQueries ? `min((block + 1u) * ${rows}u, ${length}u)` : `${length}u`;
  return lines(
    own.map((source, which) => stage(source, rows, which, `block * ${rows}u`)),
    "workgroupBarrier();",
    lefts(work, "a", 0, headDim, stride),
    lefts(work, "b", operand, headDim, stride),
    "workgroupBarrier();",
    asQueries &&
      eachOwn((r) =>
        lines(
          `let lse${r} = lse[head + min(i${r}, ${length - 1}u)];`,
          `let delta${r} = delta[head + min(i${r}, ${length - 1}u)] * ${literal(GRADIENT_SCALE)};`,
        ),
      ),
    sums.map((sum) => repeat(chunks, (c) => repeat(wide, (n) => `var ${sum}${c}_${n} = ${result}();`))),
    `for (var base = ${begin}; base < ${end}; base += ${passing}u) {`,
    others.map((source, which) => stage(source, passing, which, "base")),
    !asQueries && stageRows(work),
    "workgroupBarrier();",
    scores(work, asQueries),
    "workgroupBarrier();",
    accumulate(work, sums[0]!, slopes, 0),
    !asQueries && accumulate(work, "d_v", probabilities, 1),
    "workgroupBarrier();",
    "}",
    sums.map((sum) => store(work, sum, ["d_q", "d_k", "d_v"].indexOf(sum))),
  );
}
