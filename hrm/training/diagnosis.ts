/** Finds the first NaN or infinity in training: replays steps one by one and examines the tensors of each step. */
import {
  add,
  assign,
  compile,
  i32,
  runSequence,
  sum,
  variable,
  type Device,
  type Program,
  type Target,
  type Tensor,
  type Variable,
} from "../../engine/index.js";
import { EngineError } from "../../engine/errors.js";
import type { PuzzleSet } from "../puzzles/puzzle_set.js";
import { writeVariables, type TrainingSnapshot } from "./snapshot.js";
import { nonFinite, type StepResult } from "./step.js";
import type { Symmetry } from "../puzzles/tasks/symmetry.js";
import { trainingVariables } from "./memory.js";
import { prepareTraining } from "./trainer.js";

/** Training produced a NaN or an infinity. Says in which step and in which tensor it appeared first. */
export class DivergenceError extends EngineError {
  override readonly name = "DivergenceError";
  constructor(
    readonly step: number,
    readonly tensor: string,
    message: string,
  ) {
    super("divergence", message);
  }
}

/** The first tensor, in the order of computation, that held a NaN or an infinity. */
export interface NonFinite {
  /** 1 is the first step. */
  readonly step: number;
  /** A variable of the state before the step, or `input_embeddings`, `L.0`, ..., `loss`, `grad.*`, or a variable that the update wrote. */
  readonly tensor: string;
}

/** True if every number is finite. */
export function allFinite(values: ArrayLike<number>): boolean {
  for (let i = 0; i < values.length; i++) if (!Number.isFinite(values[i]!)) return false;
  return true;
}

/** The first tensor of a saved state that holds a NaN or an infinity; null if there is no such tensor. */
export function nonFiniteState(snapshot: TrainingSnapshot): string | null {
  for (const [name, { data }] of snapshot.state) if (name !== "metrics" && !allFinite(data)) return name;
  return null;
}

export interface FindNonFiniteOptions {
  readonly device: Device;
  /** What the run was compiled for; default: the device's target. */
  readonly target?: Target;
  /** A finite state of the run, and the data that it trains on. */
  readonly snapshot: TrainingSnapshot;
  readonly data: PuzzleSet;
  /** Symmetry of the puzzles. Images are drawn from it if the run augments. */
  readonly symmetry?: Symmetry | null;
  /** The step in which the failure was noticed. This step and the one before are examined; earlier steps are only repeated. */
  readonly lastStep: number;
}

/**
 * The error for a run without a good checkpoint from which steps could be replayed.
 * @param snapshot the current state
 */
export function divergedBefore(snapshot: TrainingSnapshot): DivergenceError {
  const tensor = nonFiniteState(snapshot) ?? "a tensor that is finite again";
  return new DivergenceError(
    snapshot.step,
    tensor,
    `The state of training is not finite at step ${snapshot.step}, first in ${tensor}, and there is no good checkpoint before it. Start from finite weights: a smaller --pos_init_scale, another checkpoint, or other fields of the configuration.`,
  );
}

/** Replays steps from the snapshot, which may hold a NaN or an infinity itself. Returns null if everything is finite up to `lastStep`. */
export async function findNonFinite(options: FindNonFiniteOptions): Promise<NonFinite | null> {
  const { device, target, snapshot, lastStep } = options;
  const before = nonFiniteState(snapshot);
  if (before !== null) return { step: snapshot.step, tensor: before };
  /** Number of NaNs and infinities in each tensor over all micro-batches so far, in the order of computation. */
  const counts = new Map<string, Variable>();
  const observe = (result: StepResult): void => {
    for (const [name, tensor] of Object.entries(inOrder(result))) {
      const count = variable(device, i32(), `non-finite numbers in ${name}`);
      counts.set(name, count);
      assign(count, add(count, sum(nonFinite(tensor))));
    }
  };
  const prepared = prepareTraining(
    { ...snapshot, ...options, microBatch: snapshot.microBatch ?? undefined },
    observe,
  );
  const variables = trainingVariables(prepared.memory);
  const sequence: [Program, number][] = [];
  const look = async (): Promise<string | null> => {
    for (const [name, count] of counts) if ((await count.read())[0] !== 0) return name;
    for (const [name, v] of variables) if (!allFinite(await v.read())) return name;
    return null;
  };
  try {
    writeVariables(variables, snapshot.state);
    for (const { name, times, body } of prepared.programs)
      sequence.push([await compile(device, {}, body, { name: `${name}, under watch`, target }), times]);
    for (let step = snapshot.step + 1; step <= lastStep; step++) {
      prepared.memory.schedule.prepare(step);
      await runSequence(sequence);
      const tensor = step < lastStep - 1 ? null : await look();
      if (tensor !== null) return { step, tensor };
    }
    return null;
  } finally {
    for (const [program] of sequence) program.destroy();
    for (const v of counts.values()) v.destroy();
    prepared.destroy();
  }
}

/** The tensors of a step by name, in the order of computation. */
function inOrder({ segment, total, gradients, inputEmbeddings }: StepResult): Record<string, Tensor> {
  return {
    input_embeddings: inputEmbeddings,
    ...Object.fromEntries(segment.trace.L.map((t, i) => [`L.${i}`, t])),
    ...Object.fromEntries(segment.trace.H.map((t, i) => [`H.${i}`, t])),
    logits: segment.logits,
    q_halt_logits: segment.qHalt,
    q_continue_logits: segment.qContinue,
    loss: total,
    ...Object.fromEntries([...gradients].map(([name, g]) => [`grad.${name}`, g])),
  };
}
