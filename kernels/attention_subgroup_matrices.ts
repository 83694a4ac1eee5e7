/**
 * Attention on subgroup matrices: queries, keys, values and probabilities are rounded to f16 as they are staged in
 * workgroup memory; scores, their softmax and all sums are f32. The formulas are in attention.ts. With rope, queries and
 * keys are turned in f32 as in rope.ts before they are rounded.
 *
 * A workgroup has a block of the queries of one (batch, head), M to a subgroup. Queries, keys, values, and what passes between
 * matrices and threads take turns in one region of workgroup memory, so that several workgroups share a processor and one
 * computes while others wait. The language does not tell where a thread finds the elements of a matrix: results go through
 * the region a few columns at a time to the threads that own their rows, and probabilities back as chunks of 8 numbers.
 * Positions past the end compute along as zeros and are not stored, so that control flow is uniform.
 */
import {
  forwardWork,
  nameOf,
  requireAttention,
  rows as positions,
  type AttentionSpec,
} from "./attention_spec.js";
import { KernelError, type Capabilities, type Kernel } from "./kernel.js";
import { GRADIENT_SCALE, type SubgroupMatrices } from "./matmul_subgroup_matrices.js";
import { bindingsOf, linearDispatch, lines, literal, repeat, shader, type ShaderBinding } from "./wgsl.js";

/** How the work is divided. */
export interface AttentionTile {
  /** Subgroups of a workgroup. */
  readonly subgroups: number;
  /** Keys that are staged at a time. */
  readonly keys: number;
  /** Results that pass from matrices to threads at a time, in units of `columnsOf` columns. */
  readonly units: number;
}

/** Numbers of a chunk: 16 bytes in f16. */
export const CHUNK = 8;
/** Numbers of scores and sums of values that a thread keeps in registers, besides matrices and what is on its way. */
const MOST_NUMBERS = 64;
/**
 * Workgroup memory of a processor that workgroups share, and what each takes besides its own. An H100's driver gives 48 KB in all:
 * there a workgroup of 20 KB had one neighbour, and of 25 KB none.
 */
const SHARED_MEMORY = 49152;
const RESERVED = 1024;

/** How a subgroup's threads share the rows of a matrix. */
export function sharing({ M, N, K, subgroupSize }: SubgroupMatrices) {
  const threadsPerRow = Math.max(1, subgroupSize / M);
  const columns = N * Math.ceil(Math.max(CHUNK * threadsPerRow, K) / N);
  return {
    threadsPerRow,
    rowsPerThread: Math.max(1, M / subgroupSize),
    /** Of a unit: what passes from matrices to threads is whole units. */
    columns,
    /** Chunks of a unit that a thread has of each of its rows. */
    chunks: columns / CHUNK / threadsPerRow,
  };
}

/** Chunks from a staged row to the next, an odd number of which spreads neighbouring rows over the banks of the memory. */
export const strideOf = (numbers: number): number => numbers / CHUNK + 1;
/** The same of results in f32, by 4-vectors: 8 numbers more than whole units. */
export const strideOfResults = (matrices: SubgroupMatrices, units: number): number =>
  (units * sharing(matrices).columns) / 4 + 2;

/** Of products: left matrices by name, and vectors in the region of workgroup memory. */
interface Operands {
  readonly lefts: string;
  readonly depth: number;
  readonly stride: number;
  readonly columns: boolean;
  readonly start?: number;
}

