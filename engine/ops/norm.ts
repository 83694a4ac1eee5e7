/** Norms over many tensors at once. */
import { partialSums, sumSquares } from "../../kernels/sum_squares.js";
import { makeTensor, requireDtype, sizeOf, type Operation, type Tensor, type TensorLike } from "../tensor.js";
import { asTensor } from "../trace.js";
import { concat } from "./layout.js";
import { sum } from "./reduce.js";

const sumSquaresOperation: Operation<null> = {
  name: "sumSquares",
  lower({ inputs, capabilities }) {
    const kernel = sumSquares({ counts: inputs.map(({ shape }) => sizeOf(shape)) }, capabilities);
    return { dispatches: [{ kernel, bind: [...inputs.map((_, input) => ({ input })), { output: 0 }] }] };
  },
};

/** Sum of the squares of every element of the tensors (f32), scalar; has no gradient. */
export function sumOfSquares(values: readonly TensorLike[]): Tensor {
  const inputs = values.map((v) => asTensor(v));
  for (const x of inputs) requireDtype("sumOfSquares", x, "f32");
  // As many as one kernel binds beside its output.
  const sevens = <T, U>(of: readonly T[], make: (seven: readonly T[]) => U): U[] =>
    Array.from({ length: Math.ceil(of.length / 7) }, (_, i) => make(of.slice(7 * i, 7 * i + 7)));
  let partial = sevens(inputs, (seven) => {
    const count = partialSums({ counts: seven.map((x) => x.size) });
    return makeTensor(sumSquaresOperation, seven, null, [count], "f32");
  });
  while (partial.length > 1) partial = sevens(partial, (seven) => concat(seven, 0));
  return sum(partial[0] ?? 0);
}
