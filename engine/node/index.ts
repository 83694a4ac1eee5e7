/** WebGPU in Node through Dawn: a real GPU if there is one, else a software adapter from the system or from npm. */
import { adapterTitle, isSoftwareAdapter, refuseNullAdapter } from "../adapter.js";
import type { Device, DeviceOptions } from "../device.js";
import { AdapterError } from "../errors.js";
import { openDevice } from "../open_device.js";
import { driverProblems, requestAdapter, type DriverSource } from "./dawn.js";

export { CacheError } from "./cache_folder.js";
export { readChoices, writeChoices } from "./choice_file.js";

/** An adapter that was found. */
export interface AdapterListing {
  /** The number by which `adapter` names it. */
  readonly index: number;
  /** `SwiftShader Device (Subzero)` */
  readonly name: string;
  /** Its vendor, as WebGPU says it. */
  readonly vendor: string;
  /** Its architecture, as WebGPU says it. */
  readonly architecture: string;
  /** True if shaders run on the CPU. */
  readonly software: boolean;
  /** The source of its driver. */
  readonly source: DriverSource;
  /** Its WebGPU features, sorted. */
  readonly features: readonly string[];
  /** The limits that the engine uses, in WebGPU's units. */
  readonly limits: Readonly<Record<string, number>>;
  /** True for the adapter that `openNodeDevice()` takes by default. */
  readonly chosen: boolean;
  /** Why it comes where it does in the list, in words. */
  readonly why: string;
}

/** Which adapter to open in Node, Deno or Bun, and how to use it. */
export interface NodeDeviceOptions extends Pick<
  DeviceOptions,
  "maxInFlight" | "maxSubmissionMs" | "maxPipelines"
> {
  /** `gpu`, `software`, an index of {@link listAdapters}, or part of an adapter's name. */
  readonly adapter?: string;
  /**
   * False turns off the bounds checks that Dawn adds to shaders, which makes software adapters about a third faster. It
   * also enables experimental features, and f16 on NVIDIA GPUs, which Dawn withholds otherwise. Use it only for shaders
   * that you trust. Default true.
   */
  readonly robustness?: boolean;
}

interface Found {
  readonly adapter: GPUAdapter;
  readonly source: DriverSource;
  readonly name: string;
  readonly software: boolean;
}

/** Dawn's toggles of a device without bounds checks. */
const UNCHECKED = ["disable_robustness", "allow_unsafe_apis", "vulkan_enable_f16_on_nvidia"];

async function findAdapters({ robustness = true }: NodeDeviceOptions): Promise<Found[]> {
  const flags = robustness ? [] : [`enable-dawn-features=${UNCHECKED.join()}`];
  const found: Found[] = [];
  const add = async (source: DriverSource, options: GPURequestAdapterOptions): Promise<void> => {
    const adapter = await requestAdapter(source, flags, options);
    if (!adapter) return;
    const name = adapterTitle(adapter.info);
    try {
      refuseNullAdapter(adapter.info);
    } catch {
      return;
    }
    if (found.some((f) => f.name === name)) return;
    found.push({ adapter, source, name, software: isSoftwareAdapter(adapter.info) });
  };
  await add("system", { powerPreference: "high-performance" });
  await add("system", { forceFallbackAdapter: true });
  await add("npm", {});
  // Real GPUs come first, then software adapters in the order found.
  return found.sort((a, b) => Number(a.software) - Number(b.software));
}

function choose(found: readonly Found[], wanted: string | undefined): Found | undefined {
  if (wanted === undefined) return found[0];
  if (wanted === "gpu") return found.find((f) => !f.software);
  if (wanted === "software") return found.find((f) => f.software);
  if (/^\d+$/.test(wanted)) return found[Number(wanted)];
  const text = wanted.toLowerCase();
  const alias = text === "lavapipe" ? "llvmpipe" : text;
  return found.find((f) =>
    `${f.name} ${f.adapter.info.vendor} ${f.adapter.info.architecture}`.toLowerCase().includes(alias),
  );
}

/** Every adapter found. The adapter that is used by default comes first. */
export async function listAdapters(options: NodeDeviceOptions = {}): Promise<AdapterListing[]> {
  const found = await findAdapters(options);
  return found.map((f, index) => ({
    index,
    name: f.name,
    vendor: f.adapter.info.vendor,
    architecture: f.adapter.info.architecture,
    software: f.software,
    source: f.source,
    features: [...f.adapter.features].sort(),
    limits: Object.fromEntries(LISTED_LIMITS.map((limit) => [limit, f.adapter.limits[limit]])),
    chosen: index === 0,
    why: f.software ? "computes on the CPU; used if there is no GPU" : "a GPU with a working driver",
  }));
}

const LISTED_LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupsPerDimension",
] as const;

/**
 * Opens the best adapter, or the requested one. Call `device.destroy()` so that the process can end.
 * @throws AdapterError that names the adapters found
 */
export async function openNodeDevice(options: NodeDeviceOptions = {}): Promise<Device> {
  const found = await findAdapters(options);
  const names = found.map((f, i) => `${i}: ${f.name}${f.software ? " (software)" : ""}`).join("; ");
  const chosen = choose(found, options.adapter);
  if (!chosen) {
    throw new AdapterError(
      found.length === 0
        ? `No WebGPU adapter: ${[...driverProblems(), "no GPU driver, and no software adapter (on Linux x64, npm install --save-dev @sparticuz/chromium brings one)"].join("; ")}.`
        : `No adapter "${options.adapter}"; found ${names}. Give an index, part of a name, "gpu" or "software".`,
    );
  }
  const { maxInFlight, maxSubmissionMs, maxPipelines } = options;
  return openDevice({
    adapter: chosen.adapter,
    ...(maxInFlight !== undefined && { maxInFlight }),
    ...(maxSubmissionMs !== undefined && { maxSubmissionMs }),
    ...(maxPipelines !== undefined && { maxPipelines }),
  });
}
