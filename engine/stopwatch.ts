/** Times passes on a drained queue: by timestamp queries if the device has them, and by the wall clock. */
import type { Device } from "./device.js";
import { labelled } from "./labels.js";

/** One timed submission, in milliseconds. */
export interface Reading {
  /**
   * Between the pass's two timestamps, which browsers and Dawn round to 65 or 100 us, so that a shorter pass takes 0. Null
   * without timestamp queries, or if they ran backwards.
   */
  readonly gpu: number | null;
  /** From before submission until the queue was empty. */
  readonly wall: number;
}

export type Encode = (pass: GPUComputePassEncoder) => void;

export interface Stopwatch {
  readonly timestamps: boolean;
  /** Encodes one pass and runs it alone. */
  time(encode: Encode): Promise<Reading>;
  /** Encodes every part into a pass of its own, runs all in one submission, and times each; null if unknown. */
  timeEach(parts: readonly Encode[]): Promise<{ each: (number | null)[]; wall: number }>;
  destroy(): void;
}

/** The specification's limit of queries in a set. */
const MAX_QUERIES = 4096;
/** GPUBufferUsage.QUERY_RESOLVE | COPY_SRC; Node has no global for the names. */
const RESOLVE_USAGE = 0x200 | 4;

export function createStopwatch(device: Device): Stopwatch {
  const { gpu } = device;
  const timestamps = gpu.features.has("timestamp-query");
  let queries: { set: GPUQuerySet; buffer: GPUBuffer; count: number } | null = null;
  const release = (): void => {
    if (!queries) return;
    queries.set.destroy();
    device.destroyBuffer(queries.buffer);
    queries = null;
  };
  const querySet = (count: number): NonNullable<typeof queries> => {
    if (queries && queries.count >= count) return queries;
    release();
    const buffer = device.createBuffer(8 * count, RESOLVE_USAGE, "timestamps");
    const set = device.guard(() =>
      gpu.createQuerySet({ label: labelled("stopwatch"), type: "timestamp", count }),
    );
    return (queries = { set, buffer, count });
  };

  const run = async (parts: readonly Encode[]): Promise<{ each: (number | null)[]; wall: number }> => {
    const timed = timestamps && 2 * parts.length <= MAX_QUERIES ? querySet(2 * parts.length) : null;
    const encoder = gpu.createCommandEncoder({ label: labelled("stopwatch") });
    parts.forEach((encode, i) => {
      const pass = encoder.beginComputePass({
        ...(timed && {
          timestampWrites: {
            querySet: timed.set,
            beginningOfPassWriteIndex: 2 * i,
            endOfPassWriteIndex: 2 * i + 1,
          },
        }),
      });
      encode(pass);
      pass.end();
    });
    if (timed) encoder.resolveQuerySet(timed.set, 0, 2 * parts.length, timed.buffer, 0);
    const commands = device.guard(() => encoder.finish());
    await device.idle();
    const start = performance.now();
    device.guard(() => gpu.queue.submit([commands]));
    await gpu.queue.onSubmittedWorkDone();
    const wall = performance.now() - start;
    await device.settle();
    if (!timed) return { each: parts.map(() => null), wall };
    const times = new BigUint64Array(await device.readBuffer(timed.buffer, 16 * parts.length));
    const each = parts.map((_, i) => {
      const nanoseconds = Number(times[2 * i + 1]! - times[2 * i]!);
      return nanoseconds >= 0 ? nanoseconds / 1e6 : null;
    });
    return { each, wall };
  };

  return {
    timestamps,
    timeEach: run,
    async time(encode) {
      const { each, wall } = await run([encode]);
      return { gpu: each[0]!, wall };
    },
    destroy: release,
  };
}
