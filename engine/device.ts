/** The GPU as the engine sees it: device, capabilities, counters, and errors that arrive late. */
import type { Capabilities, KernelChoices, MixedPrecision } from "../kernels/capabilities.js";
import type { Kernel } from "../kernels/core/kernel.js";
import { cpuKernels } from "../kernels/cpu/index.js";
import { gpuKernels } from "../kernels/gpu/index.js";
import type { ChooseHalves } from "./compiler/plan.js";
import { bufferSize, type Allocator } from "./allocator.js";
import { captureErrors } from "./error_scopes.js";
import { AdapterError, codeOfGpuError, DeviceLostError, GpuError, LimitError } from "./errors.js";
import { uploadable, type TypedArray } from "./host_data.js";
import type { HostDevice } from "./host_types.js";
import { PipelineCache } from "./pipeline_cache.js";
import type { Target } from "./target.js";

/** Counters that tests and tools read; they only ever describe this device. */
export interface DeviceStats {
  buffersCreated: number;
  buffersLive: number;
  bytesLive: number;
  bytesPeak: number;
  pipelinesCreated: number;
  /** Of these: pipelines that are compiled, or failed to. */
  pipelinesReady: number;
  submits: number;
  dispatches: number;
  readbacks: number;
}

/** Adapter description for logs and UI. */
export interface AdapterDescription {
  /** One line, such as `SwiftShader Device (Subzero) (software)`. */
  readonly name: string;
  readonly vendor: string;
  readonly architecture: string;
  /** True if shaders run on the CPU. */
  readonly software: boolean;
  readonly features: readonly string[];
}

export interface DeviceOptions {
  /**
   * Your own device, with the features and limits that you requested. It stays yours: `destroy()` frees the engine's
   * objects and leaves the device open, and the engine neither receives nor mutes errors of other code on it.
   */
  device?: HostDevice;
  /** Your own adapter, or the `GPU` object to ask for one (default `navigator.gpu`). */
  adapter?: GPUAdapter;
  gpu?: GPU;
  powerPreference?: GPUPowerPreference;
  /** Submissions that may be in flight before `run` waits; default 8. */
  maxInFlight?: number;
  /** Longest submission in milliseconds, by estimate. Watchdogs end long submissions. Default 1000. */
  maxSubmissionMs?: number;
  /** How many of the most recently used pipelines are kept for later programs. A program keeps its own pipelines. Default 512. */
  maxPipelines?: number;
}

/** The feature that enables subgroup matrices in browsers and Dawn. Its name may change. */
export const SUBGROUP_MATRIX_FEATURE = "chromium-experimental-subgroup-matrix";

const USEFUL_FEATURES = ["subgroups", "shader-f16", "timestamp-query", SUBGROUP_MATRIX_FEATURE] as const;

const USEFUL_LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
] as const;

/**
 * Opens the best device in this browser window or worker.
 * In Node use `openNodeDevice` from `hrm-webgpu/node`.
 * @throws AdapterError if there is no WebGPU, no adapter, or only a null adapter.
 */
export async function openDevice(options: DeviceOptions = {}): Promise<Device> {
  const open = (device: GPUDevice, info: GPUAdapterInfo, borrowed: boolean): Device =>
    new Device(device, { ...options, borrowed }, info, kernelsFor(info));
  if (options.device) return open(options.device, options.device.adapterInfo, true);
  const gpu = options.gpu ?? (globalThis.navigator as Navigator | undefined)?.gpu;
  if (!gpu && !options.adapter) {
    throw new AdapterError(
      "No WebGPU here: navigator.gpu is missing. Use a browser with WebGPU on a secure page (https or localhost); " +
        "in Node install the package webgpu and call openNodeDevice.",
    );
  }
  const powerPreference = options.powerPreference ?? "high-performance";
  const adapter = options.adapter ?? (await gpu!.requestAdapter({ powerPreference }));
  if (!adapter) {
    throw new AdapterError(
      "WebGPU is available but offers no adapter. Update the graphics driver or enable WebGPU's software adapter.",
    );
  }
  refuseNullAdapter(adapter.info);
  const limits: Record<string, number> = {};
  for (const limit of USEFUL_LIMITS) limits[limit] = adapter.limits[limit];
  let device: GPUDevice;
  try {
    device = await adapter.requestDevice({
      requiredFeatures: USEFUL_FEATURES.filter((f) => adapter.features.has(f)) as GPUFeatureName[],
      requiredLimits: limits,
    });
  } catch (cause) {
    throw new AdapterError(`The adapter ${describeAdapter(adapter.info)} gave no device: ${String(cause)}`, {
      cause,
    });
  }
  return open(device, adapter.info, false);
}

