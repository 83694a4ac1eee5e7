/**
 * Answers to a whole puzzle set with early halting: a puzzle stops once the model believes its answer, and leaves the batch.
 *
 * Dispatches have a fixed size, so that a batch with fewer puzzles costs what a full one costs. Moving the rows that go on
 * together would therefore save nothing by itself. What saves is to give the place of a puzzle that stopped to the next one
 * that waits (continuous batching): after every segment the device counts the free places before each row (an exclusive
 * prefix sum), and a free row takes the waiting puzzle of that number. No state is moved, as rows stay where they are, and
 * every segment computes rows that need it. Places stay empty only at the end, when no puzzle waits: for at most as many
 * segments as a puzzle may run.
 *
 * The host cannot know how many segments that takes. It submits as many as are sure to be needed (those that the puzzles that
 * have not stopped fill, at one segment each), and reads one number, the puzzles that stopped, while the device goes on with
 * the next of them. Answers and logits stay on the device until the end.
 */
import {
  add,
  assign,
  bitAnd,
  bitOr,
  bitXor,
  cast,
  compile,
  concat,
  div,
  equal,
  greater,
  greaterEqual,
  hostTensor,
  less,
  mul,
  notEqual,
  position,
  remainder,
  reshape,
  sub,
  sum,
  takeRows,
  variable,
  where,
  type Device,
  type Program,
  type Target,
  type Tensor,
  type Variable,
} from "../../engine/index.js";
import type { Abortable } from "../../engine/abort.js";
import { randomNormal } from "../../engine/ops/normal.js";
import { putRows } from "../../engine/ops/put_rows.js";
import { owning } from "../../engine/ownership.js";
import {
  createCarry,
  createKeptAnswer,
  destroyCarry,
  destroyKeptAnswer,
  keepBestAnswer,
  refill,
  resetCarry,
  storeCarry,
  type Refilled,
} from "../model/act.js";
import { inferenceSegments, type HrmConfig } from "../model/config.js";
import { actLoss } from "../model/loss.js";
import { embed, modelOf, segment } from "../model/model.js";
import { PUZZLE_EMBEDDING, type Weights } from "../model/parameters.js";
import type { PuzzleSet } from "../puzzles/puzzle_set.js";
import { destroyPuzzles, rowsBatch, uploadPuzzles } from "../puzzles/sampling.js";
import type { Answers } from "./answers.js";
import { nonFiniteLogits } from "./step.js";

/** What answers, and how often each puzzle is tried. */
export interface AnswererOptions extends Abortable {
  /** The device to run on. */
  readonly device: Device;
  /** What to compile for; default: the device's target. */
  readonly target?: Target | undefined;
  /** The model's configuration; `batch_size` rows are computed at a time. */
  readonly config: HrmConfig;
  /** The weights, which are read at every call. */
  readonly weights: Weights;
  /** The puzzles. */
  readonly data: PuzzleSet;
  /** The most segments for a puzzle. The default is `inference_segments`, or `halt_max_steps` if that is 0. */
  readonly segments?: number | undefined;
  /**
   * Tries of each puzzle; default one. The first starts as usual. To the others, normally distributed noise of this standard
   * deviation is added to every element of both latents before each segment; the elements have a mean square of about 1. The
   * noise of a try follows from `seed`, the number of the try and the segment, wherever in a batch the try runs.
   */
  readonly noise?: { readonly tries: number; readonly deviation: number; readonly seed: number } | undefined;
}

/** How the puzzles are answered. */
export interface AnswerRun {
  /**
   * A puzzle stops after the first segment whose q_halt (with full ACT: q_halt minus q_continue) is above this number, and after
   * the last one; default: after the last one only.
   */
  readonly haltAbove?: number | undefined;
  /** The most segments for a puzzle in this call; at most, and by default, those of the answerer. */
  readonly segments?: number | undefined;
  /** Asked now and then; if it returns true, no more is submitted, and the tries that stopped are returned. */
  readonly givenUp?: () => boolean;
  /** Hears how many of the tries have stopped. */
  readonly onProgress?: (finished: number, tries: number) => void;
}

