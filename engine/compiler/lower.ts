/** From units to dispatches over symbolic storage: which kernel, which values, which of them in place. */
import { elementwise, type Operand, type Statement } from "../../kernels/elementwise.js";
import { KernelError, type Capabilities, type Kernel } from "../../kernels/kernel.js";
import { LimitError } from "../errors.js";
import {
  formatSpec,
  sameShape,
  sizeOf,
  type LiteralAttributes,
  type Lowering,
  type Node,
  type Tensor,
  type TensorSpec,
} from "../tensor.js";
import type { Variable } from "../variable.js";
import type { VariableAttributes } from "../variable.js";
import { isSource, outputsOf, residualOf, rootOf, unitShape, type Unit } from "./fuse.js";

/** Storage of a value while the program runs. */
export type Storage =
  | { readonly kind: "variable"; readonly variable: Variable }
  | { readonly kind: "source"; readonly tensor: Tensor }
  | { readonly kind: "output"; readonly name: string }
  /** An intermediate; the memory plan gives it a slot. */
  | { readonly kind: "intermediate"; readonly id: number; readonly bytes: number };

/** A kernel with the storage of each of its bindings. */
export interface PlannedDispatch {
  readonly kernel: Kernel;
  /** Operation and shapes, for errors and `explain()`. */
  readonly label: string;
  readonly storages: readonly Storage[];
}

/** What the program keeps of its results. */
export interface Results {
  /** Root tensors by output name. */
  readonly outputs: ReadonlyMap<string, Tensor>;
  /** Root tensors by the variable that they are assigned to; none of them is a source. */
  readonly assigned: ReadonlyMap<Variable, Tensor>;
}

/** What is stored in f16; see halves.ts. */
export interface Halves {
  /** The units, of which some read copies in f16. */
  readonly units: readonly Unit[];
  /** Of units: their bindings in f16, by the names that kernels give them. */
  readonly names: ReadonlyMap<Unit, readonly string[]>;
  /** The dispatches with storage, and kernels, in f16. */
  adapt(
    dispatches: readonly PlannedDispatch[],
    storageOf: (root: Tensor) => Storage,
  ): readonly PlannedDispatch[];
}

/** Decides what is stored in f16, of nodes in topological order and the units that they became. */
export type ChooseHalves = (
  nodes: readonly Node[],
  units: readonly Unit[],
  kept: ReadonlySet<Tensor>,
  capabilities: Capabilities,
) => Halves;

/** Lowers ordered units to dispatches. @throws LimitError where a kernel does not fit the device */
export function lower(
  units: readonly Unit[],
  results: Results,
  capabilities: Capabilities,
  halves?: Halves,
): readonly PlannedDispatch[] {
  const kept = new Set([...results.outputs.values(), ...results.assigned.values()]);
  const { definedAt, readAt } = usesOf(units);
  const storages = placeResults(units, results, definedAt, readAt, capabilities);
  let nextIntermediate = 0;
  const intermediate = (bytes: number): Storage => ({ kind: "intermediate", id: nextIntermediate++, bytes });
  const storageOf = (root: Tensor): Storage => {
    let storage = storages.get(root);
    if (!storage) {
      const { operation, attributes } = root.node;
      storage =
        operation.name === "variable"
          ? { kind: "variable", variable: (attributes as VariableAttributes).variable }
          : isSource(root)
            ? { kind: "source", tensor: root }
            : intermediate(4 * root.size);
      storages.set(root, storage);
    }
    return storage;
  };

  const dispatches: PlannedDispatch[] = [];
  const copy = (
    label: string,
    size: number,
    dtype: TensorSpec["dtype"],
    from: Storage,
    to: Storage,
  ): void => {
    const spec = {
      shape: [size],
      inputs: [{ shape: [size], dtype }],
      statements: [COPY(dtype)],
      outputs: [{ value: 0 }],
    };
    dispatches.push({ kernel: elementwise(spec, capabilities), label, storages: [from, to] });
  };

  const consumers = consumersOf(units);
  for (const unit of units) {
    if (unit.elementwise) {
      const { kernel, roots } = guarded(labelOf(unit.nodes.at(-1)!), () =>
        lowerElementwise(unit, consumers, kept, capabilities, storageOf),
      );
      dispatches.push({ kernel, label: unit.nodes.map(labelOf).join("; "), storages: roots.map(storageOf) });
      continue;
    }
    const [node, addition] = unit.nodes as [Node, Node?];
    const label = unit.nodes.map(labelOf).join("; ");
    const lowering = guarded(label, () =>
      lowerNode(node, capabilities, addition !== undefined, halves?.names.get(unit)),
    );
    const temporaries = (lowering.temporaries ?? []).map(intermediate);
    const read = addition ? [...node.inputs, residualOf(addition)!.residual] : node.inputs;
    const inputs = read.map((t) => storageOf(rootOf(t)));
    const outputs = (addition ?? node).outputs.map(storageOf);
    for (const [o, i] of lowering.inPlace ?? []) {
      if (!sameStorage(outputs[o]!, inputs[i]!))
        copy(`copy before ${label}`, node.outputs[o]!.size, node.outputs[o]!.dtype, inputs[i]!, outputs[o]!);
    }
    for (const { kernel, bind } of lowering.dispatches) {
      const places = bind.map((place) =>
        "input" in place
          ? inputs[place.input]!
          : "output" in place
            ? outputs[place.output]!
            : temporaries[place.temporary]!,
      );
      dispatches.push({ kernel, label, storages: places });
    }
  }
  // Results that could not be written where they belong.
  for (const [variable, root] of results.assigned) {
    const target: Storage = { kind: "variable", variable };
    if (!sameStorage(storageOf(root), target))
      copy(`assign ${variable.name}`, variable.size, variable.dtype, storageOf(root), target);
  }
  for (const [name, root] of results.outputs) {
    const target: Storage = { kind: "output", name };
    if (!sameStorage(storageOf(root), target))
      copy(`output ${name}`, root.size, root.dtype, storageOf(root), target);
  }
  dispatches.forEach(requireNoAliasing);
  return halves?.adapt(dispatches, storageOf) ?? dispatches;
}

