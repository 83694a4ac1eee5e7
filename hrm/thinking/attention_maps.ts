/** Where each cell attends: queries and keys of the last layer of every update. attention_weights.ts makes weights of them. */
import {
  compile,
  hostTensor,
  i32,
  reshape,
  variable,
  type Device,
  type Target,
  type Tensor,
} from "../../engine/index.js";
import { owning } from "../../engine/ownership.js";
import { createQueue } from "../../engine/queue.js";
import { createCarry, destroyCarry, resetCarry } from "../model/act.js";
import { derive, inferenceSegments, levelUpdates, type HrmConfig } from "../model/config.js";
import { lastQkv, modelOf } from "../model/model.js";
import type { Weights } from "../model/parameters.js";
import { rotaryAngles } from "../model/positions.js";
import { evaluationSegment } from "../training/step.js";
import type { AttentionMaps } from "./attention_weights.js";
import { recordSegment } from "./segment_record.js";
import { updateLevels } from "./thoughts.js";

/** Follows one puzzle at a time with the weights as they are when asked. */
export interface AttentionRecorder {
  /** All updates of a puzzle of tokens [S], from one read-back. */
  record(inputs: Int32Array): Promise<AttentionMaps>;
  destroy(): void;
}

/** What to follow. */
export interface AttentionRecorderOptions {
  readonly device: Device;
  /** What to compile for; default: the device's target. */
  readonly target?: Target | undefined;
  readonly config: HrmConfig;
  readonly weights: Weights;
  /** Segments of a puzzle; default those of inference. */
  readonly segments?: number;
}

/** Whether the layers of a model attend at all: TRM's `mlp_t` mixes positions otherwise. */
export const attends = ({ mlp_t }: HrmConfig): boolean => !mlp_t;

/** Compiles a recorder for a model that {@link attends}. */
export function createAttentionRecorder(options: AttentionRecorderOptions): Promise<AttentionRecorder> {
  return owning(() => recorderOf(options));
}

async function recorderOf({
  device,
  target,
  config: given,
  weights,
  segments = inferenceSegments(given),
}: AttentionRecorderOptions): Promise<AttentionRecorder> {
  const config = { ...given, batch_size: 1 };
  const { seq_len: S } = config;
  const { totalLength: L } = derive(config);
  const carry = createCarry(device, config);
  const model = modelOf(config, weights);
  const U = levelUpdates(config);
  const stride = L * 3 * config.hidden_size;
  const width = U * stride;
  const record = variable(device, { shape: [segments, width], dtype: "f32" }, "attention.record");
  const cursor = variable(device, hostTensor(Int32Array.of(0), [1]), "attention.segment");
  const program = await compile(
    device,
    { inputs: i32(1, S), labels: i32(1, S), identifiers: i32(1) },
    (batch) => {
      // One segment more than anyone asks for: the carry is reset by hand.
      const { segment } = evaluationSegment(model, carry, batch, 2 ** 30);
      const rows = segment.trace.inputs.map((read): Tensor => reshape(lastQkv(model, read), [1, stride]));
      recordSegment(record, cursor, rows);
      return {};
    },
    { name: "attention maps", target },
  );
  const inTurn = createQueue();
  return {
    record(asked) {
      // The caller may change the array while others are answered.
      const inputs = asked.slice();
      return inTurn(async () => {
        resetCarry(carry);
        cursor.write(Int32Array.of(0));
        await program.run({ inputs, labels: new Int32Array(S), identifiers: Int32Array.of(0) }, segments);
        return mapsOf(config, (await record.read()) as Float32Array);
      });
    },
    destroy() {
      program.destroy();
      destroyCarry(carry);
      record.destroy();
      cursor.destroy();
    },
  };
}

/** Packed qkv of updates [updates, L, 3, heads, d] as rotated queries and keys. */
function mapsOf(config: HrmConfig, qkv: Float32Array): AttentionMaps {
  const { num_heads: heads, causal } = config;
  const { totalLength: positions, puzzleLength: prefix, headDim } = derive(config);
  const tables = rotaryAngles(config);
  const size = heads * headDim;
  const rows = qkv.length / (3 * size);
  const part = (third: number): Float32Array => {
    const result = new Float32Array(rows * size);
    for (let row = 0; row < rows; row++) {
      const from = qkv.subarray((3 * row + third) * size, (3 * row + third + 1) * size);
      const angles = (row % positions) * headDim;
      for (let i = 0; i < size; i++) {
        const d = i % headDim;
        const half = headDim / 2;
        // Rotate-half: the other number of the pair, with its sign.
        const other = d < half ? -from[i + half]! : from[i - half]!;
        result[row * size + i] = tables
          ? from[i]! * tables.cos[angles + d]! + other * tables.sin[angles + d]!
          : from[i]!;
      }
    }
    return result;
  };
  return {
    ...{ positions, prefix, heads, headDim, causal, levels: updateLevels(config) },
    ...{ queries: part(0), keys: part(1) },
  };
}
