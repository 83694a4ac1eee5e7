/** Evaluation over a puzzle set, and solving one puzzle segment by segment. */
import {
  add,
  assign,
  bitAnd,
  cast,
  compile,
  concat,
  div,
  equal,
  greaterEqual,
  hostTensor,
  i32,
  mul,
  notEqual,
  position,
  remainder,
  reshape,
  sum,
  variable,
  where,
  zeros,
  type Allocator,
  type Device,
  type Program,
  type Target,
  type Tensor,
  type Variable,
} from "../../engine/index.js";
import { unlessAborted, type Abortable } from "../../engine/abort.js";
import { owning } from "../../engine/ownership.js";
import { createQueue } from "../../engine/queue.js";
import {
  createCarry,
  createKeptAnswer,
  destroyCarry,
  destroyKeptAnswer,
  resetCarry,
  type Carry,
} from "../model/act.js";
import { inferenceSegments, type HrmConfig } from "../model/config.js";
import { consecutiveBatch, destroyPuzzles, uploadPuzzles } from "../puzzles/sampling.js";
import { metricRow, METRICS } from "../model/loss.js";
import { forwardResiduals, modelOf } from "../model/model.js";
import type { Weights } from "../model/parameters.js";
import type { PuzzleSet } from "../puzzles/puzzle_set.js";
import { evaluationSegment, nonFiniteLogits } from "./step.js";

/** Scores over a puzzle set; accuracies are fractions. */
export interface Scores {
  /** Puzzles with at least one label. */
  readonly count: number;
  /** Puzzles with every labelled cell right. */
  readonly exact: number;
  /** Share of solved puzzles: `exact` / `count`. */
  readonly exactAccuracy: number;
  /** Mean over puzzles of the share of right cells. */
  readonly cellAccuracy: number;
  /** Share of right cells among the cells whose answer differs from the puzzle (Sudoku: the blanks); NaN if there are no such cells. */
  readonly blankAccuracy: number;
  /** Share of puzzles for which the sign of q_halt says correctly whether they are solved. */
  readonly qHaltAccuracy: number;
  /** Mean number of segments of a puzzle. */
  readonly meanSteps: number;
  /**
   * Puzzles whose last logits (of cells, q_halt or q_continue) hold a NaN or an infinity, so that their answers mean nothing.
   * Counted from the bits, since shaders may assume finite numbers.
   */
  readonly nonFinite: number;
}

/** Evaluates weights on a puzzle set. It is compiled once and may run often. */
export interface Evaluator {
  /** The program of a segment. */
  readonly program: Program;
  /**
   * Scores the first `limit` puzzles (default: all). Submits all work, then reads the sums. Calls that overlap run one after
   * the other. If the signal fires, the promise rejects with its reason. If `givenUp`, which is asked before each batch,
   * returns true, the scores are those of the batches before.
   */
  run(limit?: number, options?: Abortable & { readonly givenUp?: () => boolean }): Promise<Scores>;
  /** Frees programs and buffers; the weights stay. */
  destroy(): void;
}

/** What to evaluate. */
export interface EvaluatorOptions extends Abortable {
  /** The device to run on. */
  readonly device: Device;
  /** What to compile for; default: the device's target. */
  readonly target?: Target | undefined;
  /** The model's configuration. */
  readonly config: HrmConfig;
  /** The weights to score, which the evaluator reads at every run. */
  readonly weights: Weights;
  /** The puzzles. */
  readonly data: PuzzleSet;
  /** Segments for each puzzle. The default is `inference_segments`, or `halt_max_steps` if that is 0. */
  readonly segments?: number;
  /** Receives the answers of each batch. A run then waits for each batch. */
  readonly onAnswers?: (answers: BatchAnswers) => void;
}