/**
 * The kernels made for this kind of adapter. They are part of the bundle: a module that is loaded later would save a page
 * with a GPU nothing, and some bundlers allow none in a worker.
 */
export function kernelsFor(info: GPUAdapterInfo): Pick<Capabilities, "cpu" | "gpu"> {
  return isSoftwareAdapter(info) ? { cpu: cpuKernels } : { gpu: gpuKernels };
}

/** Refuses Dawn's null backend, which accepts every call and computes nothing. */
export function refuseNullAdapter(info: GPUAdapterInfo): void {
  const text = wordsOf(info);
  if (/\bnull\b/.test(text)) {
    throw new AdapterError(
      `The adapter "${text.trim()}" is a null backend that computes nothing; choose another adapter.`,
    );
  }
}

/** A title such as `SwiftShader Device (Subzero)`. For GPUs it adds the model, because Dawn's description names only the driver. */
export function adapterTitle(info: GPUAdapterInfo): string {
  const { description, device, architecture, vendor } = info;
  const title = description || device || architecture || vendor;
  return description && device && !description.includes(device) && !isSoftwareAdapter(info)
    ? `${device}, ${description}`
    : title;
}

function describeAdapter(info: GPUAdapterInfo): string {
  const [title, { vendor }] = [adapterTitle(info), info];
  return vendor && title !== vendor ? `${title} [${vendor}]` : title || "unnamed adapter";
}

/** True for adapters that run shaders on the CPU, even if the browser does not say so in `isFallbackAdapter`. */
export function isSoftwareAdapter(info: GPUAdapterInfo): boolean {
  return (
    info.isFallbackAdapter === true ||
    /swiftshader|llvmpipe|lavapipe|microsoft basic|warp/.test(wordsOf(info))
  );
}

/** All texts of an adapter's description, in lower case. */
function wordsOf({ vendor, architecture, device, description }: GPUAdapterInfo): string {
  return [vendor, architecture, device, description].join(" ").toLowerCase();
}

function capabilitiesOf(device: GPUDevice): Capabilities {
  const { limits, features, adapterInfo: info } = device;
  const {
    maxComputeWorkgroupsPerDimension,
    maxComputeInvocationsPerWorkgroup,
    maxComputeWorkgroupStorageSize,
    maxStorageBufferBindingSize,
    maxStorageBuffersPerShaderStage,
  } = limits;
  return {
    maxComputeWorkgroupsPerDimension,
    maxComputeInvocationsPerWorkgroup,
    maxComputeWorkgroupStorageSize,
    maxStorageBufferBindingSize,
    maxStorageBuffersPerShaderStage,
    subgroups: features.has("subgroups")
      ? { min: info.subgroupMinSize ?? 4, max: info.subgroupMaxSize ?? 128 }
      : null,
    shaderF16: features.has("shader-f16"),
    software: isSoftwareAdapter(info),
  };
}

/** Every kind of error that a scope catches. */
const ALL_ERRORS = ["internal", "out-of-memory", "validation"] as const;

/** Listeners for the loss of each device. A promise cannot remove a listener, so that each device's promise has one subscriber. */
const lossListeners = new WeakMap<GPUDevice, Set<(info: GPUDeviceLostInfo) => void>>();

