/**
 * Replays a model fixture: one segment with every gradient, the training trajectory, and both evaluations. The file is longer
 * than 400 lines because the three replays share their batches and checks.
 */
import {
  compile,
  reshape,
  type Device,
  type Program,
  type Tensor,
  type TensorSpec,
  type TypedArray,
} from "../../engine/index.js";
import { createCarry, destroyCarry, resetCarry, type Carry } from "../model/act.js";
import type { Batch } from "../puzzles/sampling.js";
import type { HrmConfig } from "../model/config.js";
import { METRICS, type Metric } from "../model/loss.js";
import { createWeights, PUZZLE_EMBEDDING, type StateDict, type Weights } from "../model/parameters.js";
import { evaluationSegment, gradientNorm, trainStep, type StepResult } from "../training/step.js";
import { createTrainingMemory, type TrainingMemory } from "../training/memory.js";
import { modelOf } from "../model/trainable_model.js";
import { largest, maxDifference, type Checker } from "./check.js";
import {
  fixtureConfig,
  readJson,
  readTensors,
  type FixtureConfig,
  type ReadFile,
  type Tensors,
} from "./format.js";

/** Replays the fixture that `read` reads, and records every comparison. */
export async function replayModel(device: Device, read: ReadFile, check: Checker): Promise<void> {
  const config = fixtureConfig(await readJson(read, "config.json"));
  const initial = await readTensors(read, "init.safetensors");
  await replaySegment(device, config, initial, await readTensors(read, "segment.safetensors"), check);
  await replayTraining(device, config, initial, read, check);
  const evaluation = await readTensors(read, "eval.safetensors");
  const trained = await readTensors(read, "state_step12.safetensors");
  await replayEvaluation(device, config.model, initial, evaluation, "init", 2e-3, check);
  await replayEvaluation(device, config.model, trained, evaluation, "step12", 5e-3, check);
  const averaged = await readTensors(read, "ema_step12.safetensors");
  if (averaged.size > 0)
    await replayEvaluation(device, config.model, averaged, evaluation, "ema12", 5e-3, check);
}

function batchSpecs({
  batch_size: B,
  seq_len: S,
}: HrmConfig): Record<"inputs" | "labels" | "identifiers" | "u" | "randint", TensorSpec> {
  return {
    inputs: { shape: [B, S], dtype: "i32" },
    labels: { shape: [B, S], dtype: "i32" },
    identifiers: { shape: [B], dtype: "i32" },
    u: { shape: [B], dtype: "f32" },
    randint: { shape: [B], dtype: "i32" },
  };
}

/** Row `index` of stacked tensors, or whole tensors if `index` is null. */
function batchData(tensors: Tensors, index: number | null): Record<string, TypedArray> {
  const pick = (name: string): TypedArray => {
    const { data, shape } = tensors.get(name)!;
    if (index === null) return data;
    const size = data.length / shape[0]!;
    return data.slice(index * size, (index + 1) * size);
  };
  return {
    inputs: pick("batch.inputs"),
    labels: pick("batch.labels"),
    identifiers: pick("batch.puzzle_identifiers"),
    u: pick("explore.u"),
    randint: pick("explore.randint"),
  };
}

/** Compiles the training step with the outputs that both replays read. `everything` adds traces and gradients. */
async function compileStep(device: Device, memory: TrainingMemory, everything: boolean): Promise<Program> {
  const specs = batchSpecs(memory.model.config);
  return compile(
    device,
    specs,
    ({ inputs, labels, identifiers, u, randint }) => {
      const batch: Batch = { inputs, labels, identifiers };
      const result = trainStep(memory, batch, { u, randint });
      return {
        metrics: result.metrics,
        loss: result.total,
        grad_norm: gradientNorm(result.gradients),
        logits: result.segment.logits,
        q_halt_logits: result.segment.qHalt,
        q_continue_logits: result.segment.qContinue,
        ...(result.targetContinue && { target_q_continue: result.targetContinue }),
        ...(everything && traced(result)),
      };
    },
    { name: "golden step" },
  );
}

function traced(result: StepResult): Record<string, Tensor> {
  const { segment, next, gradients, inputEmbeddings } = result;
  return {
    "trace.input_embeddings": inputEmbeddings,
    ...Object.fromEntries(segment.trace.L.map((t, i) => [`trace.L.${i}`, t])),
    ...Object.fromEntries(segment.trace.H.map((t, i) => [`trace.H.${i}`, t])),
    ...(next && { next_halt: next.qHalt, next_continue: next.qContinue }),
    ...Object.fromEntries([...gradients].map(([name, g]) => [`grad.${name}`, g])),
  };
}

