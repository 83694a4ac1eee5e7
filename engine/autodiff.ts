/** Reverse-mode differentiation, graph to graph: gradients are ordinary nodes that the compiler optimises. */
import { DtypeError, ShapeError, UsageError } from "./errors.js";
import { add } from "./ops/elementwise.js";
import { broadcastTo, sumTo } from "./ops/broadcast.js";
import { stopGradientOperation, viewOf } from "./ops/view.js";
import { formatSpec, scalar, type GradientRule, type Node, type Shape, type Tensor } from "./tensor.js";
import { type TensorLike, asTensor } from "./trace.js";

/**
 * d loss / d x for each x (tensors of the trace, or variables as they stand at this point).
 * `loss` has one element. An x that the loss does not depend on gets zeros.
 * @throws ShapeError, DtypeError if the loss is not one f32 element or an x is not f32; UsageError if the path crosses an operation without a gradient rule
 */
export function grad(loss: Tensor, wrt: TensorLike): Tensor;
export function grad<const T extends readonly TensorLike[]>(loss: Tensor, wrt: T): { [K in keyof T]: Tensor };
export function grad(loss: Tensor, wrt: TensorLike | readonly TensorLike[]): Tensor | readonly Tensor[] {
  if (loss.size !== 1 || loss.dtype !== "f32") {
    throw new ShapeError(
      `grad: got a loss ${formatSpec(loss)}; expected one f32 element. Reduce it with sum() or mean().`,
    );
  }
  const targets = (Array.isArray(wrt) ? (wrt as readonly TensorLike[]) : [wrt as TensorLike]).map((x) =>
    asTensor(x),
  );
  for (const x of targets) {
    if (x.dtype !== "f32") throw new DtypeError(`grad: got ${x}; expected f32 tensors.`);
  }
  const gradients = backward([loss, broadcastTo(scalar(1), loss.shape)], targets);
  const results = targets.map((x) => gradients.get(x) ?? broadcastTo(scalar(0), x.shape));
  return Array.isArray(wrt) ? results : results[0]!;
}

/**
 * A gradient rule from a formula: a function of the same inputs made of operations that have gradients themselves. It serves
 * kernels of gradients, whose own gradients are seldom needed and do not pay for a kernel.
 * @param formula gives a tensor of the shape of the operation's first output; of inputs that it does not read, or reads
 * through `stopGradient`, the gradient is null
 */
export function gradientByFormula<A>(
  formula: (inputs: readonly Tensor[], attributes: A) => Tensor,
): GradientRule<A> {
  return ({ inputs, attributes, gradients: [dy] }) =>
    pullBack((given) => formula(given, attributes), inputs, dy!);
}

/** The gradients of sum(f(inputs) dy) by the inputs, each of which counts as independent of the others. */
export function pullBack(
  f: (inputs: readonly Tensor[]) => Tensor,
  inputs: readonly Tensor[],
  dy: Tensor,
): readonly (Tensor | null)[] {
  // The inputs are seen through views of their own, at which the path ends.
  const own = inputs.map(viewOf);
  const gradients = backward([f(own), dy], own, Math.min(...own.map((x) => x.node.id)));
  return own.map((x) => gradients.get(x) ?? null);
}

/** Gradients of all tensors on a path from `targets` to `y`, from that of y. No node with an id below `first` is on a path. */
function backward(
  [y, dy]: readonly [Tensor, Tensor],
  targets: readonly Tensor[],
  first = 0,
): Map<Tensor, Tensor> {
  const wanted = new Set(targets);
  const path = nodesBetween(wanted, y.node, first);
  const gradients = new Map<Tensor, Tensor>([[y, dy]]);
  const accumulate = (tensor: Tensor, gradient: Tensor): void => {
    const sum = gradients.get(tensor);
    gradients.set(tensor, sum ? add(sum, gradient) : gradient);
  };
  // Ids are a topological order: every consumer of a node has been visited before the node.
  for (const node of [...path].sort((a, b) => b.id - a.id)) {
    const received = node.outputs.map((output) => gradients.get(output) ?? null);
    if (received.every((g) => g === null)) continue;
    const { operation, attributes, inputs, outputs } = node;
    const needed = inputs.map((input) => path.has(input.node) || wanted.has(input));
    if (!needed.includes(true)) continue;
    if (!operation.gradient)
      throw new UsageError(
        `grad: ${operation.name}(${inputs.map(formatSpec).join(", ")}) has no gradient rule; use stopGradient() on its input.`,
      );
    const results = operation
      .gradient({ attributes, inputs, outputs, gradients: received, needed })
      .map((gradient, i) => gradient && summed(node, gradient, inputs[i]!));
    inputs.forEach((input, i) => {
      const gradient = results[i];
      if (gradient && needed[i]) accumulate(input, gradient);
    });
  }
  return gradients;
}

/** A gradient of the input's own shape: the sum over the axes along which the input was broadcast. */
function summed({ operation }: Node, gradient: Tensor, input: Tensor): Tensor {
  if (gradient.dtype === "f32" && broadcasts(input.shape, gradient.shape))
    return sumTo(gradient, input.shape);
  throw new ShapeError(
    `grad: the gradient rule of ${operation.name} gave ${formatSpec(gradient)} for an input ${formatSpec(input)}; ` +
      "expected f32 of the input's shape, or of a shape that the input broadcasts to.",
  );
}

const broadcasts = (from: Shape, to: Shape): boolean => {
  const lead = to.length - from.length;
  return lead >= 0 && from.every((n, k) => n === 1 || n === to[k + lead]);
};

/** Nodes on a differentiable path from the wanted tensors to the last node, of those with an id of `first` or above. */
function nodesBetween(wanted: ReadonlySet<Tensor>, last: Node, first: number): Set<Node> {
  const depends = new Map<Node, boolean>();
  const stack: Node[] = [last];
  while (stack.length > 0) {
    const node = stack[stack.length - 1]!;
    const pending = node.inputs.filter((t) => t.node.id >= first && !depends.has(t.node));
    if (pending.length > 0 && !depends.has(node)) {
      stack.push(...pending.map((t) => t.node));
      continue;
    }
    stack.pop();
    if (depends.has(node)) continue;
    const blocked = node.operation === stopGradientOperation;
    depends.set(
      node,
      node.outputs.some((t) => wanted.has(t)) ||
        (!blocked && node.inputs.some((t) => depends.get(t.node) || wanted.has(t))),
    );
  }
  return new Set([...depends].filter(([, value]) => value).map(([node]) => node));
}
