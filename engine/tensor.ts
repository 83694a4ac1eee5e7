/** Symbolic tensors: what an operation promises to compute. Nothing here touches a GPU. */
import type { Capabilities } from "../kernels/capabilities.js";
import type { Dtype, Kernel } from "../kernels/core/kernel.js";
import type { ElementwiseName } from "../kernels/elementwise.js";
import type { ElementwiseFormula } from "../kernels/elementwise_formulas.js";
import { DtypeError, ShapeError, UsageError } from "./errors.js";
import {
  checkShape,
  dtypeOf,
  f32From,
  formatShape,
  formatSpec,
  requireData,
  sizeOf,
  type ArrayOf,
  type Shape,
  type TensorSpec,
  type TypedArray,
} from "./host_data.js";

export type { ArrayOf, Dtype, Shape, TensorSpec, TypedArray };
export { checkShape, formatSpec, sizeOf };

/** Where an operation's kernel reads or writes: an input, an output or a temporary of the node. */
export type Place = { readonly input: number } | { readonly output: number } | { readonly temporary: number };

/** What a node becomes: dispatches in order, their scratch space, and outputs that overwrite inputs. */
export interface Lowering {
  readonly dispatches: readonly { readonly kernel: Kernel; readonly bind: readonly Place[] }[];
  /** Bytes of each temporary. */
  readonly temporaries?: readonly number[];
  /** Pairs [output, input]: the kernel updates that input's buffer in place. */
  readonly inPlace?: readonly (readonly [number, number])[];
}

export interface LowerContext<A> {
  readonly attributes: A;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  readonly capabilities: Capabilities;
  /** True if a tensor is added to the output as it is written. It is bound as one more input. For operations that offer this. */
  readonly residual?: boolean;
  /** Bindings that are stored in f16: of those that the operation declares ({@link KernelOperation.f16}). */
  readonly halves: readonly string[];
  /** Bindings that are written in f16 as gradients, multiplied: also of those. */
  readonly scaled: readonly string[];
}

export interface GradientContext<A> {
  readonly attributes: A;
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  /** Gradient of each output; null if nothing depends on that output. */
  readonly gradients: readonly (Tensor | null)[];
  /** Inputs whose gradients are needed. */
  readonly needed: readonly boolean[];
}

/**
 * The bindings of an operation's inputs and outputs that may be stored in f16, in their order; null for one that stays f32.
 */
export interface F16Bindings {
  /** A `product` rounds its operands to f16 in any case; a `gate` can be computed by the product before it. */
  readonly role?: "product" | "gate";
  readonly inputs: readonly (string | null)[];
  readonly outputs: readonly (string | null)[];
}

/**
 * Gradient of each input; null for an input on which the result does not depend smoothly. A gradient may have the shape that
 * its input was broadcast to, over which `grad` sums it.
 */
export type GradientRule<A> = (context: GradientContext<A>) => readonly (Tensor | null)[];

interface OperationBase<A> {
  readonly name: string;
  /** Absent: not differentiable, unless {@link giveGradient} gives a rule. */
  gradient?: GradientRule<A>;
  /** Its result is a gradient by itself, not only because an input is one. */
  readonly isGradient?: (attributes: A) => boolean;
}

/** A leaf: no inputs, storage of its own. */
export interface SourceOperation<A> extends OperationBase<A> {
  readonly kind: "source";
}

/** Fusable: computes one element of its result from one element of each input. */
export interface ElementwiseOperation<A> extends OperationBase<A> {
  readonly kind: "elementwise";
  readonly apply: ElementwiseName | ElementwiseFormula;
}

/** The output is the first input's storage under another shape. */
export interface ViewOperation<A> extends OperationBase<A> {
  readonly kind: "view";
}

/** The output is all inputs in one buffer. Each is computed in its place if possible, else copied there. */
export interface PackOperation<A> extends OperationBase<A> {
  readonly kind: "pack";
  /** The first element of each input in the output. */
  readonly firsts: (attributes: A) => readonly number[];
}

/** Runs kernels of its own. */
export interface KernelOperation<A> extends OperationBase<A> {
  readonly kind: "kernel";
  /** Its kernels can add a tensor of the output's shape as they write it. */
  readonly addsResidual?: true;
  /** What its kernels can store in f16; absent: nothing. */
  readonly f16?: F16Bindings;
  /** Its dispatches; a kernel alone binds all inputs, then all outputs. */
  lower(context: LowerContext<A>): Lowering | Kernel;
}

/**
 * An operation: its gradient and its lowering in one place. Its shape rule is the free function that calls
 * {@link makeNode}. The compiler tells operations apart by their kind, and one operation from another by identity.
 */
export type Operation<A = unknown> =
  SourceOperation<A> | ElementwiseOperation<A> | ViewOperation<A> | PackOperation<A> | KernelOperation<A>;

/**
 * Gives an operation the gradient rule of another module. What only inference needs then loads neither the rule nor the
 * kernels of the gradient. Functions that promise a gradient call it whenever they are called.
 */
export function giveGradient<A>(operation: Operation<A>, rule: GradientRule<A>): void {
  operation.gradient = rule;
}

/** A node of the graph; ids grow in the order of tracing, so they are a topological order. */
export interface Node {
  readonly id: number;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- attributes are typed where the operation is defined
  readonly operation: Operation<any>;
  readonly inputs: readonly Tensor[];
  readonly attributes: unknown;
  readonly outputs: readonly Tensor[];
  /** It was computed by a gradient's kernel, or depends on one. */
  readonly isGradient: boolean;
}

/**
 * A symbolic, immutable tensor. Make one with an operation, {@link constant}, or a program's inputs. The types `D` and
 * `S` tell dtype and shape as far as TypeScript knows them; {@link typed} gives them to any tensor.
 */
