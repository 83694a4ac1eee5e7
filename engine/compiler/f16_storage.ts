/**
 * Decides what programs in mixed precision store in f16: results of the forward pass, a copy of the weights for each run,
 * and gradients that only matmuls read. Results of a program, variables and all arithmetic stay f32.
 */
import type { Capabilities } from "../../kernels/capabilities.js";
import { KernelError } from "../../kernels/core/kernel.js";
import { productOf, type GatedSpec } from "../../kernels/matmul/spec.js";
import type { MatmulAttributes } from "../ops/matmul.js";
import { reshape } from "../ops/view.js";
import { makeTensor, type F16Bindings, type Node, type Operation, type Tensor } from "../tensor.js";
import { variableOperation, type Variable, type VariableAttributes } from "../variable.js";
import { residualOf, rootOf, type Unit } from "./fuse.js";
import type { F16Storage, Intermediate, PlannedDispatch, Storage } from "./plan.js";

/** The f16 bindings that the node's operation declares. */
const declared = ({ operation }: Node): F16Bindings | undefined =>
  operation.kind === "kernel" ? operation.f16 : undefined;

/**
 * Bindings of a matmul that may be stored as f16, its residual among them. Empty if it is computed in f32, or if rows are
 * not whole 4-vectors.
 */
function bindingsOfProduct({ attributes, inputs }: Node, residual: boolean, on: Capabilities): F16Bindings {
  const { layout, M, N, K } = attributes as MatmulAttributes;
  const bias = inputs.length === 3;
  const product = productOf({ ...(attributes as MatmulAttributes), bias, residual }, on);
  const rounded = (on.mixedPrecision?.variants(product) ?? []).length > 0;
  const rows = { a: layout === "tn" ? M : K, b: layout === "nt" ? K : N, c: N, residual: N };
  const named = (name: keyof typeof rows): string | null => (rounded && rows[name] % 4 === 0 ? name : null);
  const addends = [...(bias ? [null] : []), ...(residual ? [named("residual")] : [])];
  return { inputs: [named("a"), named("b"), ...addends], outputs: [named("c")] };
}

/** A root tensor that a unit reads or writes. */
interface Access {
  readonly root: Tensor;
  /** The binding, if it may be f16. */
  readonly name: string | null;
  /** True if a matmul rounds it to f16 anyway. */
  readonly rounded: boolean;
  /** True if it is a gradient, which is multiplied before it is rounded. */
  readonly scaled: boolean;
}

interface Accesses {
  readonly reads: readonly Access[];
  readonly writes: readonly Access[];
}

function accessesOf({ nodes, elementwise }: Unit, capabilities: Capabilities): Accesses {
  const [{ attributes }] = nodes as [Node];
  const gradient = (attributes as Partial<MatmulAttributes> | null)?.gradient;
  const roots = (tensors: readonly Tensor[], names: (i: number) => string | null | undefined): Access[] =>
    tensors.map((t, i) => {
      const name = names(i) ?? null;
      const rounded = !elementwise && (name === "a" || name === "b");
      return { root: rootOf(t), name, rounded, scaled: rounded && name === gradient };
    });
  if (elementwise) {
    const members = new Set(nodes);
    const outside = nodes.flatMap((n) => n.inputs).filter((t) => !members.has(rootOf(t).node));
    return {
      reads: roots(outside, () => ""),
      writes: roots(
        nodes.flatMap((n) => n.outputs),
        () => "",
      ),
    };
  }
  const [node, addition] = nodes as [Node, Node?];
  const { inputs, outputs } =
    declared(node)?.role === "product"
      ? bindingsOfProduct(node, addition !== undefined, capabilities)
      : (declared(node) ?? { inputs: [], outputs: [] });
  const read = addition ? [...node.inputs, residualOf(addition)!.residual] : node.inputs;
  return {
    reads: roots(read, (i) => inputs[i]),
    writes: roots((addition ?? node).outputs, (i) => outputs[i]),
  };
}