/** Text for what passes through `tile` between a subgroup's matrices and the threads that own their rows, `units` at a time. */
export function passing(matrices: SubgroupMatrices, units: number) {
  const { threadsPerRow, rowsPerThread, columns, chunks } = sharing(matrices);
  const { M, N, K } = matrices;
  const stride = strideOfResults(matrices, units);
  const eachOwn = (text: (r: number) => string): string => repeat(rowsPerThread, text);
  const eachChunk = (text: (u: number) => string): string => repeat(chunks, text);
  const left = `subgroup_matrix_left<f16, ${K}, ${M}>`;
  /** The chunk's place in a row of chunks. */
  const chunkOf = (unit: number, u: number): string =>
    `${(unit * columns) / CHUNK + u * threadsPerRow}u + part`;
  /** Words of a chunk whose quads were taken as `quads` gives them. */
  const inOrder = (words: string): string => (threadsPerRow > 1 ? `in_order(odd, ${words})` : words);
  /** The subgroup's rows in the region, as matrices `${prefix}${first}` and so on. */
  const lefts = (
    prefix: string,
    { first = 0, count, stride }: { first?: number; count: number; stride: number },
  ): string =>
    repeat(
      count,
      (k) =>
        `let ${prefix}${first + k} = subgroupMatrixLoad<${left}, row_major>(&tile, first_row * ${stride}u + ${(k * K) / CHUNK}u, ${stride}u);`,
    );
  return {
    /** Of threads, after `places`. Odd parts take the second quad of a chunk first, so that neighbours share no bank. */
    places: lines(
      `let corner = first_row * ${stride}u;`,
      "let odd = part % 2u;",
      `let quad_0 = own * ${stride}u + 2u * part + odd;`,
      `let quad_1 = own * ${stride}u + 2u * part + 1u - odd;`,
      `let column_0 = part * ${CHUNK}u + 4u * odd;`,
      `let column_1 = part * ${CHUNK}u + 4u - 4u * odd;`,
    ),
    /**
     * Passes `count` units of matrices `${prefix}${n}`; `use(r, unit, u, quads)` takes the two quads of a chunk. Begins with a
     * barrier, for the region may be in use.
     */
    pass(
      prefix: string,
      count: number,
      use: (r: number, unit: number, u: number, quads: readonly [string, string]) => string,
    ): string {
      return repeat(Math.ceil(count / units), (round) => {
        const first = round * units;
        const now = Math.min(units, count - first);
        const wide = columns / N;
        return lines(
          "workgroupBarrier();",
          repeat(
            now * wide,
            (n) =>
              `subgroupMatrixStore<row_major>(&tile, corner + ${(n * N) / 4}u, ${prefix}${first * wide + n}, ${stride}u);`,
          ),
          "workgroupBarrier();",
          eachOwn((r) =>
            repeat(now, (unit) =>
              eachChunk((u) => {
                const at = r * stride + (unit * columns) / 4 + u * 2 * threadsPerRow;
                const quad = (q: number): string => `bitcast<vec4f>(tile[quad_${q} + ${at}u])`;
                return use(r, first + unit, u, [quad(0), quad(1)]);
              }),
            ),
          ),
        );
      });
    },
    /** Columns of quad q of a chunk: the first of the four. */
    columnOf: (unit: number, u: number, q: number): string =>
      `${unit * columns + u * CHUNK * threadsPerRow}u + column_${q}`,
    chunkOf,
    inOrder,
    /**
     * Passes back `count` units of chunks, in f16 as `rounded` took the quads: to matrices `${prefix}${k}`, `most` units at a time.
     * Begins with a barrier.
     */
    passBack(
      prefix: string,
      { count, most }: { count: number; most: number },
      words: (r: number, unit: number, u: number) => string,
    ): string {
      return repeat(Math.ceil(count / most), (part) => {
        const first = part * most;
        const now = Math.min(most, count - first);
        const stride = strideOf(now * columns);
        const perUnit = columns / K;
        return lines(
          "workgroupBarrier();",
          eachOwn((r) =>
            repeat(now, (unit) =>
              eachChunk(
                (u) =>
                  `tile[(own + ${r}u) * ${stride}u + ${chunkOf(unit, u)}] = ${inOrder(words(r, first + unit, u))};`,
              ),
            ),
          ),
          "workgroupBarrier();",
          lefts(prefix, { first: first * perUnit, count: now * perUnit, stride }),
        );
      });
    },
    lefts,
    eachOwn,
    eachChunk,
    matricesOf: (count: number): number => (count * columns) / N,
    left,
    /**
     * Adds to `count` matrices `${prefix}${n}` the products of `depth` matrices `${lefts}${k}` with what the region has from
     * `start` on: vectors that are the columns of right matrices, or else their rows.
     */
    multiply(prefix: string, count: number, { lefts, depth, stride, columns, start = 0 }: Operands): string {
      return repeat(count, (n) =>
        repeat(depth, (k) => {
          const at = start + (columns ? n * N * stride + (k * K) / CHUNK : k * K * stride + (n * N) / CHUNK);
          return `${prefix}${n} = subgroupMatrixMultiplyAccumulate(${lefts}${k}, subgroupMatrixLoad<subgroup_matrix_right<f16, ${N}, ${K}>, ${columns ? "col" : "row"}_major>(&tile, ${at}u, ${stride}u), ${prefix}${n});`;
        }),
      );
    },
    declare: (prefix: string, count: number): string =>
      repeat(count, (n) => `var ${prefix}${n} = subgroup_matrix_result<f32, ${N}, ${M}>();`),
  };
}

