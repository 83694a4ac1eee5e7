/** A compiled program: a flat list of dispatches, replayed as one command buffer per call. */
import { unlessAborted, type Abortable } from "./abort.js";
import type { InputSpecs, OutputSpecs, Plan } from "./compiler/plan.js";
import type { Device } from "./device.js";
import { GpuError, UsageError } from "./errors.js";
import { explainDispatches, explainPlan, printGraph, type ExplainedDispatch } from "./explain.js";
import { formatSpec, requireData, sizeOf, typedArray, type ArrayOf, type TypedArray } from "./host_data.js";
import { isQuick, replaceQuickForms, type Changing } from "./forms.js";
import type { HostEncoder } from "./host_types.js";
import { owning } from "./ownership.js";
import { variable, type Variable } from "./variable.js";
import { labelled } from "./labels.js";

/** Runs of a program before kernels proper take the place of quick forms. A program that runs less often never pays for them. */
const RUNS_OF_QUICK_FORMS = 4;

/** A dispatch with everything that encoding needs. */
export interface BoundDispatch extends Changing {
  /** One bind group, or one for each part of a variable that the dispatch binds. */
  readonly bindGroups: readonly GPUBindGroup[];
}

/** Arrays for the inputs of a program, by name. */
export type InputValues<I extends InputSpecs> = keyof I extends never
  ? Readonly<Record<string, never>>
  : { readonly [K in keyof I]: ArrayOf<I[K]["dtype"]> };

/** The same, whatever the program. */
type AnyInputs = Readonly<Record<string, TypedArray>>;

/** The values of a program's outputs, by name. */
export type OutputValues<O extends OutputSpecs> = { -readonly [K in keyof O]: ArrayOf<O[K]["dtype"]> };

/** The outputs of a program that stayed on the GPU, by name. */
export type OutputVariables<O extends OutputSpecs> = { -readonly [K in keyof O]: Variable };

/** What a program holds on its device. */
export interface ProgramParts {
  readonly dispatches: readonly BoundDispatch[];
  readonly inputs: ReadonlyMap<string, GPUBuffer>;
  readonly outputs: ReadonlyMap<string, GPUBuffer>;
  /** Variables that the program reads or writes. */
  readonly variables: readonly Variable[];
  /** Buffers to free with the program. */
  readonly owned: readonly GPUBuffer[];
}

/**
 * Replays a traced function. Create with {@link compile}; free with `destroy()`. The types `I` and `O` are the specs of
 * its inputs and outputs: a wrong name, or an array of another dtype, does not compile.
 *
 * A program has one set of inputs and outputs. `call` gives each caller the outputs of its own inputs, however many
 * callers there are. `run` and `read` are for one caller at a time: `read` gives the outputs of the last run, and is
 * refused if that run began while another `run` or `read` was pending. Callers that wait for something else between
 * `run` and `read` share the last outputs: use `call` there.
 */
export class Program<I extends InputSpecs = InputSpecs, O extends OutputSpecs = OutputSpecs> {
  #destroyed = false;
  /** Inputs that got a value. */
  readonly #given = new Set<string>();
  #ran = false;
  #runs = 0;
  #finished: Promise<void> | null = null;
  /** Calls of `run` and `read` that are not finished. */
  #pending = 0;
  /** The last run began before another call was finished, so that the outputs may belong to either caller. */
  #contested = false;

  /** @internal */
  constructor(
    /** The device on which it runs. */
    readonly device: Device,
    /** Its name, for errors and labels. */
    readonly name: string,
    /** What was compiled: specs, dispatches and memory. */
    readonly plan: Plan<I, O>,
    private readonly parts: ProgramParts,
  ) {}

  /**
   * Submits `times` runs before it returns, in the order of the calls, see {@link runSequence}. The promise does not wait
   * for the runs, unless the device's bound of submissions in flight is reached: await it in loops. An input without a new
   * value keeps the value of the run before.
   * @throws UsageError (nothing was submitted), also for an input that never had a value; GpuError or DeviceLostError
   * for what the device reported since
   */
  run(inputs: Partial<InputValues<I>> = {}, times = 1): Promise<void> {
    return this.#track(this.#run(inputs as AnyInputs, times));
  }

