/**
 * Attention's gradient on subgroup matrices. Where one workgroup has all positions, it computes scores and slopes once, and
 * from them all gradients. Else there are two passes: a workgroup has a block of queries, or of keys and their values, as
 * matrices in registers, and all the others pass by. Scores and slopes pass to the threads that own their rows, which give
 * probabilities and score gradients back, rounded to f16, as operands of the gradients' products. How matrices, threads and
 * what is staged share workgroup memory is told in attention_subgroup_matrices.ts.
 *
 * Gradients of outputs are multiplied by `GRADIENT_SCALE` as they are rounded, and those of qkv divided by it.
 */
import { backwardWork, nameOf, requireAttention, type AttentionSpec } from "./attention_spec.js";
import {
  bindingsFor,
  CHUNK,
  constants,
  DIRECTIVES,
  FUNCTIONS,
  halvesOf,
  noTile,
  passing,
  places,
  sharing,
  stagedVectors,
  strideOf,
  strideOfResults,
  tilesOf,
  workInHalves,
  type AttentionTile,
  type Source,
} from "./attention_subgroup_matrices.js";
import type { Capabilities, Kernel } from "./kernel.js";
import { GRADIENT_SCALE, type SubgroupMatrices } from "./matmul_subgroup_matrices.js";
import { bindingsOf, linearDispatch, lines, literal, repeat, shader } from "./wgsl.js";

/** Sizes of a tile, in chunks; `keys` are the positions that pass by at a time. */
function memoryOf(
  { length, headDim }: AttentionSpec,
  matrices: SubgroupMatrices,
  { subgroups, keys, units }: AttentionTile,
) {
  const { columns } = sharing(matrices);
  const { M, K } = matrices;
  const rows = subgroups * M;
  const stride = strideOf(headDim);
  const least = Math.max(Math.max(rows, keys) * stride, rows * strideOfResults(matrices, units));
  /** One workgroup has all positions. */
  const whole = keys >= length && rows >= length && rows <= keys && M % K === 0;
  const keyUnits = keys / columns;
  /** Units of probabilities that pass back at a time. */
  let most = keyUnits;
  while (most > 1 && rows * strideOf(most * columns) > least) most--;
  /** Subgroups whose probabilities are staged at a time, for all to multiply, with the vectors of their queries. */
  const bytesOf = (count: number): number => count * M * (strideOf(keys) + stride);
  let together = subgroups;
  while (together > 1 && bytesOf(together) > least) together--;
  const staged = Math.max(least, rows * strideOf(most * columns), whole ? bytesOf(together) : 0);
  const back = Math.ceil(keyUnits / most);
  const [scores, sums] = [Math.ceil(keyUnits / units), Math.ceil(headDim / columns / units)];
  const barriers = whole
    ? 11 + 2 * (2 * scores + back + 3 * sums + 2 * Math.ceil(subgroups / together))
    : 2 * (12 + 2 * (2 * scores + 2 * back));
  const bytes = 2 * CHUNK * staged + (whole ? 0 : 8 * keys);
  return { rows, stride, whole, most, together, staged, bytes, barriers };
}

/** As `attentionTiles`; none where rope turns elements that do not lie in whole units. */
export function attentionBackwardTiles(
  spec: AttentionSpec,
  capabilities: Capabilities,
  matrices: SubgroupMatrices,
): AttentionTile[] {
  if (spec.rope && spec.headDim % (2 * sharing(matrices).columns)) return [];
  const { threadsPerRow, rowsPerThread } = sharing(matrices);
  return tilesOf(spec, capabilities, matrices, (tile) => {
    const memory = memoryOf(spec, matrices, tile);
    const numbers = ((tile.keys + (memory.whole ? 0 : spec.headDim)) * rowsPerThread) / threadsPerRow;
    return { ...memory, numbers };
  });
}

