/** The GPU as the engine sees it: device, capabilities, counters, and errors that arrive late. */
import type { Capabilities } from "../kernels/capabilities.js";
import type { Kernel } from "../kernels/core/kernel.js";
import { describeAdapter, refuseNullAdapter, type AdapterDescription } from "./adapter.js";
import { bufferSize, requireBuffer, type Allocator } from "./allocator.js";
import { onLoss } from "./device_loss.js";
import { captureErrors } from "./error_scopes.js";
import { codeOfGpuError, DeviceLostError, GpuError } from "./errors.js";
import { uploadable, type TypedArray } from "./host_data.js";
import type { HostDevice } from "./host_types.js";
import { PipelineCache } from "./pipeline_cache.js";
import type { Target } from "./target.js";
import { labelled } from "./labels.js";

/** Counters that tests and tools read; they only ever describe this device. */
export interface DeviceStats {
  /** Buffers created so far. */
  buffersCreated: number;
  /** Of these: buffers that were not destroyed. */
  buffersLive: number;
  /** Bytes of the buffers that were not destroyed. */
  bytesLive: number;
  /** Largest value of `bytesLive` so far. */
  bytesPeak: number;
  /** Pipelines created so far; a kernel whose text is cached creates none. */
  pipelinesCreated: number;
  /** Of these: pipelines that are compiled, or failed to. */
  pipelinesReady: number;
  /** Submissions to the queue. */
  submits: number;
  /** Dispatches submitted or encoded. */
  dispatches: number;
  /** Copies from the GPU to the host. */
  readbacks: number;
}

/** Which device to open, and how to use it. */
export interface DeviceOptions {
  /**
   * Your own device, with the features and limits that you requested. It stays yours: `destroy()` frees the engine's
   * objects and leaves the device open, and the engine neither receives nor mutes errors of other code on it.
   */
  device?: HostDevice;
  /** Your own adapter, or the `GPU` object to ask for one (default `navigator.gpu`). */
  adapter?: GPUAdapter;
  /** The object to ask for an adapter; default `navigator.gpu`. */
  gpu?: GPU;
  /** Which of several adapters to ask for; default `"high-performance"`. */
  powerPreference?: GPUPowerPreference;
  /** Submissions that may be in flight before `run` waits; default 8. */
  maxInFlight?: number;
  /** Longest submission in milliseconds, by estimate. Watchdogs end long submissions. Default 1000. */
  maxSubmissionMs?: number;
  /** How many of the most recently used pipelines are kept for later programs. A program keeps its own pipelines. Default 512. */
  maxPipelines?: number;
}

/** Every kind of error that a scope catches. */
const ALL_ERRORS = ["internal", "out-of-memory", "validation"] as const;

/**
 * An open device. Make one with {@link openDevice}; close it with `destroy()`. Several may share one GPUDevice: each
 * counts, reports and frees its own objects.
 */
export class Device implements Allocator {
  /** The adapter behind the device. */
  readonly adapter: AdapterDescription;
  /** Counters of this device. */
  readonly stats: DeviceStats = {
    buffersCreated: 0,
    buffersLive: 0,
    bytesLive: 0,
    bytesPeak: 0,
    pipelinesCreated: 0,
    pipelinesReady: 0,
    submits: 0,
    dispatches: 0,
    readbacks: 0,
  };
  /** Resolves when the device is lost for a reason other than {@link Device.destroy}. */
  readonly lost: Promise<DeviceLostError>;

  #late: EngineLateError | null = null;
  #destroyed = false;
  readonly #borrowed: boolean;
  readonly #unhook: (() => void)[] = [];
  /** Settles when every error scope closed so far has reported. */
  #scopes: Promise<unknown> = Promise.resolve();
  readonly #buffers = new Set<GPUBuffer>();
  readonly #pipelines: PipelineCache;
  readonly #layouts = new Map<string, GPUBindGroupLayout>();
  readonly #inFlight: Promise<unknown>[] = [];
  readonly #maxInFlight: number;
  readonly #maxSubmissionMs: number;
  /** Work per millisecond. It is a guess until submissions were timed. */
  #speed: number;
  #lastDone = 0;

