/** From a traced function to a program on the device. */
import { startOf } from "../forms.js";
import { unlessAborted, type Abortable } from "../abort.js";
import { bufferSize, STORAGE_USAGE } from "../allocator.js";
import type { Device } from "../device.js";
import { captureErrors } from "../error_scopes.js";
import { codeOfGpuError, GpuError, LimitError, UsageError } from "../errors.js";
import { labelled } from "../labels.js";
import { checkSpec, typedArray, type TypedArray } from "../host_data.js";
import { identity } from "../ops/elementwise.js";
import { Program, type BoundDispatch } from "../program.js";
import {
  constantOperation,
  formatSpec,
  inputOperation,
  makeTensor,
  type ConstantAttributes,
  type InputAttributes,
  type LiteralAttributes,
  type Node,
  type Tensor,
  type TensorSpec,
} from "../tensor.js";
import { type TensorLike, asTensor, trace } from "../trace.js";
import type { Target } from "../target.js";
import type { Variable } from "../variable.js";
import { fuse, isSource, reachableNodes, rootOf } from "./fuse.js";
import { bytesOf, lower, placeOf } from "./lower.js";
import { planMemory } from "./memory.js";
import type { InputSpecs, OutputSpecs, Plan, Storage } from "./plan.js";

/** Options of `compile`. */
export interface CompileOptions extends Abortable {
  /** Shown in errors, labels and `explain()`. */
  readonly name?: string;
  /** What to compile for; default: the device's target. */
  readonly target?: Target | undefined;
}

/** What a traced function returns: outputs by name, or nothing if it only assigns. */
export type ProgramResult = Readonly<Record<string, TensorLike>> | void;

/** The function that a program is traced from. */
export type ProgramBody<I extends InputSpecs, R extends ProgramResult = ProgramResult> = (inputs: {
  [K in keyof I]: Tensor;
}) => R;

/** The specs of a function's results, as far as their types tell them. */
export type OutputsOf<R extends ProgramResult> = [R] extends [void]
  ? Readonly<Record<never, never>>
  : [R] extends [Readonly<Record<string, TensorLike>>]
    ? { readonly [K in keyof R]: R[K] extends TensorSpec<infer D, infer S> ? TensorSpec<D, S> : TensorSpec }
    : OutputSpecs;

/**
 * Traces `body` once and plans its execution, without creating anything on the GPU. Errors speak of `name`.
 * @throws ShapeError, DtypeError, UsageError, LimitError
 */
export function plan<I extends InputSpecs>(
  { capabilities, maxBufferSize = Infinity, f16Storage }: Target,
  inputs: I,
  body: ProgramBody<I>,
  name = "program",
): Plan {
  const leaves = Object.fromEntries(
    Object.entries(inputs).map(([name, spec]) => {
      checkSpec(spec, `compile: input ${name}`);
      return [name, makeTensor(inputOperation, [], { name }, spec.shape, spec.dtype)];
    }),
  ) as { [K in keyof I]: Tensor };
  const { result, trace: traced } = trace(() => {
    const returned = body(leaves) ?? {};
    if (returned instanceof Promise)
      throw new UsageError("compile: got an async function; expected one that returns its tensors at once.");
    return Object.entries(returned).map(([name, value]) => [name, asTensor(value)] as const);
  });
  const outputs = new Map(result.map(([name, t]) => [name, computed(t)]));
  const assigned = new Map<Variable, Tensor>();
  for (const [variable, t] of traced.assigned) {
    if (rootOf(t) !== variable.tensor) assigned.set(variable, computed(t));
  }
  if (outputs.size + assigned.size === 0)
    throw new UsageError("compile: the function returns no tensor and assigns to no variable.");
  const results = { outputs, assigned };
  const kept = new Set([...outputs.values(), ...assigned.values()]);
  const nodes = reachableNodes([...kept]);
  requireOwnInputs(nodes, Object.values(leaves));
  const units = fuse(nodes, kept, capabilities);
  const halves = f16Storage?.(units, kept, capabilities);
  const graph = { traced: nodes, fused: halves?.units ?? units };
  const dispatches = lower(graph.fused, results, capabilities, halves);
  const memory = planMemory(dispatches);
  const specs = [...Object.values(inputs), ...outputs.values()];
  const largest = bufferSize(Math.max(...memory.slots, ...specs.map(bytesOf)));
  if (largest > maxBufferSize)
    throw new LimitError(
      `${name}: needs a buffer of ${largest} bytes; this device allows ${maxBufferSize}. Use a smaller batch.`,
    );
  const constants = new Set(
    dispatches.flatMap((d) => d.storages.flatMap((s) => (s.kind === "source" ? [s.tensor] : []))),
  );
  const total = (specs: Iterable<TensorSpec>): number =>
    [...specs].reduce((sum, spec) => sum + bufferSize(bytesOf(spec)), 0);
  return {
    inputs,
    outputs: Object.fromEntries(result.map(([name, { shape, dtype }]) => [name, { shape, dtype }])),
    graph,
    dispatches,
    memory,
    bytes: {
      intermediates: memory.slots.reduce((sum, bytes) => sum + bufferSize(bytes), 0),
      inputs: total(Object.values(inputs)),
      outputs: total(outputs.values()),
      constants: total([...constants].filter((t) => t.node.operation !== inputOperation)),
    },
  };
}

