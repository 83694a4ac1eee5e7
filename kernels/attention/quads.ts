/**
 * Attention made for GPUs. The four lanes of a quad share a head vector. Keys and values (in the second pass of backward:
 * queries and output gradients) are staged in workgroup memory, so that each load from there serves all positions that a
 * quad owns. The formulas and their sources are in portable.ts. Every pass scales queries when it loads them, so that
 * backward reproduces the scores of forward to the bit. With rope, queries and keys are rotated as in rope.ts when they are
 * loaded.
 *
 * Lane `part` of a quad holds the 4-vectors part, part + 4, ... of a head vector. The kernel assumes that a quad is four
 * neighbours by local index, as in one-dimensional workgroups of all current implementations of WebGPU. If the assumption
 * fails, forward returns NaN, and so does backward. Threads past the end compute the last position again and do not store
 * it, so that control flow is uniform.
 */
import { backwardWork, deltaWork, forwardWork, nameOf, rows, type AttentionSpec } from "./spec.js";
import type { Capabilities } from "../capabilities.js";
import type { Kernel, NamedKernel } from "../core/kernel.js";
import { bindingsOf, linearDispatch, lines, repeat, shader, type Buffers } from "../core/wgsl.js";
import {
  attentionBuffers,
  headConstants,
  headBegin,
  headOf,
  storedWork,
  type AttentionBuffer,
} from "./shared.js";

/** The most numbers of head vectors in a thread's registers: of q and o in forward, of k, v and their gradients in backward. */
const FORWARD_NUMBERS = 96;
const BACKWARD_NUMBERS = 128;

/** The variant of `attention`. A quad owns at most `most` positions. */
export function attentionQuads(
  spec: AttentionSpec,
  capabilities: Capabilities,
  most = FORWARD_NUMBERS / (spec.headDim / 2),
): Kernel {
  const { length, causal = false, rope = false } = spec;
  const layout = layoutOf(spec, most);
  const turn = (r: number) => rope && `turn${r}`;
  const { owned, vectors, tile } = layout;
  const masked = causal || length % 4 !== 0;
  return quadKernel("attention", spec, capabilities, {
    layout,
    buffers: [
      ["qkv", "read", 4],
      ["o", "read_write", 4],
      ["lse", "read_write", 1],
    ],
    sum: "vec4f",
    work: forwardWork(spec),
    body: (buffers) =>
      lines(
        // Lanes in another order would add up parts of different positions. The result is NaN then, which stops training with a message.
        "let stray = bitcast<f32>(select(0u, 0x7fc00000u, quadBroadcast(lane, 0u) + part != lane));",
        ownedPositions(layout, spec),
        repeat(owned, (r) =>
          lines(
            ownedVector(layout, buffers, `q${r}_`, ["qkv", `at${r}`], turn(r), " * SCALE"),
            accumulator(layout, `acc${r}_`),
            `var top${r} = -1e30;`,
            `var total${r} = 0.0;`,
          ),
        ),
        `for (var base = 0u; base < ${endOf(spec, layout)}; base += ${tile}u) {`,
        staged(layout, spec, buffers, [KEY, VALUE]),
        // Four keys share one rescaling of the online softmax, so that the tile is a multiple of four.
        "for (var j = 0u; j < count; j += 4u) {",
        repeat(4, (t) =>
          lines(
            stagedVector(layout, `k${t}_`, "tile_a", `j + ${t}u`),
            repeat(owned, (r) => `let s${r}_${t} = ${product(layout, `q${r}_`, `k${t}_`)};`),
          ),
        ),
        masked && "let key = base + j + vec4u(0u, 1u, 2u, 3u);",
        repeat(owned, (r) => {
          const sums = `quad_sum(vec4f(s${r}_0, s${r}_1, s${r}_2, s${r}_3))`;
          const seen = causal ? `key <= vec4u(i${r})` : `key < vec4u(${length}u)`;
          return lines(
            `let s${r} = ${masked ? `select(vec4f(-1e30), ${sums}, ${seen})` : sums};`,
            `let new_top${r} = max(top${r}, max(max(s${r}.x, s${r}.y), max(s${r}.z, s${r}.w)));`,
            `let old${r} = exp(top${r} - new_top${r});`,
            `let p${r} = exp(s${r} - new_top${r});`,
            `total${r} = total${r} * old${r} + p${r}.x + p${r}.y + p${r}.z + p${r}.w;`,
            `top${r} = new_top${r};`,
            repeat(vectors, (v) => `acc${r}_${v} *= old${r};`),
          );
        }),
        repeat(4, (t) =>
          lines(
            stagedVector(layout, `v${t}_`, "tile_b", `j + ${t}u`),
            repeat(owned, (r) => addProduct(layout, `acc${r}_`, `p${r}.${"xyzw"[t]}`, `v${t}_`)),
          ),
        ),
        "}",
        "}",
        repeat(owned, (r) =>
          storedIfInside(layout, r, length, [
            `let inverse${r} = 1.0 / total${r} + stray;`,
            repeat(vectors, (v) => buffers.store("o", `out${r} + ${4 * v}u`, `acc${r}_${v} * inverse${r}`)),
            `if (part == 0u) { lse[head + c${r}] = top${r} + log(total${r}) + stray; }`,
          ]),
        ),
      ),
  });
}

