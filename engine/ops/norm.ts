/** Norms over many tensors at once. */
import { partialSums, sumSquares, type SumSquaresSpec } from "../../kernels/sum_squares.js";
import { makeTensor, requireDtype, type Operation, type Tensor } from "../tensor.js";
import { type TensorLike, asTensor } from "../trace.js";
import { add } from "./elementwise.js";
import { pack } from "./pack.js";
import { sum } from "./broadcast.js";

const sumSquaresOperation: Operation<SumSquaresSpec> = {
  name: "sumSquares",
  kind: "kernel",
  lower: ({ attributes, capabilities }) => sumSquares(attributes, capabilities),
};

/** Sum of the squares of all elements of the tensors (f32). A scalar; it has no gradient. */
export function sumOfSquares(values: readonly TensorLike[]): Tensor {
  const inputs = values.map((v) => asTensor(v));
  for (const x of inputs) requireDtype("sumOfSquares", x, "f32");
  const sums = pack(inputs).map(({ tensor, members, firsts }) => {
    const ranges = members.map((x, i) => ({ first: firsts[i]!, count: x.size }));
    const spec = { size: tensor.size, ranges };
    return sum(makeTensor(sumSquaresOperation, [tensor], spec, [partialSums(spec)], "f32"));
  });
  return sums.reduce((a, b) => add(a, b), asTensor(0));
}