/** Answers of the model to consecutive puzzles of the set, with its halting logits. */
export interface BatchAnswers {
  /** Row of the first of these puzzles in the set. */
  readonly first: number;
  readonly puzzles: number;
  readonly segments: number;
  /** Answers after the last segment (with `keep_best_answer`, of the segment with the highest q_halt): tokens [puzzles, S]. */
  readonly tokens: Int32Array;
  /** Logits after each segment [puzzles, segments]; above 0 if the model believes that its answer is right. */
  readonly qHalt: Float32Array;
  /** [puzzles, segments] */
  readonly qContinue: Float32Array;
  /** 1 if every labelled cell of the answer after this segment is right [puzzles, segments]. */
  readonly right: Uint8Array;
}

/** Compiles the evaluation of these weights on this set. `config.batch_size` may differ from the batch size of training. */
export function createEvaluator(options: EvaluatorOptions): Promise<Evaluator> {
  return owning(() => evaluatorOf(options));
}

/** The variables of an evaluation and the function that its program is traced from. */
interface PreparedEvaluation {
  readonly body: () => Readonly<Record<string, Tensor>>;
  readonly carry: Carry;
  readonly totals: Variable;
  /** i32 [3]: blank cells of finished rows, right cells among them, and finished rows with logits that are not finite. */
  readonly blanks: Variable;
  /** Segments done so far; each batch takes `segments` segments. */
  readonly cursor: Variable;
  readonly limit: Variable;
  /** q values and whether the answer is right, of each row after each segment of a batch; null if nobody asks for answers. */
  readonly record: Variable | null;
  destroy(): void;
}

/** Allocates the memory of an evaluation, on a device or on the ledger of a plan, and prepares its program. */
export function prepareEvaluation(options: EvaluationOptions): PreparedEvaluation {
  return owning(() => preparedOf(options));
}

interface EvaluationOptions extends Pick<EvaluatorOptions, "config" | "weights" | "data" | "segments"> {
  readonly device: Allocator;
  /** True if answers are recorded. */
  readonly recorded?: boolean;
}

function preparedOf({
  device,
  config,
  weights,
  data,
  segments = inferenceSegments(config),
  recorded = false,
}: EvaluationOptions): PreparedEvaluation {
  const puzzles = uploadPuzzles(device, data, "evaluation");
  const carry = createCarry(device, config);
  const kept = createKeptAnswer(device, config);
  const totals = variable(device, zeros([METRICS.length]), "evaluation.totals");
  const blanks = variable(device, hostTensor(new Int32Array(3), [3]), "evaluation.blanks");
  const cursor = variable(device, hostTensor(Int32Array.of(0), [1]), "evaluation.cursor");
  const limit = variable(device, hostTensor(Int32Array.of(data.count), [1]), "evaluation.limit");
  const shape = [segments, 3 * config.batch_size] as const;
  const record = recorded ? variable(device, { shape, dtype: "f32" }, "evaluation.record") : null;
  const model = modelOf(config, weights);
  const body = (): Readonly<Record<string, Tensor>> => {
    const first = mul(div(cursor, segments), config.batch_size);
    const { metrics, start, segment, predictions, halting } = evaluationSegment(
      model,
      carry,
      consecutiveBatch(puzzles, first, limit, config),
      segments,
      kept,
    );
    assign(totals, add(totals, metrics));
    const finished = reshape(halting.halted, [config.batch_size, 1]);
    const changed = bitAnd(greaterEqual(start.labels, 0), notEqual(start.labels, start.inputs));
    const blank = bitAnd(finished, changed);
    const right = bitAnd(blank, equal(predictions, start.labels));
    const labelled = bitAnd(
      halting.halted,
      greaterEqual(sum(greaterEqual(start.labels, 0), { axes: [1] }), 1),
    );
    const lost = bitAnd(labelled, greaterEqual(nonFiniteLogits(segment), 1));
    const counts = [blank, right, lost].map((which) => reshape(sum(which), [1]));
    assign(blanks, add(blanks, concat(counts, 0)));
    if (record) {
      const wrong = sum(bitAnd(greaterEqual(start.labels, 0), notEqual(predictions, start.labels)), {
        axes: [1],
      });
      const row = concat([segment.qHalt, segment.qContinue, cast(equal(wrong, 0), "f32")], 0);
      const here = equal(div(position(shape), shape[1]), remainder(cursor, segments));
      assign(record, where(here, reshape(row, [1, shape[1]]), record));
    }
    assign(cursor, add(cursor, 1));
    return record ? { predictions } : {};
  };
  return {
    ...{ body, carry, totals, blanks, cursor, limit, record },
    destroy() {
      destroyCarry(carry);
      destroyKeptAnswer(kept);
      destroyPuzzles(puzzles);
      for (const v of [totals, blanks, cursor, limit]) v.destroy();
      record?.destroy();
    },
  };
}