/** Calls `listener` when the device is lost. @returns a function that removes the listener */
function onLoss(gpu: GPUDevice, listener: (info: GPUDeviceLostInfo) => void): () => void {
  let listeners = lossListeners.get(gpu);
  if (!listeners) {
    const added = (listeners = new Set());
    lossListeners.set(gpu, added);
    void gpu.lost.then((info) => {
      // A later listener subscribes again.
      lossListeners.delete(gpu);
      for (const tell of added) tell(info);
    });
  }
  const all = listeners.add(listener);
  return () => all.delete(listener);
}

/**
 * An open device. Make one with {@link openDevice}; close it with `destroy()`. Several may share one GPUDevice: each
 * counts, reports and frees its own objects.
 */
export class Device implements Allocator {
  readonly adapter: AdapterDescription;
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

  #target: Target;
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
    /** See {@link kernelsFor}. */
    kernels: Pick<Capabilities, "cpu" | "gpu"> = {},
  ) {
    refuseNullAdapter(gpu.adapterInfo);
    this.#target = { capabilities: { ...capabilitiesOf(gpu), ...kernels } };
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
    this.#late ??= new GpuError(codeOfGpuError(error), `The GPU reported: ${error.message}`);
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

  /**
   * What programs are compiled for on this device unless `compile` is given another target. {@link Device.choose} and
   * {@link Device.multiplyWith} replace the value; what was compiled keeps its own.
   */
  get target(): Target {
    return this.#target;
  }

  /** What kernels may know of this device: the target's capabilities. */
  get capabilities(): Capabilities {
    return this.#target.capabilities;
  }

  /**
   * Sets the kernel variants for programs compiled from now on. Other kernels take their default; `{}` removes every choice.
   * `hrm-webgpu/engine/autotune` measures choices.
   */
  choose(choices: KernelChoices): void {
    this.#target = { ...this.#target, capabilities: { ...this.capabilities, choices } };
  }

  /**
   * Sets mixed precision for programs compiled from now on, which store in f16 what `chooseHalves` says. Null means f32. See
   * `hrm-webgpu/engine/mixed-precision`.
   */
  multiplyWith(mixedPrecision: MixedPrecision | null, chooseHalves?: ChooseHalves): void {
    const { mixedPrecision: _, ...f32 } = this.capabilities;
    this.#target = { capabilities: mixedPrecision ? { ...f32, mixedPrecision } : f32, chooseHalves };
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
   */
  async lossOr(error: unknown): Promise<unknown> {
    const tick = new Promise<null>((resolve) => setTimeout(() => resolve(null), 10));
    const lost = this.#late instanceof DeviceLostError ? this.#late : await Promise.race([this.lost, tick]);
    return lost ?? error;
  }

  /** A counted buffer of {@link bufferSize} bytes. @throws LimitError */
  createBuffer(bytes: number, usage: GPUBufferUsageFlags, label: string): GPUBuffer {
    this.#requireOpen();
    const size = bufferSize(bytes);
    if (size > this.gpu.limits.maxBufferSize) {
      throw new LimitError(
        `${label}: got ${bytes} bytes; this device allows ${this.gpu.limits.maxBufferSize} bytes a buffer.`,
      );
    }
    const buffer = this.guard(() => this.gpu.createBuffer({ size, usage, label }));
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
        label: `storage ${key}`,
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

  async #createPipeline(kernel: Kernel): Promise<GPUComputePipeline> {
    // The scope gets the shader's own message, which the pipeline's rejection does not repeat.
    const { value, error: scope } = captureErrors(this.gpu, ["validation"], () =>
      this.gpu.createComputePipelineAsync({
        label: kernel.name,
        layout: this.gpu.createPipelineLayout({ bindGroupLayouts: [this.bindGroupLayout(kernel)] }),
        compute: {
          module: this.gpu.createShaderModule({ code: kernel.code, label: kernel.name }),
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
      const encoder = this.gpu.createCommandEncoder({ label: "read-back" });
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
        throw await this.lossOr(
          new GpuError(
            "internal",
            `Reading ${bytes} bytes of ${source.label} back failed: ${String(cause)}`,
            {
              cause,
            },
          ),
        );
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
