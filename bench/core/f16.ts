/** Numbers in f16 on the host, as kernels bind them: two in a word, the first in the lower bits. */

const words = new Uint32Array(1);
const float = new Float32Array(words.buffer);

/** Bits of the f16 next to x, ties to even; zero below 2^-14, where f16 keeps fewer digits. */
function bitsOf(x: number): number {
  float[0] = x;
  const bits = words[0]!;
  const sign = (bits >>> 16) & 0x8000;
  const exponent = ((bits >>> 23) & 255) - 112;
  if (exponent <= 0) return sign;
  if (exponent > 30) return Number.isNaN(x) ? 0x7e00 : sign | 0x7c00;
  const half = (exponent << 10) | ((bits & 0x7fffff) >> 13);
  const rest = bits & 0x1fff;
  return sign | (half + (rest > 0x1000 || (rest === 0x1000 && half % 2 === 1) ? 1 : 0));
}

/** Packs numbers as f16. Numbers below 2^-14 become zero, which does not matter for the products tested here. */
export function packed(values: ArrayLike<number>): Uint32Array {
  const halves = new Uint16Array(2 * Math.ceil(values.length / 2));
  for (let i = 0; i < values.length; i++) halves[i] = bitsOf(values[i]!);
  return new Uint32Array(halves.buffer);
}

/** The first `count` numbers. */
export function unpacked(packedWords: Uint32Array, count: number): Float32Array {
  const halves = new Uint16Array(packedWords.buffer, packedWords.byteOffset, count);
  return Float32Array.from(halves, (bits) => {
    const sign = bits & 0x8000 ? -1 : 1;
    const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24);
  });
}