async function evaluatorOf(options: EvaluatorOptions): Promise<Evaluator> {
  const { device, config, data, segments = inferenceSegments(config), onAnswers, signal, target } = options;
  const prepared = prepareEvaluation({ ...options, recorded: onAnswers !== undefined });
  const { body, carry, totals, blanks, cursor, record } = prepared;
  const program = await compile(device, {}, body, { name: "evaluation", target, signal });
  const oneRun = createQueue();
  const score: Evaluator["run"] = async (limit = data.count, { signal, givenUp } = {}) => {
    signal?.throwIfAborted();
    const count = Math.min(limit, data.count);
    resetCarry(carry);
    totals.write(new Float32Array(METRICS.length));
    blanks.write(new Int32Array(3));
    cursor.write(Int32Array.of(0));
    prepared.limit.write(Int32Array.of(count));
    for (let first = 0; first < count; first += config.batch_size) {
      signal?.throwIfAborted();
      if (givenUp?.()) break;
      await program.run({}, segments);
      if (!onAnswers || !record) continue;
      const tokens = (await (program as Program).read("predictions")) as Int32Array;
      const values = (await record.read()) as Float32Array;
      const puzzles = Math.min(config.batch_size, count - first);
      onAnswers({
        ...{ first, puzzles, segments },
        tokens: tokens.subarray(0, puzzles * config.seq_len),
        ...byPuzzle(values, { puzzles, segments, batch: config.batch_size }),
      });
    }
    const sums = metricRow(await totals.read());
    const [blankCells, blanksRight, lostRows] = await blanks.read();
    const n = Math.max(1, sums.count);
    return {
      count: sums.count,
      exact: sums.exact_accuracy,
      exactAccuracy: sums.exact_accuracy / n,
      cellAccuracy: sums.accuracy / n,
      blankAccuracy: blanksRight! / blankCells!,
      qHaltAccuracy: sums.q_halt_accuracy / n,
      meanSteps: sums.steps / n,
      nonFinite: lostRows!,
    };
  };
  return {
    program,
    run: (limit, options = {}) =>
      unlessAborted(
        oneRun(() => score(limit, options)),
        options.signal,
      ),
    destroy() {
      program.destroy();
      prepared.destroy();
    },
  };
}

/** The columns of a record [segments, 3 batch] as arrays [puzzles, segments]. */
function byPuzzle(
  record: Float32Array,
  { puzzles, segments, batch }: { puzzles: number; segments: number; batch: number },
): Pick<BatchAnswers, "qHalt" | "qContinue" | "right"> {
  const column = (part: number) => (_: unknown, at: number) =>
    record[(at % segments) * 3 * batch + part * batch + Math.floor(at / segments)]!;
  const length = puzzles * segments;
  return {
    qHalt: Float32Array.from({ length }, column(0)),
    qContinue: Float32Array.from({ length }, column(1)),
    right: Uint8Array.from({ length }, column(2)),
  };
}

/** The answer of the model after a segment. */
export interface SolvedSegment {
  /** Predicted tokens [S]; with `keep_best_answer` those of the segment with the highest `qHalt` so far. */
  readonly prediction: Int32Array;
  /** Of this segment: above 0 if the model believes that its answer is right. */
  readonly qHalt: number;
  /** Logit of going on; it means nothing for a model with `halt_only`. */
  readonly qContinue: number;
  /** L2 norm of the change that each update made to its state; see `forwardResiduals`. */
  readonly residuals: Float32Array;
  /** Number of logits that are NaN or infinite. If it is above 0, the answer means nothing. */
  readonly nonFinite: number;
}

