/** When the model would stop on each puzzle of a set, and whether its answer is right then (paper, fig. 5). */
import {
  add,
  assign,
  bitAnd,
  cast,
  compile,
  constant,
  concat,
  div,
  equal,
  greaterEqual,
  hostTensor,
  mul,
  position,
  remainder,
  reshape,
  sum,
  variable,
  where,
  type Device,
} from "../../engine/index.js";
import { owning } from "../../engine/ownership.js";
import { createQueue } from "../../engine/queue.js";
import { createCarry, destroyCarry, resetCarry } from "../model/act.js";
import { inferenceSegments, type HrmConfig } from "../model/config.js";
import { consecutiveBatch, destroyPuzzles, uploadPuzzles } from "../puzzles/sampling.js";
import type { Weights } from "../model/parameters.js";
import type { PuzzleSet } from "../puzzles/puzzle_set.js";
import { evaluationSegment } from "../training/step.js";
import { modelOf } from "../training/trainer.js";

/** What the model thinks of each puzzle after each segment. */
export interface Census {
  readonly puzzles: number;
  readonly segments: number;
  /** [puzzles, segments] */
  readonly qHalt: Float32Array;
  /** [puzzles, segments] */
  readonly qContinue: Float32Array;
  /** 1 if every labelled cell is right [puzzles, segments]. */
  readonly right: Uint8Array;
}

/** Looks at a puzzle set; compiled once, run often. */
export interface Censor {
  /** The first `limit` puzzles (default all), from one read-back for each batch. */
  take(limit?: number): Promise<Census>;
  destroy(): void;
}

export interface CensusOptions {
  readonly device: Device;
  readonly config: HrmConfig;
  readonly weights: Weights;
  readonly data: PuzzleSet;
  /** Segments that every puzzle runs, also beyond those that the model was trained for; default those of inference. */
  readonly segments?: number;
}

/** Compiles a census. `config.batch_size` may differ from training. */
export function createCensus(options: CensusOptions): Promise<Censor> {
  return owning(() => censusOf(options));
}

async function censusOf({
  device,
  config,
  weights,
  data,
  segments = inferenceSegments(config),
}: CensusOptions): Promise<Censor> {
  const { batch_size: B } = config;
  const puzzles = uploadPuzzles(device, data, "census");
  const carry = createCarry(device, config);
  const width = 3 * B;
  const record = variable(device, { shape: [segments, width], dtype: "f32" }, "census.record");
  /** Segments done so far; a batch takes `segments` of them. */
  const cursor = variable(device, hostTensor(Int32Array.of(0), [1]), "census.cursor");
  const limit = constant(Int32Array.of(data.count), [1]);
  const model = modelOf(config, weights);
  const program = await compile(
    device,
    {},
    () => {
      const first = mul(div(cursor, segments), B);
      const batch = consecutiveBatch(puzzles, first, limit, config);
      const { start, segment, predictions } = evaluationSegment(model, carry, batch, segments);
      const labelled = greaterEqual(start.labels, 0);
      const wrong = sum(bitAnd(labelled, equal(equal(predictions, start.labels), 0)), { axes: [1] });
      const right = cast(equal(wrong, 0), "f32");
      const row = concat([segment.qHalt, segment.qContinue, right], 0);
      const here = equal(div(position([segments, width]), width), remainder(cursor, segments));
      assign(record, where(here, reshape(row, [1, width]), record));
      assign(cursor, add(cursor, 1));
      return {};
    },
    { name: "census" },
  );
  const inTurn = createQueue();
  return {
    take: (limit = data.count) =>
      inTurn(async () => {
        const count = Math.min(limit, data.count);
        const result = {
          puzzles: count,
          segments,
          qHalt: new Float32Array(count * segments),
          qContinue: new Float32Array(count * segments),
          right: new Uint8Array(count * segments),
        };
        resetCarry(carry);
        cursor.write(Int32Array.of(0));
        for (let first = 0; first < count; first += B) {
          await program.run({}, segments);
          const values = (await record.read()) as Float32Array;
          for (let row = 0; row < Math.min(B, count - first); row++)
            for (let s = 0; s < segments; s++) {
              const at = (first + row) * segments + s;
              result.qHalt[at] = values[s * width + row]!;
              result.qContinue[at] = values[s * width + B + row]!;
              result.right[at] = values[s * width + 2 * B + row]!;
            }
        }
        return result;
      }),
    destroy() {
      program.destroy();
      destroyCarry(carry);
      destroyPuzzles(puzzles);
      record.destroy();
      cursor.destroy();
    },
  };
}