/** The variant of `attentionDelta`. A quad reads one position of a head. */
export function attentionDeltaQuads(spec: AttentionSpec, capabilities: Capabilities): Kernel {
  const { heads, length, headDim } = spec;
  const name = `${nameOf("attention_delta", spec)}_quads`;
  const vectors = headDim / 16;
  const buffers = attentionBuffers(name, { ...spec, rope: false }, [
    ["o", "read", 4],
    ["d_o", "read", 4],
    ["delta", "read_write", 1],
  ]);
  const { bindings, load } = buffers;
  const workgroupSize = 128;
  const { workgroups, group } = linearDispatch(
    name,
    Math.ceil((4 * rows(spec)) / workgroupSize),
    capabilities,
  );
  const code = shader({
    directives: "enable subgroups;",
    bindings,
    workgroupSize,
    declarations: sums("f32"),
    body: lines(
      "let part = lane % 4u;",
      `let place = ${group} * ${workgroupSize / 4}u + lane / 4u;`,
      `let row = min(place, ${rows(spec) - 1}u);`,
      `let at = row * ${headDim / 4}u + part;`,
      repeat(
        vectors,
        (v) => `let o_${v} = ${load("o", `at + ${4 * v}u`)}; let g_${v} = ${load("d_o", `at + ${4 * v}u`)};`,
      ),
      `let sum = quad_sum(${product({ vectors }, "o_", "g_")});`,
      `let s = row / ${heads}u % ${length}u;`,
      `let b = row / ${heads * length}u;`,
      `if (part == 0u && place == row) { delta[(b * ${heads}u + row % ${heads}u) * ${length}u + s] = sum; }`,
    ),
  });
  return {
    name: `${name}${buffers.suffix}`,
    code,
    bindings: bindingsOf(bindings),
    workgroups,
    ...storedWork(spec, deltaWork(spec), buffers),
  };
}