/** Functions of WGSL that staging and passing call. */
export const FUNCTIONS = lines(
  "fn rounded(x: vec4f, y: vec4f) -> vec4u {",
  "return vec4u(pack2x16float(x.xy), pack2x16float(x.zw), pack2x16float(y.xy), pack2x16float(y.zw));",
  "}",
  "fn in_order(odd: u32, words: vec4u) -> vec4u { return select(words, words.zwxy, odd == 1u); }",
  "fn first_quad(words: vec4u) -> vec4f { return vec4f(unpack2x16float(words.x), unpack2x16float(words.y)); }",
  "fn second_quad(words: vec4u) -> vec4f { return vec4f(unpack2x16float(words.z), unpack2x16float(words.w)); }",
);

/** Sizes of a tile, in chunks. */
function memoryOf(
  { headDim }: AttentionSpec,
  matrices: SubgroupMatrices,
  { subgroups, keys, units }: AttentionTile,
) {
  const { columns } = sharing(matrices);
  const rows = subgroups * matrices.M;
  const stride = strideOf(headDim);
  const least = Math.max(Math.max(rows, keys) * stride, rows * strideOfResults(matrices, units));
  const keyUnits = keys / columns;
  const fits = (parts: number) => rows * strideOf(Math.ceil(keyUnits / parts) * columns) <= least;
  /** Parts in which probabilities pass. */
  let parts = 1;
  while (parts < keyUnits && !fits(parts)) parts++;
  const probabilities = Math.ceil(keyUnits / parts);
  const staged = Math.max(least, rows * strideOf(probabilities * columns));
  const rounds = Math.ceil(keyUnits / units) + parts + Math.ceil(headDim / columns / units);
  return { rows, stride, staged, probabilities, bytes: 2 * CHUNK * staged, barriers: 5 + 2 * rounds };
}

/** Tiles that the device allows, the preferred first; none where matrices do not divide head vectors. */
export function attentionTiles(
  spec: AttentionSpec,
  capabilities: Capabilities,
  matrices: SubgroupMatrices,
): AttentionTile[] {
  const { length, headDim } = spec;
  const { threadsPerRow, rowsPerThread } = sharing(matrices);
  return tilesOf(spec, capabilities, matrices, (tile) => ({
    ...memoryOf(spec, matrices, tile),
    numbers: (rowsPerThread * (tile.keys + (length > tile.keys ? headDim : 0))) / threadsPerRow,
  }));
}

/** Tiles by what `measure` says of them: bytes of workgroup memory, barriers, and numbers that a thread keeps in registers. */
export function tilesOf(
  { length, headDim }: AttentionSpec,
  { software, maxComputeWorkgroupStorageSize, maxComputeInvocationsPerWorkgroup }: Capabilities,
  matrices: SubgroupMatrices,
  measure: (tile: AttentionTile) => { bytes: number; numbers: number; barriers: number },
): AttentionTile[] {
  const { M, N, K, component, subgroupSize } = matrices;
  const { columns } = sharing(matrices);
  if (component !== "f16" || M % CHUNK || N % CHUNK || K % CHUNK || headDim % 16 || headDim > 128) return [];
  if (columns % K || headDim % columns) return [];
  const found: { tile: AttentionTile; cost: number }[] = [];
  // Every subgroup and every key makes text that a CPU takes long to compile.
  const subgroupsMost = Math.min(
    software ? 1 : 8,
    Math.floor(maxComputeInvocationsPerWorkgroup / subgroupSize),
  );
  const numbersMost = software ? 16 : MOST_NUMBERS;
  for (let subgroups = 1; subgroups <= subgroupsMost; subgroups++)
    for (let keys = columns * Math.ceil(length / columns); keys > 0;) {
      const tiles = Math.ceil(length / keys);
      const fitting = Array.from({ length: Math.max(keys, headDim) / columns }, (_, i) => {
        const tile = { subgroups, keys, units: i + 1 };
        return { tile, ...measure(tile) };
      }).filter(({ bytes }) => bytes <= maxComputeWorkgroupStorageSize);
      if (fitting[0] && (fitting[0].numbers <= numbersMost || keys === columns)) {
        // A workgroup mostly waits at barriers, and those that share a processor wait side by side.
        const blocks = Math.ceil(length / (subgroups * M));
        for (const { tile, bytes, barriers } of fitting) {
          const neighbours = Math.min(3, Math.max(1, Math.floor(SHARED_MEMORY / (bytes + RESERVED))));
          const cost = blocks * tiles * (4 * barriers + keys) * (1 + 2 / subgroups);
          found.push({ tile, cost: cost / neighbours });
        }
        break;
      }
      // Tiles of one size as far as whole units allow.
      const more = Math.ceil(length / (keys - columns));
      keys = Math.min(keys - columns, columns * Math.ceil(length / more / columns));
    }
  return found.sort((a, b) => a.cost - b.cost).map(({ tile }) => tile);
}

