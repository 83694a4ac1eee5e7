/** What an adapter says of itself, and the target that follows from it. */
import type { Capabilities, CpuKernels, GpuKernels } from "../kernels/capabilities.js";
import { AdapterError } from "./errors.js";
import type { Target } from "./target.js";

/** The properties of a device that decide how programs are compiled: those of a `GPUDevice`, or invented ones. */
export type DeviceTraits = Pick<GPUDevice, "limits" | "features" | "adapterInfo">;

/** Adapter description for logs and UI. */
export interface AdapterDescription {
  /** One line, such as `SwiftShader Device (Subzero) (software)`. */
  readonly name: string;
  /** The adapter's vendor, as WebGPU says it. */
  readonly vendor: string;
  /** The adapter's architecture, as WebGPU says it; empty if it says none. */
  readonly architecture: string;
  /** True if shaders run on the CPU. */
  readonly software: boolean;
  /** WebGPU features that the device has, sorted. */
  readonly features: readonly string[];
}

/** The feature that enables subgroup matrices in browsers and Dawn. Its name may change. */
export const SUBGROUP_MATRIX_FEATURE = "chromium-experimental-subgroup-matrix";

/** The kernels made for GPUs, and those for adapters that run shaders on the CPU. A device gets those of its kind. */
export interface KernelLibrary {
  readonly gpu: GpuKernels;
  readonly cpu: CpuKernels;
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

/** The title with the vendor, if the title is not the vendor. */
export function describeAdapter(info: GPUAdapterInfo): string {
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

/** The target that a device with these traits offers with a library's kernels. */
export function targetWith(
  { gpu, cpu }: KernelLibrary,
  { limits, features, adapterInfo: info }: DeviceTraits,
): Target {
  const software = isSoftwareAdapter(info);
  const capabilities: Capabilities = {
    maxComputeWorkgroupsPerDimension: limits.maxComputeWorkgroupsPerDimension,
    maxComputeInvocationsPerWorkgroup: limits.maxComputeInvocationsPerWorkgroup,
    maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize,
    maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
    maxStorageBuffersPerShaderStage: limits.maxStorageBuffersPerShaderStage,
    subgroups: features.has("subgroups")
      ? { min: info.subgroupMinSize ?? 4, max: info.subgroupMaxSize ?? 128 }
      : null,
    shaderF16: features.has("shader-f16"),
    software,
    ...(software ? { cpu } : { gpu }),
  };
  return { capabilities, maxBufferSize: limits.maxBufferSize };
}
