/** Sums of products by index letters, lowered to reductions, transposes and one matmul. */
import { ShapeError } from "../errors.js";
import {
  formatSpec,
  matmul,
  mul,
  reshape,
  sizeOf,
  sum,
  transpose,
  type Tensor,
  type TensorLike,
} from "../index.js";
import { asTensor } from "../trace.js";

/** A tensor with a letter for each axis. */
interface Lettered {
  readonly tensor: Tensor;
  readonly letters: string;
}

/**
 * The sum of products that `equation` names, as in NumPy: `einsum("bik,bkj->bij", a, b)`. Each operand has a letter for each
 * axis, none of them twice; letters that the result lacks are summed over. Operands are multiplied from left to right.
 * f32
 * @throws ShapeError if the letters do not fit the operands, or a letter stands for two sizes
 */
export function einsum(equation: string, ...operands: readonly TensorLike[]): Tensor {
  const tensors = operands.map((x) => asTensor(x));
  const [left = "", output, ...rest] = equation.replaceAll(" ", "").split("->");
  const terms = left.split(",");
  const fail = (problem: string): never => {
    throw new ShapeError(
      `einsum: got "${equation.slice(0, 100)}" for ${tensors.map(formatSpec).join(", ")}; ${problem}.`,
    );
  };
  if (output === undefined || rest.length > 0 || terms.length !== tensors.length)
    fail(`expected ${tensors.length} terms, then -> and the letters of the result`);
  const result = output!;
  const sizes = new Map<string, number>();
  terms.forEach((letters, i) => {
    const { shape } = tensors[i]!;
    if (
      !/^[a-zA-Z]*$/.test(letters) ||
      letters.length !== shape.length ||
      new Set(letters).size !== letters.length
    )
      fail(`expected ${shape.length} different letters for operand ${i + 1}`);
    [...letters].forEach((letter, k) => {
      const known = sizes.get(letter) ?? shape[k]!;
      if (known !== shape[k]!) fail(`the letter ${letter} stands for ${known} and for ${shape[k]!}`);
      sizes.set(letter, known);
    });
  });
  if (new Set(result).size !== result.length || [...result].some((letter) => !sizes.has(letter)))
    fail("expected letters of the operands in the result, each once");
  const named = terms.map((letters, i): Lettered => ({ letters, tensor: tensors[i]! }));
  const whole = named.reduce((a, b, i) => {
    const later = named.slice(i + 1).map(({ letters }) => letters);
    return product(a, b, result + later.join(""));
  });
  return arranged(summed(whole, result), result);
}

/** Without the letters that nobody wants any more. */
function summed({ tensor, letters }: Lettered, wanted: string): Lettered {
  const axes = [...letters].flatMap((letter, k) => (wanted.includes(letter) ? [] : [k]));
  if (axes.length === 0) return { tensor, letters };
  return { tensor: sum(tensor, { axes }), letters: [...letters].filter((l) => wanted.includes(l)).join("") };
}

/** With its axes in the order of these letters, which are all of its own. */
function arranged({ tensor, letters }: Lettered, order: string): Tensor {
  return letters === order
    ? tensor
    : transpose(
        tensor,
        [...order].map((letter) => letters.indexOf(letter)),
      );
}

function product(first: Lettered, second: Lettered, wanted: string): Lettered {
  const a = summed(first, wanted + second.letters);
  const b = summed(second, wanted + first.letters);
  const of = (letters: string, test: (letter: string) => boolean): string =>
    [...letters].filter(test).join("");
  const shared = of(a.letters, (l) => b.letters.includes(l));
  const batch = of(shared, (l) => wanted.includes(l));
  const inner = of(shared, (l) => !wanted.includes(l));
  const [rows, columns] = [
    of(a.letters, (l) => !shared.includes(l)),
    of(b.letters, (l) => !shared.includes(l)),
  ];
  const size = ({ tensor, letters }: Lettered, some: string): number =>
    sizeOf([...some].map((l) => tensor.shape[letters.indexOf(l)]!));
  const [B, M, N, K] = [size(a, batch), size(a, rows), size(b, columns), size(a, inner)];
  const left = reshape(arranged(a, batch + rows + inner), [B, M, K]);
  const right = reshape(arranged(b, batch + columns + inner), [B, N, K]);
  // Nothing to sum over: numbers times numbers, without a matrix product.
  const c = inner === "" ? mul(left, reshape(right, [B, 1, N])) : matmul(left, right, { transposeB: true });
  const letters = batch + rows + columns;
  const sizeOfLetter = (l: string): number => (a.letters.includes(l) ? size(a, l) : size(b, l));
  return { tensor: reshape(c, [...letters].map(sizeOfLetter)), letters };
}
