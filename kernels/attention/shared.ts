/** What the kernels of attention share: their buffers, which may be stored in f16, and where a head's vectors lie. */
import type { Kernel } from "../core/kernel.js";
import { buffersOf, lines, literal, type Buffers, type ShaderBinding } from "../core/wgsl.js";
import { rows, type AttentionSpec } from "./spec.js";

/** Name, access, and width of a buffer. */
export type AttentionBuffer = readonly [name: string, access: "read" | "read_write", width: 1 | 4];

const TABLES: readonly AttentionBuffer[] = [
  ["cos_table", "read", 4],
  ["sin_table", "read", 4],
];

/** The buffers, and with rope the tables. Those that the spec names are stored in f16. */
export function attentionBuffers(
  name: string,
  spec: AttentionSpec,
  given: readonly AttentionBuffer[],
): Buffers {
  const bindings = [...given, ...(spec.rope ? TABLES : [])].map(([name, access, width]): ShaderBinding => ({
    name,
    access,
    dtype: "f32",
    width,
  }));
  const own = (names: readonly string[] = []): readonly string[] =>
    names.filter((name) => bindings.some((b) => b.name === name));
  return buffersOf(name, bindings, { halves: own(spec.halves), scaled: own(spec.scaled) });
}

/** Head vectors of each position in the buffers that may be stored in f16. */
const VECTORS = { qkv: 3, o: 1, d_o: 1, d_qkv: 3 };

/** The work, with the bytes that f16 saves. */
export function storedWork(
  spec: AttentionSpec,
  { flops, bytes }: Pick<Kernel, "flops" | "bytes">,
  buffers: Buffers,
): Pick<Kernel, "flops" | "bytes"> {
  const elements = Object.entries(VECTORS).map(([name, n]) => [name, n * rows(spec) * spec.headDim]);
  return { flops, bytes: bytes - buffers.saved(Object.fromEntries(elements) as Record<string, number>) };
}

/** Strides in vectors of `width` numbers, and the scale of scores. */
export const headConstants = ({ heads, headDim }: AttentionSpec, width: 1 | 4): string =>
  lines(
    `const HEADS = ${(heads * headDim) / width}u; // vectors from q to k to v, and between positions of o`,
    `const ROW = ${(3 * heads * headDim) / width}u; // vectors between positions of qkv`,
    `const SCALE = ${literal(1 / Math.sqrt(headDim))};`,
  );

/** The head `h` of batch row `b` to which number `index` belongs, if each head has `perHead` numbers. */
export const headOf = ({ heads }: AttentionSpec, index: string, perHead: number): string =>
  lines(`let h = ${index} / ${perHead}u % ${heads}u;`, `let b = ${index} / ${perHead * heads}u;`);

/** Where the head begins: `head` in lse, and counted in vectors of `width` numbers `first` in qkv and `first_out` in o. */
export const headBegin = ({ length, heads, headDim }: AttentionSpec, width: 1 | 4): string =>
  lines(
    `let head = (b * ${heads}u + h) * ${length}u;`,
    `let first = b * ${length}u * ROW + h * ${headDim / width}u;`,
    `let first_out = b * ${length}u * HEADS + h * ${headDim / width}u;`,
  );
