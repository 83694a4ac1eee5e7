/** The description of the adapter in reports. */
import type { Device } from "../../engine/index.js";
import type { ReportAdapter } from "./report.js";

const LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
] as const;

/** Fields beyond the specification, which Chrome adds if developer features are on. */
interface MoreInfo {
  readonly driver?: string;
  readonly backend?: string;
}

/** Dawn puts the driver's name and version in `description`; Chrome adds `driver` and `backend` for developers. */
export function reportAdapter({ adapter, gpu }: Device): ReportAdapter {
  const info = gpu.adapterInfo as GPUAdapterInfo & MoreInfo;
  return {
    name: adapter.name,
    vendor: info.vendor,
    architecture: info.architecture,
    device: info.device,
    driver: info.driver ?? info.description,
    backend: info.backend ?? "",
    software: adapter.software,
    features: adapter.features,
    limits: Object.fromEntries(LIMITS.map((name) => [name, gpu.limits[name]])),
  };
}
