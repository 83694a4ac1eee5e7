/** From units to dispatches over symbolic storage: the kernel, its values, and which of them are in place. */
import { elementwise, type Operand, type Statement } from "../../kernels/elementwise.js";
import { KernelError, type F16Buffers, type Kernel } from "../../kernels/core/kernel.js";
import type { Capabilities } from "../../kernels/capabilities.js";
import { LimitError } from "../errors.js";
import {
  formatSpec,
  literalOperation,
  type KernelOperation,
  sameShape,
  sizeOf,
  type LiteralAttributes,
  type Lowering,
  type Node,
  type Tensor,
  type TensorSpec,
} from "../tensor.js";
import { variableOperation, type Variable, type VariableAttributes } from "../variable.js";
import type { Intermediate, PlannedDispatch, Results, Storage, StoredInF16 } from "./plan.js";
import { appliedBy, isSource, outputsOf, residualOf, rootOf, unitShape, type Unit } from "./fuse.js";

/** No buffers. */
const NONE: readonly string[] = [];

/** Lowers ordered units to dispatches. @throws LimitError if a kernel does not fit the device */
export function lower(
  units: readonly Unit[],
  results: Results,
  capabilities: Capabilities,
  inF16?: StoredInF16,
): readonly PlannedDispatch[] {
  const kept = new Set([...results.outputs.values(), ...results.assigned.values()]);
  const uses = usesOf(units);
  const storages = placeResults(units, results, uses, capabilities);
  let nextIntermediate = 0;
  const intermediate = (bytes: number): Intermediate => ({
    kind: "intermediate",
    id: nextIntermediate++,
    bytes,
  });
  placeMembers(units, storages, uses, intermediate);
  const storageOf = (root: Tensor): Storage => {
    let storage = storages.get(root);
    if (!storage) {
      const { operation, attributes } = root.node;
      storage =
        operation === variableOperation
          ? { kind: "variable", variable: (attributes as VariableAttributes).variable }
          : isSource(root)
            ? { kind: "source", tensor: root }
            : intermediate(4 * root.size);
      storages.set(root, storage);
    }
    return storage;
  };

  const dispatches: PlannedDispatch[] = [];
  const copy = (label: string, { size, dtype }: Tensor, from: Storage, to: Storage, halves = NONE): void => {
    if (sameStorage(from, to)) return;
    const spec = {
      halves,
      shape: [size],
      inputs: [{ shape: [size], dtype }],
      statements: [{ operation: "identity", operands: [{ input: 0 }], dtype } as const],
      outputs: [{ value: 0 }],
    };
    dispatches.push({ kernel: elementwise(spec, capabilities), label, storages: [from, to] });
  };

  const consumers = consumersOf(units);
  for (const unit of units) {
    if (unit.elementwise) {
      const { kernel, roots } = guarded(labelOf(unit.nodes.at(-1)!), () =>
        lowerElementwise(unit, consumers, kept, { capabilities, storageOf, halves: inF16?.halves }),
      );
      dispatches.push({
        kernel,
        label: unit.nodes.map((node) => labelOf(node)).join("; "),
        storages: roots.map(storageOf),
      });
      continue;
    }
    const [node, addition] = unit.nodes as [Node, Node?];
    const label = unit.nodes.map((node) => labelOf(node)).join("; ");
    if (node.operation.kind === "pack") {
      const packed = node.outputs[0]!;
      for (const [root, place] of membersOf(node, storageOf(packed)))
        copy(label, root, storageOf(root), place, inF16?.halves.has(packed) ? ["out0"] : NONE);
      continue;
    }
    const lowering = guarded(label, () =>
      lowerNode(node, capabilities, addition !== undefined, inF16?.buffers.get(unit)),
    );
    const temporaries = (lowering.temporaries ?? []).map(intermediate);
    const read = addition ? [...node.inputs, residualOf(addition)!.residual] : node.inputs;
    const inputs = read.map((t) => storageOf(rootOf(t)));
    const outputs = (addition ?? node).outputs.map(storageOf);
    for (const [o, i] of lowering.inPlace ?? [])
      copy(`copy before ${label}`, node.outputs[o]!, inputs[i]!, outputs[o]!);
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
  // Copies the results that could not be written to their destination directly.
  for (const [variable, root] of results.assigned)
    copy(`assign ${variable.name}`, root, storageOf(root), { kind: "variable", variable });
  for (const [name, root] of results.outputs)
    copy(`output ${name}`, root, storageOf(root), { kind: "output", name });
  dispatches.forEach(requireNoAliasing);
  return inF16?.adapt(dispatches, storageOf) ?? dispatches;
}

/** `matmul(f32[16, 32], f32[96, 32]) -> f32[16, 96]`; `nameOf` says what stands for an input. */
export function labelOf(node: Node, nameOf: (input: Tensor) => string = formatSpec): string {
  return `${node.operation.name}(${node.inputs.map(nameOf).join(", ")}) -> ${node.outputs.map(formatSpec).join(", ")}`;
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
  { halves = NONE, scaled = NONE }: F16Buffers = {},
): Lowering {
  const { operation, attributes, inputs, outputs } = node;
  const lowering = (operation as KernelOperation<unknown>).lower({
    attributes,
    inputs,
    outputs,
    capabilities,
    residual,
    halves,
    scaled,
  });
  if ("dispatches" in lowering) return lowering;
  const bind = [...inputs.map((_, input) => ({ input })), ...outputs.map((_, output) => ({ output }))];
  return { dispatches: [{ kernel: lowering, bind }] };
}

const isPacked = ({ node }: Tensor): boolean => node.operation.kind === "pack";

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
 * Lets results be computed directly into their variable or output buffer. A variable's buffer can take its new value after
 * the last read of the old value, or in the kernel of the last read if that works element by element.
 */
function placeResults(
  units: readonly Unit[],
  { outputs, assigned }: Results,
  { definedAt, readAt }: Uses,
  capabilities: Capabilities,
): Map<Tensor, Storage> {
  const storages = new Map<Tensor, Storage>();
  for (const [variable, root] of assigned) {
    if (storages.has(root) || isPacked(root)) continue;
    const defined = definedAt.get(root)!;
    const readBefore = ({ tensor }: Variable, end: number): boolean =>
      (readAt.get(tensor) ?? []).every((index) => index < end);
    const free = variable.members.every((v) => readBefore(v, defined)) && readBefore(variable, defined + 1);
    if (
      free &&
      (readBefore(variable, defined) || canOverwrite(units[defined]!, root, variable, capabilities))
    )
      storages.set(root, { kind: "variable", variable });
  }
  for (const [name, root] of outputs) {
    if (!storages.has(root) && !isPacked(root)) storages.set(root, { kind: "output", name });
  }
  return storages;
}

/** The members of a pack, with their storage in it. */
function membersOf({ operation, attributes, inputs }: Node, pack: Storage): (readonly [Tensor, Storage])[] {
  if (operation.kind !== "pack") return [];
  return operation.firsts(attributes).map((first, i) => {
    const root = rootOf(inputs[i]!);
    return [root, { ...(pack as Intermediate), first, size: root.size }];
  });
}

/** Lets members of packs be computed in place, unless a dispatch would bind the pack's buffer twice. */
function placeMembers(
  units: readonly Unit[],
  storages: Map<Tensor, Storage>,
  { definedAt, readAt }: Uses,
  intermediate: (bytes: number) => Storage,
): void {
  units.forEach(({ nodes }, at) => {
    const [node] = nodes as [Node];
    if (node.operation.kind !== "pack") return;
    const output = node.outputs[0]!;
    const pack = intermediate(4 * output.size);
    storages.set(output, pack);
    const members = membersOf(node, pack);
    /** Units that write or read a member in place. */
    const using = new Set<number>();
    for (const [root, place] of members) {
      const users = [definedAt.get(root)!, ...readAt.get(root)!].filter((index) => index !== at);
      // A tensor that is in the pack twice is computed elsewhere and copied.
      const twice = members.filter(([other]) => other === root).length > 1;
      if (isSource(root) || storages.has(root) || twice || users.some((index) => using.has(index))) continue;
      storages.set(root, place);
      users.forEach((index) => using.add(index));
    }
  });
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
  {
    capabilities,
    storageOf,
    halves,
  }: {
    readonly capabilities: Capabilities;
    readonly storageOf: (root: Tensor) => Storage;
    readonly halves: ReadonlySet<Tensor> | undefined;
  },
): { kernel: Kernel; roots: Tensor[] } {
  const members = new Map(unit.nodes.map((node, i) => [node, i]));
  const inputs: { root: Tensor; shape: readonly number[] }[] = [];
  const operandOf = (tensor: Tensor): Operand => {
    const root = rootOf(tensor);
    const value = members.get(root.node);
    if (value !== undefined) return { value };
    if (root.node.operation === literalOperation)
      return { literal: (root.node.attributes as LiteralAttributes).value, dtype: root.dtype };
    let input = inputs.findIndex((known) => known.root === root && sameShape(known.shape, tensor.shape));
    if (input < 0) input = inputs.push({ root, shape: tensor.shape }) - 1;
    return { input };
  };
  const statements = unit.nodes.map((node): Statement => ({
    operation: appliedBy(node)!,
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
      halves: [
        ...inputs.flatMap(({ root }, i) => (halves?.has(root) ? [`in${i}`] : [])),
        ...written.flatMap((root, i) => (halves?.has(root) ? [`out${i}`] : [])),
      ],
    },
    capabilities,
  );
  return {
    kernel,
    roots: [...inputs.filter((_, i) => !overwritten.has(i)).map((input) => input.root), ...written],
  };
}

/** Identity of a storage's buffer, and its range of elements there if it is only a part. */
export function placeOf(storage: Storage): { buffer: unknown; first?: number; size?: number } {
  switch (storage.kind) {
    case "variable": {
      const { buffers: buffer, first, size } = storage.variable;
      return { buffer, first, size };
    }
    case "source":
      return { buffer: storage.tensor };
    case "output":
      return { buffer: storage.name };
    case "intermediate":
      return { ...storage, buffer: storage.id };
  }
}

function sameStorage(a: Storage, b: Storage): boolean {
  const [x, y] = [placeOf(a), placeOf(b)];
  return x.buffer === y.buffer && x.first === y.first && x.size === y.size;
}

/** Checks that no dispatch reads and writes one buffer through different bindings, which WebGPU forbids. */
function requireNoAliasing({ kernel, label, storages }: PlannedDispatch): void {
  const buffers = storages.map((s) => placeOf(s).buffer);
  if (
    buffers.some(
      (b, i) => kernel.bindings[i]!.access === "read_write" && buffers.indexOf(b) !== buffers.lastIndexOf(b),
    )
  )
    throw new Error(`Compiler fault: ${label} binds one buffer twice.`);
}

/** Bytes of a tensor's storage. */
export function bytesOf(spec: TensorSpec): number {
  return 4 * sizeOf(spec.shape);
}
