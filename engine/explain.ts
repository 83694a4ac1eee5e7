/** What a program consists of, for people: its dispatches, its memory and its graph. */
import { isSource } from "./compiler/fuse.js";
import { labelOf } from "./compiler/lower.js";
import type { Plan, Storage } from "./compiler/plan.js";
import { formatSpec } from "./host_data.js";
import { inputOperation, type InputAttributes, type Node, type Tensor } from "./tensor.js";

/** One line of `explain()`. */
export interface ExplainedDispatch {
  /** The kernel's name: family, variant and shape. */
  readonly kernel: string;
  /** The kernel's variant is one of the target's choices, not the default of its family. */
  readonly chosen: boolean;
  /** What it computes, as it was traced. */
  readonly operation: string;
  /** Size of the dispatch. */
  readonly workgroups: readonly [number, number, number];
  /** Fewest floating-point operations that the work needs. */
  readonly flops: number;
  /** Fewest bytes that the work moves. */
  readonly bytes: number;
  /** Where each binding lives: `slot 3`, `variable w`, `input x`, `output loss`, `constant`. */
  readonly buffers: readonly string[];
}

/** Every dispatch with its kernel, operation, work and buffers. */
export function explainDispatches(plan: Plan): ExplainedDispatch[] {
  const { slotOf } = plan.memory;
  const place = (storage: Storage): string => {
    switch (storage.kind) {
      case "variable":
        return `variable ${storage.variable.name}`;
      case "output":
        return `output ${storage.name}`;
      case "intermediate":
        return `slot ${slotOf.get(storage.id)}${storage.first === undefined ? "" : ` from ${storage.first}`}`;
      case "source":
        return sourceName(storage.tensor);
    }
  };
  return plan.dispatches.map(({ kernel, label, storages }) => ({
    kernel: kernel.name,
    chosen: kernel.choice !== undefined,
    operation: label,
    workgroups: kernel.workgroups,
    flops: kernel.flops,
    bytes: kernel.bytes,
    buffers: storages.map((s, i) => `${kernel.bindings[i]!.access === "read" ? "" : "*"}${place(s)}`),
  }));
}

/** A table of every dispatch and the memory plan, for people. `*` marks what a dispatch writes. */
export function explainPlan(name: string, plan: Plan): string {
  const rows = explainDispatches(plan);
  const flops = rows.reduce((sum, r) => sum + r.flops, 0);
  const { bytes, memory, inputs } = plan;
  const head = [
    `${name}: ${rows.length} dispatches, ${(flops / 1e6).toFixed(2)} MFLOP`,
    `inputs ${
      Object.entries(inputs)
        .map(([k, s]) => `${k} ${formatSpec(s)}`)
        .join(", ") || "none"
    }`,
    `memory ${bytes.intermediates} bytes of intermediates in ${memory.slots.length} slots, ` +
      `${bytes.inputs} inputs, ${bytes.outputs} outputs, ${bytes.constants} constants`,
  ];
  const body = rows.map(
    (r, i) =>
      `${String(i).padStart(4)}  ${r.kernel}${r.chosen ? " (chosen by measurement)" : ""}  [${r.workgroups.join(", ")}]  ${(r.flops / 1e3).toFixed(1)} kFLOP  ${(r.bytes / 1e3).toFixed(1)} kB\n` +
      `      ${r.operation}\n      ${r.buffers.join(" | ")}`,
  );
  return [...head, ...body].join("\n");
}

/**
 * The graph as it was traced and as it was fused, for people: a line for each node, such as
 * `%7 = matmul(%5, %6) -> f32[16, 96]`. `%7.1` is the second result of a node. An empty line parts the units that
 * run as one kernel. `explain` has the dispatches.
 */
export function printGraph(plan: Plan): string {
  const { traced, fused } = plan.graph;
  const places = new Map(traced.map(({ id }, i) => [id, i]));
  // Nodes that the compiler added were not traced.
  const nameOf = ({ node, index }: Tensor): string =>
    `%${places.get(node.id) ?? "new"}${index > 0 ? `.${index}` : ""}`;
  const lineOf = (node: Node): string => {
    const [first] = node.outputs as [Tensor];
    return `  ${nameOf(first)} = ${isSource(first) ? sourceName(first) : labelOf(node, nameOf)}`;
  };
  const linesOf = (nodes: readonly Node[]): string => nodes.map(lineOf).join("\n");
  const units = fused.map(({ nodes }) => linesOf(nodes)).join("\n\n");
  return `traced: ${traced.length} nodes\n${linesOf(traced)}\nfused: ${fused.length} units\n${units}`;
}

/** `input x`, `constant f32[2, 3]`, `literal f32[]` */
function sourceName(tensor: Tensor): string {
  const { operation, attributes } = tensor.node;
  return operation === inputOperation
    ? `input ${(attributes as InputAttributes).name}`
    : `${operation.name} ${formatSpec(tensor)}`;
}
