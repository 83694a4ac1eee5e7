/** Matrix products. */
import { matmul as matmulKernel } from "../../kernels/matmul/choose.js";
import { ShapeError } from "../errors.js";
import {
  formatSpec,
  makeTensor,
  requireDtype,
  requireShape,
  sameShape,
  sizeOf,
  type Operation,
  type Tensor,
} from "../tensor.js";
import { type TensorLike, asTensor } from "../trace.js";
import { transpose } from "./layout.js";
import { reshape } from "./view.js";

type Layout = "nn" | "nt" | "tn";

export interface MatmulAttributes {
  readonly layout: Layout;
  readonly batch: number;
  readonly M: number;
  readonly N: number;
  readonly K: number;
  /** The operand that is a gradient. */
  readonly gradient: "a" | "b" | null;
}

const matmulOperation: Operation<MatmulAttributes> = {
  name: "matmul",
  kind: "kernel",
  isGradient: ({ gradient }) => gradient !== null,
  f16: { role: "product", inputs: ["a", "b"], outputs: ["c"] },
  addsResidual: true,
  lower({ attributes, inputs, capabilities, residual = false, halves }) {
    const spec = { ...attributes, bias: inputs.length === 3, residual, halves };
    const read = Array.from({ length: inputs.length + (residual ? 1 : 0) }, (_, input) => ({ input }));
    const { gpu } = capabilities;
    const splits = gpu?.matmulSplits(spec) ?? 1;
    if (!gpu || splits === 1)
      return { dispatches: [{ kernel: matmulKernel(spec, capabilities), bind: [...read, { output: 0 }] }] };
    const parts = { temporary: 0 };
    const [a, b, ...addends] = read;
    return {
      temporaries: [4 * splits * attributes.M * attributes.N],
      dispatches: [
        {
          kernel: matmulKernel(
            { ...attributes, splits, halves: halves.filter((name) => name < "c") },
            capabilities,
          ),
          bind: [a!, b!, parts],
        },
        {
          kernel: gpu.matmulSum({ ...spec, splits }, capabilities),
          bind: [parts, ...addends, { output: 0 }],
        },
      ],
    };
  },
  gradient({ attributes: { layout }, inputs: [a, b, bias], gradients: [dc] }) {
    const [da, db] = {
      nn: () => [product("nt", dc!, b!, { gradient: "a" }), product("tn", a!, dc!, { gradient: "b" })],
      nt: () => [product("nn", dc!, b!, { gradient: "a" }), product("tn", dc!, a!, { gradient: "a" })],
      tn: () => [product("nt", b!, dc!, { gradient: "b" }), product("nn", a!, dc!, { gradient: "b" })],
    }[layout]();
    return bias ? [da!, db!, dc!] : [da!, db!];
  },
};

/** The product in one layout of [batch, rows, columns] or [rows, columns] tensors. */
function product(
  layout: Layout,
  a: Tensor,
  b: Tensor,
  { bias, gradient = null }: { readonly bias?: Tensor; readonly gradient?: "a" | "b" | null } = {},
): Tensor {
  const [rowsA, columnsA] = a.shape.slice(-2) as [number, number];
  const [rowsB, columnsB] = b.shape.slice(-2) as [number, number];
  const [M, K] = layout === "tn" ? [columnsA, rowsA] : [rowsA, columnsA];
  const [N, inner] = layout === "nt" ? [rowsB, columnsB] : [columnsB, rowsB];
  const lead = a.shape.slice(0, -2);
  if (K !== inner || !sameShape(lead, b.shape.slice(0, -2))) {
    throw new ShapeError(
      `matmul (${layout}): got ${formatSpec(a)} and ${formatSpec(b)}; expected equal inner dimensions (${K} against ${inner}) and equal batch dimensions.`,
    );
  }
  const inputs = bias ? [a, b, bias] : [a, b];
  return makeTensor(
    matmulOperation,
    inputs,
    { layout, batch: sizeOf(lead), M, N, K, gradient },
    [...lead, M, N],
    "f32",
  );
}

/** Which operand is transposed, and the bias that is added to each row. */
export interface MatmulOptions {
  /** Multiplies by the transpose of a, whose shape is then [K, M]; default false. */
  readonly transposeA?: boolean;
  /** Multiplies by the transpose of b, whose shape is then [N, K]; default false. */
  readonly transposeB?: boolean;
  /** [N] */
  readonly bias?: TensorLike;
}

/**
 * a [..., M, K] times b [K, N] or [..., K, N] is [..., M, N], in f32. `transposeA` takes a as [..., K, M],
 * `transposeB` takes b as [N, K]. A two-dimensional b serves every batch.
 * @throws ShapeError, DtypeError
 */
export function matmul(a: TensorLike, b: TensorLike, options: MatmulOptions = {}): Tensor {
  const x = asTensor(a);
  const y = asTensor(b);
  requireDtype("matmul", x, "f32");
  requireDtype("matmul", y, "f32");
  const { transposeA = false, transposeB = false } = options;
  if (x.shape.length < 2 || y.shape.length < 2 || (transposeA && transposeB)) {
    throw new ShapeError(
      `matmul: got ${formatSpec(x)} and ${formatSpec(y)}${transposeA && transposeB ? ", both transposed" : ""}; expected at least two dimensions each and at most one transposed operand.`,
    );
  }
  const lead = x.shape.slice(0, -2);
  const unbatched = y.shape.length === 2 && lead.length > 0;
  // The rows of a batch are the rows of one tall matrix. This does not hold for its columns.
  if (unbatched && transposeA) return matmul(transpose(x), y, { ...options, transposeA: false });
  const layout: Layout = transposeA ? "tn" : transposeB ? "nt" : "nn";
  const left = unbatched ? reshape(x, [-1, x.shape.at(-1)!]) : x;
  const N = transposeB ? y.shape.at(-2)! : y.shape.at(-1)!;
  const bias = options.bias === undefined ? undefined : asTensor(options.bias);
  if (bias) {
    requireDtype("matmul bias", bias, "f32");
    requireShape("matmul bias", bias, [N]);
  }
  const c = product(layout, left, y, bias && { bias });
  return unbatched ? reshape(c, [...lead, x.shape.at(-2)!, N]) : c;
}

/** y = x W^T (+ b): x [..., in], weight [out, in], bias [out]. */
export function linear(x: TensorLike, weight: TensorLike, bias?: TensorLike): Tensor {
  const input = asTensor(x);
  const rows = input.shape.length === 1 ? reshape(input, [1, -1]) : input;
  const y = matmul(rows, weight, { transposeB: true, ...(bias !== undefined && { bias }) });
  return input.shape.length === 1 ? reshape(y, [-1]) : y;
}
