/** Persistent storage on the GPU: weights, moments, carries, counters, random keys. */
import { STORAGE_USAGE, type Device } from "./device.js";
import { UsageError } from "./errors.js";
import { typedArray } from "./run_kernel.js";
import {
  checkShape,
  dtypeOf,
  makeTensor,
  requireData,
  sizeOf,
  type Dtype,
  type Operation,
  type Shape,
  type Tensor,
  type TensorSpec,
  type TypedArray,
} from "./tensor.js";

/** Attributes of {@link variableOperation}. */
export interface VariableAttributes {
  readonly variable: Variable;
}

/** The value that a variable holds when a program starts. */
export const variableOperation: Operation<VariableAttributes> = { name: "variable", source: true };

/** Host data with a shape, ready to become a variable. */
export interface HostTensor extends TensorSpec {
  readonly data: TypedArray;
}

/** Makes a variable from host data; zeros from a bare spec. */
export function variable(device: Device, initial: HostTensor | TensorSpec, name: string): Variable {
  return new Variable(device, initial, name);
}

/** A named buffer that lives until `destroy()`. Programs read it and `assign` to it. */
export class Variable implements TensorSpec {
  readonly shape: Shape;
  readonly dtype: Dtype;
  readonly buffer: GPUBuffer;
  /** The leaf that stands for the value at the start of a program. */
  readonly tensor: Tensor;
  #destroyed = false;

  constructor(
    readonly device: Device,
    initial: HostTensor | TensorSpec,
    readonly name: string,
  ) {
    checkShape(initial.shape, `variable ${name}`);
    this.shape = initial.shape;
    this.dtype = initial.dtype;
    if ("data" in initial) requireData(`variable ${name}`, initial.data, initial);
    this.buffer = device.createBuffer(4 * sizeOf(this.shape), STORAGE_USAGE, name);
    this.tensor = makeTensor(variableOperation, [], { variable: this }, this.shape, this.dtype);
    if ("data" in initial) this.write(initial.data);
  }

  /** Number of elements. */
  get size(): number {
    return sizeOf(this.shape);
  }

  /** Replaces the value, after everything submitted so far. */
  write(data: TypedArray): void {
    this.requireAlive();
    requireData(`variable ${this.name}`, data, this);
    this.device.gpu.queue.writeBuffer(this.buffer, 0, data as GPUAllowSharedBufferSource);
  }

  /** Copies the value to the host, after everything submitted so far. */
  async read(): Promise<TypedArray> {
    this.requireAlive();
    return typedArray(this.dtype, await this.device.readBuffer(this.buffer, 4 * this.size));
  }

  /** Frees the storage; programs that use the variable must not run any more. */
  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    this.device.destroyBuffer(this.buffer);
  }

  /** @throws UsageError after `destroy()` */
  requireAlive(): void {
    if (this.#destroyed)
      throw new UsageError(
        `variable ${this.name} was destroyed; programs that use it must not be compiled or run any more.`,
      );
  }
}

/** A host tensor from an array. */
export function hostTensor(data: TypedArray, shape: Shape): HostTensor {
  const spec = { shape, dtype: dtypeOf(data), data };
  requireData("hostTensor", data, spec);
  return spec;
}