/** Compares the metrics of a step with the fixture's `metric.*`. */
function checkMetrics(
  check: Checker,
  label: string,
  row: TypedArray,
  expected: (name: Metric) => number | undefined,
  lossTolerance: number,
): void {
  for (const [i, name] of METRICS.entries()) {
    const want = expected(name);
    if (want === undefined) continue;
    const quantity = `${label} metric.${name}`;
    if (name.endsWith("loss"))
      check.bound(quantity, Math.abs(row[i]! - want), lossTolerance * Math.max(1e-3, Math.abs(want)));
    else if (name === "accuracy")
      check.close(quantity, [row[i]!], [want], 1e-5 * Math.max(1, Math.abs(want)));
    else check.exact(quantity, [row[i]!], [want]);
  }
}

async function replaySegment(
  device: Device,
  { model, train }: FixtureConfig,
  initial: StateDict,
  golden: Tensors,
  check: Checker,
): Promise<void> {
  const memory = createTrainingMemory(device, model, train, { seed: 0, state: initial });
  const program = await compileStep(device, memory, true);
  try {
    await program.run(batchData(golden, null));
    const tolerance = 5e-5;
    for (const name of ["logits", "q_halt_logits", "q_continue_logits", "target_q_continue"]) {
      const want = golden.get(`out.${name}`);
      if (want) check.relative(`segment out.${name}`, await program.read(name), want.data, tolerance);
    }
    await checkLatents(
      check,
      memory.carry,
      (name) => golden.get(`out.${name}`)!.data,
      "segment out.",
      tolerance,
    );
    check.exact("segment out.steps", await memory.carry.steps.read(), golden.get("out.steps")!.data);
    check.exact("segment out.halted", await memory.carry.halted.read(), golden.get("out.halted")!.data);
    const loss = golden.get("out.loss")!.data[0]!;
    check.bound("segment out.loss", Math.abs((await program.read("loss"))[0]! - loss), 1e-5 * Math.abs(loss));
    checkMetrics(
      check,
      "segment",
      await program.read("metrics"),
      (name) => golden.get(`metric.${name}`)?.data[0],
      1e-5,
    );
    for (const [name, { data }] of golden) {
      if (name.startsWith("grad.")) check.relative(`segment ${name}`, await program.read(name), data, 1e-4);
      else if (name === "trace.next_q_logits") {
        const [halt, goOn] = [await program.read("next_halt"), await program.read("next_continue")];
        check.relative(
          `segment ${name}`,
          Array.from(data, (_, i) => (i % 2 === 0 ? halt : goOn)[i >> 1]!),
          data,
          tolerance,
        );
      } else if (name.startsWith("trace."))
        check.relative(`segment ${name}`, await program.read(name), data, tolerance);
    }
  } finally {
    program.destroy();
    memory.destroy();
  }
}