/** Answers a puzzle set. It is compiled once and may be used often, by one caller at a time. */
export interface Answerer {
  /** The program of a segment. */
  readonly program: Program;
  /** Answers [puzzles x tries, ...]; the tries of a puzzle are neighbours. */
  answer(run?: AnswerRun): Promise<Answers>;
  /** Frees programs and buffers; the weights stay. */
  destroy(): void;
}

/** Bytes of a table on the device that holds answers; of larger sets a part is answered after the other. */
const TABLE_BYTES = 64e6;
/** Segments that are submitted at a time, so that the caller may give up in between. */
const MOST_SUBMITTED = 4;
/** Numbers kept of each segment: q_halt, q_continue, whether the answer is right, and how it ended. */
const KEPT = 4;
/** How a segment ended. */
const [WENT_ON, STOPPED, LOST] = [0, 1, 2] as const;
/** What no q_halt is above. Infinity is not used, as shaders may assume finite numbers. */
const NEVER = 3.4e38;

/** Compiles a segment, and allocates its memory. @throws LimitError */
export function createAnswerer(options: AnswererOptions): Promise<Answerer> {
  return owning(() => answererOf(options));
}

/** What the program of a segment reads and writes. */
interface State {
  /** i32 [1] each: the try that the next free row takes, the try of row 0 of the tables, the end of this part, and tries that stopped. */
  readonly cursor: Variable;
  readonly first: Variable;
  readonly end: Variable;
  readonly finished: Variable;
  /** f32 [1] and i32 [1]: when a puzzle stops. */
  readonly haltAbove: Variable;
  readonly most: Variable;
  /** Try of each row, i32 [B]. */
  readonly slots: Variable;
  /** i32 [part, S] */
  readonly tokens: Variable;
  /** f32 [part x segments, KEPT] */
  readonly kept: Variable;
}

function createState(device: Device, config: HrmConfig, part: number, segments: number): State {
  const number = (name: string): Variable =>
    variable(device, { shape: [1], dtype: "i32" }, `answers.${name}`);
  return {
    cursor: number("cursor"),
    first: number("first"),
    end: number("end"),
    finished: number("finished"),
    haltAbove: variable(device, hostTensor(Float32Array.of(NEVER), [1]), "answers.halt_above"),
    most: number("most"),
    slots: variable(device, { shape: [config.batch_size], dtype: "i32" }, "answers.slots"),
    tokens: variable(device, { shape: [part, config.seq_len], dtype: "i32" }, "answers.tokens"),
    kept: variable(device, { shape: [part * segments, KEPT], dtype: "f32" }, "answers.kept"),
  };
}

/** For each row the number of rows before it for which `flags` (i32 [B], 0 or 1) is 1: an exclusive prefix sum, i32 [B]. */
export function countBefore(flags: Tensor): Tensor {
  const { size } = flags;
  const place = position([size, size]);
  const earlier = less(remainder(place, size), div(place, size));
  return sum(where(earlier, reshape(flags, [1, size]), 0), { axes: [1] });
}