/** As `attention`. Bindings: qkv, o, lse; with rope also cos_table and sin_table. */
export function attentionMatrices(
  spec: AttentionSpec,
  capabilities: Capabilities,
  matrices: SubgroupMatrices,
  tile = attentionTiles(spec, capabilities, matrices)[0],
): Kernel {
  requireAttention(spec, capabilities);
  const { batch, length, heads, headDim, causal = false } = spec;
  if (!tile) throw noTile("attention", spec, matrices);
  const { K, subgroupSize } = matrices;
  const { keys, subgroups, units } = tile;
  const { rows, stride, staged, probabilities } = memoryOf(spec, matrices, tile);
  const { threadsPerRow, columns, chunks } = sharing(matrices);
  const through = passing(matrices, units);
  const { eachOwn, eachChunk, columnOf, chunkOf, matricesOf } = through;
  const threads = subgroups * subgroupSize;
  const blocks = Math.ceil(length / rows);
  const several = keys < length;
  const bindings = bindingsFor(spec, [
    ["qkv", "read", 4],
    ["o", "read_write", 4],
    ["lse", "read_write", 1],
  ]);
  const name = `${nameOf("attention", spec)}_m${rows}x${keys}x${units * columns}${halvesOf(bindings)}`;
  const count = batch * heads * blocks;
  const { workgroups, group } = linearDispatch(name, count, capabilities);
  const keyUnits = keys / columns;
  const base = several ? "base" : "0u";
  const scores = lines(
    through.declare("s", matricesOf(keyUnits)),
    through.multiply("s", matricesOf(keyUnits), { lefts: "q", depth: headDim / K, stride, columns: true }),
    through.pass("s", keyUnits, (r, unit, u, quads) =>
      lines(
        quads.map((quad, q) => {
          const score = `score${r}_${unit}_${u}_${q}`;
          const ragged = several ? length % keys !== 0 : (unit + 1) * columns > length;
          if (!causal && !ragged) return `let ${score} = ${quad};`;
          const key = `${base} + ${columnOf(unit, u, q)} + vec4u(0u, 1u, 2u, 3u)`;
          const seen = causal ? `${key} <= vec4u(min(i${r}, ${length - 1}u))` : `${key} < vec4u(${length}u)`;
          return `let ${score} = select(vec4f(-1e30), ${quad}, ${seen});`;
        }),
      ),
    ),
  );
  const ofRow = (join: (a: string, b: string) => string, r: number, prefix: string): string =>
    Array.from({ length: keyUnits * chunks * 2 }, (_, i) => {
      const [unit, u] = [Math.floor(i / 2 / chunks), Math.floor(i / 2) % chunks];
      return `${prefix}${r}_${unit}_${u}_${i % 2}`;
    }).reduce(join);
  /** The same of all threads that share a row. */
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
      // Of keys past the end: exp(-1e30) = 0.
      repeat(keyUnits, (unit) =>
        eachChunk((u) =>
          repeat(2, (q) => `let p${r}_${unit}_${u}_${q} = exp(score${r}_${unit}_${u}_${q} - new_top${r});`),
        ),
      ),
      `let sums${r} = ${ofRow(add, r, "p")};`,
      `var sum${r} = sums${r}.x + sums${r}.y + sums${r}.z + sums${r}.w;`,
      shared(`sum${r}`, add),
      `total${r} = ${several ? `total${r} * old${r} + ` : ""}sum${r};`,
    ),
  );
  const operands = through.passBack("p_matrix", { count: keyUnits, most: probabilities }, (r, unit, u) => {
    const p = `p${r}_${unit}_${u}`;
    return `rounded(${p}_0, ${p}_1)`;
  });
  const headUnits = headDim / columns;
  const eachSum = (text: (r: number, unit: number, u: number) => string): string =>
    eachOwn((r) => repeat(headUnits, (unit) => eachChunk((u) => text(r, unit, u))));
  const stored = (r: number, unit: number, u: number, sums: readonly string[]): string => {
    const [x, y] = sums.map((sum) => `${sum} / total${r}`) as [string, string];
    return halfIn(spec, "o")
      ? `o[out${r} / 2u + ${chunkOf(unit, u)}] = ${through.inOrder(`rounded(${x}, ${y})`)};`
      : lines([x, y].map((value, q) => `o[out${r} + (${columnOf(unit, u, q)}) / 4u] = ${value};`));
  };
  const inside = (r: number, text: string): string =>
    length % rows === 0 ? text : lines(`if (i${r} < ${length}u) {`, text, "}");
  const sums = lines(
    through.declare("o", matricesOf(headUnits)),
    through.multiply("o", matricesOf(headUnits), {
      lefts: "p_matrix",
      depth: keys / K,
      stride,
      columns: false,
    }),
    through.pass("o", headUnits, (r, unit, u, quads) => {
      const sum = (q: number): string => `sum${r}_${unit}_${u}_${q}`;
      return several
        ? lines(quads.map((quad, q) => `${sum(q)} = ${sum(q)} * old${r} + ${quad};`))
        : inside(r, stored(r, unit, u, quads));
    }),
  );
  const [query, key, value] = (["q", "k", "v"] as const).map((source) =>
    stagedVectors(spec, source, { count: source === "q" ? rows : keys, threads }),
  ) as [Staged, Staged, Staged];
  const firstQuery = blocks > 1 ? `block * ${rows}u` : "0u";
  const body = lines(
    `let group = ${group};`,
    `if (group >= ${count}u) { return; }`,
    places(spec, matrices, blocks),
    through.places,
    eachOwn((r) =>
      lines(
        `let i${r} = ${firstQuery} + own + ${r}u;`,
        `let out${r} = first_out + i${r} * HEADS;`,
        `var top${r} = -1e30;`,
        `var total${r} = 0.0;`,
      ),
    ),
    several && eachSum((r, unit, u) => repeat(2, (q) => `var sum${r}_${unit}_${u}_${q} = vec4f();`)),
    query.declare,
    key.declare,
    value.declare,
    query.load(firstQuery),
    // What comes next is on its way while those before it take its place.
    key.load("0u"),
    query.store(0, firstQuery),
    "workgroupBarrier();",
    through.lefts("q", { count: headDim / K, stride }),
    several &&
      `for (var base = 0u; base < ${causal ? `min(${firstQuery} + ${rows}u, ${length}u)` : `${length}u`}; base += ${keys}u) {`,
    "workgroupBarrier();",
    key.store(0, base),
    value.load(base),
    "workgroupBarrier();",
    scores,
    softmax,
    operands,
    "workgroupBarrier();",
    value.store(0, base),
    several && key.load(`base + ${keys}u`),
    "workgroupBarrier();",
    sums,
    several && "}",
    several &&
      eachOwn((r) =>
        inside(
          r,
          repeat(headUnits, (unit) =>
            eachChunk((u) =>
              stored(
                r,
                unit,
                u,
                [0, 1].map((q) => `sum${r}_${unit}_${u}_${q}`),
              ),
            ),
          ),
        ),
      ),
    eachOwn((r) => inside(r, `if (part == 0u) { lse[head + i${r}] = top${r} + log(total${r}); }`)),
  );
  const code = shader({
    bindings,
    workgroupSize: threads,
    directives: DIRECTIVES,
    declarations: lines(constants(spec), `var<workgroup> tile: array<vec4u, ${staged}>;`, FUNCTIONS),
    body,
  });
  return {
    name,
    code,
    bindings: bindingsOf(bindings),
    workgroups,
    ...workInHalves(spec, forwardWork(spec), { qkv: 3, o: 1 }),
  };
}

