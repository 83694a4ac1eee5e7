/** Tensors in one buffer, so that one dispatch can work on all of them. */
import type { Allocator } from "../allocator.js";
import { owning } from "../ownership.js";
import { makeTensor, requireDtype, sizeOf, type Operation, type Tensor, type TensorSpec } from "../tensor.js";
import { asTensor } from "../trace.js";
import { Variable, variable, type HostTensor, type VariableAttributes } from "../variable.js";

/** Each member begins at a multiple of this many elements: 256 bytes, as bindings require, even if stored in f16. */
const ALIGNMENT = 128;
/** The most elements of a pack: every WebGPU device can bind this much (128 MiB). */
const MOST = 2 ** 25;

/** Tensors that share a buffer, one after the other. */
export interface PackLayout<T> {
  readonly members: readonly T[];
  /** The first element of each member. */
  readonly firsts: readonly number[];
  /** All elements, including the unused gaps between members. */
  readonly size: number;
}

/** Groups neighbours into as few packs as bindings allow. A member that is too large for a pack stands alone. */
export function packLayouts<T>(all: readonly T[], sizeOf: (one: T) => number): PackLayout<T>[] {
  const layouts: { members: T[]; firsts: number[]; size: number }[] = [];
  for (const one of all) {
    const size = Math.ceil(sizeOf(one) / ALIGNMENT) * ALIGNMENT;
    let last = layouts.at(-1);
    if (!last || last.size + size > MOST) layouts.push((last = { members: [], firsts: [], size: 0 }));
    last.members.push(one);
    last.firsts.push(last.size);
    last.size += size;
  }
  return layouts;
}

const packOperation: Operation<PackLayout<Tensor>> = {
  name: "pack",
  kind: "pack",
  firsts: ({ firsts }) => firsts,
};

/** The packs made so far, by their first member. */
const packs = new WeakMap<Tensor, Tensor>();

/** A tensor of one dimension with all elements of several (f32), and how it holds them. */
export interface Pack extends PackLayout<Tensor> {
  /** The whole buffer as one tensor. */
  readonly tensor: Tensor;
}

/**
 * Tensors (f32) side by side, in as few one-dimensional tensors as devices can bind. The same tensors yield the same packs,
 * and the members of a variables' pack yield that pack.
 */
export function pack(tensors: readonly Tensor[]): Pack[] {
  return packLayouts(tensors, ({ shape }) => sizeOf(shape)).map((layout) => {
    const { members, size } = layout;
    for (const t of members) requireDtype("pack", t, "f32");
    const same = (others: readonly Tensor[]): boolean =>
      others.length === members.length && others.every((t, i) => t === members[i]);
    const first = members[0]!;
    const variables = (first.node.attributes as Partial<VariableAttributes> | null)?.variable?.pack;
    if (variables && same(variables.members.map((v) => v.tensor)))
      return { ...layout, tensor: asTensor(variables) };
    let tensor = members.length > 1 ? packs.get(first) : first;
    if (!tensor || (members.length > 1 && !same(tensor.node.inputs))) {
      tensor = makeTensor(packOperation, members, layout, [size], "f32");
      packs.set(first, tensor);
    }
    return { ...layout, tensor };
  });
}

/**
 * Makes f32 variables that share a buffer (or several, as bindings have a limit), so that one dispatch can update them
 * all: see {@link Variable.pack}. They are read one by one, but assigned to only as a pack.
 */
export function packedVariables(
  device: Allocator,
  initials: ReadonlyMap<string, HostTensor | TensorSpec>,
  packName: string,
): Variable[] {
  return owning(() =>
    packLayouts([...initials], ([, { shape }]) => sizeOf(shape)).flatMap(({ members, firsts, size }) => {
      if (members.length === 1) return members.map(([name, initial]) => variable(device, initial, name));
      for (const [name, initial] of members) requireDtype(`${packName}: ${name}`, initial, "f32");
      const pack = new Variable(device, { shape: [size], dtype: "f32" }, packName, 1);
      pack.members = members.map(
        ([name, initial], i) => new Variable(device, initial, name, 1, { pack, first: firsts[i]! }),
      );
      return pack.members;
    }),
  );
}