async function answererOf(options: AnswererOptions): Promise<Answerer> {
  const {
    device,
    config,
    weights,
    data,
    segments = inferenceSegments(config),
    noise,
    target,
    signal,
  } = options;
  const tries = noise?.tries ?? 1;
  const all = data.count * tries;
  const part = Math.max(
    1,
    Math.min(all, Math.floor(TABLE_BYTES / (4 * Math.max(config.seq_len, KEPT * segments)))),
  );
  const puzzles = uploadPuzzles(device, data, "answers");
  const carry = createCarry(device, config);
  const kept = createKeptAnswer(device, config);
  const state = createState(device, config, part, segments);
  const model = modelOf(config, weights);
  const body = (): Record<string, never> => {
    const { batch_size: B } = config;
    const free = greater(carry.halted, 0);
    const attempt = where(free, add(state.cursor, countBefore(free)), state.slots);
    assign(state.cursor, add(state.cursor, reshape(sum(free), [1])));
    assign(state.slots, attempt);
    const busy = less(attempt, state.end);
    const fresh = rowsBatch(puzzles, div(attempt, tries), busy);
    const start = noisy(refill(carry, fresh, model.parameters, config), attempt, noise);
    const puzzle =
      config.puzzle_emb_ndim > 0 ? takeRows(model.parameters(PUZZLE_EMBEDDING), start.identifiers) : null;
    const x = embed(model, start.inputs, puzzle);
    const result = segment(model, start, x);
    const { qHalt, qContinue } = result;
    const steps = add(start.steps, 1);
    const last = greaterEqual(steps, state.most);
    const wants = greater(config.halt_only ? qHalt : sub(qHalt, qContinue), state.haltAbove);
    // A row without a puzzle stays free.
    const halted = bitOr(bitOr(last, wants), equal(busy, 0));
    const answer = kept ? { ...result, ...keepBestAnswer(kept, start.steps, result) } : result;
    const { predictions } = actLoss(
      { ...answer, labels: start.labels, targetContinue: null, halted, steps },
      config,
    );
    const wrong = bitAnd(greaterEqual(start.labels, 0), notEqual(predictions, start.labels));
    const right = cast(equal(sum(wrong, { axes: [1] }), 0), "f32");
    const lost = greaterEqual(nonFiniteLogits(result), 1);
    const ended = cast(where(halted, where(lost, LOST, STOPPED), WENT_ON), "f32");
    const columns = [qHalt, qContinue, right, ended].map((column) => reshape(column, [B, 1]));
    const row = sub(attempt, state.first);
    putRows(state.tokens, where(busy, row, -1), predictions);
    putRows(state.kept, where(busy, add(mul(row, segments), start.steps), -1), concat(columns, 1));
    assign(state.finished, add(state.finished, reshape(sum(bitAnd(halted, busy)), [1])));
    storeCarry(carry, start, result, { steps, last, halted });
    return {};
  };
  const program = (await compile(device, {}, body, {
    name: "answers",
    target,
    signal,
  })) as unknown as Program;
  return {
    program,
    answer: (run = {}) => answerAll({ program, state, carry, config, data, segments, tries, part }, run),
    destroy() {
      program.destroy();
      destroyCarry(carry);
      destroyKeptAnswer(kept);
      destroyPuzzles(puzzles);
      for (const v of Object.values(state) as Variable[]) v.destroy();
    },
  };
}

/** The state with the noise of each row's try and segment. */
function noisy(start: Refilled, attempt: Tensor, noise: AnswererOptions["noise"]): Refilled {
  if (!noise || noise.tries < 2 || noise.deviation === 0) return start;
  const [B] = attempt.shape as readonly [number];
  // 0x9e3779b1 is odd, so that no two tries have the same key word.
  const own = bitXor(mul(cast(attempt, "u32"), 0x9e3779b1), noise.seed);
  const key = concat([reshape(own, [B, 1]), reshape(cast(start.steps, "u32"), [B, 1])], 1);
  const scale = where(greater(remainder(attempt, noise.tries), 0), noise.deviation, 0);
  const disturbed = (z: Tensor, stream: number): Tensor =>
    add(z, mul(randomNormal(key, z.shape, stream), reshape(scale, [B, 1, 1])));
  const zL = disturbed(start.zL, 0);
  return { ...start, zL, zH: start.zH === start.zL ? zL : disturbed(start.zH, 1) };
}

interface Work {
  readonly program: Program;
  readonly state: State;
  readonly carry: Parameters<typeof resetCarry>[0];
  readonly config: HrmConfig;
  readonly data: PuzzleSet;
  readonly segments: number;
  readonly tries: number;
  /** Tries that the tables hold. */
  readonly part: number;
}