  constructor(
    /** The WebGPU device, for passes and buffers of your own. */
    readonly gpu: HostDevice,
    {
      maxInFlight = 8,
      maxSubmissionMs = 1000,
      maxPipelines = 512,
      borrowed = true,
    }: Pick<DeviceOptions, "maxInFlight" | "maxSubmissionMs" | "maxPipelines"> & {
      /** True if other code uses `gpu` too, and destroys it. */
      readonly borrowed?: boolean;
    } = {},
    /** Info of the adapter itself, if known: the info of Dawn's devices leaves out subgroup matrices. */
    readonly adapterInfo: GPUAdapterInfo = gpu.adapterInfo,
    /** What programs are compiled for unless `compile` is given another target. */
    readonly target: Target,
  ) {
    refuseNullAdapter(gpu.adapterInfo);
    this.#borrowed = borrowed;
    this.#pipelines = new PipelineCache(maxPipelines);
    this.#maxInFlight = maxInFlight;
    this.#maxSubmissionMs = maxSubmissionMs;
    this.#speed = 10 * this.#leastSpeed;
    const info = gpu.adapterInfo;
    this.adapter = {
      name: `${describeAdapter(info)}${this.capabilities.software ? " (software)" : ""}`,
      vendor: info.vendor,
      architecture: info.architecture,
      software: this.capabilities.software,
      features: [...gpu.features].sort(),
    };
    // On a borrowed device our calls run in error scopes, so that errors that reach this event are not ours.
    if (!borrowed) {
      const hear = (event: GPUUncapturedErrorEvent): void => {
        event.preventDefault();
        this.#report(event.error);
      };
      gpu.addEventListener("uncapturederror", hear);
      this.#unhook.push(() => gpu.removeEventListener("uncapturederror", hear));
    }
    this.lost = new Promise((resolve) => {
      const lose = ({ reason, message }: GPUDeviceLostInfo): void => {
        this.#late = new DeviceLostError(
          reason,
          `The GPU device was lost (${reason}): ${message} Open a new device and load the last checkpoint.`,
        );
        resolve(this.#late);
      };
      this.#unhook.push(onLoss(gpu, lose));
    });
  }

