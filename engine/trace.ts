/** The trace under construction: which variables it has assigned so far. */
import { UsageError } from "./errors.js";
import { described } from "./host_data.js";
import { requireDtype, requireShape, scalar, Tensor, type Dtype } from "./tensor.js";
import { Variable } from "./variable.js";

/** What operations take: a tensor, a variable (its value at this point of the trace) or a number. */
export type TensorLike = Tensor | Variable | number;

/** The effects of the traced function besides its outputs. */
export interface Trace {
  /** The last tensor assigned to each variable. */
  readonly assigned: Map<Variable, Tensor>;
}

let current: Trace | null = null;

/** Runs `body` as a trace; assignments made in it are recorded. */
export function trace<T>(body: () => T): { result: T; trace: Trace } {
  if (current) throw new UsageError("A trace cannot start inside another trace.");
  const started: Trace = { assigned: new Map() };
  current = started;
  try {
    return { result: body(), trace: started };
  } finally {
    current = null;
  }
}

/** The tensor that a tensor-like stands for at this point of the trace. */
export function asTensor(value: TensorLike, literalDtype: Dtype = "f32"): Tensor {
  if (value instanceof Tensor) return value;
  if (value instanceof Variable) {
    if (value.pack && current?.assigned.has(value.pack))
      throw new UsageError(
        `${value.name}: it is read after its pack ${value.pack.name} was assigned; read it before.`,
      );
    return current?.assigned.get(value) ?? value.tensor;
  }
  if (typeof value === "number") return scalar(value, literalDtype);
  throw new UsageError(`Expected a Tensor, a Variable or a number; got ${described(value)}.`);
}

/**
 * From here on in the trace, and after the run on the GPU, `variable` holds `value`. Reads traced
 * earlier keep the old value.
 * @throws UsageError outside a trace; ShapeError, DtypeError if the value does not fit.
 */
export function assign(variable: Variable, value: TensorLike): void {
  if (!current) {
    throw new UsageError(`assign(${variable.name}): call it inside compile(), or use variable.write(data).`);
  }
  if (variable.pack)
    throw new UsageError(
      `assign(${variable.name}): the variable is part of ${variable.pack.name}; assign to the whole pack.`,
    );
  const tensor = asTensor(value, variable.dtype);
  const where = `assign(${variable.name})`;
  requireDtype(where, tensor, variable.dtype);
  requireShape(where, tensor, variable.shape);
  current.assigned.set(variable, tensor);
}