export class Tensor<D extends Dtype = Dtype, S extends Shape = Shape> implements TensorSpec<D, S> {
  /** @internal use operations */
  constructor(
    /** The operation that computes it. */
    readonly node: Node,
    /** Which of the operation's results it is, from 0. */
    readonly index: number,
    /** Lengths of the axes, the slowest first. */
    readonly shape: S,
    /** Type of the elements. */
    readonly dtype: D,
  ) {}

  /** Number of elements. */
  get size(): number {
    return sizeOf(this.shape);
  }

  toString(): string {
    return `${this.node.operation.name} ${formatSpec(this)}`;
  }
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((n, i) => n === b[i]);
}

/** Throws unless the tensor has this dtype. */
export function requireDtype(where: string, tensor: TensorSpec, dtype: Dtype): void {
  if (tensor.dtype !== dtype) {
    throw new DtypeError(
      `${where}: got ${formatSpec(tensor)}; expected ${dtype}. Convert with cast(x, "${dtype}").`,
    );
  }
}

/** Throws unless the tensor has this shape. */
export function requireShape(where: string, tensor: TensorSpec, shape: Shape): void {
  if (!sameShape(tensor.shape, shape)) {
    throw new ShapeError(`${where}: got ${formatSpec(tensor)}; expected shape ${formatShape(shape)}.`);
  }
}

/**
 * The same tensor, checked to be of this dtype and shape, which its type then says: a program that returns it types its
 * output by them.
 * @throws DtypeError, ShapeError if the tensor is another
 */
export function typed<D extends Dtype, const S extends Shape>(
  tensor: Tensor,
  spec: TensorSpec<D, S>,
): Tensor<D, S> {
  requireDtype("typed", tensor, spec.dtype);
  requireShape("typed", tensor, spec.shape);
  return tensor as Tensor<D, S>;
}

let nextId = 0;

/** Adds a node to the graph; its outputs are new tensors of the given specs. */
export function makeNode<A>(
  operation: Operation<A>,
  inputs: readonly Tensor[],
  attributes: A,
  outputs: readonly TensorSpec[],
): Node {
  const isGradient = operation.isGradient?.(attributes) || inputs.some((t) => t.node.isGradient);
  const node = { id: nextId++, operation, inputs, attributes, outputs: [] as Tensor[], isGradient };
  for (const { shape, dtype } of outputs) {
    checkShape(shape, operation.name);
    node.outputs.push(new Tensor(node, node.outputs.length, shape, dtype));
  }
  return node;
}

/** The output of an operation with a single output. */
export function makeTensor<A>(
  operation: Operation<A>,
  inputs: readonly Tensor[],
  attributes: A,
  shape: Shape,
  dtype: Dtype,
): Tensor {
  return makeNode(operation, inputs, attributes, [{ shape, dtype }]).outputs[0]!;
}

/** Attributes of {@link literalOperation}. */
export interface LiteralAttributes {
  readonly value: number;
}

/** A number in the shader's text; takes no storage. */
export const literalOperation: Operation<LiteralAttributes> = { name: "literal", kind: "source" };

/** Attributes of {@link constantOperation}. */
export interface ConstantAttributes {
  readonly data: TypedArray;
}

/** Data uploaded once, when a program is compiled. */
export const constantOperation: Operation<ConstantAttributes> = { name: "constant", kind: "source" };

/** Attributes of {@link inputOperation}. */
export interface InputAttributes {
  readonly name: string;
}

/** Data that the host gives to each run. */
export const inputOperation: Operation<InputAttributes> = { name: "input", kind: "source" };

/**
 * A tensor with a copy of these values, fixed from now on. A list of numbers becomes f32.
 * @throws UsageError for arrays other than Float32Array, Int32Array and Uint32Array, or of another size than `shape`
 */
export function constant(data: TypedArray | readonly number[], shape?: Shape): Tensor {
  const where = "constant";
  const array = Array.isArray(data) ? f32From(data, where) : (data as TypedArray);
  const dtype = dtypeOf(array, where);
  const spec = { shape: shape ?? [array.length], dtype };
  checkShape(spec.shape, where);
  requireData(where, array, spec);
  return makeTensor(constantOperation, [], { data: array.slice() }, spec.shape, dtype);
}

/** Which numbers fit a dtype, and how errors describe them. */
const RANGES: Record<Dtype, readonly [fits: (value: number) => boolean, expected: string]> = {
  f32: [(v) => Number.isFinite(Math.fround(v)), "a finite f32 (constant() carries NaN and infinities)"],
  i32: [(v) => v === (v | 0), "an integer from -2147483648 to 2147483647"],
  u32: [(v) => v === v >>> 0, "an integer from 0 to 4294967295"],
};

/** A scalar literal of the given dtype. @throws UsageError if the value does not fit the dtype */
export function scalar(value: number, dtype: Dtype = "f32"): Tensor {
  const [fits, expected] = RANGES[dtype];
  if (!fits(value)) throw new UsageError(`number for ${dtype}: got ${value}; expected ${expected}.`);
  return makeTensor(literalOperation, [], { value }, [], dtype);
}

/** Spec of an f32 program input of this shape. */
export function f32<const S extends Shape>(...shape: S): TensorSpec<"f32", S> {
  return { shape, dtype: "f32" };
}

/** Spec of an i32 program input of this shape. */
export function i32<const S extends Shape>(...shape: S): TensorSpec<"i32", S> {
  return { shape, dtype: "i32" };
}

/** Spec of a u32 program input of this shape. */
export function u32<const S extends Shape>(...shape: S): TensorSpec<"u32", S> {
  return { shape, dtype: "u32" };
}