/** The variant of `attentionBackward`. Even workgroups take their positions as queries, odd workgroups as keys and values. */
export function attentionBackwardQuads(
  spec: AttentionSpec,
  capabilities: Capabilities,
  most = BACKWARD_NUMBERS / spec.headDim,
): Kernel {
  const { length, causal = false, rope = false } = spec;
  const layout = layoutOf(spec, most);
  const turn = (r: number) => rope && `turn${r}`;
  const { owned, vectors, tile, positions } = layout;
  /** Probability and unscaled score gradient of each owned position and staged position j. */
  const pair = (r: number, lse: string, delta: string, seen: string): string =>
    lines(
      `let sums${r} = quad_sum(vec2f(${product(layout, `a${r}_`, "x_")}, ${product(layout, `b${r}_`, "y_")}));`,
      `let whole${r} = exp(sums${r}.x - ${lse});`,
      `let p${r} = ${causal ? `select(0.0, whole${r}, ${seen})` : `whole${r}`};`,
      `let ds${r} = p${r} * (sums${r}.y - ${delta});`,
    );
  const eachStaged = (body: string): string =>
    lines(
      "for (var j = 0u; j < count; j++) {",
      stagedVector(layout, "x_", "tile_a", "j"),
      stagedVector(layout, "y_", "tile_b", "j"),
      body,
      "}",
    );
  const asQueries = (buffers: Buffers): string =>
    lines(
      repeat(owned, (r) =>
        lines(
          ownedVector(layout, buffers, `a${r}_`, ["qkv", `at${r}`], turn(r), " * SCALE"),
          ownedVector(layout, buffers, `b${r}_`, ["d_o", `out${r}`]),
          `let lse${r} = lse[head + c${r}];`,
          `let delta${r} = delta[head + c${r}];`,
          accumulator(layout, `d_q${r}_`),
        ),
      ),
      `for (var base = 0u; base < ${endOf(spec, layout)}; base += ${tile}u) {`,
      staged(layout, spec, buffers, [KEY, VALUE]),
      eachStaged(
        repeat(owned, (r) =>
          lines(
            pair(r, `lse${r}`, `delta${r}`, `base + j <= i${r}`),
            addProduct(layout, `d_q${r}_`, `ds${r}`, "x_"),
          ),
        ),
      ),
      "}",
      repeat(owned, (r) =>
        storedIfInside(
          layout,
          r,
          length,
          storedGradient(layout, buffers, `d_q${r}_`, `at${r}`, turn(r), " * SCALE"),
        ),
      ),
    );
  const asKeys = (buffers: Buffers): string =>
    lines(
      repeat(owned, (r) =>
        lines(
          ownedVector(layout, buffers, `a${r}_`, ["qkv", `at${r} + HEADS`], turn(r)),
          ownedVector(layout, buffers, `b${r}_`, ["qkv", `at${r} + 2u * HEADS`]),
          accumulator(layout, `d_k${r}_`),
          accumulator(layout, `d_v${r}_`),
        ),
      ),
      // In causal attention, queries before the block do not see its keys.
      `for (var base = ${causal ? `block * ${positions}u / ${tile}u * ${tile}u` : "0u"}; base < ${length}u; base += ${tile}u) {`,
      staged(
        layout,
        spec,
        buffers,
        [QUERY, SLOPE],
        " * SCALE",
        lines(
          `for (var item = lane; item < count; item += ${layout.threads}u) {`,
          `tile_rows[item] = vec2f(lse[head + base + item], delta[head + base + item]);`,
          "}",
        ),
      ),
      eachStaged(
        lines(
          "let row = tile_rows[j];",
          repeat(owned, (r) =>
            lines(
              pair(r, "row.x", "row.y", `base + j >= i${r}`),
              addProduct(layout, `d_k${r}_`, `ds${r}`, "x_"),
              addProduct(layout, `d_v${r}_`, `p${r}`, "y_"),
            ),
          ),
        ),
      ),
      "}",
      repeat(owned, (r) =>
        storedIfInside(layout, r, length, [
          storedGradient(layout, buffers, `d_k${r}_`, `at${r} + HEADS`, turn(r)),
          repeat(vectors, (v) => buffers.store("d_qkv", `at${r} + 2u * HEADS + ${4 * v}u`, `d_v${r}_${v}`)),
        ]),
      ),
    );
  return quadKernel("attention_backward", spec, capabilities, {
    layout,
    passes: 2,
    buffers: [
      ["qkv", "read", 4],
      ["d_o", "read", 4],
      ["lse", "read", 1],
      ["delta", "read", 1],
      ["d_qkv", "read_write", 4],
    ],
    declarations: `var<workgroup> tile_rows: array<vec2f, ${tile}>; // log-sum-exp and delta of staged queries`,
    sum: "vec2f",
    work: backwardWork(spec),
    body: (buffers) =>
      lines(
        ownedPositions(layout, spec),
        "if (group % 2u == 0u) {",
        asQueries(buffers),
        "} else {",
        asKeys(buffers),
        "}",
      ),
  });
}

/** Variants by the most positions of a quad, the default first. */
export function quadVariants(
  family: "attention" | "attentionBackward",
  spec: AttentionSpec,
  capabilities: Capabilities,
): NamedKernel[] {
  const [make, numbers] =
    family === "attention"
      ? [attentionQuads, FORWARD_NUMBERS / (spec.headDim / 2)]
      : [attentionBackwardQuads, BACKWARD_NUMBERS / spec.headDim];
  const found = new Map<string, NamedKernel>();
  for (const most of [numbers, 1, 2, 3, 4]) {
    const name = `quads_x${layoutOf(spec, most).owned}`;
    if (!found.has(name)) found.set(name, { name, make: () => make(spec, capabilities, most) });
  }
  return [...found.values()];
}

/** How positions and head vectors are divided. */
interface Layout {
  /** 4-vectors of a head vector in each lane of a quad. */
  readonly vectors: number;
  /** Positions per quad, as far apart as the workgroup has quads. */
  readonly owned: number;
  readonly threads: number;
  /** Positions per workgroup: a block, which belongs to one head. */
  readonly positions: number;
  /** Blocks of a head. */
  readonly blocks: number;
  /** Positions that are staged at a time. */
  readonly tile: number;
}

/** Bytes of workgroup memory that every device has. */
const STAGED_BYTES = 16384;

