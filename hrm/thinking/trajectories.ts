/** The states of both levels over all updates, for many puzzles at once (paper, figures 3 and 8). */
import {
  cast,
  compile,
  hostTensor,
  i32,
  mean,
  notEqual,
  bitAnd,
  greaterEqual,
  reshape,
  sum,
  variable,
  type Device,
  type Target,
  type Tensor,
} from "../../engine/index.js";
import { owning } from "../../engine/ownership.js";
import { createQueue } from "../../engine/queue.js";
import { createCarry, destroyCarry, resetCarry } from "../model/act.js";
import { hasOneLatent, inferenceSegments, levelUpdates, type HrmConfig } from "../model/config.js";
import { modelOf } from "../model/model.js";
import type { Weights } from "../model/parameters.js";
import type { PuzzleSet } from "../puzzles/puzzle_set.js";
import { evaluationSegment } from "../training/step.js";
import { recordSegment } from "./segment_record.js";
import { updateLevels } from "./thoughts.js";

/** States as means over the cells of the grid. */
export interface Trajectories {
  readonly puzzles: number;
  /** Updates over all segments. */
  readonly updates: number;
  /** Units of a level, D. */
  readonly width: number;
  /** Which level each update of a segment moves. */
  readonly levels: readonly ("L" | "H")[];
  /** The state of each level after every update of either level [updates, puzzles, D]; the level that rests keeps its state. */
  readonly zL: Float32Array;
  readonly zH: Float32Array;
  /** 1 if the answer after the last segment is right [puzzles]. */
  readonly right: Uint8Array;
}

/** Follows the same puzzles with the weights as they are when asked. */
export interface Recorder {
  /** All trajectories, from one read-back. */
  record(): Promise<Trajectories>;
  destroy(): void;
}

export interface RecorderOptions {
  readonly device: Device;
  readonly config: HrmConfig;
  readonly weights: Weights;
  /** All of its puzzles are followed together. */
  readonly data: PuzzleSet;
  /** Segments of each puzzle; default those of inference. */
  readonly segments?: number;
  /** What to compile for; default: the device's target. */
  readonly target?: Target | undefined;
}

/** Compiles a recorder. `config.batch_size` may be any number. */
export function createRecorder(options: RecorderOptions): Promise<Recorder> {
  return owning(() => recorderOf(options));
}

async function recorderOf({
  device,
  config: given,
  weights,
  data,
  segments = inferenceSegments(given),
  target,
}: RecorderOptions): Promise<Recorder> {
  const B = data.count;
  const config = { ...given, batch_size: B };
  const { seq_len: S, hidden_size: D, L_cycles } = config;
  const carry = createCarry(device, config);
  const model = modelOf(config, weights);
  const levels = updateLevels(config);
  const U = levelUpdates(config);
  // The states that a segment starts from, those that each update makes, and which answers are wrong.
  const width = (2 + U) * B * D + B;
  const record = variable(device, { shape: [segments, width], dtype: "f32" }, "trajectories.record");
  const cursor = variable(device, hostTensor(Int32Array.of(0), [1]), "trajectories.segment");
  const program = await compile(
    device,
    { inputs: i32(B, S), labels: i32(B, S), identifiers: i32(B) },
    (batch) => {
      // One segment more than anyone asks for: the carry is reset by hand.
      const { start, segment, predictions } = evaluationSegment(model, carry, batch, 2 ** 30);
      const row = (x: Tensor): Tensor => reshape(x, [1, x.size]);
      const state = (z: Tensor): Tensor => row(mean(z, { axes: [1] }));
      const moved = levels.map((level, u) => {
        const cycle = Math.floor(u / (L_cycles + 1));
        const { L, H } = segment.trace;
        return state(level === "L" ? L[cycle * L_cycles + (u % (L_cycles + 1))]! : H[cycle]!);
      });
      const labelled = greaterEqual(start.labels, 0);
      const wrong = sum(bitAnd(labelled, notEqual(predictions, start.labels)), { axes: [1] });
      const all = [state(start.zL), state(start.zH), ...moved, row(cast(wrong, "f32"))];
      recordSegment(record, cursor, all);
      return {};
    },
    { name: "recorder", target },
  );
  const inTurn = createQueue();
  const { inputs, labels, identifiers } = data;
  return {
    record: () =>
      inTurn(async () => {
        resetCarry(carry);
        cursor.write(Int32Array.of(0));
        await program.run({ inputs, labels, identifiers }, segments);
        return spread((await record.read()) as Float32Array);
      }),
    destroy() {
      program.destroy();
      destroyCarry(carry);
      record.destroy();
      cursor.destroy();
    },
  };

  /** Gives each update the states of both levels. */
  function spread(values: Float32Array): Trajectories {
    const size = B * D;
    const updates = segments * U;
    const [zL, zH] = [new Float32Array(updates * size), new Float32Array(updates * size)];
    for (let update = 0; update < updates; update++) {
      const [segment, u] = [Math.floor(update / U), update % U];
      const part = (index: number): Float32Array =>
        values.subarray(segment * width + index * size, segment * width + (index + 1) * size);
      const before = (z: Float32Array, start: number): Float32Array =>
        u === 0 ? part(start) : z.subarray((update - 1) * size, update * size);
      const moved = part(2 + u);
      const both = hasOneLatent(config);
      zL.set(levels[u] === "L" || both ? moved : before(zL, 0), update * size);
      zH.set(levels[u] === "H" || both ? moved : before(zH, 1), update * size);
    }
    const wrong = values.subarray(segments * width - B);
    return {
      ...{ puzzles: B, updates, width: D, levels, zL, zH },
      right: Uint8Array.from(wrong, (count) => (count === 0 ? 1 : 0)),
    };
  }
}
