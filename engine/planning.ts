/** Planning without a GPU: a target from the traits of a device, and a ledger that gives variables symbolic storage. */
import type { DeviceTraits } from "./adapter.js";
import { bufferSize, requireBuffer, type Allocator, type BufferLimits } from "./allocator.js";
import { UsageError } from "./errors.js";
import type { Target } from "./target.js";

export type { DeviceTraits } from "./adapter.js";
export { targetOf } from "./target_of.js";

/** The specification's default limits, as far as the engine uses them. Every WebGPU device has at least these. */
export const defaultTraits = {
  limits: {
    maxBufferSize: 2 ** 28,
    maxStorageBufferBindingSize: 2 ** 27,
    maxStorageBuffersPerShaderStage: 8,
    maxComputeWorkgroupStorageSize: 16384,
    maxComputeInvocationsPerWorkgroup: 256,
    maxComputeWorkgroupSizeX: 256,
    maxComputeWorkgroupSizeY: 256,
    maxComputeWorkgroupsPerDimension: 65535,
  },
  features: new Set<string>(),
  adapterInfo: {
    vendor: "",
    architecture: "",
    device: "",
    description: "a device with WebGPU's default limits",
  },
} as unknown as DeviceTraits;

/**
 * Counts what variables would hold on a device, and holds nothing: pass it to `variable` in place of a device, and trace
 * with `plan`. It refuses buffers that the target refuses.
 */
export class Ledger implements Allocator {
  /** The limits that buffers are checked against. */
  readonly gpu: { readonly limits: BufferLimits };
  readonly #live = new Set<GPUBuffer>();
  #bytes = 0;

  constructor({ capabilities: { maxStorageBufferBindingSize }, maxBufferSize = Infinity }: Target) {
    this.gpu = {
      limits: { maxBufferSize, maxStorageBufferBindingSize, minStorageBufferOffsetAlignment: 256 },
    };
  }

  /** Bytes of all buffers that were created and not destroyed. */
  get bytes(): number {
    return this.#bytes;
  }

  createBuffer(bytes: number, _usage: GPUBufferUsageFlags, label: string): GPUBuffer {
    const size = bufferSize(bytes);
    requireBuffer(bytes, this.gpu.limits.maxBufferSize, label);
    const buffer = { size, label } as GPUBuffer;
    this.#live.add(buffer);
    this.#bytes += size;
    return buffer;
  }

  destroyBuffer(buffer: GPUBuffer): void {
    if (this.#live.delete(buffer)) this.#bytes -= buffer.size;
  }

  writeBuffer(): void {
    // Values do not matter to a plan.
  }

  readBuffer({ label }: GPUBuffer): Promise<ArrayBuffer> {
    return Promise.reject(
      new UsageError(`${label}: got a read of a ledger; expected a device, which has values.`),
    );
  }
}
