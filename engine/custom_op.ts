/** Operations of a user's own: a kernel, a shape rule and a gradient rule. docs/guides/custom-operation.md makes one. */
import type { Capabilities } from "../kernels/capabilities.js";
import type { Kernel } from "../kernels/core/kernel.js";
import { UsageError } from "./errors.js";
import { makeNode, type Operation, type Tensor, type TensorSpec } from "./tensor.js";
import { asTensor } from "./trace.js";
import type { TensorLike } from "./index.js";

export {
  bindingsOf,
  linearThreads,
  lines,
  literal,
  shader,
  type ShaderBinding,
} from "../kernels/core/wgsl.js";

/** An operation as its author describes it. */
export interface CustomOperation {
  /** Shown in errors, labels and `explain()`. */
  readonly name: string;
  /** Shape and dtype of the result of these inputs; throws a ShapeError or DtypeError if they do not fit. */
  shape(...inputs: readonly Tensor[]): TensorSpec;
  /**
   * The kernel: a pure function of shapes, whose bindings are the inputs in order, then the result, for which it must write
   * every element.
   */
  kernel(context: {
    readonly inputs: readonly TensorSpec[];
    readonly output: TensorSpec;
    readonly capabilities: Capabilities;
  }): Kernel;
  /** The gradient of each input by operations, for the gradient `dy` of the result `y`; null for none. Absent: not differentiable. */
  gradient?(context: {
    readonly inputs: readonly Tensor[];
    readonly y: Tensor;
    readonly dy: Tensor;
  }): readonly (Tensor | null)[];
}

/** A function of tensors that runs a kernel of the author's. Call it in traced functions as any operation. */
export function customOp(custom: CustomOperation): (...inputs: readonly TensorLike[]) => Tensor {
  const { name } = custom;
  const operation: Operation<null> = {
    name,
    kind: "kernel",
    lower({ inputs, outputs, capabilities }) {
      const kernel = custom.kernel({ inputs, output: outputs[0]!, capabilities });
      const expected = [...inputs.map((x) => `read ${x.dtype}`), `read_write ${outputs[0]!.dtype}`];
      const got = kernel.bindings.map(({ access, dtype }) => `${access} ${dtype}`);
      if (got.join() !== expected.join())
        throw new UsageError(
          `${name}: got a kernel with bindings ${got.join(", ")}; expected ${expected.join(", ")}.`,
        );
      return kernel;
    },
    ...(custom.gradient && {
      gradient({ inputs, outputs, gradients }) {
        return custom.gradient!({ inputs, y: outputs[0]!, dy: gradients[0]! });
      },
    }),
  };
  return (...values) => {
    const inputs = values.map((x) => asTensor(x));
    const { shape, dtype } = custom.shape(...inputs);
    return makeNode(operation, inputs, null, [{ shape, dtype }]).outputs[0]!;
  };
}