async function replayTraining(
  device: Device,
  { model, train }: FixtureConfig,
  initial: StateDict,
  read: ReadFile,
  check: Checker,
): Promise<void> {
  const golden = await readTensors(read, "train.safetensors");
  const steps = golden.get("loss")!.data.length;
  const memory = createTrainingMemory(device, model, train, { seed: 0, state: initial });
  const program = await compileStep(device, memory, false);
  const at = (name: string, step: number): TypedArray | undefined => {
    const tensor = golden.get(name);
    const size = tensor ? tensor.data.length / steps : 0;
    return tensor?.data.slice(step * size, (step + 1) * size);
  };
  const lr = golden.get("lr")!.data;
  try {
    for (let step = 0; step < steps; step++) {
      const label = `train step ${step + 1}`;
      await program.run(batchData(golden, step));
      const loss = at("loss", step)![0]!;
      const lossTolerance = step === 0 ? 1e-5 : 1e-4;
      check.bound(
        `${label} loss`,
        Math.abs((await program.read("loss"))[0]! - loss),
        lossTolerance * Math.abs(loss),
      );
      const norm = at("grad_norm", step)![0]!;
      check.bound(`${label} grad_norm`, Math.abs((await program.read("grad_norm"))[0]! - norm), 3e-4 * norm);
      checkMetrics(
        check,
        label,
        await program.read("metrics"),
        (name) => at(`metric.${name}`, step)?.[0],
        lossTolerance,
      );
      check.close(`${label} q_halt`, await program.read("q_halt_logits"), at("out.q_halt", step)!, 2e-3);
      check.close(
        `${label} q_continue`,
        await program.read("q_continue_logits"),
        at("out.q_continue", step)!,
        2e-3,
      );
      const target = at("out.target_q", step);
      if (target && program.plan.outputs["target_q_continue"])
        check.close(`${label} target_q`, await program.read("target_q_continue"), target, 2e-3);
      // A decision whose logits differ by less than twice the tolerance may go either way.
      const halt = at("out.q_halt", step)!;
      const goOn = model.halt_only ? new Float32Array(halt.length) : at("out.q_continue", step)!;
      const isTie = (row: number): boolean =>
        halt[row] !== goOn[row] && Math.abs(halt[row]! - goOn[row]!) < 4e-3;
      check.exact(
        `${label} carry.halted`,
        await memory.carry.halted.read(),
        at("carry.halted", step)!,
        isTie,
      );
      check.exact(`${label} carry.steps`, await memory.carry.steps.read(), at("carry.steps", step)!);
      if (step === 0)
        await checkState(
          check,
          memory.weights,
          await readTensors(read, "state_step1.safetensors"),
          "state_step1",
          lr[0]!,
        );
    }
    await checkLatents(check, memory.carry, (name) => golden.get(`last.${name}`)!.data, "train last.", 2e-3);
    check.relative("train last.logits", await program.read("logits"), golden.get("last.logits")!.data, 2e-3);
    for (const name of ["inputs", "labels"] as const) {
      check.exact(
        `train last.current.${name}`,
        await memory.carry[name].read(),
        golden.get(`last.current.${name}`)!.data,
      );
    }
    check.exact(
      "train last.current.puzzle_identifiers",
      await memory.carry.identifiers.read(),
      golden.get("last.current.puzzle_identifiers")!.data,
    );
    await checkState(
      check,
      memory.weights,
      await readTensors(read, `state_step${steps}.safetensors`),
      `state_step${steps}`,
      largest(lr),
    );
    const averages = await readTensors(read, `ema_step${steps}.safetensors`);
    if (averages.size > 0)
      await checkState(check, memory.ema ?? new Map(), averages, `ema_step${steps}`, largest(lr));
    await checkMoments(check, memory, await readTensors(read, `moments_step${steps}.safetensors`));
  } finally {
    program.destroy();
    memory.destroy();
  }
}

/** Compares the moments of the optimizer after the last step. */
async function checkMoments(check: Checker, { adam }: TrainingMemory, golden: Tensors): Promise<void> {
  for (const [name, { data }] of golden) {
    const [kind, ...rest] = name.split(".");
    const state = adam.get(rest.join("."));
    const moment = kind === "exp_avg" ? state?.expAvg : state?.expAvgSq;
    if (moment) check.relative(`moments ${name}`, await moment.read(), data, 2e-3);
    else check.bound(`moments ${name}`, Infinity, 0, "no such parameter");
  }
}

/** Compares the latents of a carry. A model with one latent has no z_H. */
async function checkLatents(
  check: Checker,
  { zH, zL }: Carry,
  want: (name: "z_H" | "z_L") => TypedArray,
  label: string,
  tolerance: number,
): Promise<void> {
  if (zH) check.relative(`${label}z_H`, await zH.read(), want("z_H"), tolerance);
  check.relative(`${label}z_L`, await zL.read(), want("z_L"), tolerance);
}

/** Compares the state dict after the first or the last step. The bounds cover all weights together, since an update may flip its sign. */
async function checkState(
  check: Checker,
  weights: Weights,
  golden: Tensors,
  label: string,
  lr: number,
): Promise<void> {
  const differences: number[] = [];
  for (const [name, { data }] of golden) {
    const value = await weights.get(name)?.read();
    if (!value) check.bound(`${label} ${name}`, Infinity, 0, "no such parameter");
    else if (name === PUZZLE_EMBEDDING) check.close(`${label} ${name}`, value, data, 1e-5);
    else for (let i = 0; i < data.length; i++) differences.push(Math.abs(value[i]! - data[i]!));
  }
  const worst = differences.reduce((a, b) => Math.max(a, b), 0);
  const outlier = 2 * lr * 1.02;
  if (label === "state_step1") {
    const beyond = differences.filter((d) => !(d <= 1e-6)).length;
    check.bound(`${label} elements beyond 1e-6`, beyond, 4);
    check.bound(`${label} max`, worst, outlier);
    return;
  }
  const rms = Math.sqrt(differences.reduce((sum, d) => sum + d * d, 0) / differences.length);
  check.bound(`${label} rms`, rms, 5e-6);
  check.bound(
    `${label} share beyond 2e-5`,
    differences.filter((d) => !(d <= 2e-5)).length / differences.length,
    1e-3,
  );
  check.bound(`${label} max`, worst, outlier);
}