/** silu(gate) value of a matmul of gates and values, which has no other reader. */
const gatedOperation: Operation<{ readonly rows: number; readonly inner: number; readonly K: number }> = {
  name: "gatedProduct",
  kind: "kernel",
  f16: { inputs: ["a", "b"], outputs: ["c"] },
  lower: ({ attributes, capabilities, halves }) =>
    capabilities.mixedPrecision!.gated!({ ...attributes, halves }, capabilities)!,
};

/** True if the device can run the gated product. A refused product stays unmerged, and its own error names it. */
function hasGatedKernel(spec: Omit<GatedSpec, "halves">, capabilities: Capabilities): boolean {
  try {
    return !!capabilities.mixedPrecision?.gated?.({ ...spec, halves: [] }, capabilities);
  } catch (error) {
    if (error instanceof KernelError) return false;
    throw error;
  }
}

/** The units, after merging SwiGLU into each matmul that only SwiGLU reads. */
function withGates(
  units: readonly Unit[],
  kept: ReadonlySet<Tensor>,
  capabilities: Capabilities,
): readonly Unit[] {
  const products = new Map<Tensor, Unit>();
  const readers = new Map<Tensor, number>();
  for (const unit of units) {
    const [node] = unit.nodes as [Node];
    if (declared(node)?.role === "product" && unit.nodes.length === 1) products.set(node.outputs[0]!, unit);
    for (const t of unit.nodes.flatMap((n) => n.inputs))
      readers.set(rootOf(t), (readers.get(rootOf(t)) ?? 0) + 1);
  }
  const gone = new Set<Unit>();
  const gated = units.map((unit): Unit => {
    const [node] = unit.nodes as [Node];
    const root = declared(node)?.role === "gate" && rootOf(node.inputs[0]!);
    const product = root && !kept.has(root) && readers.get(root) === 1 && products.get(root);
    if (!product) return unit;
    const { inputs, attributes } = product.nodes[0]!;
    const { layout, batch, M, N, K } = attributes as MatmulAttributes;
    const spec = { rows: M, inner: N / 2, K };
    const fits = layout === "nt" && batch === 1 && inputs.length === 2 && node.inputs[0]!.shape.at(-1) === N;
    if (!fits || !hasGatedKernel(spec, capabilities)) return unit;
    gone.add(product);
    return { ...unit, nodes: [{ ...node, operation: gatedOperation, inputs, attributes: spec }] };
  });
  return gated.filter((unit) => !gone.has(unit));
}

/** A copy to be stored in f16: a pack of one tensor. */
const half: Operation<null> = { name: "half", kind: "pack", firsts: () => [0] };

/** An f16 copy of a variable: by itself, or as part of the copy of its pack. */
interface Copy {
  readonly copy: Tensor;
  /** The whole copy. */
  readonly whole: Tensor;
  readonly variable: Variable;
}

/**
 * Puts copies in front of the units: a variable that matmuls would round more than once is rounded first, in one dispatch
 * with its whole pack, and the matmuls read the copy.
 */
function withCopies(
  units: readonly Unit[],
  capabilities: Capabilities,
): { units: readonly Unit[]; copies: readonly Copy[] } {
  const uses = new Map<Tensor, number>();
  for (const unit of units)
    for (const { root, rounded, scaled } of accessesOf(unit, capabilities).reads)
      if (rounded && !scaled && root.node.operation === variableOperation)
        uses.set(root, (uses.get(root) ?? 0) + 1);
  const wholes = new Map<Variable, Tensor>();
  const copies = new Map<Tensor, Copy>();
  const rounded = (of: Tensor): Tensor => makeTensor(half, [of], null, of.shape, "f32");
  for (const [root, count] of uses) {
    if (count < 2) continue;
    const { variable } = root.node.attributes as VariableAttributes;
    const packed = variable.pack ?? variable;
    const whole = wholes.get(packed) ?? rounded(packed.tensor);
    wholes.set(packed, whole);
    copies.set(root, { copy: packed === variable ? whole : rounded(root), whole, variable });
  }
  const dispatched = [...wholes.values()].map(({ node }) => ({ nodes: [node], elementwise: false }));
  const reading = units.map((unit) => {
    const { reads } = accessesOf(unit, capabilities);
    const [node, ...addition] = unit.nodes as [Node, ...Node[]];
    const copied = ({ root, rounded, scaled }: Access) => rounded && !scaled && copies.get(root)?.copy;
    if (!reads.some(copied)) return unit;
    const inputs = node.inputs.map((t, i) => {
      const copy = copied(reads[i]!);
      return copy ? reshape(copy, t.shape) : t;
    });
    return { ...unit, nodes: [{ ...node, inputs }, ...addition] };
  });
  return { units: [...dispatched, ...reading], copies: [...copies.values()] };
}