const COPY = (dtype: TensorSpec["dtype"]): Statement => ({
  operation: "identity",
  operands: [{ input: 0 }],
  dtype,
});

/** `matmul f32[16, 32] x f32[96, 32] -> f32[16, 96]` */
function labelOf(node: Node): string {
  return `${node.operation.name}(${node.inputs.map(formatSpec).join(", ")}) -> ${node.outputs.map(formatSpec).join(", ")}`;
}

/** Names the operation in a kernel's refusal. */
function guarded<T>(label: string, body: () => T): T {
  try {
    return body();
  } catch (error) {
    if (error instanceof KernelError) throw new LimitError(`${label}: ${error.message}`, { cause: error });
    throw error;
  }
}

function lowerNode(
  node: Node,
  capabilities: Capabilities,
  residual = false,
  halves: readonly string[] = [],
): Lowering {
  const { operation, attributes, inputs, outputs } = node;
  return operation.lower!({ attributes, inputs, outputs, capabilities, residual, halves });
}

function consumersOf(units: readonly Unit[]): Map<Node, Node[]> {
  const consumers = new Map<Node, Node[]>();
  for (const { nodes } of units) {
    for (const node of nodes) {
      for (const input of node.inputs) {
        const producer = rootOf(input).node;
        consumers.set(producer, [...(consumers.get(producer) ?? []), node]);
      }
    }
  }
  return consumers;
}

interface Uses {
  /** Index of the unit that computes a root. */
  readonly definedAt: ReadonlyMap<Tensor, number>;
  /** Indices of the units that read a root. */
  readonly readAt: ReadonlyMap<Tensor, readonly number[]>;
}

function usesOf(units: readonly Unit[]): Uses {
  const definedAt = new Map<Tensor, number>();
  const readAt = new Map<Tensor, number[]>();
  units.forEach(({ nodes }, index) => {
    for (const node of nodes) {
      for (const output of node.outputs) definedAt.set(output, index);
      for (const input of node.inputs) {
        const root = rootOf(input);
        readAt.set(root, [...(readAt.get(root) ?? []), index]);
      }
    }
  });
  return { definedAt, readAt };
}

/**
 * Lets results be computed straight into their variable or output buffer. A variable's buffer can take its new
 * value once nobody reads the old one any more, or in the very kernel that reads it last, element by element.
 */