/** How one puzzle is solved. */
export interface SolveOptions extends Abortable {
  /** The puzzle's identifier, whose embedding the model reads; default 0. */
  readonly identifier?: number;
  /** Segments at most; default `inference_segments`, else `halt_max_steps`. */
  readonly segments?: number;
  /** Ends after the first segment whose `qHalt` is above this number; default: never early. */
  readonly haltAbove?: number;
  /** Hears of each segment, counted from 0, before the next one begins. */
  readonly onSegment?: (segment: SolvedSegment, index: number) => void;
}

/** Solves one puzzle at a time with the weights as they are when asked. */
export interface Solver {
  /**
   * The answer after each segment. `inputs` are tokens [S]. Calls that overlap are answered one after the other, each
   * with its own puzzle. If the signal fires, the promise rejects with its reason, and the solver goes on with the next.
   */
  solve(inputs: Int32Array, options?: SolveOptions): Promise<SolvedSegment[]>;
  /** Frees programs and buffers; the weights stay. */
  destroy(): void;
}

/** The model that solves. */
export interface SolverOptions extends Abortable {
  /** The device to run on. */
  readonly device: Device;
  /** What to compile for; default: the device's target. */
  readonly target?: Target | undefined;
  /** The model's configuration. */
  readonly config: HrmConfig;
  /** The weights, which the solver reads at every call. */
  readonly weights: Weights;
}

/** Compiles a solver. */
export function createSolver(options: SolverOptions): Promise<Solver> {
  return owning(() => solverOf(options));
}

async function solverOf({ device, target, config: given, weights, signal }: SolverOptions): Promise<Solver> {
  const config = { ...given, batch_size: 1 };
  const carry = createCarry(device, config);
  const kept = createKeptAnswer(device, config);
  const model = modelOf(config, weights);
  const { seq_len: S } = config;
  // A number of segments that no caller reaches, so that rows never halt: the carry is reset by hand.
  const endless = 2 ** 30;
  const program = await compile(
    device,
    { inputs: i32(1, S), labels: i32(1, S), identifiers: i32(1) },
    (batch) => {
      const { start, segment, predictions } = evaluationSegment(model, carry, batch, endless, kept);
      const { qHalt, qContinue } = segment;
      const residuals = forwardResiduals(start, segment);
      return { prediction: predictions, qHalt, qContinue, residuals, nonFinite: nonFiniteLogits(segment) };
    },
    { name: "solver", target, signal },
  );
  const oneRun = createQueue();
  return {
    solve(given, options = {}) {
      const { identifier = 0, segments = inferenceSegments(config), haltAbove = Infinity } = options;
      const { onSegment, signal } = options;
      // The caller may change the array while others are answered.
      const inputs = given.slice();
      const answer = async (): Promise<SolvedSegment[]> => {
        signal?.throwIfAborted();
        resetCarry(carry);
        const results: SolvedSegment[] = [];
        for (let i = 0; i < segments; i++) {
          const outputs = await program.call(
            { inputs, labels: new Int32Array(S), identifiers: Int32Array.of(identifier) },
            { signal },
          );
          const result: SolvedSegment = {
            prediction: outputs["prediction"] as Int32Array,
            qHalt: outputs["qHalt"][0]!,
            qContinue: outputs["qContinue"][0]!,
            residuals: outputs["residuals"] as Float32Array,
            nonFinite: outputs["nonFinite"][0]!,
          };
          results.push(result);
          onSegment?.(result, i);
          if (result.qHalt > haltAbove) break;
        }
        return results;
      };
      return unlessAborted(oneRun(answer), signal);
    },
    destroy() {
      program.destroy();
      destroyCarry(carry);
      destroyKeptAnswer(kept);
    },
  };
}
