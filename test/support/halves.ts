/** Numbers in f16 on the host, and kernels that store f16 made to run on devices without it. */
import type { Kernel } from "../../kernels/kernel.js";

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

/** As kernels bind them: two in a word, the first in the lower bits. */
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

/** The kernel with f32 wherever it says f16: what it loads and stores is where it should be, and nothing is rounded. */
export function withoutF16(kernel: Kernel): Kernel {
  return {
    ...kernel,
    name: `${kernel.name}_emulated`,
    code: `${kernel.code.replace(/^enable f16;$/m, "")}\nalias f16 = f32;`,
    bindings: kernel.bindings.map((b) => (b.dtype === "f16" ? { ...b, dtype: "f32" } : b)),
  };
}