/** As `attentionBackward`. Bindings: qkv, d_o, lse, delta, d_qkv; with rope also cos_table and sin_table. */
export function attentionBackwardMatrices(
  spec: AttentionSpec,
  capabilities: Capabilities,
  matrices: SubgroupMatrices,
  tile = attentionBackwardTiles(spec, capabilities, matrices)[0],
): Kernel {
  requireAttention(spec, capabilities);
  if (!tile) throw noTile("attention_backward", spec, matrices);
  const { batch, length, heads, headDim, causal = false, rope = false } = spec;
  const { M, K, subgroupSize } = matrices;
  const { keys, units, subgroups } = tile;
  const { rows, stride, whole, most, together, staged } = memoryOf(spec, matrices, tile);
  const { columns } = sharing(matrices);
  const through = passing(matrices, units);
  const { eachOwn, eachChunk, columnOf, chunkOf, inOrder, matricesOf } = through;
  const threads = subgroups * subgroupSize;
  const blocks = whole ? 1 : Math.ceil(length / rows);
  const passes = whole ? 1 : 2;
  const bindings = bindingsFor(spec, [
    ["qkv", "read", 4],
    ["d_o", "read", 4],
    ["lse", "read", 1],
    ["delta", "read", 1],
    ["d_qkv", "read_write", 4],
  ]);
  const name = `${nameOf("attention_backward", spec)}_m${rows}x${keys}x${units * columns}${halvesOf(bindings)}`;
  const count = passes * batch * heads * blocks;
  const { workgroups, group } = linearDispatch(name, count, capabilities);
  const keyUnits = keys / columns;
  const headUnits = headDim / columns;
  const headMatrices = matricesOf(headUnits);
  const keyMatrices = matricesOf(keyUnits);
  const perHead = headDim / K;
  const perKeys = keys / K;
  const firstRow = blocks > 1 ? `block * ${rows}u` : "0u";
  const base = whole ? "0u" : "base";

  const inside = (r: number, text: string): string =>
    length % rows === 0 ? text : lines(`if (i${r} < ${length}u) {`, text, "}");
  /** Sums to their rows of a third of d_qkv, turned back. */
  const store = (prefix: string, third: number): string => {
    const turn = rope && third < 2;
    const factor = `${literal(1 / GRADIENT_SCALE)}${third === 0 ? " * SCALE" : ""}`;
    const of = (r: number, unit: number, u: number, q: number): string => `${prefix}_${r}_${unit}_${u}_${q}`;
    const quadOf = (unit: number, u: number, q: number): string => `(${columnOf(unit, u, q)}) / 4u`;
    return lines(
      through.pass(prefix, headUnits, (r, unit, u, quads) =>
        lines(quads.map((quad, q) => `let ${of(r, unit, u, q)} = ${quad};`)),
      ),
      eachOwn((r) =>
        inside(
          r,
          repeat(headUnits, (unit) =>
            eachChunk((u) =>
              repeat(2, (q) => {
                const other = (unit + headUnits / 2) % headUnits;
                const x = of(r, unit, u, q);
                const turned = `(${x} * cos_table[turn${r} + ${quadOf(unit, u, q)}] ${unit < other ? "+" : "-"} ${of(r, other, u, q)} * sin_table[turn${r} + ${quadOf(other, u, q)}])`;
                return `d_qkv[first + i${r} * ROW + ${third}u * HEADS + ${quadOf(unit, u, q)}] = ${turn ? turned : x} * (${factor});`;
              }),
            ),
          ),
        ),
      ),
    );
  };
  /** Matrices `${prefix}${k}` of the rows' vectors, which are on their way; the region is free before. */
  const own = (prefix: string, source: Source): string =>
    lines(
      stagedVectors(spec, source, { count: rows, threads, name: prefix }).store(0, firstRow),
      "workgroupBarrier();",
      through.lefts(prefix, { count: perHead, stride }),
      "workgroupBarrier();",
    );
  const ownVectors = (prefix: string, source: Source) =>
    stagedVectors(spec, source, { count: rows, threads, name: prefix });
  const others = (source: Source) =>
    stagedVectors(spec, source, { count: keys, threads, name: `all_${source}` });
  const pairs = (prefix: string, lefts: string): string =>
    lines(
      through.declare(prefix, keyMatrices),
      through.multiply(prefix, keyMatrices, { lefts, depth: perHead, stride, columns: true }),
    );
  /** Probabilities `p` of scores, and score gradients `ds` of slopes, as chunks in f16 of the thread's rows. */
  const probabilities = (asQueries: boolean): string =>
    through.pass("s", keyUnits, (r, unit, u, quads) => {
      const exponentials = quads.map((quad, q) => {
        const other = `(${base} + ${columnOf(unit, u, q)} + vec4u(0u, 1u, 2u, 3u))`;
        const seen = causal
          ? asQueries
            ? `${other} <= vec4u(min(i${r}, ${length - 1}u))`
            : `${other} >= vec4u(i${r})`
          : asQueries && length % keys !== 0 && `${other} < vec4u(${length}u)`;
        const lse = asQueries ? `lse${r}` : `passing_lse[(${columnOf(unit, u, q)}) / 4u]`;
        const exponential = `exp(${quad} - ${lse})`;
        return seen ? `select(vec4f(), ${exponential}, ${seen})` : exponential;
      });
      return `let p${r}_${unit}_${u} = rounded(${exponentials.join(", ")});`;
    });
  const scoreGradients = (asQueries: boolean): string =>
    through.pass("t", keyUnits, (r, unit, u, quads) => {
      const gradients = quads.map((quad, q) => {
        const delta = asQueries ? `delta${r}` : `passing_delta[(${columnOf(unit, u, q)}) / 4u]`;
        return `${q ? "second" : "first"}_quad(p${r}_${unit}_${u}) * (${quad} - ${delta})`;
      });
      return `let ds${r}_${unit}_${u} = rounded(${gradients.join(", ")});`;
    });
  /** Of the thread's queries; those past the end get the probability 0. */
  const rowNumbers = eachOwn((r) =>
    lines(
      `let lse${r} = select(1e30, lse[head + min(i${r}, ${length - 1}u)], i${r} < ${length}u);`,
      `let delta${r} = delta[head + min(i${r}, ${length - 1}u)] * ${literal(GRADIENT_SCALE)};`,
    ),
  );
  const passBack = (prefix: string, of: string): string =>
    through.passBack(prefix, { count: keyUnits, most }, (r, unit, u) => `${of}${r}_${unit}_${u}`);

  /** Gradients of the subgroup's keys: `of`, transposed, times the queries' vectors, those of `together` subgroups at a time. */
  const transposed = (sum: string, of: string, source: Source): string => {
    const strideP = strideOf(keys);
    const vectorsFrom = together * M * strideP;
    const depth = (together * M) / K;
    const rounds = Math.ceil(subgroups / together);
    const vectors = stagedVectors(spec, source, { count: together * M, threads, name: `by_${source}` });
    const left = through.left;
    return lines(
      through.declare(sum, headMatrices),
      vectors.declare,
      vectors.load("0u"),
      repeat(rounds, (round) => {
        const from = `${round * together * M}u`;
        const now = Math.min(together, subgroups - round * together) * M;
        const lefts = `${of}_${sum}${round}_`;
        return lines(
          "workgroupBarrier();",
          rounds > 1 && `if (first_row / ${together * M}u == ${round}u) {`,
          eachOwn((r) =>
            repeat(keyUnits, (unit) =>
              eachChunk(
                (u) =>
                  `tile[(own - ${from} + ${r}u) * ${strideP}u + ${chunkOf(unit, u)}] = ${inOrder(`${of}${r}_${unit}_${u}`)};`,
              ),
            ),
          ),
          rounds > 1 && "}",
          vectors.store(vectorsFrom, from),
          round + 1 < rounds && vectors.load(`${(round + 1) * together * M}u`),
          "workgroupBarrier();",
          repeat(
            Math.min(depth, now / K),
            (k) =>
              `let ${lefts}${k} = subgroupMatrixLoad<${left}, col_major>(&tile, first_row / ${CHUNK}u + ${k * K * strideP}u, ${strideP}u);`,
          ),
          through.multiply(sum, headMatrices, {
            ...{ lefts, depth: now / K, stride, columns: false, start: vectorsFrom },
          }),
        );
      }),
    );
  };
  const atOnce = (): string => {
    const [q, d_o] = [ownVectors("a", "q"), ownVectors("b", "d_o")];
    const [k, v] = [others("k"), others("v")];
    return lines(
      [q, d_o, k, v].map(({ declare }) => declare),
      q.load("0u"),
      k.load("0u"),
      own("a", "q"),
      k.store(0, "0u"),
      d_o.load("0u"),
      "workgroupBarrier();",
      rowNumbers,
      pairs("s", "a"),
      probabilities(true),
      "workgroupBarrier();",
      v.load("0u"),
      own("b", "d_o"),
      v.store(0, "0u"),
      "workgroupBarrier();",
      pairs("t", "b"),
      scoreGradients(true),
      transposed("d_v", "p", "d_o"),
      store("d_v", 2),
      transposed("d_k", "ds", "q"),
      store("d_k", 1),
      k.load("0u"),
      passBack("ds_left", "ds"),
      "workgroupBarrier();",
      k.store(0, "0u"),
      "workgroupBarrier();",
      through.declare("d_q", headMatrices),
      through.multiply("d_q", headMatrices, { lefts: "ds_left", depth: perKeys, stride, columns: false }),
      store("d_q", 0),
    );
  };

  const pass = (own_: readonly [Source, Source], passed: readonly [Source, Source]): string => {
    const asQueries = own_[0] === "q";
    const [a, b] = [ownVectors("a", own_[0]), ownVectors("b", own_[1])];
    const [x, y] = [others(passed[0]), others(passed[1])];
    const sums = asQueries ? ["d_q"] : ["d_k", "d_v"];
    /** Of queries that pass by: those past the end get the probability 0. */
    const stageRows = repeat(Math.ceil(keys / 4 / threads), (p) => {
      const at = (q: number): string => `head + min(base + item * 4u + ${q}u, ${length - 1}u)`;
      const four = (text: (q: number) => string): string => `vec4f(${[0, 1, 2, 3].map(text).join(", ")})`;
      return lines(
        `if (lane + ${p * threads}u < ${keys / 4}u) {`,
        `let item = lane + ${p * threads}u;`,
        `passing_lse[item] = ${four((q) => `select(1e30, lse[${at(q)}], base + item * 4u + ${q}u < ${length}u)`)};`,
        `passing_delta[item] = ${four((q) => `delta[${at(q)}]`)} * ${literal(GRADIENT_SCALE)};`,
        "}",
      );
    });
    const begin = causal && !asQueries ? `block * ${rows}u / ${keys}u * ${keys}u` : "0u";
    const end = causal && asQueries ? `min((block + 1u) * ${rows}u, ${length}u)` : `${length}u`;
    const accumulate = (sum: string, lefts: string): string =>
      through.multiply(sum, headMatrices, { lefts, depth: perKeys, stride, columns: false });
    return lines(
      [a, b, x, y].map(({ declare }) => declare),
      a.load(firstRow),
      b.load(firstRow),
      own("a", own_[0]),
      own("b", own_[1]),
      asQueries && rowNumbers,
      sums.map((sum) => through.declare(sum, headMatrices)),
      `for (var base = ${begin}; base < ${end}; base += ${keys}u) {`,
      x.load("base"),
      "workgroupBarrier();",
      x.store(0, "base"),
      y.load("base"),
      !asQueries && stageRows,
      "workgroupBarrier();",
      pairs("s", "a"),
      probabilities(asQueries),
      "workgroupBarrier();",
      y.store(0, "base"),
      "workgroupBarrier();",
      pairs("t", "b"),
      scoreGradients(asQueries),
      // Loaded once more, which takes fewer registers than to keep them.
      !asQueries && [y.load("base"), passBack("p_left", "p")],
      asQueries && x.load("base"),
      passBack("ds_left", "ds"),
      !asQueries && [
        "workgroupBarrier();",
        y.store(0, "base"),
        x.load("base"),
        "workgroupBarrier();",
        accumulate("d_v", "p_left"),
      ],
      "workgroupBarrier();",
      x.store(0, "base"),
      "workgroupBarrier();",
      accumulate(sums[0]!, "ds_left"),
      "}",
      sums.map((sum) => store(sum, ["d_q", "d_k", "d_v"].indexOf(sum))),
    );
  };

  const code = shader({
    bindings,
    workgroupSize: threads,
    directives: DIRECTIVES,
    declarations: lines(
      constants(spec),
      `var<workgroup> tile: array<vec4u, ${staged}>;`,
      !whole && `var<workgroup> passing_lse: array<vec4f, ${keys / 4}>;`,
      !whole && `var<workgroup> passing_delta: array<vec4f, ${keys / 4}>;`,
      FUNCTIONS,
    ),
    body: lines(
      `let group = ${group};`,
      `if (group >= ${count}u) { return; }`,
      places(spec, matrices, blocks, passes),
      through.places,
      eachOwn((r) =>
        lines(`let i${r} = ${firstRow} + own + ${r}u;`, rope && `let turn${r} = i${r} * ${headDim / 4}u;`),
      ),
      whole
        ? atOnce()
        : [
            "if (group % 2u == 0u) {",
            pass(["q", "d_o"], ["k", "v"]),
            "} else {",
            pass(["k", "v"], ["q", "d_o"]),
            "}",
          ],
    ),
  });
  return {
    name,
    code,
    bindings: bindingsOf(bindings),
    workgroups,
    ...workInHalves(spec, backwardWork(spec), { qkv: 3 }),
  };
}
