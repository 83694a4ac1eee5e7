/**
 * Gradient accumulation: a step computes its batch in equal parts, one after the other, so that the activations of only one
 * part live at a time. Draws, halting and metrics are the same as for the whole batch; the gradient is the same sum in
 * another order.
 */
import {
  add,
  assign,
  broadcastTo,
  mul,
  position,
  reshape,
  scalar,
  sub,
  takeRows,
  variable,
  type Allocator,
  type Shape,
  type Tensor,
  type Variable,
} from "../../engine/index.js";
import { owning } from "../../engine/ownership.js";
import { pack } from "../../engine/optimizers.js";
import type { Batch } from "../puzzles/sampling.js";
import { ConfigError, isMicroBatch, type HrmConfig } from "../model/config.js";
import { METRICS } from "../model/loss.js";
import { createPacked } from "../model/parameters.js";
import { learn, PUZZLE_LOCAL, update, type StepResult, type TrainingState } from "./step.js";
import type { Exploration } from "../model/act.js";

/** What the parts of a batch share: the draws of the batch, and the sums over the parts so far. */
export interface MicroBatches {
  /** Number of parts. */
  readonly count: number;
  /** Index of the current part, i32 [1]. */
  readonly part: Variable;
  /** The whole batch, with its exploration. */
  readonly drawn: Readonly<Record<keyof Batch | keyof Exploration, Variable>>;
  /** Sums of the gradients over the parts so far, by name; zero between steps. The puzzle embedding has a gradient for each row. */
  readonly gradients: ReadonlyMap<string, Variable>;
  /** Rows of the puzzle embedding to which its gradients belong, i32 [B]. */
  readonly identifiers: Variable;
  readonly metrics: Variable;
  /** As in {@link StepResult}, i32 scalar. */
  readonly lostLogits: Variable;
}

/** Number of micro-batches of `rows` rows in the batch; 1 if `rows` is absent. @throws ConfigError if `rows` does not divide the batch */
export function microBatchCount(config: HrmConfig, rows = config.batch_size): number {
  const { batch_size: B } = config;
  if (!isMicroBatch(rows, config))
    throw new ConfigError("micro_batch", rows, `a divisor of batch_size (${B})`);
  return B / rows;
}

/** Allocates the draws and sums for `count` parts. */
export function createMicroBatches(device: Allocator, config: HrmConfig, count: number): MicroBatches {
  return owning(() => microBatchesOf(device, config, count));
}

function microBatchesOf(device: Allocator, config: HrmConfig, count: number): MicroBatches {
  const { batch_size: B, seq_len: S, puzzle_emb_ndim: width } = config;
  const make = (name: string, shape: Shape, dtype: "f32" | "i32" = "f32"): Variable =>
    variable(device, { shape, dtype }, `micro_batches.${name}`);
  const gradients = createPacked(
    device,
    config,
    "gradients",
    ({ name }) => `micro_batches.${name}`,
    ({ shape }) => ({ shape, dtype: "f32" }),
  );
  if (width > 0) gradients.set(PUZZLE_LOCAL, make(PUZZLE_LOCAL, [B, width]));
  return {
    count,
    part: make("part", [1], "i32"),
    drawn: {
      inputs: make("inputs", [B, S], "i32"),
      labels: make("labels", [B, S], "i32"),
      identifiers: make("puzzle_identifiers", [B], "i32"),
      u: make("u", [B]),
      randint: make("randint", [B], "i32"),
    },
    gradients,
    identifiers: make("identifiers", [B], "i32"),
    metrics: make("metrics", [METRICS.length]),
    lostLogits: make("lost_logits", [], "i32"),
  };
}

/** The sums, which are zero at the start of every step. */
const summed = ({ part, gradients, identifiers, metrics, lostLogits }: MicroBatches): Variable[] => [
  part,
  ...gradients.values(),
  identifiers,
  metrics,
  lostLogits,
];

/** The packs of variables, and the variables that belong to no pack. */
const wholes = (variables: readonly Variable[]): Variable[] => [
  ...new Set(variables.map((v) => v.pack ?? v)),
];