async function answerAll(
  { program, state, carry, config, data, segments, tries, part }: Work,
  { haltAbove = Infinity, segments: most = segments, givenUp = () => false, onProgress }: AnswerRun,
): Promise<Answers> {
  const all = data.count * tries;
  const { batch_size: B, seq_len: S } = config;
  const answers = {
    ...{ puzzles: all, segments, tokens: new Int32Array(all * S), ran: new Int32Array(all) },
    ...{ qHalt: new Float32Array(all * segments), qContinue: new Float32Array(all * segments) },
    ...{ right: new Uint8Array(all * segments), lost: new Uint8Array(all) },
    qAnswer: new Float32Array(all),
  };
  state.haltAbove.write(Float32Array.of(Math.min(NEVER, Math.max(-NEVER, haltAbove))));
  state.most.write(Int32Array.of(Math.min(most, segments)));
  let computed = 0;
  for (let first = 0; first < all && !givenUp(); first += part) {
    const end = Math.min(all, first + part);
    resetCarry(carry);
    for (const [v, value] of [
      [state.cursor, first],
      [state.first, first],
      [state.end, end],
      [state.finished, 0],
    ] as const)
      v.write(Int32Array.of(value));
    state.kept.write(new Float32Array(state.kept.size));
    const size = end - first;
    const whole = haltAbove === Infinity ? Math.ceil(size / B) * Math.min(most, segments) : null;
    computed +=
      B *
      (await runPart(program, state, { size, batch: B, whole, givenUp }, (n) =>
        onProgress?.(first + n, all),
      ));
    const [tokens, kept] = await Promise.all([state.tokens.read(), state.kept.read()]);
    answers.tokens.set((tokens as Int32Array).subarray(0, size * S), first * S);
    unpack(kept as Float32Array, answers, first, size);
  }
  for (let row = 0; row < all; row++) {
    const from = row * segments;
    const own = answers.qHalt.subarray(from, from + answers.ran[row]!);
    answers.qAnswer[row] = config.keep_best_answer ? Math.max(...own) : own.at(-1)!;
  }
  return { ...answers, computed };
}

/** Runs segments until all tries of a part have stopped. Returns their number. `whole` is that number where it is known. */
async function runPart(
  program: Program,
  { finished }: Pick<State, "finished">,
  {
    size,
    batch,
    whole,
    givenUp,
  }: { size: number; batch: number; whole: number | null; givenUp: () => boolean },
  onProgress: (finished: number) => void,
): Promise<number> {
  let submitted = 0;
  /** Segments that are sure to be needed, by the last count. */
  let sure = whole ?? Math.ceil(size / batch);
  let reading: { readonly count: Promise<ArrayLike<number>>; readonly at: number } | null = null;
  for (let done = 0; done < size && !givenUp();) {
    if (whole === null || submitted < whole) {
      const times = Math.min(MOST_SUBMITTED, Math.max(1, sure - submitted));
      await program.run({}, times);
      submitted += times;
    }
    const next = { count: finished.read(), at: submitted };
    // The count before is waited for, while the device computes.
    const last = reading ?? next;
    reading = next;
    done = (await last.count)[0]!;
    sure = whole ?? last.at + Math.ceil((size - done) / batch);
    onProgress(done);
  }
  await reading?.count;
  return submitted;
}

/** The numbers kept of a part as arrays of the answers. */
function unpack(kept: Float32Array, answers: Omit<Answers, "computed">, first: number, size: number): void {
  const { segments, ran, qHalt, qContinue, right, lost } = answers;
  for (let row = 0; row < size; row++) {
    let at = row * segments * KEPT;
    for (let s = 0; s < segments; s++) {
      const to = (first + row) * segments + s;
      [qHalt[to], qContinue[to], right[to]] = [kept[at]!, kept[at + 1]!, kept[at + 2]!];
      if (ran[first + row] || kept[at + 3] === WENT_ON) {
        // A puzzle that stopped keeps what it had.
        if (!ran[first + row]) at += KEPT;
        continue;
      }
      ran[first + row] = s + 1;
      lost[first + row] = Number(kept[at + 3] === LOST);
    }
  }
}
