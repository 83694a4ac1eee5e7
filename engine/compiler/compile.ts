/** From a traced function to a program on the device. */
import { STORAGE_USAGE, type Device } from "../device.js";
import { GpuError, LimitError, UsageError } from "../errors.js";
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
  type Tensor,
  type TensorSpec,
  type TypedArray,
} from "../tensor.js";
import { trace } from "../trace.js";
import type { Variable } from "../variable.js";
import { fuse, isSource, reachableNodes, rootOf } from "./fuse.js";
import { bytesOf, lower, type PlannedDispatch, type Storage } from "./lower.js";
import { planMemory, type MemoryPlan } from "./memory.js";

/** Program inputs by name. */
export type InputSpecs = Readonly<Record<string, TensorSpec>>;

/** Everything known of a program before it touches the device. */
export interface Plan {
  readonly inputs: InputSpecs;
  readonly outputs: Readonly<Record<string, TensorSpec>>;
  readonly dispatches: readonly PlannedDispatch[];
  readonly memory: MemoryPlan;
  /** Bytes of buffers that the program itself creates: intermediates, inputs, outputs, constants. */
  readonly bytes: {
    readonly intermediates: number;
    readonly inputs: number;
    readonly outputs: number;
    readonly constants: number;
  };
}

/** What `compile` and `plan` take besides the function. */
export interface CompileOptions {
  /** Shown in errors, labels and `explain()`. */
  readonly name?: string;
}

/**
 * Traces `body` once and plans its execution, without creating anything on the GPU.
 * @throws ShapeError, DtypeError, UsageError, LimitError
 */
export function plan<I extends InputSpecs>(
  device: Pick<Device, "capabilities">,
  inputs: I,
  body: (inputs: { [K in keyof I]: Tensor }) => Readonly<Record<string, Tensor>> | void,
): Plan {
  const leaves = Object.fromEntries(
    Object.entries(inputs).map(([name, { shape, dtype }]) => [
      name,
      makeTensor(inputOperation, [], { name }, shape, dtype),
    ]),
  ) as { [K in keyof I]: Tensor };
  const { result, trace: traced } = trace(() => body(leaves) ?? {});
  const outputs = new Map(Object.entries(result).map(([name, t]) => [name, computed(t)]));
  const assigned = new Map<Variable, Tensor>();
  for (const [variable, t] of traced.assigned) {
    if (rootOf(t) !== variable.tensor) assigned.set(variable, computed(t));
  }
  if (outputs.size + assigned.size === 0)
    throw new UsageError("compile: the function returns no tensor and assigns no variable.");
  const results = { outputs, assigned };
  const kept = new Set([...outputs.values(), ...assigned.values()]);
  const units = fuse(reachableNodes([...kept]), kept, device.capabilities.maxStorageBuffersPerShaderStage);
  const dispatches = lower(units, results, device.capabilities);
  const memory = planMemory(dispatches);
  const constants = new Set(
    dispatches.flatMap((d) => d.storages.flatMap((s) => (s.kind === "source" ? [s.tensor] : []))),
  );
  const total = (specs: Iterable<TensorSpec>): number =>
    [...specs].reduce((sum, spec) => sum + bytesOf(spec), 0);
  return {
    inputs,
    outputs: Object.fromEntries(
      Object.entries(result).map(([name, { shape, dtype }]) => [name, { shape, dtype }]),
    ),
    dispatches,
    memory,
    bytes: {
      intermediates: memory.slots.reduce((a, b) => a + b, 0),
      inputs: total(Object.values(inputs)),
      outputs: total(outputs.values()),
      constants: total([...constants].filter((t) => t.node.operation !== inputOperation)),
    },
  };
}

/** A root that a kernel writes: leaves are copied, so that results never alias what programs read. */
function computed(tensor: Tensor): Tensor {
  const root = rootOf(tensor);
  return isSource(root) ? identity(tensor) : root;
}

