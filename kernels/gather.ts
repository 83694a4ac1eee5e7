/** Single elements of a table of packed integers, by index. */
import { requireBindable, requirePositive, type Kernel } from "./core/kernel.js";
import type { Capabilities } from "./capabilities.js";
import { bindingsOf, linearThreads, lines, shader, type ShaderBinding } from "./core/wgsl.js";

/** A lookup of integers in a packed table. */
export interface GatherPackedSpec {
  /** Elements to look up: N. */
  readonly count: number;
  /** Elements of the table: T. */
  readonly elements: number;
  /** Bits of an element in two's complement. The first element is in the lowest bits of its word. */
  readonly bits: 8 | 16 | 32;
}

/** Bindings: table u32 [ceil(T bits / 32)], indices i32 [N], y i32 [N]. An index outside [0, T) yields 0. */
export function gatherPacked(spec: GatherPackedSpec, capabilities: Capabilities): Kernel {
  const { count, elements, bits } = spec;
  const name = `gather_packed_${count}_of_${elements}x${bits}bit`;
  requirePositive(name, { count, elements });
  const perWord = 32 / bits;
  requireBindable(name, { y: count, table: Math.ceil(elements / perWord) }, capabilities);
  const bindings: ShaderBinding[] = [
    { name: "table", access: "read", dtype: "u32" },
    { name: "indices", access: "read", dtype: "i32" },
    { name: "y", access: "read_write", dtype: "i32" },
  ];
  const { workgroups, prologue } = linearThreads(name, count, 64, capabilities);
  const body = lines(
    prologue,
    "let source = indices[index];",
    "var value = 0i;",
    `if (source >= 0 && source < ${elements}i) {`,
    `let word = table[u32(source) / ${perWord}u];`,
    bits === 32
      ? "value = bitcast<i32>(word);"
      : `value = extractBits(bitcast<i32>(word), ${bits}u * (u32(source) % ${perWord}u), ${bits}u);`,
    "}",
    "y[index] = value;",
  );
  const code = shader({ bindings, workgroupSize: 64, body });
  const bytes = 4 * 2 * count + (bits / 8) * Math.min(count, elements);
  return { name, code, bindings: bindingsOf(bindings), workgroups, flops: 0, bytes };
}