/** The layout with the fewest instructions: threads past the end cost as much as others. */
function layoutOf({ length, headDim }: AttentionSpec, most: number): Layout {
  // A staged position has two vectors and two numbers. Tiles have equal sizes as far as multiples of four allow.
  const room = Math.floor(STAGED_BYTES / (8 * headDim + 8));
  const tiles = Math.ceil(length / (4 * Math.floor(room / 4)));
  const tile = 4 * Math.ceil(length / tiles / 4);
  const found: (Layout & { cost: number })[] = [];
  for (let owned = 1; owned <= Math.max(1, Math.min(4, most)); owned++)
    for (const threads of [128, 96, 64, 32]) {
      const positions = (owned * threads) / 4;
      const blocks = Math.ceil(length / positions);
      // The terms are: a thread's products, sums over the quad and exponentials for a staged position; its loads; staging.
      const cost = blocks * (threads * (owned * (headDim / 2 + 16) + headDim / 2) + 3 * headDim);
      found.push({ vectors: headDim / 16, owned, threads, positions, blocks, tile, cost });
    }
  return found.reduce((best, other) => (other.cost < best.cost ? other : best));
}

/** The quad's positions `i`, clamped as `c`, with their offsets in qkv and o. */
const ownedPositions = (
  { owned, threads, positions, vectors }: Layout,
  { length, rope }: AttentionSpec,
): string =>
  repeat(owned, (r) =>
    lines(
      `let i${r} = block * ${positions}u + quad + ${(r * threads) / 4}u;`,
      `let c${r} = ${length % positions === 0 ? `i${r}` : `min(i${r}, ${length - 1}u)`};`,
      `let at${r} = first + c${r} * ROW + part;`,
      `let out${r} = first_out + c${r} * HEADS + part;`,
      rope && `let turn${r} = c${r} * ${4 * vectors}u + part;`,
    ),
  );

/** End of the keys that a block's queries see. */
const endOf = ({ length, causal }: AttentionSpec, { positions }: Layout): string =>
  causal ? `min((block + 1u) * ${positions}u, ${length}u)` : `${length}u`;

/** A buffer, and where a vector begins in it. */
type VectorPlace = readonly [buffer: string, at: string];

/** The vectors of a `position`: query, key, value and gradient of the output. */
const QUERY: VectorPlace = ["qkv", "first + position * ROW"];
const KEY: VectorPlace = ["qkv", "first + position * ROW + HEADS"];
const VALUE: VectorPlace = ["qkv", "first + position * ROW + 2u * HEADS"];
const SLOPE: VectorPlace = ["d_o", "first_out + position * HEADS"];

/** The lane's share of a vector. */
const ownedVector = (
  { vectors }: Layout,
  { load }: Buffers,
  name: string,
  [buffer, from]: VectorPlace,
  turn: string | false = false,
  scaled = "",
): string =>
  repeat(vectors, (v) => {
    const at = (u: number): string => load(buffer, `${from} + ${4 * u}u`);
    const u = (v + vectors / 2) % vectors;
    const [cos, sin] = [`cos_table[${turn} + ${4 * v}u]`, `sin_table[${turn} + ${4 * v}u]`];
    const value = turn ? `(${at(v)} * ${cos} ${v < u ? "-" : "+"} ${at(u)} * ${sin})` : at(v);
    return `let ${name}${v} = ${value}${scaled};`;
  });

/** Stores a gradient, rotated back with rope. */
const storedGradient = (
  { vectors }: Layout,
  { store }: Buffers,
  name: string,
  to: string,
  turn: string | false,
  scaled = "",
): string =>
  repeat(vectors, (v) => {
    const u = (v + vectors / 2) % vectors;
    const [cos, sin] = [`cos_table[${turn} + ${4 * v}u]`, `sin_table[${turn} + ${4 * u}u]`];
    const value = turn ? `(${name}${v} * ${cos} ${v < u ? "+" : "-"} ${name}${u} * ${sin})` : `${name}${v}`;
    return store("d_qkv", `${to} + ${4 * v}u`, `${value}${scaled}`);
  });

const accumulator = ({ vectors }: Layout, name: string): string =>
  repeat(vectors, (v) => `var ${name}${v} = vec4f();`);

const stagedVector = ({ vectors }: Layout, name: string, tile: string, at: string): string =>
  repeat(vectors, (v) => `let ${name}${v} = ${tile}[${at}][${v}][part];`);

/** A lane's share of the dot product of two head vectors. */
const product = ({ vectors }: Pick<Layout, "vectors">, a: string, b: string): string =>
  Array.from({ length: vectors }).reduce<string>((sum, _, v) => `dot_add(${a}${v}, ${b}${v}, ${sum})`, "0.0");