/** Refuses tensors made from another program's inputs, because these have no value here. */
function requireOwnInputs(nodes: readonly Node[], own: readonly Tensor[]): void {
  const known = new Set(own.map((t) => t.node));
  const stranger = nodes.find((n) => n.operation === inputOperation && !known.has(n));
  if (stranger) {
    const { name } = stranger.attributes as InputAttributes;
    throw new UsageError(
      `compile: got ${stranger.outputs[0]!} "${name}" of another program; expected inputs of this program, variables and constants.`,
    );
  }
}

/** A root that a kernel writes. Leaves are copied, so that results never alias the inputs of programs. */
function computed(tensor: Tensor): Tensor {
  const root = rootOf(tensor);
  return isSource(root) ? identity(tensor) : root;
}

/**
 * Compiles a function of tensors into a program: traced once, planned, its pipelines created in parallel,
 * then replayed by `run()`.
 * @throws ShapeError, DtypeError, UsageError, LimitError for mistakes in the function, synchronously and not through the promise
 * @returns a promise that rejects with GpuError if the device refuses, DeviceLostError if it is gone, and with the reason
 * of the signal if that fires
 */
export function compile<const I extends InputSpecs, R extends ProgramResult>(
  device: Device,
  inputs: I,
  body: ProgramBody<I, R>,
  { name = "program", target = device.target, signal }: CompileOptions = {},
): Promise<Program<I, OutputsOf<R>>> {
  const planned = plan(target, inputs, body, name);
  for (const used of variablesOf(planned)) {
    if (used.device !== device)
      throw new UsageError(`${name}: variable ${used.name} lives on another device.`);
    used.requireAlive();
  }
  requireOwnBuffers(planned, name);
  return instantiate(device, planned, name, signal) as Promise<Program<I, OutputsOf<R>>>;
}

/** WebGPU lets no dispatch read and write one buffer, so variables in one buffer of a host's cannot be in one program. */
function requireOwnBuffers(planned: Plan, name: string): void {
  const users = new Map<GPUBuffer, Variable>();
  for (const used of variablesOf(planned)) {
    const root = used.pack ?? used;
    for (const buffer of used.buffers) {
      const other = users.get(buffer) ?? root;
      if (other !== root)
        throw new UsageError(
          `${name}: variables ${other.name} and ${root.name} lie in one GPUBuffer; expected a buffer for each.`,
        );
      users.set(buffer, root);
    }
  }
}

/** Variables that a plan reads or writes. */
function variablesOf(planned: Plan): Set<Variable> {
  return new Set(
    planned.dispatches.flatMap((d) => d.storages.flatMap((s) => (s.kind === "variable" ? [s.variable] : []))),
  );
}

