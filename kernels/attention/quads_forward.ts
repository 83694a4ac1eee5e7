/** Attention by quads. quads.ts explains how quads share the work. */
import type { Capabilities } from "../capabilities.js";
import type { Kernel, NamedKernel } from "../core/kernel.js";
import { lines, repeat } from "../core/wgsl.js";
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
  staged,
  stagedVector,
  storedIfInside,
  VALUE,
  variantsByOwned,
} from "./quads.js";
import { forwardWork, type AttentionSpec } from "./spec.js";

/** The most numbers of head vectors in a thread's registers: of q and o. */
const NUMBERS = 96;

/** Variants by the most positions of a quad, the default first. */
export const quadVariants = (spec: AttentionSpec, capabilities: Capabilities): NamedKernel[] =>
  variantsByOwned(spec, mostOwned(spec), (most) => attentionQuads(spec, capabilities, most));

const mostOwned = ({ headDim }: AttentionSpec): number => NUMBERS / (headDim / 2);

/** The variant of `attention`. A quad owns at most `most` positions. */
export function attentionQuads(
  spec: AttentionSpec,
  capabilities: Capabilities,
  most = mostOwned(spec),
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
