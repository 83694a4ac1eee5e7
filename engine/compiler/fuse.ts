/** From a graph to units of execution: views vanish, chains of elementwise operations become one unit. */
import type { Capabilities } from "../../kernels/capabilities.js";
import {
  literalOperation,
  sameShape,
  sizeOf,
  type ElementwiseOperation,
  type Node,
  type Shape,
  type Tensor,
} from "../tensor.js";
import { variableOperation } from "../variable.js";

/**
 * Nodes that run as one kernel: a single operation, an operation with the addition of a residual after it, or elementwise
 * operations over one shape with small operations that broadcast to it.
 */
export interface Unit {
  /** In topological order. */
  readonly nodes: readonly Node[];
  /** True for elementwise groups. */
  readonly elementwise: boolean;
}

/** The tensor whose storage a tensor shares, views resolved. */
export function rootOf(tensor: Tensor): Tensor {
  let t = tensor;
  while (t.node.operation.kind === "view") t = t.node.inputs[0]!;
  return t;
}

/** True for leaves: variables, inputs, constants, literals. */
export function isSource(tensor: Tensor): boolean {
  return tensor.node.operation.kind === "source";
}

/** The function that an elementwise node applies; undefined for other nodes. */
export function appliedBy({ operation }: Node): ElementwiseOperation<unknown>["apply"] | undefined {
  return operation.kind === "elementwise" ? operation.apply : undefined;
}

/** Every node that the given tensors need, in topological order, sources and views included. */
export function reachableNodes(tensors: readonly Tensor[]): Node[] {
  const seen = new Set<Node>();
  const stack = tensors.map((t) => t.node);
  for (let node = stack.pop(); node; node = stack.pop()) {
    if (seen.has(node)) continue;
    seen.add(node);
    for (const input of node.inputs) stack.push(input.node);
  }
  return [...seen].sort((a, b) => a.id - b.id);
}

/** Up to this many elements, a value that broadcasts to them is computed again for each instead of in its own dispatch. */
const FEW_ELEMENTS = 4096;

/** Operations that one kernel holds at most: longer ones take drivers more than their length to compile. */
const MOST_OPERATIONS = 96;

/** Inputs that a search for a cycle looks at before it gives up, and the groups stay apart: planning stays linear. */
const LONGEST_SEARCH = 20_000;

/** What grouping took, for tests: inputs that searches for cycles looked at. */
export interface FusionEffort {
  searched: number;
}

/** What fusion has to know of the device. */
export type FusionTarget = Pick<Capabilities, "maxStorageBuffersPerShaderStage" | "software">;

/**
 * Groups nodes into units and orders them so that every unit comes after what it reads.
 * @param nodes reachable nodes in topological order
 * @param kept roots that must be written to memory even if no unit reads them
 * @param on the device's limit of storage buffers in a kernel, and whether it is a software adapter
 */
export function fuse(
  nodes: readonly Node[],
  kept: ReadonlySet<Tensor>,
  { maxStorageBuffersPerShaderStage: maxBuffers, software }: FusionTarget,
  effort: FusionEffort = { searched: 0 },
): Unit[] {
  const computed = nodes.filter(({ operation: { kind } }) => kind !== "source" && kind !== "view");
  const consumers = new Map<Node, Node[]>();
  for (const node of computed) {
    for (const input of node.inputs) {
      const producer = rootOf(input).node;
      consumers.set(producer, [...(consumers.get(producer) ?? []), node]);
    }
  }
  const groupOf = new Map<Node, Set<Node>>();
  const youngest = new Map<ReadonlySet<Node>, number>();
  const gather = (members: Iterable<Node>): void => {
    const group = new Set(members);
    youngest.set(group, Math.max(...[...group].map((n) => n.id)));
    for (const member of group) groupOf.set(member, group);
  };
  for (const node of computed) gather([node]);

  const reaches = (start: readonly Node[], target: ReadonlySet<Node>): boolean =>
    reachesGroup(start, target, { groupOf, youngest, effort });
  const buffersOf = (group: ReadonlySet<Node>): number => {
    const inputs = new Set<string>();
    for (const node of group) {
      for (const input of node.inputs) {
        const root = rootOf(input);
        if (!group.has(root.node) && root.node.operation !== literalOperation)
          inputs.add(`${root.node.id}.${root.index} ${input.shape.join()}`);
      }
    }
    return inputs.size + outputsOf(group, consumers, kept).length;
  };

  /** True if only `into` reads the group, and no member depends on an element's position in its own shape. */
  const repeatable = (group: ReadonlySet<Node>, into: ReadonlySet<Node>): boolean =>
    [...group].every(
      (n) =>
        appliedBy(n) !== "position" &&
        !kept.has(n.outputs[0]!) &&
        consumers
          .get(n)!
          .every(
            (c) =>
              group.has(c) || (into.has(c) && c.inputs.every((t) => t.node === n || rootOf(t).node !== n)),
          ),
    );

  for (const node of computed) {
    if (!appliedBy(node)) continue;
    const shape = node.outputs[0]!.shape;
    for (const input of node.inputs) {
      const producer = rootOf(input).node;
      const [mine, theirs] = [groupOf.get(node)!, groupOf.get(producer)];
      if (!theirs || theirs === mine || !appliedBy(producer)) continue;
      if (theirs.size + mine.size > MOST_OPERATIONS) continue;
      const same = sameShape(input.shape, shape) && sameShape(producer.outputs[0]!.shape, shape);
      if (!same && !(sizeOf(shape) <= FEW_ELEMENTS && repeatable(theirs, mine))) continue;
      if (reaches(inputsOutside(mine, theirs), theirs) || reaches(inputsOutside(theirs, mine), mine))
        continue;
      const merged = new Set([...theirs, ...mine]);
      if (buffersOf(merged) > maxBuffers) continue;
      gather(merged);
    }
  }
  // A software adapter takes a second or two to compile a matmul that adds a residual, which the same matmul without one is
  // spared; the addition by itself costs next to nothing there (docs/lab/startup.md).
  for (const node of software ? [] : computed) {
    if (groupOf.get(node)!.size > 1) continue;
    const { producer, residual } = residualOf(node) ?? {};
    // No other node may read the sum without the residual. There is no cycle: the producer has no other reader.
    if (!producer || groupOf.get(producer)!.size > 1 || consumers.get(producer)!.length > 1) continue;
    // A sum that accumulates in a variable is added in place; an epilogue would write it elsewhere and need a copy.
    if (kept.has(node.outputs[0]!) && rootOf(residual!).node.operation === variableOperation) continue;
    if (producer.outputs.some((t) => kept.has(t)) || producer.inputs.length + 2 > maxBuffers) continue;
    gather([producer, node]);
  }
  return ordered(computed, groupOf);
}