/** Frees the draws and sums. */
export function destroyMicroBatches(micro: MicroBatches): void {
  for (const v of [...summed(micro), ...Object.values(micro.drawn)]) v.destroy();
}

/** A program of the training step, and how often it runs in a row. */
export interface StepProgram {
  readonly name: string;
  readonly times: number;
  readonly body: () => Readonly<Record<string, Tensor>> | void;
}

/** Functions that add operations to the trace of a step. */
export interface StepHooks {
  /** Called with the results of the whole batch, before the update. */
  readonly record?: (result: Pick<StepResult, "metrics" | "gradients" | "lostLogits">) => void;
  /** Called with the results of each micro-batch (or of the batch). */
  readonly observe?: (result: StepResult) => void;
}

/** The training step as a sequence of programs: one program, or with micro-batches three, of which the second runs once for each part. */
export function stepPrograms(
  state: TrainingState & { readonly micro: MicroBatches | null },
  draw: () => Batch & Exploration,
  { record, observe }: StepHooks,
): StepProgram[] {
  const { micro, model } = state;
  if (!micro) {
    const body = (): void => {
      const drawn = draw();
      const result = learn(state, drawn, drawn);
      observe?.(result);
      record?.(result);
      update(state, result.gradients, result.start.identifiers);
    };
    return [{ name: "training step", times: 1, body }];
  }
  const { count, part, drawn, gradients, identifiers, metrics, lostLogits } = micro;
  const B = model.config.batch_size;
  const rows = B / count;
  const drawBatch = (): void => {
    const batch = draw();
    for (const name of Object.keys(drawn) as (keyof typeof drawn)[]) assign(drawn[name], batch[name]);
  };
  const learnPart = (): void => {
    const first = mul(part, rows);
    const own = add(position([rows]), first);
    const take = (v: Variable): Tensor =>
      reshape(takeRows(reshape(v, [B, -1]), own), [rows, ...v.shape.slice(1)]);
    const [inputs, labels, ids] = [take(drawn.inputs), take(drawn.labels), take(drawn.identifiers)];
    const batch = { inputs, labels, identifiers: ids };
    const exploration = { u: take(drawn.u), randint: take(drawn.randint) };
    const ours = { ...model, config: { ...model.config, batch_size: rows } };
    const result = learn({ ...state, model: ours }, batch, exploration, B);
    observe?.(result);
    const gather = (sum: Variable, value: Tensor): void => assign(sum, add(sum, value));
    // Rows of the batch outside this part get zeros.
    const placed = (value: Tensor): Tensor => takeRows(value, sub(position([B]), first));
    const ofRows = result.gradients.get(PUZZLE_LOCAL);
    if (ofRows) gather(gradients.get(PUZZLE_LOCAL)!, placed(ofRows));
    const names = [...gradients.keys()].filter((name) => name !== PUZZLE_LOCAL);
    const sums = wholes(names.map((name) => gradients.get(name)!));
    pack(names.map((name) => result.gradients.get(name)!)).forEach(({ tensor }, i) =>
      gather(sums[i]!, reshape(tensor, sums[i]!.shape)),
    );
    gather(identifiers, reshape(placed(reshape(result.start.identifiers, [rows, 1])), [B]));
    gather(metrics, result.metrics);
    gather(lostLogits, result.lostLogits);
    assign(part, add(part, 1));
  };
  const updateAll = (): void => {
    const sums = new Map([...gradients].map(([name, v]) => [name, v.tensor]));
    record?.({ metrics: metrics.tensor, gradients: sums, lostLogits: lostLogits.tensor });
    update(state, sums, identifiers);
    for (const v of wholes(summed(micro))) assign(v, broadcastTo(scalar(0, v.dtype), v.shape));
  };
  return [
    { name: "training step: draws", times: 1, body: drawBatch },
    { name: "training step: micro-batch", times: count, body: learnPart },
    { name: "training step: update", times: 1, body: updateAll },
  ];
}