  async #run(inputs: AnyInputs, times: number): Promise<void> {
    this.#check("run", inputs, times);
    await this.#submit(inputs, times);
  }

  /**
   * The outputs of one run with these inputs, all of which must be given. Calls may overlap: each submits its run
   * and the copies of its outputs together. If the signal fires, the promise rejects with its reason; what was submitted
   * runs to its end.
   * @throws UsageError (nothing was submitted); GpuError or DeviceLostError for what the device reported since
   */
  async call(
    inputs: InputValues<I> = {} as InputValues<I>,
    { signal }: Abortable = {},
  ): Promise<OutputValues<O>> {
    this.#checkCall("call", inputs, signal);
    // Everything is submitted before the first wait, so no other run comes between.
    const submitted = this.#submit(inputs, 1);
    const copies = Object.keys(this.plan.outputs).map(async (key) => [key, await this.#copy(key)] as const);
    const [entries] = await unlessAborted(Promise.all([Promise.all(copies), submitted]), signal);
    return Object.fromEntries(entries) as OutputValues<O>;
  }

  /**
   * As `call`, but the outputs stay on the GPU: each is a variable of the caller's, which other programs may use, whose
   * buffer a renderer may bind, and which the caller destroys. Nothing is read back.
   * @throws UsageError (nothing was submitted); GpuError or DeviceLostError for what the device reported since
   */
  async callOnGpu(
    inputs: InputValues<I> = {} as InputValues<I>,
    { signal }: Abortable = {},
  ): Promise<OutputVariables<O>> {
    this.#checkCall("callOnGpu", inputs, signal);
    // A failure frees the variables.
    return owning(async () => {
      const { device, name, parts } = this;
      const kept = Object.entries(this.plan.outputs).map(
        ([key, spec]) => [key, variable(device, spec, `${name}.${key}`)] as const,
      );
      // Everything is submitted before the first wait, so no other run comes between.
      const submitted = this.#submit(inputs, 1);
      const encoder = device.gpu.createCommandEncoder({ label: labelled(name) });
      for (const [key, { buffers, size }] of kept)
        encoder.copyBufferToBuffer(parts.outputs.get(key)!, 0, buffers[0]!, 0, 4 * size);
      await unlessAborted(Promise.all([submitted, device.submit(encoder)]), signal);
      await device.settle();
      return Object.fromEntries(kept) as OutputVariables<O>;
    });
  }

  /** Checks a call with inputs of its own. @throws the signal's reason if it has fired, and as `#check` */
  #checkCall(what: string, inputs: AnyInputs, signal?: AbortSignal): void {
    signal?.throwIfAborted();
    const missing = Object.keys(this.plan.inputs).filter((key) => !Object.hasOwn(inputs, key));
    if (missing.length > 0) throw this.#notGiven(what, missing);
    this.#check(what, inputs, 1);
  }

  /** @throws UsageError; GpuError or DeviceLostError for what the device reported */
  #check(what: string, inputs: AnyInputs, times: number): void {
    this.#requireAlive(what);
    if (!Number.isInteger(times) || times < 1)
      throw new UsageError(`${this.name}.${what}: got times = ${times}; expected a positive integer.`);
    for (const [key, data] of Object.entries(inputs)) {
      if (!Object.hasOwn(this.plan.inputs, key)) {
        const known = Object.keys(this.plan.inputs).join(", ") || "none";
        throw new UsageError(`${this.name}.${what}: no input "${key}"; this program takes ${known}.`);
      }
      requireData(`${this.name}.${what}: input ${key}`, data, this.plan.inputs[key]!);
    }
    this.requireRunnable(what, Object.keys(inputs));
    this.device.throwLateError();
  }

  #submit(inputs: AnyInputs, times: number): Promise<void> {
    this.#write(inputs);
    return runSequence([[this, times]]);
  }

  #write(inputs: AnyInputs): void {
    for (const [key, data] of Object.entries(inputs)) {
      this.device.writeBuffer(this.parts.inputs.get(key)!, data);
      this.#given.add(key);
    }
  }

  /**
   * Encodes the dispatches from `first` up to `end` into the caller's pass, for profilers that place timestamps of their
   * own. The caller submits, and keeps the order of `plan.dispatches`. `part` is the part to use of variables with parts.
   */
  encode(pass: GPUComputePassEncoder, first = 0, end = this.parts.dispatches.length, part = 0): void {
    const { dispatches } = this.parts;
    this.#ran = true;
    let current: GPUComputePipeline | null = null;
    for (let i = first; i < end; i++) {
      const { running, bindGroups } = dispatches[i]!;
      const { pipeline, workgroups } = running;
      if (pipeline !== current) pass.setPipeline((current = pipeline));
      pass.setBindGroup(0, bindGroups[part % bindGroups.length]);
      // Every argument is converted on its way into the addon or browser.
      if (workgroups[1] === 1 && workgroups[2] === 1) pass.dispatchWorkgroups(workgroups[0]);
      else pass.dispatchWorkgroups(...workgroups);
    }
  }

  /**
   * Encodes one run into a command encoder of the caller's, in a compute pass of its own: a renderer's passes after it see
   * the results, in the caller's one submission. Inputs keep their value if no new one is given; they are written to the
   * GPU at once, so that of several encoded runs in one submission all see the last.
   * @throws UsageError, DeviceLostError, and what the device reported since
   */
  encodeInto(encoder: HostEncoder, inputs: Partial<InputValues<I>> = {}): void {
    this.#check("encodeInto", inputs as AnyInputs, 1);
    this.#write(inputs as AnyInputs);
    this.begin();
    const pass = encoder.beginComputePass({ label: labelled(this.name) });
    this.encode(pass);
    pass.end();
    this.device.stats.dispatches += this.parts.dispatches.length;
  }

  /** Splits the dispatches into stretches of at most `most` work (operations and bytes); a longer dispatch stands alone. */
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

  /**
   * The value of an output after the last run.
   * @throws UsageError before the first run, and if the last run began before another `run` or `read` of this
   * program was finished: the outputs may then be another caller's
   */
  read<K extends keyof O & string>(output: K): Promise<ArrayOf<O[K]["dtype"]>> {
    return this.#track(this.#read(output)) as Promise<ArrayOf<O[K]["dtype"]>>;
  }

  async #read(output: string): Promise<TypedArray> {
    this.#requireAlive("read");
    if (!this.parts.outputs.has(output)) {
      throw new UsageError(
        `${this.name}.read: no output "${output}"; this program has ${[...this.parts.outputs.keys()].join(", ") || "none"}.`,
      );
    }
    if (!this.#ran) throw new UsageError(`${this.name}.read: the program never ran; call run() first.`);
    if (this.#contested)
      throw new UsageError(
        `${this.name}.read: the last run began while another run or read of this program was under way, so "${output}" ` +
          `may belong to another caller. Await each run and read before the next run, or use call(), which gives its own outputs.`,
      );
    return this.#copy(output);
  }

  async #copy(output: string): Promise<TypedArray> {
    const { dtype, shape } = this.plan.outputs[output]!;
    return typedArray(
      dtype,
      await this.device.readBuffer(this.parts.outputs.get(output)!, 4 * sizeOf(shape)),
    );
  }

  /** Counts a call as pending until its promise settles, which is before its caller goes on. */
  #track<T>(call: Promise<T>): Promise<T> {
    this.#pending++;
    const through = (): void => void this.#pending--;
    call.then(through, through);
    return call;
  }

  /** Every dispatch with its kernel, operation, work and buffers. */
  dispatchList(): ExplainedDispatch[] {
    return explainDispatches(this.plan);
  }

  /** A table of every dispatch and the memory plan, for people. `*` marks what a dispatch writes. */
  explain(): string {
    return explainPlan(this.name, this.plan);
  }

  /**
   * The graph as it was traced and as it was fused, for people: a line for each node, such as
   * `%7 = matmul(%5, %6) -> f32[16, 96]`. `%7.1` is the second result of a node. An empty line parts the units that
   * run as one kernel. `explain` has the dispatches.
   */
  graph(): string {
    return printGraph(this.plan);
  }

  /** Frees the program's buffers; variables stay. */
  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    for (const buffer of this.parts.owned) this.device.destroyBuffer(buffer);
  }

  /** @throws UsageError if the program or one of its variables was destroyed, or an input never had a value */
  requireRunnable(what = "run", given: readonly string[] = []): void {
    this.#requireAlive(what);
    for (const variable of this.parts.variables) variable.requireAlive();
    const missing = Object.keys(this.plan.inputs).filter(
      (key) => !this.#given.has(key) && !given.includes(key),
    );
    if (missing.length > 0) throw this.#notGiven(what, missing);
  }

  /** Notes that runs begin. @internal */
  begin(runs = 1): void {
    this.#contested = this.#pending > 0;
    this.#runs += runs;
    if (this.#runs >= RUNS_OF_QUICK_FORMS) void this.finishCompiling().catch(() => undefined);
  }

  /** How many dispatches run a quick form of their kernel; see {@link Program.finishCompiling}. */
  get quickForms(): number {
    return this.parts.dispatches.filter(isQuick).length;
  }

  /**
   * Resolves once every dispatch runs its kernel proper. On software adapters, kernels that take long to compile start in
   * quick forms, which give equal results to the bit. A program that has run a few times finishes by itself while it
   * goes on; a benchmark waits for that before it times.
   * @throws GpuError, DeviceLostError; if nobody waits, the next awaited call of the device throws the error
   */
  finishCompiling(): Promise<void> {
    this.#finished ??= replaceQuickForms(this.device, this.parts.dispatches, () => this.#destroyed).catch(
      (error: unknown) => {
        if (error instanceof GpuError) this.device.fail(error);
        throw error;
      },
    );
    return this.#finished;
  }

  #notGiven(what: string, missing: readonly string[]): UsageError {
    const specs = missing.map((key) => `${key} ${formatSpec(this.plan.inputs[key]!)}`);
    return new UsageError(`${this.name}.${what}: no value for ${specs.join(", ")}; give it with the call.`);
  }

  #requireAlive(what: string): void {
    if (this.#destroyed) throw new UsageError(`${this.name}.${what}: the program was destroyed.`);
  }
}

