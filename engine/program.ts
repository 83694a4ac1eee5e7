/** A compiled program: a flat list of dispatches, replayed as one command buffer per call. */
import type { Kernel } from "../kernels/kernel.js";
import type { Plan } from "./compiler/compile.js";
import type { Storage } from "./compiler/lower.js";
import type { Device } from "./device.js";
import { UsageError } from "./errors.js";
import {
  formatSpec,
  inputOperation,
  requireData,
  sizeOf,
  typedArray,
  type InputAttributes,
  type Tensor,
  type TypedArray,
} from "./tensor.js";
import type { Variable } from "./variable.js";

/** A dispatch with everything that encoding needs. */
export interface BoundDispatch {
  readonly kernel: Kernel;
  readonly label: string;
  readonly pipeline: GPUComputePipeline;
  /** One, or one for each part of a variable that it binds. */
  readonly bindGroups: readonly GPUBindGroup[];
}

/** One line of `explain()`. */
export interface ExplainedDispatch {
  readonly kernel: string;
  /** The kernel's variant was chosen ({@link Device.choose}), not the default of its family. */
  readonly chosen: boolean;
  readonly operation: string;
  readonly workgroups: readonly [number, number, number];
  readonly flops: number;
  readonly bytes: number;
  /** Where each binding lives: `slot 3`, `variable w`, `input x`, `output loss`, `constant`. */
  readonly buffers: readonly string[];
}

/** What a program holds on its device. */
export interface ProgramParts {
  readonly dispatches: readonly BoundDispatch[];
  readonly inputs: ReadonlyMap<string, GPUBuffer>;
  readonly outputs: ReadonlyMap<string, GPUBuffer>;
  /** Variables that it reads or writes. */
  readonly variables: readonly Variable[];
  /** Buffers to free with it. */
  readonly owned: readonly GPUBuffer[];
}

/** Replays a traced function. Create with {@link compile}; free with `destroy()`. */
export class Program {
  #destroyed = false;

  /** @internal */
  constructor(
    readonly device: Device,
    readonly name: string,
    readonly plan: Plan,
    private readonly parts: ProgramParts,
  ) {}

  /**
   * Submits `times` runs before it returns, in the order of the calls, see {@link runInTurn}. The promise waits for
   * none of them, unless the device's bound of submissions in flight is reached: await it in loops. Inputs keep their
   * value from the run before where none is given.
   * @throws UsageError (nothing was submitted); GpuError or DeviceLostError for what the device reported since
   */
  async run(inputs: Readonly<Record<string, TypedArray>> = {}, times = 1): Promise<void> {
    this.#requireAlive("run");
    if (!Number.isInteger(times) || times < 1)
      throw new UsageError(`${this.name}.run: got times = ${times}; expected a positive integer.`);
    for (const [key, data] of Object.entries(inputs)) {
      const spec = this.plan.inputs[key];
      if (!spec) {
        const known = Object.keys(this.plan.inputs).join(", ") || "none";
        throw new UsageError(`${this.name}.run: no input "${key}"; this program takes ${known}.`);
      }
      requireData(`${this.name}.run: input ${key}`, data, spec);
    }
    this.requireRunnable();
    this.device.throwLateError();
    for (const [key, data] of Object.entries(inputs)) {
      this.device.gpu.queue.writeBuffer(this.parts.inputs.get(key)!, 0, data as GPUAllowSharedBufferSource);
    }
    await runInTurn([[this, times]]);
  }

  /**
   * Encodes the dispatches from `first` up to `end` into a pass of the caller's, for profilers that place
   * timestamps of their own. The caller submits, and keeps the order of `plan.dispatches`. `part` is that of variables
   * with parts.
   */
  encode(pass: GPUComputePassEncoder, first = 0, end = this.parts.dispatches.length, part = 0): void {
    const { dispatches } = this.parts;
    let current: GPUComputePipeline | null = null;
    for (let i = first; i < end; i++) {
      const { kernel, pipeline, bindGroups } = dispatches[i]!;
      const { workgroups } = kernel;
      if (pipeline !== current) pass.setPipeline((current = pipeline));
      pass.setBindGroup(0, bindGroups[part % bindGroups.length]);
      // Every argument is converted on its way into the addon or browser.
      if (workgroups[1] === 1 && workgroups[2] === 1) pass.dispatchWorkgroups(workgroups[0]);
      else pass.dispatchWorkgroups(...workgroups);
    }
  }

  /** The dispatches in stretches of at most `most` work (operations and bytes of their kernels), or of one dispatch. */
  stretches(most: number): { first: number; end: number; work: number }[] {
    const found: { first: number; end: number; work: number }[] = [];
    this.parts.dispatches.forEach(({ kernel }, i) => {
      const work = kernel.flops + kernel.bytes;
      const last = found.at(-1);
      if (last && last.work + work <= most) {
        last.end = i + 1;
        last.work += work;
      } else found.push({ first: i, end: i + 1, work });
    });
    return found;
  }

