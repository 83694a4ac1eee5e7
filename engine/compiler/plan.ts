/** What the compiler knows of a program before it touches the device: dispatches over symbolic storage. */
import type { Capabilities } from "../../kernels/capabilities.js";
import type { F16Buffers, Kernel } from "../../kernels/core/kernel.js";
import type { Node, Tensor, TensorSpec } from "../tensor.js";
import type { Variable } from "../variable.js";
import type { Unit } from "./fuse.js";

/** Program inputs by name. */
export type InputSpecs = Readonly<Record<string, TensorSpec>>;

/** Program outputs by name. */
export type OutputSpecs = Readonly<Record<string, TensorSpec>>;

/** A program before it touches the device. */
export interface Plan<I extends InputSpecs = InputSpecs, O extends OutputSpecs = OutputSpecs> {
  /** Specs of the inputs, by name. */
  readonly inputs: I;
  /** Specs of the outputs, by name. */
  readonly outputs: O;
  /** The graph before and after fusion. */
  readonly graph: Graph;
  /** The dispatches in the order in which they run. */
  readonly dispatches: readonly PlannedDispatch[];
  /** The slots that intermediates share. */
  readonly memory: MemoryPlan;
  /** Bytes of buffers that the program itself creates: intermediates, inputs, outputs, constants. */
  readonly bytes: {
    readonly intermediates: number;
    readonly inputs: number;
    readonly outputs: number;
    readonly constants: number;
  };
}

/** The graph of a program, before and after fusion. */
export interface Graph {
  /** Everything that the results need, in topological order, views included. */
  readonly traced: readonly Node[];
  /** What runs as one, in the order in which it runs. */
  readonly fused: readonly Unit[];
}

/** Which intermediates share a buffer, called a slot. */
export interface MemoryPlan {
  /** Bytes of each slot. */
  readonly slots: readonly number[];
  /** Slot of each intermediate, by its id. */
  readonly slotOf: ReadonlyMap<number, number>;
}

/** Storage of a value while the program runs. */
export type Storage =
  | { readonly kind: "variable"; readonly variable: Variable }
  | { readonly kind: "source"; readonly tensor: Tensor }
  | { readonly kind: "output"; readonly name: string }
  | Intermediate;

/** A value that the memory plan gives a slot. A member of a pack is a range of its elements. */
export interface Intermediate {
  readonly kind: "intermediate";
  readonly id: number;
  readonly bytes: number;
  readonly first?: number;
  readonly size?: number;
}

/** A kernel with the storage of each of its bindings. */
export interface PlannedDispatch {
  readonly kernel: Kernel;
  /** Operation and shapes, for errors and `explain()`. */
  readonly label: string;
  readonly storages: readonly Storage[];
}

/** The results that outlive a run. */
export interface Results {
  /** Root tensors by output name. */
  readonly outputs: ReadonlyMap<string, Tensor>;
  /** Root tensors by the variable that they are assigned to. No root is a source. */
  readonly assigned: ReadonlyMap<Variable, Tensor>;
}

/** Tensors stored in f16; see f16_storage.ts. */
export interface StoredInF16 {
  /** The units. Some of them read copies in f16. */
  readonly units: readonly Unit[];
  /** Roots that are stored in f16 as they are. */
  readonly halves: ReadonlySet<Tensor>;
  /** For each unit of a kernel operation, which of the operation's bindings are in f16. */
  readonly buffers: ReadonlyMap<Unit, Required<F16Buffers>>;
  /** Returns the dispatches with half as much storage for what is in f16. */
  adapt(
    dispatches: readonly PlannedDispatch[],
    storageOf: (root: Tensor) => Storage,
  ): readonly PlannedDispatch[];
}

/** A pass of the compiler: decides what is stored in f16, of the units that nodes became. */
export type F16Storage = (
  units: readonly Unit[],
  kept: ReadonlySet<Tensor>,
  capabilities: Capabilities,
) => StoredInF16;
