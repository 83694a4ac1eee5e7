/**
 * Attention made for adapters that run shaders on the CPU, four lanes at a time. A thread owns a few neighbouring positions
 * of a head. The four threads of a subgroup share the loads of keys and values (in the second pass of backward: of queries
 * and output gradients) and broadcast them, so that each load serves all positions of the subgroup. A trip of the loop takes
 * two or four loaded vectors, so that a sum is stored once for as many products. The formulas and their sources are in
 * portable.ts. Sums have the same order, except that forward may rescale them after two keys instead of four.
 *
 * A subgroup fills its workgroup, and control flow is uniform: threads past the end compute the last position again and do
 * not store it.
 */
import { forwardWork, nameOf, type AttentionSpec } from "./spec.js";
import type { Capabilities } from "../capabilities.js";
import type { Kernel } from "../core/kernel.js";
import { bindingsOf, linearDispatch, lines, repeat, shader, type Buffers } from "../core/wgsl.js";
import {
  attentionBuffers,
  headConstants,
  headBegin,
  headOf,
  storedWork,
  type AttentionBuffer,
} from "./shared.js";

/** Threads of a subgroup. */
const LANES = 4;
/** The most numbers of head vectors that a thread owns. With more, kernels take seconds to compile. */
const OWNED_NUMBERS = 128;

