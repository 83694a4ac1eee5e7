/** The gradient of attention by quads. quads.ts explains how quads share the work. */
import type { Capabilities } from "../capabilities.js";
import type { Kernel, NamedKernel } from "../core/kernel.js";
import { bindingsOf, linearDispatch, lines, repeat, shader, type Buffers } from "../core/wgsl.js";
import {
  accumulator,
  addProduct,
  endOf,
  KEY,
  layoutOf,
  ownedPositions,
  ownedVector,
  product,
  quadKernel,
  QUERY,
  SLOPE,
  staged,
  stagedVector,
  storedGradient,
  storedIfInside,
  sums,
  VALUE,
  variantsByOwned,
  type Layout,
} from "./quads.js";
import { attentionBuffers, storedWork } from "./shared.js";
import { backwardWork, deltaWork, nameOf, rows, type AttentionSpec } from "./spec.js";

/** The most numbers of head vectors in a thread's registers: of k, v and their gradients. */
const NUMBERS = 128;

/** Variants by the most positions of a quad, the default first. */
export const quadBackwardVariants = (spec: AttentionSpec, capabilities: Capabilities): NamedKernel[] =>
  variantsByOwned(spec, mostOwned(spec), (most) => attentionBackwardQuads(spec, capabilities, most));

const mostOwned = ({ headDim }: AttentionSpec): number => NUMBERS / headDim;

/** The variant of `attentionBackward`. Even workgroups take their positions as queries, odd workgroups as keys and values. */
export function attentionBackwardQuads(
  spec: AttentionSpec,
  capabilities: Capabilities,
  most = mostOwned(spec),
): Kernel {
  const layout = layoutOf(spec, most);
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
    declarations: `var<workgroup> tile_rows: array<vec2f, ${layout.tile}>; // log-sum-exp and delta of staged queries`,
    sum: "vec2f",
    work: backwardWork(spec),
    body: (buffers) =>
      lines(
        ownedPositions(layout, spec),
        "if (group % 2u == 0u) {",
        asQueries(spec, layout, buffers),
        "} else {",
        asKeys(spec, layout, buffers),
        "}",
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

/** Where the tables of owned position r begin; false without rope. */
const turnOf = ({ rope = false }: AttentionSpec, r: number): string | false => rope && `turn${r}`;

/** Probability and unscaled score gradient of each owned position and staged position j. */
const pair = (
  { causal = false }: AttentionSpec,
  layout: Layout,
  r: number,
  [lse, delta, seen]: readonly [string, string, string],
): string =>
  lines(
    `let sums${r} = quad_sum(vec2f(${product(layout, `a${r}_`, "x_")}, ${product(layout, `b${r}_`, "y_")}));`,
    `let whole${r} = exp(sums${r}.x - ${lse});`,
    `let p${r} = ${causal ? `select(0.0, whole${r}, ${seen})` : `whole${r}`};`,
    `let ds${r} = p${r} * (sums${r}.y - ${delta});`,
  );

/** A loop over the staged positions. */
const eachStaged = (layout: Layout, body: string): string =>
  lines(
    "for (var j = 0u; j < count; j++) {",
    stagedVector(layout, "x_", "tile_a", "j"),
    stagedVector(layout, "y_", "tile_b", "j"),
    body,
    "}",
  );

/** The owned positions as queries of all keys that they see. */
function asQueries(spec: AttentionSpec, layout: Layout, buffers: Buffers): string {
  const { owned, tile } = layout;
  return lines(
    repeat(owned, (r) =>
      lines(
        ownedVector(layout, buffers, `a${r}_`, ["qkv", `at${r}`], turnOf(spec, r), " * SCALE"),
        ownedVector(layout, buffers, `b${r}_`, ["d_o", `out${r}`]),
        `let lse${r} = lse[head + c${r}];`,
        `let delta${r} = delta[head + c${r}];`,
        accumulator(layout, `d_q${r}_`),
      ),
    ),
    `for (var base = 0u; base < ${endOf(spec, layout)}; base += ${tile}u) {`,
    staged(layout, spec, buffers, [KEY, VALUE]),
    eachStaged(
      layout,
      repeat(owned, (r) =>
        lines(
          pair(spec, layout, r, [`lse${r}`, `delta${r}`, `base + j <= i${r}`]),
          addProduct(layout, `d_q${r}_`, `ds${r}`, "x_"),
        ),
      ),
    ),
    "}",
    repeat(owned, (r) =>
      storedIfInside(
        layout,
        r,
        spec.length,
        storedGradient(layout, buffers, `d_q${r}_`, `at${r}`, turnOf(spec, r), " * SCALE"),
      ),
    ),
  );
}

/** The owned positions as keys and values of all queries that see them. */
function asKeys(spec: AttentionSpec, layout: Layout, buffers: Buffers): string {
  const { length, causal = false } = spec;
  const { owned, vectors, tile, positions } = layout;
  return lines(
    repeat(owned, (r) =>
      lines(
        ownedVector(layout, buffers, `a${r}_`, ["qkv", `at${r} + HEADS`], turnOf(spec, r)),
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
      layout,
      lines(
        "let row = tile_rows[j];",
        repeat(owned, (r) =>
          lines(
            pair(spec, layout, r, ["row.x", "row.y", `base + j >= i${r}`]),
            addProduct(layout, `d_k${r}_`, `ds${r}`, "x_"),
            addProduct(layout, `d_v${r}_`, `p${r}`, "y_"),
          ),
        ),
      ),
    ),
    "}",
    repeat(owned, (r) =>
      storedIfInside(layout, r, length, [
        storedGradient(layout, buffers, `d_k${r}_`, `at${r} + HEADS`, turnOf(spec, r)),
        repeat(vectors, (v) => buffers.store("d_qkv", `at${r} + 2u * HEADS + ${4 * v}u`, `d_v${r}_${v}`)),
      ]),
    ),
  );
}