const addProduct = ({ vectors }: Layout, sum: string, factor: string, vector: string): string =>
  repeat(vectors, (v) => `${sum}${v} = fma(vec4f(${factor}), ${vector}${v}, ${sum}${v});`);

/** Stages two vectors of each of `count` positions from `base` on. The first are queries, multiplied by `scaled`, or keys. */
function staged(
  { vectors, threads, tile }: Layout,
  { length, rope }: AttentionSpec,
  { load }: Buffers,
  [[firstBuffer, first], [secondBuffer, second]]: readonly [VectorPlace, VectorPlace],
  scaled = "",
  more?: string,
): string {
  const size = 4 * vectors;
  const to = (name: string): string => `${name}[slot][element / 4u][element % 4u]`;
  return lines(
    "workgroupBarrier();",
    `let count = ${length % tile === 0 ? `${tile}u` : `min(${tile}u, ${length}u - base)`};`,
    // Neighbouring lanes read neighbouring addresses.
    `for (var item = lane; item < count * ${size}u; item += ${threads}u) {`,
    `let slot = item / ${size}u;`,
    `let element = item % ${size}u;`,
    "let position = base + slot;",
    rope
      ? [
          `let turn = position * ${size}u + element;`,
          `let sine = select(sin_table[turn], -sin_table[turn], element < ${size / 2}u);`,
          `let partner = ${load(firstBuffer, `${first} + (element + ${size / 2}u) % ${size}u`)};`,
          `${to("tile_a")} = (${load(firstBuffer, `${first} + element`)} * cos_table[turn] + partner * sine)${scaled};`,
        ]
      : `${to("tile_a")} = ${load(firstBuffer, `${first} + element`)}${scaled};`,
    `${to("tile_b")} = ${load(secondBuffer, `${second} + element`)};`,
    "}",
    more,
    "workgroupBarrier();",
  );
}

const storedIfInside = (
  { positions }: Layout,
  r: number,
  length: number,
  stores: string | string[],
): string => (length % positions === 0 ? lines(stores) : lines(`if (i${r} < ${length}u) {`, stores, "}"));

/** Functions for dot products. All lanes of a quad get the same sum to the bit. */
const sums = (type: "f32" | "vec2f" | "vec4f"): string =>
  lines(
    "fn dot_add(a: vec4f, b: vec4f, sum: f32) -> f32 {",
    "return fma(a.w, b.w, fma(a.z, b.z, fma(a.y, b.y, fma(a.x, b.x, sum))));",
    "}",
    `fn quad_sum(x: ${type}) -> ${type} {`,
    "let pair = x + quadSwapX(x);",
    "return pair + quadSwapY(pair);",
    "}",
  );

interface Parts {
  readonly layout: Layout;
  /** Workgroups per block. */
  readonly passes?: number;
  readonly buffers: readonly AttentionBuffer[];
  readonly declarations?: string;
  /** Type of the values that are summed over a quad at a time. */
  readonly sum: "vec2f" | "vec4f";
  readonly body: (buffers: Buffers) => string;
  readonly work: Pick<Kernel, "flops" | "bytes">;
}

/** A kernel with one workgroup (or one per pass) for each block of a (batch, head), and the offsets that the bodies above use. */
function quadKernel(family: string, spec: AttentionSpec, capabilities: Capabilities, parts: Parts): Kernel {
  const { batch, heads } = spec;
  const { layout, passes = 1 } = parts;
  const { vectors, owned, threads, blocks, tile } = layout;
  const name = `${nameOf(family, spec)}_quads_x${owned}`;
  const buffers = attentionBuffers(name, spec, parts.buffers);
  const { bindings } = buffers;
  const count = batch * heads * blocks * passes;
  const { workgroups, group } = linearDispatch(name, count, capabilities);
  const code = shader({
    directives: "enable subgroups;",
    bindings,
    workgroupSize: threads,
    declarations: lines(
      headConstants(spec, 4),
      ...["a", "b"].map(
        (t) => `var<workgroup> tile_${t}: array<array<array<vec4f, 4>, ${vectors}>, ${tile}>;`,
      ),
      parts.declarations,
      sums(parts.sum),
    ),
    body: lines(
      `let group = ${group};`,
      `if (group >= ${count}u) { return; }`,
      "let part = lane % 4u;",
      "let quad = lane / 4u;",
      `let block = group / ${passes}u % ${blocks}u;`,
      headOf(spec, "group", passes * blocks),
      headBegin(spec, 4),
      parts.body(buffers),
    ),
  });
  return {
    name: `${name}${buffers.suffix}`,
    code,
    bindings: bindingsOf(bindings),
    workgroups,
    ...storedWork(spec, parts.work, buffers),
  };
}
