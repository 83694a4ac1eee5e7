/** Partial sums of the squares of several tensors, in a fixed order: as far as one dispatch can sum without workgroup memory. */
import { KernelError, requireBindable, requirePositive, type Kernel } from "./core/kernel.js";
import type { Capabilities } from "./capabilities.js";
import { bindingsOf, linearThreads, lines, shader, type ShaderBinding } from "./core/wgsl.js";

/** Tensors in one buffer whose squares are summed. */
export interface SumSquaresSpec {
  /** Elements of x. */
  readonly size: number;
  /** The range of each tensor in x. `first` is a multiple of 4. */
  readonly ranges: readonly { readonly first: number; readonly count: number }[];
}

/** Number of threads that share a tensor. With n threads, each sums every n-th 4-vector. */
const sharers = (count: number): number => Math.min(2048, Math.ceil(count / 64));

/** Elements of {@link sumSquares}' output. */
export function partialSums({ ranges }: Pick<SumSquaresSpec, "ranges">): number {
  return ranges.reduce((n, { count }) => n + sharers(count), 0);
}

/**
 * Partial sums of the squares of several tensors in one buffer, so that one dispatch serves the norm over all of them. The
 * caller sums the output. Bindings: x [size], y [partialSums].
 */
export function sumSquares(spec: SumSquaresSpec, capabilities: Capabilities): Kernel {
  const { size, ranges } = spec;
  const name = `sum_squares_${size}_of_${ranges.length}`;
  const elements = ranges.reduce((sum, { count }) => sum + count, 0);
  const outputs = partialSums(spec);
  requirePositive(name, { size, tensors: ranges.length });
  for (const { first, count } of ranges) {
    requirePositive(name, { count });
    if (first % 4 !== 0 || first < 0 || first + count > size)
      throw new KernelError(
        name,
        `${count} elements from ${first}`,
        `a multiple of 4 to begin at, and an end within ${size}`,
      );
  }
  requireBindable(name, { x: size }, capabilities);
  const workgroupSize = capabilities.software ? 16 : 64;
  const { workgroups, prologue } = linearThreads(name, outputs, workgroupSize, capabilities);
  const width = size % 4 === 0 ? 4 : 1;
  const bindings: ShaderBinding[] = [
    { name: "x", access: "read", dtype: "f32", width },
    { name: "y", access: "read_write", dtype: "f32" },
  ];
  let end = 0;
  const branches = ranges.map(({ first, count }) => {
    const [start, step] = [end, sharers(count)];
    end += step;
    const whole = count - (count % width);
    return lines(
      `if (index >= ${start}u && index < ${end}u) {`,
      `for (var s = index - ${start}u; s < ${whole / width}u; s += ${step}u) {`,
      `let v = x[${first / width}u + s];`,
      `total += ${width === 4 ? "dot(v, v)" : "v * v"};`,
      "}",
      whole < count &&
        lines(
          `if (index == ${start}u) {`,
          `let v = x[${(first + whole) / 4}];`,
          ["x", "y", "z"].slice(0, count - whole).map((c) => `total += v.${c} * v.${c};`),
          "}",
        ),
      "}",
    );
  });
  const body = lines(prologue, "var total = 0.0;", branches, "y[index] = total;");
  return {
    name,
    code: shader({ bindings, workgroupSize, body }),
    bindings: bindingsOf(bindings),
    workgroups,
    flops: 2 * elements,
    bytes: 4 * (elements + outputs),
  };
}
