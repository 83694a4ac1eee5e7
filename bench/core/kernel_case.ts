/** A kernel benchmark: inputs, alternatives, and a float64 reference that each alternative must agree with. */
import type { Device } from "../../engine/index.js";
import type { TypedArray } from "../../engine/tensor.js";
import type { Capabilities, Kernel } from "../../kernels/index.js";
import { launch, type Launch } from "../../engine/launch.js";
import { packed, unpacked } from "./f16.js";
import type { RandomSource } from "./random.js";

/** Data by binding name. */
export type Buffers = Readonly<Record<string, TypedArray>>;

/** A reference value, and the sum of magnitudes behind it, with which rounding errors scale. */
export interface Expected {
  readonly value: number;
  readonly scale: number;
}

/** One way to compute a case. */
export interface Alternative {
  /** `default` for the engine's choice, else the difference from it. */
  readonly variant: string;
  readonly kernel: Kernel;
  /** Replaces the tolerance of the case, if this alternative rounds more than f32 does. */
  readonly tolerance?: number;
}

/** One kernel at one shape. */
export interface KernelCase {
  /** The family: `matmul`, `attention_backward`. */
  readonly kernel: string;
  /** Names the shape within its family: `small qkv nt 2592x384x128`. */
  readonly shape: string;
  /** True if the case is part of the quick suite. */
  readonly quick: boolean;
  /** Floating-point operations; known before inputs are made, so that work above a budget is skipped. */
  readonly flops: number;
  /** @throws KernelError if this device cannot run the case */
  alternatives(capabilities: Capabilities): readonly Alternative[];
  /** Fresh data for every binding that is read, including bindings that are updated in place. */
  inputs(random: RandomSource): Buffers;
  /** Number of elements of every binding that is only written. It is filled with poison before the run. */
  readonly outputs: Readonly<Record<string, number>>;
  /** Element `index` of a written binding in float64. */
  expected(inputs: Buffers, binding: string, index: number): Expected;
  /** Largest allowed |actual - expected| / scale, from the length of the sums and the precision of the functions. */
  readonly tolerance: number;
}

/** A kernel disagrees with its reference. It is not timed. */
export class WrongResultError extends Error {
  override readonly name = "WrongResultError";
}

/** A checked alternative. */
export interface CheckedLaunch {
  readonly variant: string;
  readonly launch: Launch;
  /** Largest |actual - expected| / scale among the compared elements. */
  readonly maxError: number;
  readonly tolerance: number;
  /** Elements compared with the reference; every element was checked to be written and finite. */
  readonly compared: number;
}

/** Bits of a NaN that kernels never produce. */
const POISON = 0x7fc0dead;

/** Inputs of a case with poison for its outputs. */
export function prepare(benchCase: KernelCase, random: RandomSource): { inputs: Buffers; buffers: Buffers } {
  const inputs = benchCase.inputs(random);
  const buffers: Record<string, TypedArray> = { ...inputs };
  for (const [name, elements] of Object.entries(benchCase.outputs))
    buffers[name] = new Uint32Array(elements).fill(POISON);
  return { inputs, buffers };
}

/**
 * Runs an alternative once and compares it with the reference.
 * @param samples number of elements compared for each written binding; all if it has fewer
 * @throws WrongResultError
 */
export async function check(
  device: Device,
  benchCase: KernelCase,
  { variant, kernel, tolerance = benchCase.tolerance }: Alternative,
  data: { readonly inputs: Buffers; readonly buffers: Buffers },
  random: RandomSource,
  samples: number,
): Promise<CheckedLaunch> {
  const halves = new Set(kernel.bindings.filter(({ dtype }) => dtype === "f16").map(({ name }) => name));
  const launched = await launch(device, kernel, halves.size > 0 ? inHalves(data, halves) : data.buffers);
  try {
    let maxError = 0;
    let compared = 0;
    for (const [binding, words] of Object.entries(await launched.read())) {
      const values = halves.has(binding)
        ? unpacked(words as Uint32Array, benchCase.outputs[binding]!)
        : words;
      const where = (i: number): string =>
        `${benchCase.kernel} ${benchCase.shape} (${kernel.name}): ${binding}[${i}]`;
      const bits = new Uint32Array(values.buffer);
      const odd = bits.findIndex((b) =>
        values instanceof Float32Array
          ? (b & 0x7f800000) === 0x7f800000
          : values instanceof Int32Array && b === POISON,
      );
      if (odd >= 0)
        throw new WrongResultError(
          `${where(odd)} ${bits[odd] === POISON ? "was not written" : `is ${values[odd]}`}.`,
        );
      for (const i of sampled(values.length, samples, random)) {
        const { value, scale } = benchCase.expected(data.inputs, binding, i);
        const difference = Math.abs(values[i]! - value);
        const error = difference === 0 ? 0 : difference / scale;
        if (!(error <= tolerance))
          throw new WrongResultError(
            `${where(i)} = ${values[i]}; expected ${value} within ${tolerance * scale}.`,
          );
        maxError = Math.max(maxError, error);
        compared++;
      }
    }
    return { variant, launch: launched, maxError, tolerance, compared };
  } catch (error) {
    launched.destroy();
    throw error;
  }
}

/** Data for a kernel that stores some of its bindings in f16; poison there is a NaN. */
function inHalves(
  data: { readonly inputs: Buffers; readonly buffers: Buffers },
  halves: ReadonlySet<string>,
) {
  const stored = Object.entries(data.buffers).map(([name, values]) => {
    if (!halves.has(name)) return [name, values];
    return [name, packed(name in data.inputs ? values : new Float32Array(values.length).fill(NaN))];
  });
  return Object.fromEntries(stored) as Buffers;
}

/** All indices if there are few; otherwise random indices with the first and the last. */
function sampled(length: number, samples: number, random: RandomSource): readonly number[] {
  if (length <= samples) return Array.from({ length }, (_, i) => i);
  return [0, length - 1, ...random.integers(samples - 2, 0, length)];
}

/** Rounding unit of f32. */
const UNIT = 2 ** -24;

/**
 * Tolerance of a sum of `terms` f32 products. Rounding errors of one sign would reach terms * 2^-24 of the sum of
 * magnitudes; errors of random signs grow with the root.
 */
export function sumTolerance(terms: number): number {
  return UNIT * (8 + 8 * Math.sqrt(terms));
}

/** Relative error of a product of two operands, each rounded to a neighbour in f16. */
export const MIXED_TOLERANCE = 2 * 2 ** -10;

/** Relative error of a result that is rounded to a neighbour in f16. */
export const HALF_TOLERANCE = 2 ** -10;

/** Tolerance of formulas around WGSL's exp, log and division, each of which the specification allows to be a few ULP off. */
export const FUNCTION_TOLERANCE = 64 * UNIT;