export const noTile = (family: string, spec: AttentionSpec, { M, N, K, component }: SubgroupMatrices) =>
  new KernelError(
    nameOf(family, spec),
    `subgroup matrices of ${M}x${N}x${K} in ${component}`,
    `matrices of f16 of multiples of ${CHUNK} that divide the head size, a multiple of 16 up to 128, and workgroup memory for them`,
    "Use the kernel without matrices.",
  );

export const DIRECTIVES = lines(
  "enable f16;",
  "enable subgroups;",
  "enable chromium_experimental_subgroup_matrix;",
  // Subgroups lie along the workgroup one after the other, which the language does not promise: see the self-check.
  "diagnostic(off, chromium.subgroup_matrix_uniformity);",
);

export const constants = ({ heads, headDim }: AttentionSpec): string =>
  lines(
    `const HEADS = ${(heads * headDim) / 4}u; // vectors from q to k to v, and between positions of o`,
    `const ROW = ${(3 * heads * headDim) / 4}u; // vectors between positions of qkv`,
    `const SCALE = ${literal(1 / Math.sqrt(headDim))};`,
  );

/** Where the head's vectors and the thread's rows lie, `blocks` workgroups to a head and `passes` to a block. */
export function places(
  { length, heads, headDim }: AttentionSpec,
  matrices: SubgroupMatrices,
  blocks: number,
  passes = 1,
): string {
  const { threadsPerRow, rowsPerThread } = sharing(matrices);
  const { M, subgroupSize } = matrices;
  return lines(
    `let block = group / ${passes}u % ${blocks}u;`,
    `let h = group / ${passes * blocks}u % ${heads}u;`,
    `let b = group / ${passes * blocks * heads}u;`,
    `let first = b * ${length}u * ROW + h * ${headDim / 4}u;`,
    `let first_out = b * ${length}u * HEADS + h * ${headDim / 4}u;`,
    `let head = (b * ${heads}u + h) * ${length}u;`,
    `let first_row = lane / ${subgroupSize}u * ${M}u;`,
    `let thread = lane % ${subgroupSize}u;`,
    `let part = thread % ${threadsPerRow}u;`,
    `let own = first_row + thread / ${threadsPerRow}u * ${rowsPerThread}u;`,
  );
}