/**
 * Submits programs one after the other, each `times` times in a row, and the whole sequence `rounds` times. Run k of a
 * program uses part k of variables with parts. There is one command buffer with one compute pass, or several if that would
 * keep a slow device busy for longer than its `maxSubmissionMs`. The promise behaves as that of {@link Program.run}.
 */
export async function runSequence(
  turns: readonly (readonly [program: Program, times: number])[],
  rounds = 1,
): Promise<void> {
  const { device, name } = turns[0]![0];
  for (const [program] of turns) program.requireRunnable();
  device.throwLateError();
  for (const [program, times] of turns) program.begin(times * rounds);
  const most = device.workPerSubmission;
  const submissions: Promise<void>[] = [];
  let open: { encoder: GPUCommandEncoder; pass: GPUComputePassEncoder; work: number } | null = null;
  const submit = (): void => {
    if (!open) return;
    open.pass.end();
    submissions.push(device.submit(open.encoder, open.work));
    open = null;
  };
  for (let round = 0; round < rounds; round++)
    for (const [program, times] of turns) {
      const stretches = program.stretches(most);
      for (let k = 0; k < times; k++)
        for (const { first, end, work } of stretches) {
          if (open && open.work + work > most) submit();
          if (!open) {
            const encoder = device.gpu.createCommandEncoder({ label: labelled(name) });
            open = { encoder, pass: encoder.beginComputePass({ label: labelled(name) }), work: 0 };
          }
          program.encode(open.pass, first, end, k);
          open.work += work;
        }
      device.stats.dispatches += times * program.plan.dispatches.length;
    }
  submit();
  // All runs are submitted by now, in the order of the calls. Only the wait is left.
  await Promise.all(submissions);
}
