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
import type { Capabilities } from "../capabilities.js";
import type { Kernel, NamedKernel } from "../core/kernel.js";
import { bindingsOf, linearDispatch, lines, repeat, shader, type Buffers } from "../core/wgsl.js";
import {
  attentionBuffers,
  headBegin,
  headConstants,
  headOf,
  storedWork,
  type AttentionBuffer,
} from "./shared.js";
import { nameOf, type AttentionSpec } from "./spec.js";

/** How positions and head vectors are divided. */
export interface Layout {
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
export function layoutOf({ length, headDim }: AttentionSpec, most: number): Layout {
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

/** Variants by the most positions of a quad: the default first, and each layout once. */
export function variantsByOwned(
  spec: AttentionSpec,
  standard: number,
  make: (most: number) => Kernel,
): NamedKernel[] {
  const found = new Map<string, NamedKernel>();
  for (const most of [standard, 1, 2, 3, 4]) {
    const name = `quads_x${layoutOf(spec, most).owned}`;
    if (!found.has(name)) found.set(name, { name, make: () => make(most) });
  }
  return [...found.values()];
}

/** The quad's positions `i`, clamped as `c`, with their offsets in qkv and o. */
export const ownedPositions = (
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
export const endOf = ({ length, causal }: AttentionSpec, { positions }: Layout): string =>
  causal ? `min((block + 1u) * ${positions}u, ${length}u)` : `${length}u`;

/** A buffer, and where a vector begins in it. */
export type VectorPlace = readonly [buffer: string, at: string];

/** The vectors of a `position`: query, key, value and gradient of the output. */
export const QUERY: VectorPlace = ["qkv", "first + position * ROW"];
export const KEY: VectorPlace = ["qkv", "first + position * ROW + HEADS"];
export const VALUE: VectorPlace = ["qkv", "first + position * ROW + 2u * HEADS"];
export const SLOPE: VectorPlace = ["d_o", "first_out + position * HEADS"];

/** The lane's share of a vector. */
export const ownedVector = (
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
export const storedGradient = (
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

export const accumulator = ({ vectors }: Layout, name: string): string =>
  repeat(vectors, (v) => `var ${name}${v} = vec4f();`);

export const stagedVector = ({ vectors }: Layout, name: string, tile: string, at: string): string =>
  repeat(vectors, (v) => `let ${name}${v} = ${tile}[${at}][${v}][part];`);

/** A lane's share of the dot product of two head vectors. */
export const product = ({ vectors }: Pick<Layout, "vectors">, a: string, b: string): string =>
  Array.from({ length: vectors }).reduce<string>((sum, _, v) => `dot_add(${a}${v}, ${b}${v}, ${sum})`, "0.0");

export const addProduct = ({ vectors }: Layout, sum: string, factor: string, vector: string): string =>
  repeat(vectors, (v) => `${sum}${v} = fma(vec4f(${factor}), ${vector}${v}, ${sum}${v});`);

/** Stages two vectors of each of `count` positions from `base` on. The first are queries, multiplied by `scaled`, or keys. */
export function staged(
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

export const storedIfInside = (
  { positions }: Layout,
  r: number,
  length: number,
  stores: string | string[],
): string => (length % positions === 0 ? lines(stores) : lines(`if (i${r} < ${length}u) {`, stores, "}"));

/** Functions for dot products. All lanes of a quad get the same sum to the bit. */
export const sums = (type: "f32" | "vec2f" | "vec4f"): string =>
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
export function quadKernel(
  family: string,
  spec: AttentionSpec,
  capabilities: Capabilities,
  parts: Parts,
): Kernel {
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
