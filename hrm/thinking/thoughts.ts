/** How an answer comes about: the board decoded after every update of both levels (paper, fig. 7). */
import {
  compile,
  concat,
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
import { hasOneLatent, inferenceSegments, levelUpdates, type HrmConfig } from "../model/config.js";
import { foresee, forwardResiduals, readOut, type Latents, modelOf } from "../model/model.js";
import type { Weights } from "../model/parameters.js";
import { evaluationSegment } from "../training/step.js";
import { recordSegment } from "./segment_record.js";
import { decodeLogits } from "./decode.js";

/** Everything that happened while one puzzle was solved, update by update. */
export interface Thought {
  /** Cells of the puzzle, S. */
  readonly length: number;
  readonly segments: number;
  /** Which level each update of a segment moves, in order: `L` L_cycles times, then `H`, again for each H cycle. */
  readonly levels: readonly ("L" | "H")[];
  /** The best token of each cell after each update [updates, S], updates counted over all segments. */
  readonly tokens: Int32Array;
  /** How likely the model holds that token, from 0 to 1 [updates, S]. */
  readonly confidence: Float32Array;
  /** Above 0 the model believes that the answer at that update is right [updates]. */
  readonly qHalt: Float32Array;
  /** [updates] */
  readonly qContinue: Float32Array;
  /** How far each update moved its state, [updates]; see {@link forwardResiduals}. */
  readonly residuals: Float32Array;
  /** Numbers among all logits that are NaN or infinite; more than 0: the boards mean nothing. */
  readonly nonFinite: number;
}

/** Follows one puzzle at a time with the weights as they are when asked. */
export interface Thinker {
  /**
   * What happens to a puzzle of tokens [S] in `segments` segments (default and most: those that it was made for), from one
   * read-back. Calls that overlap are answered one after the other.
   */
  think(inputs: Int32Array, options?: { identifier?: number; segments?: number }): Promise<Thought>;
  destroy(): void;
}

export interface ThinkerOptions {
  readonly device: Device;
  /** What to compile for; default: the device's target. */
  readonly target?: Target | undefined;
  readonly config: HrmConfig;
  readonly weights: Weights;
  /** Most segments of a puzzle; default those of inference. */
  readonly segments?: number;
}

/** Compiles a thinker. */
export function createThinker(options: ThinkerOptions): Promise<Thinker> {
  return owning(() => thinkerOf(options));
}

/** The levels of a segment's updates in the order in which they run. */
export function updateLevels({ arch, H_cycles, L_cycles }: HrmConfig): ("L" | "H")[] {
  if (arch === "transformer") return ["H"];
  const cycle = [...Array<"L">(L_cycles).fill("L"), "H" as const];
  return Array.from({ length: H_cycles }, () => cycle).flat();
}

async function thinkerOf({
  device,
  target,
  config: given,
  weights,
  segments: most = inferenceSegments(given),
}: ThinkerOptions): Promise<Thinker> {
  const config = { ...given, batch_size: 1 };
  const { seq_len: S, vocab_size: V, L_cycles } = config;
  const carry = createCarry(device, config);
  const model = modelOf(config, weights);
  const levels = updateLevels(config);
  const U = levelUpdates(config);
  // Of each update: its logits, q_halt and q_continue; then the residuals of all.
  const stride = S * V + 2;
  const width = U * stride + U;
  const record = variable(device, { shape: [most, width], dtype: "f32" }, "thought.record");
  const cursor = variable(device, hostTensor(Int32Array.of(0), [1]), "thought.segment");
  const program = await compile(
    device,
    { inputs: i32(1, S), labels: i32(1, S), identifiers: i32(1) },
    (batch) => {
      // One segment more than anyone asks for: the carry is reset by hand.
      const { start, segment } = evaluationSegment(model, carry, batch, 2 ** 30);
      const oneLatent = hasOneLatent(config);
      let { zH, zL }: Latents = start;
      const columns = levels.map((level, u) => {
        const cycle = Math.floor(u / (L_cycles + 1));
        if (level === "L") zL = segment.trace.L[cycle * L_cycles + (u % (L_cycles + 1))]!;
        else {
          zH = segment.trace.H[cycle]!;
          if (oneLatent) zL = zH;
        }
        const seen = level === "H" ? zH : foresee(model, { zH, zL });
        const { logits, qHalt, qContinue } = readOut(model, seen);
        const row = (x: Tensor): Tensor => reshape(x, [1, x.size]);
        return concat([row(logits), row(qHalt), row(qContinue)], 1);
      });
      recordSegment(record, cursor, [...columns, forwardResiduals(start, segment)]);
      return {};
    },
    { name: "thinker", target },
  );
  const inTurn = createQueue();
  return {
    think(given, { identifier = 0, segments = most } = {}) {
      // The caller may change the array while others are answered.
      const inputs = given.slice();
      return inTurn(async () => {
        resetCarry(carry);
        cursor.write(Int32Array.of(0));
        const count = Math.min(segments, most);
        await program.run(
          { inputs, labels: new Int32Array(S), identifiers: Int32Array.of(identifier) },
          count,
        );
        return thoughtOf((await record.read()) as Float32Array, count);
      });
    },
    destroy() {
      program.destroy();
      destroyCarry(carry);
      record.destroy();
      cursor.destroy();
    },
  };

  function thoughtOf(values: Float32Array, segments: number): Thought {
    const updates = segments * U;
    const logits = new Float32Array(updates * S * V);
    const qHalt = new Float32Array(updates);
    const qContinue = new Float32Array(updates);
    const residuals = new Float32Array(updates);
    for (let update = 0; update < updates; update++) {
      const [segment, u] = [Math.floor(update / U), update % U];
      const at = segment * width + u * stride;
      logits.set(values.subarray(at, at + S * V), update * S * V);
      qHalt[update] = values[at + S * V]!;
      qContinue[update] = values[at + S * V + 1]!;
      residuals[update] = values[segment * width + U * stride + u]!;
    }
    const decoded = decodeLogits(logits, V, config.loss_type);
    return { length: S, segments, levels, ...decoded, qHalt, qContinue, residuals };
  }
}
