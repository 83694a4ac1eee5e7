/** Persistent storage on the GPU: weights, moments, carries, counters, random keys. */
import { STORAGE_USAGE, type Allocator } from "./allocator.js";
import { UsageError } from "./errors.js";
import { requirePlace, requireUsage, type BufferPlace } from "./host_buffer.js";
import {
  checkShape,
  checkSpec,
  dtypeOf,
  requireData,
  sizeOf,
  typedArray,
  type Shape,
  type TensorSpec,
  type TypedArray,
} from "./host_data.js";
import type { HostBuffer } from "./host_types.js";
import { announce } from "./ownership.js";
import { makeTensor, type Dtype, type Operation, type Tensor } from "./tensor.js";

/** Attributes of {@link variableOperation}. */
export interface VariableAttributes {
  readonly variable: Variable;
}

/** The value that a variable holds when a program starts. */
export const variableOperation: Operation<VariableAttributes> = { name: "variable", kind: "source" };

/** Host data with a shape, ready to become a variable. */
export interface HostTensor extends TensorSpec {
  /** The elements in row-major order. */
  readonly data: TypedArray;
}

/** Where the storage of a variable comes from. */
export interface VariableOptions {
  /**
   * Usage flags of its buffer besides STORAGE, COPY_SRC and COPY_DST: `GPUBufferUsage.VERTEX` to draw what programs
   * compute, or INDIRECT, INDEX, UNIFORM.
   */
  readonly usage?: GPUBufferUsageFlags;
  /**
   * A place in a buffer of the caller's, in which the variable lives without a copy: programs read what is there, and what
   * they assign is there after the run. The buffer stays the caller's.
   */
  readonly place?: BufferPlace;
}

/**
 * Makes a variable from host data, or filled with zeros from a bare spec; in a place of the caller's a bare spec leaves
 * what is there. With `parts` its rows are cut into that many equal parts, each in a buffer of its own. A program sees one
 * part: its k-th run in a row sees part k (see {@link runSequence}).
 */
export function variable(
  device: Allocator,
  initial: HostTensor | TensorSpec,
  name: string,
  parts = 1,
  options: VariableOptions = {},
): Variable {
  return new Variable(device, initial, name, parts, { options });
}

/** A named buffer that lives until `destroy()`. Programs read it and `assign` to it. */
export class Variable implements TensorSpec {
  /** Shape that programs see: the shape of one part. */
  readonly shape: Shape;
  /** Type of the elements. */
  readonly dtype: Dtype;
  /** Shape and dtype of all parts together, as `write` takes and `read` returns them. */
  readonly whole: TensorSpec;
  /** One buffer for each part. */
  readonly buffers: readonly HostBuffer[];
  /** The leaf that stands for the value at the start of a program. */
  readonly tensor: Tensor;
  /** The variables in it, if it is a pack. */
  members: readonly Variable[] = [];
  /** The pack whose buffer holds this variable; null if the variable has a buffer of its own. */
  readonly pack: Variable | null;
  /** Its first element in its buffer. */
  readonly first: number;
  /** The buffers that were made for it, and are freed with it. */
  readonly #made: readonly GPUBuffer[];
  /** Its buffer is the caller's. */
  readonly #borrowed: boolean;
  #destroyed = false;

  constructor(
    /** What holds its buffers: a device, or a ledger that only counts. */
    readonly device: Allocator,
    initial: HostTensor | TensorSpec,
    /** Its name, for errors and labels. */
    readonly name: string,
    parts: number,
    {
      pack = null,
      first = 0,
      options: { usage = 0, place } = {},
    }: {
      readonly pack?: Variable | null;
      readonly first?: number;
      readonly options?: VariableOptions;
    } = {},
  ) {
    this.pack = pack;
    checkSpec(initial, `variable ${name}`);
    const { shape, dtype } = initial;
    this.whole = { shape, dtype };
    this.shape = parts === 1 ? shape : [shape[0]! / parts, ...shape.slice(1)];
    checkShape(this.shape, `a part of variable ${name}`);
    this.dtype = dtype;
    if ("data" in initial) requireData(`variable ${name}`, initial.data, initial);
    this.tensor = makeTensor(variableOperation, [], { variable: this }, this.shape, this.dtype);
    this.#borrowed = place !== undefined;
    this.first = place ? (place.offset ?? 0) / 4 : first;
    if (place) {
      if (parts !== 1) throw new UsageError(`variable ${name}: got ${parts} parts in one place; expected 1.`);
      requirePlace(name, initial, place, device.gpu.limits.minStorageBufferOffsetAlignment);
    }
    const made: GPUBuffer[] = [];
    this.#made = made;
    this.buffers = pack?.buffers ?? (place ? [place.buffer] : made);
    try {
      if (!pack && !place)
        for (let k = 0; k < parts; k++)
          made.push(device.createBuffer(4 * this.size, STORAGE_USAGE | usage, name));
      if ("data" in initial) this.write(initial.data);
    } catch (error) {
      for (const buffer of made) device.destroyBuffer(buffer);
      throw error;
    }
    announce(this);
  }

  /** Number of elements that programs see. */
  get size(): number {
    return sizeOf(this.shape);
  }

  /** Replaces the value, after everything submitted so far. */
  write(data: TypedArray): void {
    this.requireAlive();
    if (this.#borrowed) requireUsage(this.buffers[0]!, "COPY_DST", `${this.name}.write`);
    requireData(`variable ${this.name}`, data, this.whole);
    this.buffers.forEach((buffer, k) => {
      const part = data.subarray(k * this.size, (k + 1) * this.size);
      this.device.writeBuffer(buffer, part, 4 * this.first);
    });
  }

  /** Copies the value to the host, after everything submitted so far. */
  async read(): Promise<TypedArray> {
    this.requireAlive();
    if (this.#borrowed) requireUsage(this.buffers[0]!, "COPY_SRC", `${this.name}.read`);
    const parts = await Promise.all(
      this.buffers.map((b) => this.device.readBuffer(b, 4 * this.size, 4 * this.first)),
    );
    if (parts.length === 1) return typedArray(this.dtype, parts[0]!);
    const whole = typedArray(this.dtype, new ArrayBuffer(4 * sizeOf(this.whole.shape)));
    parts.forEach((part, k) => whole.set(typedArray(this.dtype, part), k * this.size));
    return whole;
  }

  /** Frees the storage; the storage of a pack goes with its last member. Programs that use the variable must not run any more. */
  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    if (!this.pack) for (const buffer of this.#made) this.device.destroyBuffer(buffer);
    else if (this.pack.members.every((v) => v.#destroyed)) this.pack.destroy();
  }

  /** @throws UsageError after `destroy()` */
  requireAlive(): void {
    if (this.#destroyed || (this.pack ?? this).#destroyed)
      throw new UsageError(`variable ${this.name} was destroyed; compile and run nothing that uses it.`);
  }
}

/**
 * A host tensor from an array.
 * @throws UsageError for arrays other than Float32Array, Int32Array and Uint32Array, or of another size than `shape`
 */
export function hostTensor(data: TypedArray, shape: Shape): HostTensor {
  const where = "hostTensor";
  const spec = { shape, dtype: dtypeOf(data, where), data };
  checkShape(shape, where);
  requireData(where, data, spec);
  return spec;
}
