/** What gives variables their storage: a device, or the ledger of a plan, which only counts. */
import { LimitError } from "./errors.js";
import type { TypedArray } from "./host_data.js";

/** Limits of buffers. */
export type BufferLimits = Pick<
  GPUSupportedLimits,
  "maxBufferSize" | "maxStorageBufferBindingSize" | "minStorageBufferOffsetAlignment"
>;

/** Makes, fills and frees buffers. `Device` is one. */
export interface Allocator {
  /** Limits of buffers. */
  readonly gpu: { readonly limits: BufferLimits };
  /** A counted buffer of {@link bufferSize} bytes. @throws LimitError if the device allows no buffer of this size */
  createBuffer(bytes: number, usage: GPUBufferUsageFlags, label: string): GPUBuffer;
  /** Releases a buffer made by `createBuffer`, once. Safe while submitted work still uses it. */
  destroyBuffer(buffer: GPUBuffer): void;
  /** Copies host data into a buffer, from byte `offset` on, after everything submitted so far. */
  writeBuffer(buffer: GPUBuffer, data: TypedArray, offset?: number): void;
  /** Copies `bytes` bytes of a buffer to the host, from byte `offset` on. */
  readBuffer(source: GPUBuffer, bytes: number, offset?: number): Promise<ArrayBuffer>;
}

/** Size of a buffer for `bytes` bytes: a multiple of 16, so that 4-vectors can be bound. */
export function bufferSize(bytes: number): number {
  return Math.max(16, Math.ceil(bytes / 16) * 16);
}

/** @throws LimitError if a buffer of `bytes` bytes exceeds the limit */
export function requireBuffer(bytes: number, maxBufferSize: number, label: string): void {
  if (bufferSize(bytes) > maxBufferSize)
    throw new LimitError(`${label}: got ${bytes} bytes; this device allows ${maxBufferSize} bytes a buffer.`);
}

/** Usage of the buffers of tensors: STORAGE | COPY_DST | COPY_SRC. Node has no global for the names at import. */
export const STORAGE_USAGE = 128 | 8 | 4;
