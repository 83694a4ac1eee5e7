/** Typed errors: each says what was given, what was expected and what to do. */

/** Base of every error that the engine throws; `code` is stable across versions. */
export class EngineError extends Error {
  override readonly name: string = "EngineError";
  constructor(
    readonly code: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

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

/** The GPU reported an error (validation, out of memory, internal); rejects the next awaited call. */
export class GpuError extends EngineError {
  override readonly name = "GpuError";
  constructor(message: string, options?: ErrorOptions) {
    super("gpu", message, options);
  }
}

/** The device went away; open a new one and load the last checkpoint. */
export class DeviceLostError extends EngineError {
  override readonly name = "DeviceLostError";
  constructor(
    readonly reason: string,
    message: string,
  ) {
    super("device-lost", message);
  }
}
