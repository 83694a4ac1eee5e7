/** Typed errors: each says what was given, what was expected and what to do. */
import { EngineError } from "../kernels/core/errors.js";

export { EngineError };

/** Shapes that an operation cannot take. Thrown while tracing. */
export class ShapeError extends EngineError {
  override readonly name = "ShapeError";
  constructor(message: string) {
    super("shape", message);
  }
}

/** Element types that an operation cannot take. Thrown while tracing. */
export class DtypeError extends EngineError {
  override readonly name = "DtypeError";
  constructor(message: string) {
    super("dtype", message);
  }
}

/** A bad argument, or a call at the wrong time: assigning outside a trace, an unknown input name. */
export class UsageError extends EngineError {
  override readonly name = "UsageError";
  constructor(message: string) {
    super("usage", message);
  }
}

/** A buffer, binding or dispatch is larger than the device allows. Thrown while compiling. */
export class LimitError extends EngineError {
  override readonly name = "LimitError";
  constructor(message: string, options?: ErrorOptions) {
    super("limit", message, options);
  }
}

/** No WebGPU, no adapter, or an adapter that computes nothing. */
export class AdapterError extends EngineError {
  override readonly name = "AdapterError";
  constructor(message: string, options?: ErrorOptions) {
    super("adapter", message, options);
  }
}

/** WebGPU's kinds of errors. */
export type GpuErrorCode = "out-of-memory" | "validation" | "internal";

/** The GPU reported an error; it rejects the next awaited call. `code` names the kind. */
export class GpuError extends EngineError {
  override readonly name = "GpuError";
  constructor(
    override readonly code: GpuErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(code, message, options);
  }
}

/** The kind of an error that WebGPU reported. */
export function codeOfGpuError(error: GPUError): GpuErrorCode {
  // The name, not the class: Node has no globals for the classes, and a host's device may come from another realm.
  const { name } = error.constructor;
  if (name === "GPUOutOfMemoryError") return "out-of-memory";
  return name === "GPUInternalError" ? "internal" : "validation";
}

/** The device went away; open a new one and load the last checkpoint. */
export class DeviceLostError extends EngineError {
  override readonly name = "DeviceLostError";
  constructor(
    /** WebGPU's reason: `destroyed` or `unknown`. */
    readonly reason: string,
    message: string,
  ) {
    super("device-lost", message);
  }
}