  /** The value of an output after the runs submitted so far. */
  async read(output: string): Promise<TypedArray> {
    this.#requireAlive("read");
    const spec = this.plan.outputs[output];
    const buffer = this.parts.outputs.get(output);
    if (!spec || !buffer) {
      throw new UsageError(
        `${this.name}.read: no output "${output}"; this program gives ${[...this.parts.outputs.keys()].join(", ") || "none"}.`,
      );
    }
    return typedArray(spec.dtype, await this.device.readBuffer(buffer, 4 * sizeOf(spec.shape)));
  }

  /** Every dispatch with its kernel, operation, work and buffers. */
  dispatchList(): ExplainedDispatch[] {
    const { slotOf } = this.plan.memory;
    const place = (storage: Storage): string => {
      switch (storage.kind) {
        case "variable":
          return `variable ${storage.variable.name}`;
        case "output":
          return `output ${storage.name}`;
        case "intermediate":
          return `slot ${slotOf.get(storage.id)}${storage.first === undefined ? "" : ` from ${storage.first}`}`;
        case "source":
          return sourceName(storage.tensor);
      }
    };
    return this.plan.dispatches.map(({ kernel, label, storages }) => ({
      kernel: kernel.name,
      chosen: kernel.choice !== undefined,
      operation: label,
      workgroups: kernel.workgroups,
      flops: kernel.flops,
      bytes: kernel.bytes,
      buffers: storages.map((s, i) => `${kernel.bindings[i]!.access === "read" ? "" : "*"}${place(s)}`),
    }));
  }

  /** A table of every dispatch and the memory plan, for people. `*` marks what a dispatch writes. */
  explain(): string {
    const rows = this.dispatchList();
    const flops = rows.reduce((sum, r) => sum + r.flops, 0);
    const { bytes, memory } = this.plan;
    const head = [
      `${this.name}: ${rows.length} dispatches, ${(flops / 1e6).toFixed(2)} MFLOP`,
      `inputs ${
        Object.entries(this.plan.inputs)
          .map(([k, s]) => `${k} ${formatSpec(s)}`)
          .join(", ") || "none"
      }`,
      `memory ${bytes.intermediates} bytes of intermediates in ${memory.slots.length} slots, ` +
        `${bytes.inputs} inputs, ${bytes.outputs} outputs, ${bytes.constants} constants`,
    ];
    const body = rows.map(
      (r, i) =>
        `${String(i).padStart(4)}  ${r.kernel}${r.chosen ? " (chosen by measurement)" : ""}  [${r.workgroups.join(", ")}]  ${(r.flops / 1e3).toFixed(1)} kFLOP  ${(r.bytes / 1e3).toFixed(1)} kB\n` +
        `      ${r.operation}\n      ${r.buffers.join(" | ")}`,
    );
    return [...head, ...body].join("\n");
  }

  /** Frees the program's buffers; variables stay. */
  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    for (const buffer of this.parts.owned) this.device.destroyBuffer(buffer);
  }

  /** @throws UsageError where the program or one of its variables was destroyed */
  requireRunnable(): void {
    this.#requireAlive("run");
    for (const variable of this.parts.variables) variable.requireAlive();
  }

  #requireAlive(what: string): void {
    if (this.#destroyed) throw new UsageError(`${this.name}.${what}: the program was destroyed.`);
  }
}

/**
 * Submits programs one after the other in one command buffer and one compute pass (in several, where that would keep a
 * slow device busy for longer than its `maxSubmissionMs`), each so many times in a row; run k in the row uses part k of
 * variables with parts. All of that `rounds` times. The promise is that of {@link Program.run}.
 */
export async function runInTurn(
  turns: readonly (readonly [program: Program, times: number])[],
  rounds = 1,
): Promise<void> {
  const { device, name } = turns[0]![0];
  for (const [program] of turns) program.requireRunnable();
  device.throwLateError();
  const most = device.workPerSubmission;
  const submissions: Promise<void>[] = [];
  let open: { encoder: GPUCommandEncoder; pass: GPUComputePassEncoder; work: number } | null = null;
  const submit = (): void => {
    if (!open) return;
    open.pass.end();
    submissions.push(device.submit(open.encoder.finish(), open.work));
    open = null;
  };
  for (let round = 0; round < rounds; round++)
    for (const [program, times] of turns) {
      const stretches = program.stretches(most);
      for (let k = 0; k < times; k++)
        for (const { first, end, work } of stretches) {
          if (open && open.work + work > most) submit();
          if (!open) {
            const encoder = device.gpu.createCommandEncoder({ label: name });
            open = { encoder, pass: encoder.beginComputePass({ label: name }), work: 0 };
          }
          program.encode(open.pass, first, end, k);
          open.work += work;
        }
      device.stats.dispatches += times * program.plan.dispatches.length;
    }
  submit();
  // All are submitted by now, in the order of the calls; only the wait is left.
  await Promise.all(submissions);
}

/** `input x`, `constant f32[2, 3]`, `literal f32[]` */
function sourceName(tensor: Tensor): string {
  const { operation, attributes } = tensor.node;
  return operation === inputOperation
    ? `input ${(attributes as InputAttributes).name}`
    : `${operation.name} ${formatSpec(tensor)}`;
}
