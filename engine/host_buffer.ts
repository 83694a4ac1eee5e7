/** Tensors in buffers of the host, so that the host's code and programs share values without copies. */
import { UsageError } from "./errors.js";
import { sizeOf, type TensorSpec } from "./host_data.js";
import type { HostBuffer } from "./host_types.js";

/** The place of a variable in a buffer of the host. */
export interface BufferPlace {
  /** A buffer of the same `GPUDevice`, with the usage STORAGE. `destroy()` of the variable does not destroy the buffer. */
  readonly buffer: HostBuffer;
  /** The byte at which the variable begins, a multiple of the device's `minStorageBufferOffsetAlignment`; default 0. */
  readonly offset?: number;
}

/** Usage flags of WebGPU, which Node has no globals for. */
export const USAGE = { COPY_SRC: 4, COPY_DST: 8, STORAGE: 128 } as const;

/** @throws UsageError unless the variable fits into this place, and programs can bind it */
export function requirePlace(
  name: string,
  spec: TensorSpec,
  { buffer, offset = 0 }: BufferPlace,
  alignment: number,
): void {
  const where = `variable ${name}`;
  const label = buffer.label || "without a label";
  requireUsage(buffer, "STORAGE", where);
  if (!Number.isInteger(offset) || offset < 0 || offset % alignment !== 0)
    throw new UsageError(`${where}: got offset ${offset}; expected a multiple of ${alignment} bytes.`);
  const bytes = 4 * sizeOf(spec.shape);
  if (offset + bytes > buffer.size)
    throw new UsageError(
      `${where}: got the buffer ${label} of ${buffer.size} bytes; expected at least ${offset + bytes}, for ${bytes} bytes from ${offset} on.`,
    );
}

/** @throws UsageError unless the buffer was created with this usage */
export function requireUsage(buffer: GPUBuffer, usage: keyof typeof USAGE, where: string): void {
  if ((buffer.usage & USAGE[usage]) === 0)
    throw new UsageError(
      `${where}: got the buffer ${buffer.label || "without a label"} without GPUBufferUsage.${usage}; create it with that flag.`,
    );
}
