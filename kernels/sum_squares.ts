/** The squares of several tensors, summed up as far as one dispatch can without workgroup memory, in a fixed order. */
import { KernelError, requireBindable, requirePositive, type Capabilities, type Kernel } from "./kernel.js";
import { bindingsOf, linearThreads, lines, shader, type ShaderBinding } from "./wgsl.js";

export interface SumSquaresSpec {
  /** Elements of each input; 1 to 7 of them. */
  readonly counts: readonly number[];
}

/** Threads that share an input; each sums every so many'th element. */
const sharers = (count: number): number => Math.min(2048, Math.ceil(count / 64));

/** Elements of {@link sumSquares}' output. */
export function partialSums({ counts }: SumSquaresSpec): number {
  return counts.reduce((n, count) => n + sharers(count), 0);
}

/**
 * Partial sums of the squares of several tensors, for the norm of them all in few dispatches: what is left is to
 * sum the output. Bindings: x0, x1, ... [counts], y [partialSums].
 */
export function sumSquares(spec: SumSquaresSpec, capabilities: Capabilities): Kernel {
  const { counts } = spec;
  const name = `sum_squares_${counts.join("_")}`;
  const elements = counts.reduce((a, b) => a + b, 0);
  const outputs = partialSums(spec);
  if (counts.length < 1 || counts.length >= capabilities.maxStorageBuffersPerShaderStage)
    throw new KernelError(
      name,
      `${counts.length} inputs`,
      `1 to ${capabilities.maxStorageBuffersPerShaderStage - 1}`,
    );
  const sizes = Object.fromEntries(counts.map((count, i) => [`x${i}`, count]));
  requirePositive(name, sizes);
  requireBindable(name, sizes, capabilities);
  const { workgroups, prologue } = linearThreads(
    name,
    outputs,
    capabilities.software ? 16 : 64,
    capabilities,
  );
  const width = (count: number): 1 | 4 => (count % 4 === 0 ? 4 : 1);
  const bindings: ShaderBinding[] = [
    ...counts.map((count, i) => ({
      name: `x${i}`,
      access: "read" as const,
      dtype: "f32" as const,
      width: width(count),
    })),
    { name: "y", access: "read_write", dtype: "f32" },
  ];
  let end = 0;
  const branches = counts.map((count, i) => {
    const [first, step] = [end, sharers(count)];
    end += step;
    return lines(
      `if (index >= ${first}u && index < ${end}u) {`,
      `for (var s = index - ${first}u; s < ${count / width(count)}u; s += ${step}u) {`,
      `let v = x${i}[s];`,
      `total += ${width(count) === 4 ? "dot(v, v)" : "v * v"};`,
      "}",
      "}",
    );
  });
  const body = lines(prologue, "var total = 0.0;", branches, "y[index] = total;");
  return {
    name,
    code: shader({ bindings, workgroupSize: capabilities.software ? 16 : 64, body }),
    bindings: bindingsOf(bindings),
    workgroups,
    flops: 2 * elements,
    bytes: 4 * (elements + outputs),
  };
}