/** True if computing `start` needs a member of `target`, going through whole groups, or if that takes long to tell. */
function reachesGroup(
  start: readonly Node[],
  target: ReadonlySet<Node>,
  {
    groupOf,
    youngest,
    effort,
  }: {
    readonly groupOf: ReadonlyMap<Node, ReadonlySet<Node>>;
    /** The largest id of each group. */
    readonly youngest: ReadonlyMap<ReadonlySet<Node>, number>;
    readonly effort: FusionEffort;
  },
): boolean {
  const oldest = Math.min(...[...target].map((n) => n.id));
  const seen = new Set<ReadonlySet<Node>>();
  const stack = [...start];
  const limit = effort.searched + LONGEST_SEARCH;
  for (let node = stack.pop(); node; node = stack.pop()) {
    if (target.has(node) || effort.searched > limit) return true;
    const group = groupOf.get(node);
    if (!group || seen.has(group)) continue;
    seen.add(group);
    for (const member of group) {
      for (const input of member.inputs) {
        effort.searched++;
        const producer = rootOf(input).node;
        if (target.has(producer)) return true;
        // A group needs the target, if at all, through a member younger than the target's oldest node.
        if ((youngest.get(groupOf.get(producer)!) ?? 0) > oldest) stack.push(producer);
      }
    }
  }
  return false;
}

/** The producers outside of both groups that a group reads. */
const inputsOutside = (group: ReadonlySet<Node>, other: ReadonlySet<Node>): Node[] =>
  [...group]
    .flatMap((n) => n.inputs.map((t) => rootOf(t).node))
    .filter((n) => !group.has(n) && !other.has(n));

/** The producer and the residual, if `node` adds a tensor of the same size to a result whose operation can add it. */
export function residualOf(node: Node): { producer: Node; residual: Tensor } | null {
  const [a, b] = node.inputs;
  if (appliedBy(node) !== "add" || !a || !b || !sameShape(a.shape, b.shape)) return null;
  for (const [sum, residual] of [
    [a, b],
    [b, a],
  ] as const) {
    const producer = rootOf(sum).node;
    const { operation } = producer;
    if (
      operation.kind === "kernel" &&
      operation.addsResidual &&
      rootOf(residual).node.operation !== literalOperation
    )
      return { producer, residual };
  }
  return null;
}

/** Members whose values leave the group. */
export function outputsOf(
  group: ReadonlySet<Node>,
  consumers: ReadonlyMap<Node, readonly Node[]>,
  kept: ReadonlySet<Tensor>,
): Node[] {
  return [...group].filter(
    (n) => kept.has(n.outputs[0]!) || (consumers.get(n) ?? []).some((c) => !group.has(c)),
  );
}

/** Depth-first from the earliest-finished unit, so that the order stays close to that of the trace. */
function ordered(computed: readonly Node[], groupOf: ReadonlyMap<Node, Set<Node>>): Unit[] {
  const groups = [...new Set(computed.map((n) => groupOf.get(n)!))];
  const last = new Map(groups.map((g) => [g, Math.max(...[...g].map((n) => n.id))]));
  groups.sort((a, b) => last.get(a)! - last.get(b)!);
  const state = new Map<Set<Node>, "open" | "done">();
  const units: Unit[] = [];
  const visit = (group: Set<Node>): void => {
    const known = state.get(group);
    if (known === "open") throw new Error("Compiler fault: two units read each other's results.");
    if (known === "done") return;
    state.set(group, "open");
    for (const node of group) {
      for (const input of node.inputs) {
        const producer = groupOf.get(rootOf(input).node);
        if (producer && producer !== group) visit(producer);
      }
    }
    state.set(group, "done");
    const nodes = [...group].sort((a, b) => a.id - b.id);
    units.push({ nodes, elementwise: appliedBy(nodes[0]!) !== undefined });
  };
  groups.forEach(visit);
  return units;
}

/** Shape that an elementwise unit runs over. Members that broadcast to it come first. */
export function unitShape(unit: Unit): Shape {
  return unit.nodes.at(-1)!.outputs[0]!.shape;
}