  #report(error: GPUError): void {
    this.fail(new GpuError(codeOfGpuError(error), `The GPU reported: ${error.message}`));
  }

  /** Lets the next awaited call of this device throw an error for which no call waits. @internal */
  fail(error: EngineLateError): void {
    this.#late ??= error;
  }

  /**
   * Runs calls to the GPU immediately. The next awaited call of this device throws their errors. On a borrowed device the
   * calls run in error scopes, so that their errors do not reach the host.
   */
  guard<T>(body: () => T): T {
    if (!this.#borrowed) return body();
    const { value, error } = captureErrors(this.gpu, ALL_ERRORS, body);
    const told = error.then(
      (caught) => caught && this.#report(caught),
      () => undefined,
    );
    this.#scopes = this.#scopes.then(() => told);
    return value;
  }

  /** Throws the errors of earlier calls, once. It waits for error reports, not for the GPU's work. */
  async settle(): Promise<void> {
    await this.#scopes;
    this.throwLateError();
  }

  /** What kernels may know of this device: the capabilities of its target. */
  get capabilities(): Capabilities {
    return this.target.capabilities;
  }

  /** Throws the error that the GPU reported since the last awaited call, once. */
  throwLateError(): void {
    this.#requireOpen();
    const late = this.#late;
    if (late instanceof DeviceLostError) throw late;
    this.#late = null;
    if (late) throw late;
  }

  #requireOpen(): void {
    if (this.#destroyed) throw new DeviceLostError("destroyed", "This device was destroyed; open a new one.");
  }

  /**
   * The loss of the device if that explains an error, else the error. A lost device fails calls in many ways, some of them
   * before it reports the loss.
   * @param patience milliseconds to wait for the report
   */
  async lossOr(error: unknown, patience = 10): Promise<unknown> {
    const tick = new Promise<null>((resolve) => setTimeout(() => resolve(null), patience));
    const lost = this.#late instanceof DeviceLostError ? this.#late : await Promise.race([this.lost, tick]);
    return lost ?? error;
  }

  /** A counted buffer of {@link bufferSize} bytes. @throws LimitError */
  createBuffer(bytes: number, usage: GPUBufferUsageFlags, label: string): GPUBuffer {
    this.#requireOpen();
    const size = bufferSize(bytes);
    requireBuffer(bytes, this.gpu.limits.maxBufferSize, label);
    const buffer = this.guard(() => this.gpu.createBuffer({ size, usage, label: labelled(label) }));
    this.#buffers.add(buffer);
    const stats = this.stats;
    stats.buffersCreated++;
    stats.buffersLive++;
    stats.bytesLive += size;
    stats.bytesPeak = Math.max(stats.bytesPeak, stats.bytesLive);
    return buffer;
  }

  /** Releases a buffer made by {@link createBuffer}, once. Submitted work may still use it. */
  destroyBuffer(buffer: GPUBuffer): void {
    if (!this.#buffers.delete(buffer)) return;
    this.stats.buffersLive--;
    this.stats.bytesLive -= buffer.size;
    buffer.destroy();
  }

  /** Copies host data into a buffer, from byte `offset` on, after everything submitted so far. */
  writeBuffer(buffer: GPUBuffer, data: TypedArray, offset = 0): void {
    this.#requireOpen();
    this.guard(() =>
      this.gpu.queue.writeBuffer(buffer, offset, uploadable(data) as GPUAllowSharedBufferSource),
    );
  }

  /** The bind-group layout for a kernel's bindings, cached by access pattern. */
  bindGroupLayout(kernel: Kernel): GPUBindGroupLayout {
    const key = kernel.bindings.map((b) => (b.access === "read" ? "r" : "w")).join("");
    let layout = this.#layouts.get(key);
    if (!layout) {
      layout = this.gpu.createBindGroupLayout({
        label: labelled(`storage ${key}`),
        entries: kernel.bindings.map((b, binding) => ({
          binding,
          visibility: 4 /* GPUShaderStage.COMPUTE, which Node has no global for */,
          buffer: { type: b.access === "read" ? ("read-only-storage" as const) : ("storage" as const) },
        })),
      });
      this.#layouts.set(key, layout);
    }
    return layout;
  }

  /**
   * The pipeline of a kernel. It is created asynchronously and cached by WGSL text, up to `maxPipelines`. Concurrent requests
   * share one creation.
   * @param context names the op and shapes in the error.
   */
  pipeline(kernel: Kernel, context: string): Promise<GPUComputePipeline> {
    return this.#pipelines.get(kernel.code, async () => {
      this.stats.pipelinesCreated++;
      try {
        return await this.#createPipeline(kernel);
      } catch (cause) {
        throw await this.lossOr(
          new GpuError(
            "validation",
            `Kernel ${kernel.name} for ${context} did not compile: ${String((cause as Error).message ?? cause)}`,
            { cause },
          ),
        );
      } finally {
        this.stats.pipelinesReady++;
      }
    });
  }

  /** True if the pipeline of a kernel is cached or under way. */
  hasPipeline({ code }: Kernel): boolean {
    return this.#pipelines.has(code);
  }

  async #createPipeline(kernel: Kernel): Promise<GPUComputePipeline> {
    // The scope gets the shader's own message, which the pipeline's rejection does not repeat.
    const { value, error: scope } = captureErrors(this.gpu, ["validation"], () =>
      this.gpu.createComputePipelineAsync({
        label: labelled(kernel.name),
        layout: this.gpu.createPipelineLayout({ bindGroupLayouts: [this.bindGroupLayout(kernel)] }),
        compute: {
          module: this.gpu.createShaderModule({ code: kernel.code, label: labelled(kernel.name) }),
          entryPoint: "main",
        },
      }),
    );
    const [created, error] = await Promise.allSettled([value, scope]);
    if (error.status === "fulfilled" && error.value) throw new Error(error.value.message);
    if (created.status === "rejected") throw created.reason as Error;
    return created.value;
  }

  /** The least work per millisecond of any device. A pause of the host, or compiling, must not make a device look slower. */
  get #leastSpeed(): number {
    return this.capabilities.software ? 1e5 : 1e7;
  }

  /** Work (operations and bytes of kernels) for one submission on this device. */
  get workPerSubmission(): number {
    return this.#speed * this.#maxSubmissionMs;
  }

  /** Finishes and submits commands. It resolves immediately unless `maxInFlight` submissions are unfinished. */
  async submit(encoder: GPUCommandEncoder, work = 0): Promise<void> {
    this.throwLateError();
    this.guard(() => this.gpu.queue.submit([encoder.finish()]));
    this.stats.submits++;
    const submitted = Date.now();
    const done = this.gpu.queue.onSubmittedWorkDone().catch(() => undefined);
    this.#inFlight.push(done);
    void done.then(() => {
      void this.#inFlight.splice(this.#inFlight.indexOf(done), 1);
      const now = Date.now();
      const ms = Math.max(1, now - Math.max(submitted, this.#lastDone));
      this.#lastDone = now;
      if (work > 0) this.#speed = Math.max(this.#leastSpeed, work / ms);
    });
    if (this.#inFlight.length >= this.#maxInFlight) await this.#inFlight[0];
  }

  /** Waits until everything submitted has run. */
  async idle(): Promise<void> {
    await this.gpu.queue.onSubmittedWorkDone();
    await this.settle();
  }

  /** Copies a buffer's first `bytes` bytes to the host. This is the only way back from the GPU. */
  async readBuffer(source: GPUBuffer, bytes: number, offset = 0): Promise<ArrayBuffer> {
    this.throwLateError();
    const size = Math.ceil(bytes / 4) * 4;
    const staging = this.createBuffer(size, 1 | 8 /* MAP_READ | COPY_DST */, "read-back");
    try {
      const encoder = this.gpu.createCommandEncoder({ label: labelled("read-back") });
      encoder.copyBufferToBuffer(source, offset, staging, 0, size);
      const mapped = this.guard(() => {
        this.gpu.queue.submit([encoder.finish()]);
        return staging.mapAsync(1, 0, size);
      });
      this.stats.submits++;
      this.stats.readbacks++;
      try {
        await mapped;
      } catch (cause) {
        await this.settle();
        const message = `Reading ${bytes} bytes of ${source.label} back failed: ${String(cause)}`;
        // Only the end of the device cancels the mapping of a buffer that nobody else has. A busy browser reports it late.
        const cancelled = cause instanceof Error && cause.name === "AbortError";
        throw await this.lossOr(new GpuError("internal", message, { cause }), cancelled ? 2000 : 10);
      }
      const copy = staging.getMappedRange(0, size).slice(0, bytes);
      staging.unmap();
      await this.settle();
      return copy;
    } finally {
      this.destroyBuffer(staging);
    }
  }

  /** Frees all objects made through this device, and the GPUDevice unless it was passed in. */
  destroy(): void {
    if (this.#destroyed) return;
    for (const buffer of [...this.#buffers]) this.destroyBuffer(buffer);
    this.#destroyed = true;
    for (const end of this.#unhook) end();
    this.#pipelines.clear();
    this.#layouts.clear();
    if (!this.#borrowed) this.gpu.destroy();
  }
}

type EngineLateError = GpuError | DeviceLostError;