/** The variant of `attention`, with the same bindings. */
export function attentionShared(spec: AttentionSpec, capabilities: Capabilities): Kernel {
  const layout = layoutOf(spec, 16);
  const { headDim, owned, trip } = layout;
  return sharedKernel("attention", capabilities, {
    layout,
    buffers: [
      ["qkv", "read", 4],
      ["o", "read_write", 4],
      ["lse", "read_write", 1],
    ],
    work: forwardWork(spec),
    body: (buffers) =>
      lines(
        repeat(owned, (r) =>
          lines(
            ownedVector(layout, buffers, `q${r}_`, "qkv", `at${r}`),
            sums(headDim, `acc${r}_`),
            `var top${r} = -1e30;`,
            `var total${r} = 0.0;`,
          ),
        ),
        loopOverKeys(layout),
        sharedVectors(layout, buffers, "k", "qkv", "first + position * ROW + HEADS"),
        repeat(owned, (r) =>
          lines(
            repeat(
              trip,
              (t) =>
                `let s${r}_${t} = ${seen(layout, r, t, `${dot(layout, `k${t}_`, `q${r}_`)} * SCALE`, "-1e30")};`,
            ),
            // The keys of a trip share one rescaling of the online softmax.
            `let new_top${r} = ${of(trip, (t) => `max(s${r}_${t}, `)}top${r}${")".repeat(trip)};`,
            `let old${r} = exp(top${r} - new_top${r});`,
            // Keys past the end get the score -1e30, and exp(-1e30) = 0.
            repeat(trip, (t) => `let p${r}_${t} = exp(s${r}_${t} - new_top${r});`),
            `total${r} = total${r} * old${r}${of(trip, (t) => ` + p${r}_${t}`)};`,
            `top${r} = new_top${r};`,
          ),
        ),
        sharedVectors(layout, buffers, "v", "qkv", "first + position * ROW + 2u * HEADS"),
        repeat(owned, (r) =>
          repeat(
            headDim,
            (e) => `acc${r}_${e} = ${chain(trip, "v", e, `p${r}_`, `acc${r}_${e} * old${r}`)};`,
          ),
        ),
        "}",
        repeat(owned, (r) =>
          ownedStore(layout, r, [
            storeVector(layout, buffers, "o", `out${r}`, `acc${r}_`, ` / total${r}`),
            `lse[index${r}] = top${r} + log(total${r});`,
          ]),
        ),
      ),
  });
}

export interface Layout extends AttentionSpec {
  /** Neighbouring positions that a thread owns. */
  readonly owned: number;
  /** 4-vectors of a head vector. */
  readonly vectors: number;
  /** Positions per trip of the loop. Wide heads have fewer, because their code would not stay in the cache. */
  readonly trip: number;
}

/** A trip takes two positions of heads wider than `most` numbers, else four. Lanes must be able to divide their vectors. */
export function layoutOf(spec: AttentionSpec, most: number): Layout {
  const { length, headDim } = spec;
  const vectors = headDim / 4;
  /** Loading a trip's vectors takes as long as the work on two owned positions. */
  const cost = (owned: number): number => (2 + owned) * Math.ceil(length / (LANES * owned));
  const owned = [1, 2, 3, 4]
    .filter((n) => n * headDim <= OWNED_NUMBERS)
    .reduce((best, n) => (cost(n) < cost(best) ? n : best));
  return { ...spec, owned, vectors, trip: headDim > most && vectors % 2 === 0 ? 2 : 4 };
}

/** The texts of 0 to count - 1, one after another. */
const of = (count: number, text: (t: number) => string): string =>
  Array.from({ length: count }, (_, t) => text(t)).join("");

/** Loop over the keys. A causal subgroup skips the keys behind its last position. */
export const loopOverKeys = ({ length, owned, trip, causal }: Layout): string =>
  `for (var j = 0u; j < ${causal ? `min(base + ${owned * LANES}u, ${length}u)` : `${length}u`}; j += ${trip}u) {`;

/** Loads one of the thread's own head vectors, which begins at `at` in a buffer, into `${name}0`, ... */
export const ownedVector = (
  { vectors }: Layout,
  { load }: Buffers,
  name: string,
  buffer: string,
  at: string,
): string => repeat(vectors, (d) => `let ${name}${d} = ${load(buffer, `${at} + ${d}u`)};`);

/** Sums that start at zero, one variable per number. */
export const sums = (headDim: number, name: string): string =>
  repeat(headDim, (e) => `var ${name}${e} = 0.0;`);

/**
 * Loads the head vectors of the trip's positions, from j on, into `${name}${t}_${d}`. Each thread loads a share of them and
 * broadcasts it. `at` uses `position`, which is clamped to the head's positions.
 */
export function sharedVectors(
  { vectors, length, trip }: Layout,
  { load }: Buffers,
  name: string,
  buffer: string,
  at: string,
): string {
  return lines(
    repeat((trip * vectors) / LANES, (s) => {
      const item = `(lane + ${LANES * s}u)`;
      const position = `j + ${item} / ${vectors}u`;
      const inside = length % trip === 0 ? position : `min(${position}, ${length - 1}u)`;
      const start = at.replace("position", `(${inside})`);
      return `let ${name}_share${s} = ${load(buffer, `${start} + ${item} % ${vectors}u`)};`;
    }),
    repeat(trip * vectors, (i) => {
      const [t, d] = [Math.floor(i / vectors), i % vectors];
      return `let ${name}${t}_${d} = subgroupBroadcast(${name}_share${Math.floor(i / LANES)}, ${i % LANES}u);`;
    }),
  );
}

/** Dot product of a shared head vector and one of the thread's own. */
export const dot = ({ vectors }: Layout, shared: string, own: string): string =>
  `(${Array.from({ length: vectors }, (_, d) => `dot(${shared}${d}, ${own}${d})`).join(" + ")})`;

/** `sum` and number e of the four shared vectors, each times its weight, in order. */
export function chain(trip: number, shared: string, e: number, weight: string, sum: string): string {
  let total = sum;
  for (let t = 0; t < trip; t++)
    total = `fma(${shared}${t}_${e >> 2}.${"xyzw"[e & 3]}, ${weight}${t}, ${total})`;
  return total;
}

/** `value` for position j + t; `instead` if there is no such position, or if the owned position r (as query or key) must not see it. */
export function seen(
  { length, trip, causal = false }: Layout,
  r: number,
  t: number,
  value: string,
  instead: string,
  role: "query" | "key" = "query",
): string {
  const conditions = [
    length % trip !== 0 && t > 0 && `j + ${t}u < ${length}u`,
    causal && (role === "query" ? `j + ${t}u <= i${r}` : `j + ${t}u >= i${r}`),
  ].filter(Boolean);
  return conditions.length > 0 ? `select(${instead}, ${value}, ${conditions.join(" && ")})` : value;
}

export const storeVector = (
  { vectors }: Layout,
  { store }: Buffers,
  buffer: string,
  at: string,
  name: string,
  factor = "",
): string =>
  repeat(vectors, (d) => {
    const numbers = [0, 1, 2, 3].map((q) => `${name}${4 * d + q}`).join(", ");
    return store(buffer, `${at} + ${d}u`, `vec4f(${numbers})${factor}`);
  });

/** Stores of owned position r, guarded if it may be past the end. */
export const ownedStore = ({ length, owned }: Layout, r: number, stores: readonly string[]): string =>
  length % (LANES * owned) === 0
    ? lines(stores)
    : lines(`if (base + lane * ${owned}u + ${r}u < ${length}u) {`, stores, "}");

interface Parts {
  readonly layout: Layout;
  readonly buffers: readonly AttentionBuffer[];
  /** May use, for each owned position r: `i${r}`, `at${r}` (in qkv), `out${r}` (in o), `index${r}` (in lse). */
  readonly body: (buffers: Buffers) => string;
  readonly work: Pick<Kernel, "flops" | "bytes">;
}

/** A kernel whose workgroups have one subgroup. Each lane owns `owned` positions. */
export function sharedKernel(family: string, capabilities: Capabilities, parts: Parts): Kernel {
  const { batch, length, heads, owned } = parts.layout;
  const name = `${nameOf(family, parts.layout)}_shared_x${owned}`;
  const buffers = attentionBuffers(name, parts.layout, parts.buffers);
  const { bindings } = buffers;
  const perHead = Math.ceil(length / (LANES * owned));
  const count = batch * heads * perHead;
  const { workgroups, group } = linearDispatch(name, count, capabilities);
  const code = shader({
    bindings,
    workgroupSize: LANES,
    directives: "enable subgroups;",
    declarations: headConstants(parts.layout, 4),
    body: lines(
      `let index = ${group};`,
      `if (index >= ${count}u) { return; }`,
      headOf(parts.layout, "index", perHead),
      `let base = index % ${perHead}u * ${LANES * owned}u;`,
      headBegin(parts.layout, 4),
      repeat(owned, (r) =>
        lines(
          `let i${r} = min(base + lane * ${owned}u + ${r}u, ${length - 1}u);`,
          `let index${r} = head + i${r};`,
          `let at${r} = first + i${r} * ROW;`,
          `let out${r} = first_out + i${r} * HEADS;`,
        ),
      ),
      parts.body(buffers),
    ),
  });
  return {
    name: `${name}${buffers.suffix}`,
    code,
    bindings: bindingsOf(bindings),
    workgroups,
    ...storedWork(parts.layout, parts.work, buffers),
  };
}