/** Compares every evaluation segment of these weights with `golden`: predictions, Q values, logits, carry and metrics. */
export async function replayEvaluation(
  device: Device,
  config: HrmConfig,
  state: Tensors,
  golden: Tensors,
  prefix: string,
  tolerance: number,
  check: Checker,
): Promise<void> {
  const weights = createWeights(device, config, state);
  const carry = createCarry(device, config);
  const model = modelOf(config, weights);
  const { inputs, labels, identifiers } = batchSpecs(config);
  const program = await compile(
    device,
    { inputs, labels, identifiers },
    (batch) => {
      const { segment, predictions, metrics, total } = evaluationSegment(
        model,
        carry,
        batch,
        config.halt_max_steps,
      );
      return {
        logits: segment.logits,
        predictions,
        q_halt: segment.qHalt,
        q_continue: segment.qContinue,
        metrics,
        loss: reshape(total, [1]),
      };
    },
    { name: "golden evaluation" },
  );
  const { batch_size: B, seq_len: S, vocab_size: V, halt_max_steps: T } = config;
  const label = `eval ${prefix}`;
  const want = (name: string): TypedArray => golden.get(`${prefix}.${name}`)!.data;
  const row = (name: string, t: number, size: number): TypedArray =>
    want(name).slice(t * size, (t + 1) * size);
  try {
    resetCarry(carry);
    const allowed = tolerance * largest(want("logits"));
    for (let t = 0; t < T; t++) {
      await program.run({
        inputs: golden.get("batch.inputs")!.data,
        labels: golden.get("batch.labels")!.data,
        identifiers: golden.get("batch.puzzle_identifiers")!.data,
      });
      const logits = await program.read("logits");
      // Only the logits of the last segment are golden; near ties in earlier segments are judged by our own logits.
      const margin = (cell: number): number => topTwoMargin(t === T - 1 ? want("logits") : logits, cell, V);
      check.exact(
        `${label} preds segment ${t + 1}`,
        await program.read("predictions"),
        row("preds_per_step", t, B * S),
        (cell) => margin(cell) < 2 * allowed,
      );
      check.relative(
        `${label} q_halt segment ${t + 1}`,
        await program.read("q_halt"),
        row("q_halt_per_step", t, B),
        tolerance,
      );
      check.relative(
        `${label} q_continue segment ${t + 1}`,
        await program.read("q_continue"),
        row("q_continue_per_step", t, B),
        tolerance,
      );
    }
    check.relative(`${label} logits`, await program.read("logits"), want("logits"), tolerance);
    await checkLatents(check, carry, want, `${label} `, tolerance);
    check.exact(`${label} steps`, await carry.steps.read(), want("steps"));
    check.exact(`${label} halted`, await carry.halted.read(), want("halted"));
    const isTied = maxDifference(await program.read("predictions"), want("preds")) > 0;
    if (isTied)
      check.bound(`${label} metrics`, 0, 0, "predictions differ at accepted ties: metrics not compared");
    else {
      checkMetrics(
        check,
        label,
        await program.read("metrics"),
        (name) => golden.get(`${prefix}.metric.${name}`)?.data[0],
        tolerance,
      );
      check.bound(
        `${label} loss`,
        Math.abs((await program.read("loss"))[0]! - want("loss")[0]!),
        tolerance * Math.abs(want("loss")[0]!),
      );
    }
  } finally {
    program.destroy();
    destroyCarry(carry);
    for (const v of weights.values()) v.destroy();
  }
}

/** Gap between the two largest logits of a cell. */
function topTwoMargin(logits: ArrayLike<number>, cell: number, vocabulary: number): number {
  const row = Array.from({ length: vocabulary }, (_, v) => logits[cell * vocabulary + v]!).sort(
    (a, b) => b - a,
  );
  return row.length < 2 ? Infinity : row[0]! - row[1]!;
}