async function instantiate(
  device: Device,
  planned: Plan,
  name: string,
  signal?: AbortSignal,
): Promise<Program> {
  signal?.throwIfAborted();
  device.throwLateError();
  const created: GPUBuffer[] = [];
  const buffer = (bytes: number, label: string): GPUBuffer => {
    const result = device.createBuffer(bytes, STORAGE_USAGE, `${name}: ${label}`);
    created.push(result);
    return result;
  };
  try {
    const { value, error: scope } = captureErrors(device.gpu, ["out-of-memory", "validation"], () =>
      bind(device, planned, name, buffer),
    );
    const { inputs, outputs, bound } = value;
    const forms = Promise.all(bound.map(({ kernel, label }) => startOf(device, kernel, label)));
    const [ready, error] = await unlessAborted(Promise.all([forms, scope]), signal);
    if (error) throw new GpuError(codeOfGpuError(error), `Compiling ${name}: ${error.message}`);
    await device.settle();
    const dispatches = bound.map((d, i): BoundDispatch => ({ ...d, running: ready[i]! }));
    const variables = [...variablesOf(planned)];
    return new Program(device, name, planned, { dispatches, inputs, outputs, variables, owned: created });
  } catch (error) {
    for (const b of created) device.destroyBuffer(b);
    signal?.throwIfAborted();
    throw await device.lossOr(error);
  }
}

/** Creates a plan's buffers and binds them to its dispatches. */
function bind(
  device: Device,
  planned: Plan,
  name: string,
  buffer: (bytes: number, label: string) => GPUBuffer,
): {
  inputs: Map<string, GPUBuffer>;
  outputs: Map<string, GPUBuffer>;
  bound: Omit<BoundDispatch, "running">[];
} {
  const slots = planned.memory.slots.map((bytes, i) => buffer(bytes, `slot ${i}`));
  const inputs = new Map(
    Object.entries(planned.inputs).map(([key, spec]) => [key, buffer(bytesOf(spec), `input ${key}`)]),
  );
  const outputs = new Map(
    Object.entries(planned.outputs).map(([key, spec]) => [key, buffer(bytesOf(spec), `output ${key}`)]),
  );
  const constants = new Map<Tensor, GPUBuffer>();
  const bufferOf = (storage: Storage, part: number): GPUBuffer => {
    switch (storage.kind) {
      case "variable":
        return storage.variable.buffers[part % storage.variable.buffers.length]!;
      case "output":
        return outputs.get(storage.name)!;
      case "intermediate":
        return slots[planned.memory.slotOf.get(storage.id)!]!;
      case "source": {
        const { tensor } = storage;
        if (tensor.node.operation === inputOperation)
          return inputs.get((tensor.node.attributes as InputAttributes).name)!;
        let found = constants.get(tensor);
        if (!found) {
          found = buffer(bytesOf(tensor), `constant ${formatSpec(tensor)}`);
          device.writeBuffer(found, constantData(tensor));
          constants.set(tensor, found);
        }
        return found;
      }
    }
  };
  const bound = planned.dispatches.map(({ kernel, label, storages }) => ({
    kernel,
    label,
    bindGroups: Array.from({ length: partsOf(storages) }, (_, part) =>
      device.gpu.createBindGroup({
        label: labelled(`${name}: ${label}`),
        layout: device.bindGroupLayout(kernel),
        entries: storages.map((storage, binding) => {
          const { first, size } = placeOf(storage);
          const buffer = bufferOf(storage, part);
          // A buffer of a host's may end with the tensor.
          const range = first !== undefined && {
            offset: 4 * first,
            size: Math.min(bufferSize(4 * size!), buffer.size - 4 * first),
          };
          return { binding, resource: { buffer, ...range } };
        }),
      }),
    ),
  }));
  return { inputs, outputs, bound };
}

/** Parts of the variables that a dispatch binds. */
function partsOf(storages: readonly Storage[]): number {
  return Math.max(...storages.map((s) => (s.kind === "variable" ? s.variable.buffers.length : 1)));
}

function constantData(tensor: Tensor): TypedArray {
  const { operation, attributes } = tensor.node;
  if (operation === constantOperation) return (attributes as ConstantAttributes).data;
  return typedArray(tensor.dtype, new ArrayBuffer(4)).fill((attributes as LiteralAttributes).value);
}

/**
 * Reads a tensor now: compiles the operations that it needs, runs them once and copies the value to the host. It shares the
 * path and pipeline cache of `compile`. Use it for values outside any training step.
 */
export async function read(device: Device, tensor: Tensor): Promise<TypedArray> {
  const program = await compile(device, {}, () => ({ value: tensor }), { name: "read" });
  try {
    await program.run();
    return await program.read("value");
  } finally {
    program.destroy();
  }
}
