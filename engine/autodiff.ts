/** Reverse-mode differentiation, graph to graph: gradients are ordinary nodes that the compiler optimises. */
import { DtypeError, ShapeError, UsageError } from "./errors.js";
import { add } from "./ops/elementwise.js";
import { broadcastTo } from "./ops/broadcast.js";
import { stopGradientOperation } from "./ops/view.js";
import { formatSpec, scalar, type Tensor, type Node } from "./tensor.js";
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
  const gradients = backward(loss, targets);
  const results = targets.map((x) => gradients.get(x) ?? broadcastTo(scalar(0), x.shape));
  return Array.isArray(wrt) ? results : results[0]!;
}

function backward(loss: Tensor, targets: readonly Tensor[]): Map<Tensor, Tensor> {
  const wanted = new Set(targets);
  const path = nodesBetween(wanted, loss.node);
  const gradients = new Map<Tensor, Tensor>([[loss, broadcastTo(scalar(1), loss.shape)]]);
  const accumulate = (tensor: Tensor, gradient: Tensor): void => {
    const sum = gradients.get(tensor);
    gradients.set(tensor, sum ? add(sum, gradient) : gradient);
  };
  // Ids are a topological order: every consumer of a node has been visited before the node.
  for (const node of [...path].sort((a, b) => b.id - a.id)) {
    const received = node.outputs.map((output) => gradients.get(output) ?? null);
    if (received.every((g) => g === null)) continue;
    if (!node.inputs.some((input) => path.has(input.node) || wanted.has(input))) continue;
    const { operation, attributes, inputs, outputs } = node;
    if (!operation.gradient)
      throw new UsageError(
        `grad: ${operation.name}(${inputs.map(formatSpec).join(", ")}) has no gradient rule; use stopGradient() on its input.`,
      );
    const results = operation.gradient({ attributes, inputs, outputs, gradients: received });
    inputs.forEach((input, i) => {
      const gradient = results[i];
      if (gradient && (path.has(input.node) || wanted.has(input))) accumulate(input, gradient);
    });
  }
  return gradients;
}

/** Nodes on a differentiable path from the wanted tensors to the loss. */
function nodesBetween(wanted: ReadonlySet<Tensor>, last: Node): Set<Node> {
  const depends = new Map<Node, boolean>();
  const stack: Node[] = [last];
  while (stack.length > 0) {
    const node = stack[stack.length - 1]!;
    const pending = node.inputs.filter((t) => !depends.has(t.node));
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
