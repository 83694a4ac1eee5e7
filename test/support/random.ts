/** Fresh random inputs from a printed seed, poison for outputs, and comparison against float64. */
import { assert } from "chai";
import { threefry2x32 } from "../../kernels/random.js";
import { testSeed } from "./platform.js";

let counter = 0;

/** Starts the draws again, so that a file's draws do not depend on the files before it. */
export function restartDraws(): void {
  counter = 0;
}

/** A uniform number in [0, 1). */
export function uniform(): number {
  return threefry2x32([testSeed, 1], [counter++, 0])[0] / 2 ** 32;
}

/** `n` values uniform in [low, high). */
export function random(n: number, low = -1, high = 1): Float32Array {
  return Float32Array.from({ length: n }, () => low + (high - low) * uniform());
}

/** `n` integers in [low, high). */
export function randomIntegers(n: number, low: number, high: number): Int32Array {
  return Int32Array.from({ length: n }, () => low + Math.floor((high - low) * uniform()));
}

/** NaNs: an output that was not written shows. */
export function poisoned(n: number): Float32Array {
  return new Float32Array(n).fill(NaN);
}

/** Integers that no kernel writes by itself. */
export function poisonedIntegers(n: number): Int32Array {
  return new Int32Array(n).fill(-0x5eadbeef);
}

/** Every element within its tolerance; NaN fails. */
export function assertClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number | ((index: number) => number),
  label: string,
): void {
  assert.equal(actual.length, expected.length, `${label}: length`);
  for (let i = 0; i < expected.length; i++) {
    const allowed = typeof tolerance === "number" ? tolerance : tolerance(i);
    const error = Math.abs(actual[i]! - expected[i]!);
    if (!(error <= allowed))
      assert.fail(
        `${label}[${i}] = ${actual[i]}; expected ${expected[i]} within ${allowed} (seed ${testSeed})`,
      );
  }
}

/** The largest |x|. */
export function largest(values: ArrayLike<number>): number {
  return Array.from(values).reduce((max, x) => Math.max(max, Math.abs(x)), 0);
}