/**
 * Compiles a function of tensors into a program: traced once, planned, its pipelines created in parallel,
 * then replayed by `run()`.
 * @throws ShapeError, DtypeError, UsageError, LimitError synchronously from tracing; GpuError if the device refuses
 */
export async function compile<I extends InputSpecs>(
  device: Device,
  inputs: I,
  body: (inputs: { [K in keyof I]: Tensor }) => Readonly<Record<string, Tensor>> | void,
  options: CompileOptions = {},
): Promise<Program> {
  return instantiate(device, plan(device, inputs, body), options);
}

async function instantiate(
  device: Device,
  planned: Plan,
  { name = "program" }: CompileOptions,
): Promise<Program> {
  const created: GPUBuffer[] = [];
  device.gpu.pushErrorScope("out-of-memory");
  device.gpu.pushErrorScope("validation");
  const buffer = (bytes: number, label: string): GPUBuffer => {
    const result = device.createBuffer(bytes, STORAGE_USAGE, `${name}: ${label}`);
    created.push(result);
    return result;
  };
  const largest = Math.max(0, ...planned.memory.slots);
  if (largest > device.gpu.limits.maxBufferSize) {
    device.gpu.popErrorScope().catch(() => null);
    device.gpu.popErrorScope().catch(() => null);
    throw new LimitError(
      `${name} needs a buffer of ${largest} bytes; this device allows ${device.gpu.limits.maxBufferSize}. Use a smaller batch.`,
    );
  }
  const slots = planned.memory.slots.map((bytes, i) => buffer(bytes, `slot ${i}`));
  const inputs = new Map(
    Object.entries(planned.inputs).map(([key, spec]) => [key, buffer(bytesOf(spec), `input ${key}`)]),
  );
  const outputs = new Map(
    Object.entries(planned.outputs).map(([key, spec]) => [key, buffer(bytesOf(spec), `output ${key}`)]),
  );
  const constants = new Map<Tensor, GPUBuffer>();
  const bufferOf = (storage: Storage): GPUBuffer => {
    switch (storage.kind) {
      case "variable":
        return storage.variable.buffer;
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
          device.gpu.queue.writeBuffer(found, 0, constantData(tensor) as GPUAllowSharedBufferSource);
          constants.set(tensor, found);
        }
        return found;
      }
    }
  };
  const bound = planned.dispatches.map(({ kernel, label, storages }) => ({
    kernel,
    label,
    bindGroup: device.gpu.createBindGroup({
      label: `${name}: ${label}`,
      layout: device.bindGroupLayout(kernel),
      entries: storages.map((storage, binding) => ({ binding, resource: { buffer: bufferOf(storage) } })),
    }),
  }));
  const scopes = [device.gpu.popErrorScope(), device.gpu.popErrorScope()];
  try {
    const pipelines = await Promise.all(bound.map(({ kernel, label }) => device.pipeline(kernel, label)));
    for (const error of await Promise.all(scopes))
      if (error) throw new GpuError(`Compiling ${name}: ${error.message}`);
    device.throwLateError();
    const dispatches = bound.map((d, i): BoundDispatch => ({ ...d, pipeline: pipelines[i]! }));
    return new Program(device, name, planned, dispatches, inputs, outputs, created);
  } catch (error) {
    for (const b of created) device.destroyBuffer(b);
    throw error;
  }
}

function constantData(tensor: Tensor): TypedArray {
  const { operation, attributes } = tensor.node;
  if (operation === constantOperation) return (attributes as ConstantAttributes).data;
  const { value } = attributes as LiteralAttributes;
  return tensor.dtype === "f32"
    ? Float32Array.of(value)
    : tensor.dtype === "i32"
      ? Int32Array.of(value)
      : Uint32Array.of(value);
}

/**
 * Reads tensors now: compiles what they need, runs it once and copies the values to the host. The same path
 * and pipeline cache as `compile`; for values outside of any training step.
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
