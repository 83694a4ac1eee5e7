/** Numbers in f16 on the host, and kernels that store f16 made to run on devices without it. */
import type { Kernel } from "../../kernels/core/kernel.js";

/** Bits of the f16 next to x, ties to even; infinity from 65520 on. */
function bitsOf(x: number): number {
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0;
  const a = Math.abs(x);
  if (Number.isNaN(x)) return 0x7e00;
  if (a >= 65520) return sign | 0x7c00;
  const exponent = a === 0 ? -14 : Math.max(-14, Math.floor(Math.log2(a)));
  const scaled = a / 2 ** (exponent - 10);
  const down = Math.floor(scaled);
  const rest = scaled - down;
  const n = rest > 0.5 || (rest === 0.5 && down % 2 === 1) ? down + 1 : down;
  // A carry into the exponent is the right one.
  return sign | (((exponent + 14) << 10) + n);
}

function valueOf(bits: number): number {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  const value =
    exponent === 31
      ? fraction
        ? NaN
        : Infinity
      : exponent
        ? (1024 + fraction) * 2 ** (exponent - 25)
        : fraction * 2 ** -24;
  return bits & 0x8000 ? -value : value;
}

/** Packs f16 numbers as kernels bind them: two in a word, the first in the lower bits. */
export function packed(values: ArrayLike<number>): Uint32Array {
  const halves = new Uint16Array(2 * Math.ceil(values.length / 2));
  for (let i = 0; i < values.length; i++) halves[i] = bitsOf(values[i]!);
  return new Uint32Array(halves.buffer);
}

/** The first `count` of what {@link packed} gave. */
export function unpacked(words: ArrayLike<number>, count: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) =>
    valueOf((words[i >> 1]! >>> (i % 2 ? 16 : 0)) & 0xffff),
  );
}

/** Numbers that f16 holds. */
export const rounded = (values: ArrayLike<number>): Float32Array => unpacked(packed(values), values.length);

/** The kernel with f32 in place of f16: it loads and stores the same elements, and rounds nothing. */
export function withoutF16(kernel: Kernel): Kernel {
  return {
    ...kernel,
    name: `${kernel.name}_emulated`,
    code: `${kernel.code.replace(/^enable f16;$/m, "")}\nalias f16 = f32;`,
    bindings: kernel.bindings.map((b) => (b.dtype === "f16" ? { ...b, dtype: "f32" } : b)),
  };
}

/**
 * The kernel with f16 in words, two in each, as packing built-ins round it: the same memory. It may store or load whole
 * 4-vectors, or single numbers.
 */
export function inWords(kernel: Kernel): Kernel {
  const names = kernel.bindings.filter((b) => b.dtype === "f16").map((b) => b.name);
  const single = (name: string): RegExp => new RegExp(`\\b${name}\\[([^\\]]*)\\] = f16\\(`, "g");
  // Two threads may write the halves of a word.
  const stores = names.filter((name) => single(name).test(kernel.code));
  const code = names
    .reduce(
      (text, name) =>
        text
          .replaceAll(`vec4f(${name}[`, `unpacked_halves(${name}[`)
          .replace(
            new RegExp(`f32\\(${name}\\[([^\\]]*)\\]\\)`, "g"),
            `unpack2x16float(${name}[($1) / 2u])[($1) % 2u]`,
          )
          .replace(single(name), `store_half_${name}($1, `)
          .replace(
            `> ${name}: array<f16`,
            `> ${name}: array<${stores.includes(name) ? "atomic<u32>" : "u32"}`,
          ),
      kernel.code,
    )
    .replace(/(> \w+: array<)vec4<f16>/g, "$1vec2u")
    .replaceAll(" = vec4<f16>(", " = packed_halves(");
  const storesOf = stores.map(
    (name) => `
fn store_half_${name}(at: u32, x: f32) {
  let shift = at % 2u * 16u;
  atomicAnd(&${name}[at / 2u], 0xffff0000u >> shift);
  atomicOr(&${name}[at / 2u], (pack2x16float(vec2f(x, 0.0)) & 0xffffu) << shift);
}`,
  );
  const functions = `
fn unpacked_halves(w: vec2u) -> vec4f { return vec4f(unpack2x16float(w.x), unpack2x16float(w.y)); }
fn packed_halves(x: vec4f) -> vec2u { return vec2u(pack2x16float(x.xy), pack2x16float(x.zw)); }`;
  return { ...kernel, name: `${kernel.name}_in_words`, code: [code, functions, ...storesOf].join("\n") };
}
