/** Sizes of a run, computed before any memory is allocated. */
import { LimitError } from "../../engine/errors.js";
import { derive, levelUpdates, type HrmConfig } from "../model/config.js";
import { parameterSpecs, PUZZLE_EMBEDDING } from "../model/parameters.js";

/** The most blocks (layers times their uses) in a segment, since a trace holds every block. */
const MOST_BLOCKS = 4096;
/** The most micro-batches in a step, since each has its own buffers. */
const MOST_PARTS = 4096;

type Limits = Pick<GPUSupportedLimits, "maxBufferSize" | "maxStorageBufferBindingSize">;

/**
 * Checks that a run fits a device with these limits: its number of blocks and micro-batches, and the size of each weight
 * and state.
 * @throws LimitError that names the first excess with its size
 */
export function requireSizes(config: HrmConfig, limits: Limits, microBatch = config.batch_size): void {
  const { batch_size, seq_len, hidden_size, H_layers, L_layers } = config;
  const blocks = levelUpdates(config) * Math.max(H_layers, L_layers);
  if (blocks > MOST_BLOCKS)
    throw new LimitError(
      `A segment has up to ${blocks} blocks (cycles times layers); at most ${MOST_BLOCKS} can be compiled. Choose fewer cycles or layers.`,
    );
  const parts = batch_size / microBatch;
  if (parts > MOST_PARTS)
    throw new LimitError(
      `A step has ${parts} micro-batches of ${microBatch}; at most ${MOST_PARTS} are possible. Choose larger micro-batches or a smaller batch.`,
    );
  const most = Math.min(limits.maxBufferSize, limits.maxStorageBufferBindingSize);
  const fit = (what: string, elements: number, advice: string): void => {
    if (4 * elements <= most) return;
    throw new LimitError(
      `${what} needs ${4 * elements} bytes; this device binds at most ${most} at once. Choose ${advice}.`,
    );
  };
  for (const { name, shape } of parameterSpecs(config))
    fit(
      `The weight ${name} [${shape.join(", ")}]`,
      shape.reduce((a, b) => a * b, 1),
      name === PUZZLE_EMBEDDING
        ? "fewer puzzle identifiers (fewer augmentations or tasks), or a smaller puzzle_emb_ndim"
        : "a smaller model",
    );
  const { totalLength } = derive(config);
  fit(
    `The state z of ${microBatch} puzzles`,
    microBatch * totalLength * hidden_size,
    "smaller micro-batches, or a smaller batch or model",
  );
  fit(`A batch of ${batch_size} puzzles`, batch_size * seq_len, "a smaller batch");
}

/** Bytes of all weights in f32. */
export function weightBytes(config: HrmConfig): number {
  return parameterSpecs(config).reduce((sum, { shape }) => sum + 4 * shape.reduce((a, b) => a * b, 1), 0);
}