/**
 * A tensor is stored in f16 if it is f32 and not kept, its producer can write f16, and all its readers can read f16. A result
 * of an elementwise kernel must also be rounded by some matmul anyway. A gradient must have no readers but matmuls that round
 * it; it is stored multiplied as they would multiply it, so that they get the same numbers.
 */
export const f16Storage: F16Storage = (fused, kept, capabilities) => {
  const { units, copies } = withCopies(withGates(fused, kept, capabilities), capabilities);
  const accesses = new Map(units.map((unit) => [unit, accessesOf(unit, capabilities)]));
  const readers = new Map<Tensor, Access[]>();
  for (const { reads } of accesses.values())
    for (const read of reads) readers.set(read.root, [...(readers.get(read.root) ?? []), read]);
  const halves = new Set<Tensor>(copies.flatMap(({ copy, whole }) => [whole, copy]));
  const scaled = new Set<Tensor>();
  for (const [{ nodes: members, elementwise }, { writes }] of accesses)
    for (const { root, name } of writes) {
      const reads = readers.get(root) ?? [];
      if (name === null || reads.length === 0 || root.dtype !== "f32" || kept.has(root)) continue;
      if (root.node.isGradient) {
        // A matmul writes no gradient in f16.
        const f16 = declared(members[0]!);
        if (f16 && f16.role !== "product" && reads.every((read) => read.scaled)) scaled.add(root);
      } else if (reads.every((read) => read.name !== null && !read.scaled)) {
        if (!elementwise || reads.some((read) => read.rounded)) halves.add(root);
      }
    }
  const buffers = new Map(
    [...accesses].map(([unit, { reads, writes }]) => {
      const named = (of: readonly Access[], stored: ReadonlySet<Tensor>): string[] =>
        of.flatMap(({ root, name }) => (stored.has(root) && name) || []);
      const own = [...named(reads, halves), ...named(reads, scaled), ...named(writes, halves)];
      return [unit, { halves: own, scaled: named(writes, scaled) }];
    }),
  );
  return {
    units,
    halves,
    buffers,
    adapt: (dispatches, storageOf) =>
      adapted(dispatches, storageOf, { stored: [...halves, ...scaled], copies }),
  };
};

/** The dispatches with half as much storage for roots in f16. */
function adapted(
  dispatches: readonly PlannedDispatch[],
  storageOf: (root: Tensor) => Storage,
  { stored, copies }: { readonly stored: readonly Tensor[]; readonly copies: readonly Copy[] },
): readonly PlannedDispatch[] {
  const places = new Map<number | undefined, Intermediate>();
  const half = (storage: Storage) => places.get((storage as Partial<Intermediate>).id);
  for (const root of stored) {
    const storage = storageOf(root);
    if (storage.kind !== "intermediate") throw new Error(`Compiler fault: ${storage.kind} in f16.`);
    places.set(storage.id, { ...storage, bytes: storage.bytes / 2 });
  }
  // Places are counted in elements of four bytes.
  for (const { copy, whole, variable } of copies) {
    const [own, all] = [half(storageOf(copy))!, half(storageOf(whole))!];
    if (own !== all) places.set(own.id, { ...all, first: variable.first / 2, size: variable.size / 2 });
  }
  return dispatches.map(({ kernel, label, storages }) => ({
    label,
    kernel,
    storages: storages.map((storage, i) => {
      const [place, { name, dtype }] = [half(storage), kernel.bindings[i]!];
      if ((place !== undefined) !== (dtype === "f16"))
        throw new Error(
          `Compiler fault: ${label} binds ${name} as ${dtype}, and it is ${place ? "" : "not "}in f16.`,
        );
      return place ?? storage;
    }),
  }));
}