/** What is stored in f16, of so many head vectors a position, moves half as many bytes. */
export const workInHalves = (
  spec: AttentionSpec,
  work: Pick<Kernel, "flops" | "bytes">,
  vectors: Readonly<Record<string, number>>,
): typeof work => ({
  flops: work.flops,
  bytes: (spec.halves ?? []).reduce(
    (bytes, name) => bytes - 2 * positions(spec) * spec.headDim * (vectors[name] ?? 0),
    work.bytes,
  ),
});

/** `_qkv16_o16` where both are stored in f16. */
export const halvesOf = (bindings: readonly ShaderBinding[]): string =>
  bindings.map(({ name, dtype }) => (dtype === "f16" ? `_${name}16` : "")).join("");

const halfIn = ({ halves = [] }: AttentionSpec, buffer: "qkv" | "o"): boolean => halves.includes(buffer);

export function bindingsFor(
  spec: AttentionSpec,
  buffers: readonly (readonly [string, "read" | "read_write", 1 | 4])[],
): ShaderBinding[] {
  const tables = [
    ["cos_table", "read", 4],
    ["sin_table", "read", 4],
  ] as const;
  return [...buffers, ...(spec.rope ? tables : [])].map(([name, access, width]) =>
    (name === "qkv" || name === "o") && halfIn(spec, name)
      ? { name, access, width: CHUNK, dtype: "f16" }
      : { name, access, width, dtype: "f32" },
  );
}

export type Staged = ReturnType<typeof stagedVectors>;

/** Head vectors to stage: queries, keys, values or gradients of the output. */
export type Source = "q" | "k" | "v" | "d_o";

/**
 * Stages `count` head vectors by chunks: `load` to registers, as they lie in memory; `store` turns queries and keys where rope
 * says so, multiplies queries by the scale of scores and gradients by {@link GRADIENT_SCALE}, and rounds. Neighbouring lanes
 * read neighbouring addresses; a thread has what is turned together. Vectors past the end are zeros.
 */
