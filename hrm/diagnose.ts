/** Finds where training stopped being finite: replays steps one by one and looks into each. */
import { compile, type Device, type Tensor } from "../engine/index.js";
import { EngineError } from "../engine/errors.js";
import { destroyPuzzles, randomBatch, randomExploration, uploadPuzzles } from "./data.js";
import type { PuzzleSet } from "./puzzles.js";
import { writeVariables, type TrainingSnapshot } from "./snapshot.js";
import { trainStep, type StepResult } from "./step.js";
import { createTrainingMemory, trainingVariables } from "./trainer.js";

/** Training that left the finite numbers: at which step, and in which tensor it began. */
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
  /** `weights` before the step, then `input_embeddings`, `L.0`, ..., `loss`, `grad.*`, and what the update wrote. */
  readonly tensor: string;
}

/** True where every number is finite. */
export function allFinite(values: ArrayLike<number>): boolean {
  for (let i = 0; i < values.length; i++) if (!Number.isFinite(values[i]!)) return false;
  return true;
}

/** The first tensor of a saved state that is not finite, or null. */
export function nonFiniteState(snapshot: TrainingSnapshot): string | null {
  for (const [name, { data }] of snapshot.state) if (name !== "metrics" && !allFinite(data)) return name;
  return null;
}

export interface FindNonFiniteOptions {
  readonly device: Device;
  /** A finite state of the run, and the data that it trains on. */
  readonly snapshot: TrainingSnapshot;
  readonly data: PuzzleSet;
  /** Look no further than this step. */
  readonly lastStep: number;
}

/** Replays from the snapshot; null where all of it is finite up to `lastStep`. */
export async function findNonFinite(options: FindNonFiniteOptions): Promise<NonFinite | null> {
  const { device, snapshot, data, lastStep } = options;
  const { config, train, seed, state } = snapshot;
  const memory = createTrainingMemory(device, config, train, { seed, state });
  const puzzles = uploadPuzzles(device, data, "train");
  try {
    const variables = trainingVariables(memory);
    writeVariables(variables, state);
    let names: string[] = [];
    const program = await compile(
      device,
      {},
      () => {
        const outputs = inOrder(
          trainStep(
            memory,
            randomBatch(puzzles, memory.counter, config),
            randomExploration(memory.counter, config),
          ),
        );
        names = Object.keys(outputs);
        return outputs;
      },
      { name: "training step under watch" },
    );
    try {
      for (let step = snapshot.step + 1; step <= lastStep; step++) {
        await program.run({});
        for (const name of names) if (!allFinite(await program.read(name))) return { step, tensor: name };
        for (const [name, v] of variables) if (!allFinite(await v.read())) return { step, tensor: name };
      }
      return null;
    } finally {
      program.destroy();
    }
  } finally {
    memory.destroy();
    destroyPuzzles(puzzles);
  }
}

/** What a step computes, by name, in the order in which it does. */
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