function placeResults(
  units: readonly Unit[],
  { outputs, assigned }: Results,
  definedAt: Uses["definedAt"],
  readAt: Uses["readAt"],
  capabilities: Capabilities,
): Map<Tensor, Storage> {
  const storages = new Map<Tensor, Storage>();
  for (const [variable, root] of assigned) {
    if (storages.has(root)) continue;
    const defined = definedAt.get(root)!;
    const reads = readAt.get(variable.tensor) ?? [];
    const free = reads.every((index) => index < defined);
    const overwrites =
      reads.every((index) => index <= defined) && canOverwrite(units[defined]!, root, variable, capabilities);
    if (free || overwrites) storages.set(root, { kind: "variable", variable });
  }
  for (const [name, root] of outputs) {
    if (!storages.has(root)) storages.set(root, { kind: "output", name });
  }
  return storages;
}

/** True if the unit may read `variable` and write `root` through one binding. */
function canOverwrite(unit: Unit, root: Tensor, variable: Variable, capabilities: Capabilities): boolean {
  const reads = unit.nodes
    .flatMap((n) => n.inputs.map((t, i) => ({ t, i })))
    .filter(({ t }) => rootOf(t) === variable.tensor);
  if (unit.elementwise) return reads.every(({ t }) => sameShape(t.shape, root.shape));
  const inPlace = lowerNode(unit.nodes[0]!, capabilities).inPlace ?? [];
  return reads.length === 1 && inPlace.some(([o, i]) => o === root.index && i === reads[0]!.i);
}

/** One kernel for a fused group, and the root of each of its bindings. */
function lowerElementwise(
  unit: Unit,
  consumers: ReadonlyMap<Node, readonly Node[]>,
  kept: ReadonlySet<Tensor>,
  capabilities: Capabilities,
  storageOf: (root: Tensor) => Storage,
): { kernel: Kernel; roots: Tensor[] } {
  const members = new Map(unit.nodes.map((node, i) => [node, i]));
  const inputs: { root: Tensor; shape: readonly number[] }[] = [];
  const operandOf = (tensor: Tensor): Operand => {
    const root = rootOf(tensor);
    const value = members.get(root.node);
    if (value !== undefined) return { value };
    if (root.node.operation.name === "literal")
      return { literal: (root.node.attributes as LiteralAttributes).value, dtype: root.dtype };
    let input = inputs.findIndex((known) => known.root === root && sameShape(known.shape, tensor.shape));
    if (input < 0) input = inputs.push({ root, shape: tensor.shape }) - 1;
    return { input };
  };
  const statements = unit.nodes.map((node): Statement => ({
    operation: node.operation.elementwise!,
    operands: node.inputs.map(operandOf),
    dtype: node.outputs[0]!.dtype,
  }));
  const written = outputsOf(new Set(unit.nodes), consumers, kept).map((node) => node.outputs[0]!);
  const outputs = written.map((root) => {
    const storage = storageOf(root);
    const shared =
      storage.kind === "variable" ? inputs.findIndex((input) => input.root === storage.variable.tensor) : -1;
    return { value: members.get(root.node)!, ...(shared >= 0 && { inPlace: shared }) };
  });
  const overwritten = new Set(outputs.map((o) => o.inPlace));
  const kernel = elementwise(
    {
      shape: unitShape(unit),
      inputs: inputs.map(({ root, shape }) => ({ shape, dtype: root.dtype })),
      statements,
      outputs,
    },
    capabilities,
  );
  return {
    kernel,
    roots: [...inputs.filter((_, i) => !overwritten.has(i)).map((input) => input.root), ...written],
  };
}

function sameStorage(a: Storage, b: Storage): boolean {
  switch (a.kind) {
    case "variable":
      return b.kind === "variable" && a.variable === b.variable;
    case "source":
      return b.kind === "source" && a.tensor === b.tensor;
    case "output":
      return b.kind === "output" && a.name === b.name;
    case "intermediate":
      return b.kind === "intermediate" && a.id === b.id;
  }
}

/** WebGPU forbids a buffer that one dispatch both reads and writes through different bindings. */
function requireNoAliasing({ kernel, label, storages }: PlannedDispatch): void {
  storages.forEach((storage, i) => {
    const clash = storages.findIndex((other, j) => j !== i && sameStorage(storage, other));
    if (kernel.bindings[i]!.access === "read_write" && clash >= 0) {
      throw new Error(
        `Compiler fault: ${label} binds one buffer as ${kernel.bindings[i]!.name} and ${kernel.bindings[clash]!.name}.`,
      );
    }
  });
}

/** Bytes of a tensor's storage. */
export function bytesOf(spec: TensorSpec): number {
  return 4 * sizeOf(spec.shape);
}