export function stagedVectors(
  spec: AttentionSpec,
  source: Source,
  { count, threads, name = source }: { count: number; threads: number; name?: string },
) {
  const { length, headDim, rope = false } = spec;
  const turning = rope && (source === "q" || source === "k");
  const halves = source !== "d_o" && halfIn(spec, "qkv");
  const stride = strideOf(headDim);
  /** Chunks that a thread has of a row: those that are turned together. */
  const together = turning ? 2 : 1;
  const perRow = headDim / CHUNK / together;
  const items = count * perRow;
  // Eight threads write at a time: rows 0 and 4 of a group of eight, then 1 and 5, share no bank where four are a row.
  const spread = perRow === 4 && threads % 32 === 0;
  const row = spread ? "item / 32u * 8u + item / 4u % 2u * 4u + item / 8u % 4u" : `item / ${perRow}u`;
  const shares = Math.ceil(items / threads);
  const each = (body: (words: (c: number, q: number) => string) => string): string =>
    repeat(shares, (p) => {
      const whole = (p + 1) * threads <= items;
      return lines(
        "{",
        `let item = lane + ${p * threads}u;`,
        `let row = ${row};`,
        `let chunk = item % ${perRow}u;`,
        !whole && `if (item < ${items}u) {`,
        body((c, q) => `${name}${p}_${c}${halves ? "" : `_${q}`}`),
        !whole && "}",
        "}",
      );
    });
  const eachPart = (text: (c: number, q: number) => string): string =>
    repeat(together, (c) => repeat(halves ? 1 : 2, (q) => text(c, q)));
  const [buffer, first] =
    source === "d_o"
      ? ["d_o", "first_out + position * HEADS"]
      : ["qkv", `first + position * ROW + ${"qkv".indexOf(source)}u * HEADS`];
  const scaled = source === "q" ? " * SCALE" : source === "d_o" ? ` * ${literal(GRADIENT_SCALE)}` : "";
  return {
    declare: repeat(shares, (p) =>
      eachPart((c, q) => `var ${name}${p}_${c}${halves ? "" : `_${q}`} = ${halves ? "vec4u" : "vec4f"}();`),
    ),
    load: (base: string): string =>
      each((words) =>
        lines(
          eachPart((c, q) => `${words(c, q)} = ${halves ? "vec4u" : "vec4f"}();`),
          `let position = ${base} + row;`,
          `if (position < ${length}u) {`,
          `let at = ${halves ? `(${first}) / 2u + chunk` : `${first} + 2u * chunk`};`,
          eachPart((c, q) => `${words(c, q)} = ${buffer}[at + ${c * perRow * (halves ? 1 : 2) + q}u];`),
          "}",
        ),
      ),
    /** @param base what was given to `load` */
    store: (start: number, base: string): string =>
      each((words) => {
        const quad = (c: number, q: number): string =>
          halves ? `${q ? "second" : "first"}_quad(${words(c, 0)})` : words(c, q);
        const store = (c: number, chunk: string): string =>
          `tile[${start + c * perRow}u + row * ${stride}u + chunk] = ${chunk};`;
        if (!turning)
          return store(
            0,
            halves && !scaled ? words(0, 0) : `rounded(${quad(0, 0)}${scaled}, ${quad(0, 1)}${scaled})`,
          );
        const table = (name: string, c: number, q: number): string =>
          `${name}_table[turn + ${2 * c * perRow + q}u]`;
        return lines(
          `let turn = min(${base} + row, ${length - 1}u) * ${headDim / 4}u + 2u * chunk;`,
          repeat(2, (q) =>
            lines(
              `let x${q} = ${quad(0, q)};`,
              `let y${q} = ${quad(1, q)};`,
              `let turned_x${q} = x${q} * ${table("cos", 0, q)} - y${q} * ${table("sin", 0, q)};`,
              `let turned_y${q} = y${q} * ${table("cos", 1, q)} + x${q} * ${table("sin", 1, q)};`,
            ),
          ),
          store(0, `rounded(turned_x0${scaled}, turned_x1${scaled})`),
          store(1, `rounded(turned_y0${scaled}, turned_y1${scaled})`),
        );
      }),
  };
}
