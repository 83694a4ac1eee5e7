/** Other libraries on the same adapter, shapes and data: checked against the same reference, timed in turn with ours. */
import type { Device } from "../../engine/index.js";
import {
  blockStackData,
  blockStackFlops,
  blockStackReference,
  createBlockStack,
  LEARNING_RATE,
  STACK_TOLERANCE,
  checkBlockStack,
  type BlockStack,
  type BlockStackData,
} from "./block_stack.js";
import type { Ceilings } from "./ceilings.js";
import { attentionCases } from "./cases/attention.js";
import { elementCases } from "./cases/elements.js";
import { matmulCases } from "./cases/matmul.js";
import { rowCases } from "./cases/rows.js";
import { BLOCK_STACKS, blockStackShape } from "./cases/steps.js";
import { check, prepare, WrongResultError, type Buffers, type KernelCase } from "./kernel_case.js";
import { randomSource } from "./random.js";
import type { Omission, PeerResult, Result } from "./report.js";
import { estimateSeconds, rates } from "./roofline.js";
import type { Timing } from "./sampling.js";
import { summarize } from "./statistics.js";

/** Work that a library has taken on. */
export interface PeerWork {
  /** Issues one run. */
  run(): void | Promise<void>;
  /** Waits for everything issued. */
  drain(): Promise<void>;
  dispose(): void;
}

export interface PeerOperation extends PeerWork {
  /** The result of the last run. */
  read(): Promise<ArrayLike<number>>;
}

export interface PeerStep extends PeerWork {
  setLabels(labels: Int32Array): void;
  /** Puts the weights back to their start. */
  setWeights(): void;
  /** Of the last run, before its update. */
  loss(): Promise<number>;
  weights(): Promise<Record<string, ArrayLike<number>>>;
}

type Sizes = Readonly<Record<string, unknown>>;

/** An opened library. */
export interface Peer {
  readonly version: string;
  /** Null where the library has no such operation. */
  operation(kind: string, spec: Sizes, data: Buffers): PeerOperation | null | Promise<PeerOperation | null>;
  step?(
    spec: BlockStack & { learningRate: number },
    data: { x: Float32Array; labels: Int32Array; weights: Record<string, unknown> },
  ): PeerStep | Promise<PeerStep>;
}

/** A library by name, or why it is not here. */
export interface NamedPeer {
  readonly name: string;
  readonly peer: Peer | { readonly reason: string };
}

/** One of our cases as peers are asked for it. */
interface SharedCase {
  readonly ours: KernelCase;
  readonly kind: string;
  readonly spec: Sizes;
  /** Our binding that the peers' result corresponds to. */
  readonly output: string;
  /** The inputs as the peers take them; ours by default. */
  data(inputs: Buffers): Buffers;
}

function find(cases: readonly KernelCase[], kernel: string, shape: string): KernelCase {
  const found = cases.find((c) => c.kernel === kernel && c.shape === shape);
  if (!found) throw new RangeError(`peers: no case ${kernel} ${shape}`);
  return found;
}

function matmulShared(shape: string): SharedCase {
  const [, layout, M, N, K] = /(nn|nt|tn) (\d+)x(\d+)x(\d+)$/.exec(shape)!;
  return {
    ours: find(matmulCases, "matmul", shape),
    kind: "matmul",
    spec: { layout, M: Number(M), N: Number(N), K: Number(K) },
    output: "c",
    data: (inputs) => inputs,
  };
}

function attentionShared(shape: string): SharedCase {
  const [batch, length, heads, headDim] = /B(\d+) S(\d+) H(\d+) D(\d+)$/
    .exec(shape)!
    .slice(1)
    .map(Number) as [number, number, number, number];
  const width = heads * headDim;
  return {
    ours: find(attentionCases, "attention", shape),
    kind: "attention",
    spec: { batch, length, heads, headDim },
    output: "o",
    // Peers get q, k and v apart, [B, S, H, D] each.
    data({ qkv }) {
      const part = (p: number): Float32Array =>
        Float32Array.from(
          { length: batch * length * width },
          (_, i) => qkv![(Math.floor(i / width) * 3 + p) * width + (i % width)]!,
        );
      return { q: part(0), k: part(1), v: part(2) };
    },
  };
}

const sizes = (shape: string): [number, number] =>
  /(\d+)x(\d+)$/.exec(shape)!.slice(1).map(Number) as [number, number];

function rowShared(kernel: string, shape: string, kind: string, output: string): SharedCase {
  const [rows, size] = sizes(shape);
  return {
    ours: find(rowCases, kernel, shape),
    kind,
    spec: { rows, size, classes: size },
    output,
    data: (inputs) => inputs,
  };
}

function swigluShared(shape: string): SharedCase {
  const [rows, inner] = sizes(shape);
  return {
    ours: find(rowCases, "swiglu", shape),
    kind: "swiglu",
    spec: { rows, inner },
    output: "y",
    data({ gate_up }) {
      const half = (first: number): Float32Array =>
        Float32Array.from(
          { length: rows * inner },
          (_, i) => gate_up![Math.floor(i / inner) * 2 * inner + first + (i % inner)]!,
        );
      return { gate: half(0), up: half(inner) };
    },
  };
}

/** The operations that peers are asked for, from small to large. */
const SHARED: readonly (SharedCase & { readonly quick: boolean })[] = [
  { ...matmulShared("square nn 512x512x512"), quick: true },
  { ...matmulShared("tiny64 qkv nt 256x192x64"), quick: true },
  { ...matmulShared("small qkv nt 2592x384x128"), quick: true },
  { ...matmulShared("small qkv dX nn 2592x128x384"), quick: true },
  { ...matmulShared("small qkv dW tn 384x128x2592"), quick: true },
  { ...matmulShared("skinny nt 1x4096x1024"), quick: true },
  { ...matmulShared("odd nn 257x263x271"), quick: true },
  { ...matmulShared("official/32 qkv nt 2624x1536x512"), quick: false },
  { ...attentionShared("tiny64 B16 S16 H4 D16"), quick: true },
  { ...attentionShared("small B32 S81 H4 D32"), quick: true },
  { ...rowShared("rms_norm_residual", "small 2592x128", "rms_norm_residual", "y"), quick: true },
  { ...rowShared("rms_norm_residual", "wide 2592x512", "rms_norm_residual", "y"), quick: true },
  { ...swigluShared("small 2592x512"), quick: true },
  { ...swigluShared("wide 2592x1536"), quick: true },
  {
    ...rowShared("cross_entropy_softmax", "vocabulary 2592x512", "cross_entropy", "loss"),
    quick: true,
  },
  {
    ours: find(elementCases, "elementwise_add", "small 2592x128"),
    kind: "add",
    spec: { shape: [2592, 128] },
    output: "out0",
    data: ({ in0, in1 }) => ({ a: in0!, b: in1! }),
    quick: true,
  },
  {
    ours: find(elementCases, "transpose", "2592x128"),
    kind: "transpose",
    spec: { rows: 2592, columns: 128 },
    output: "y",
    data: (inputs) => inputs,
    quick: true,
  },
  {
    ours: find(rowCases, "reduce_sum", "small bias gradient 1x2592x128"),
    kind: "sum_rows",
    spec: { rows: 2592, columns: 128 },
    output: "y",
    data: (inputs) => inputs,
    quick: true,
  },
];

export interface PeerOptions {
  readonly quick: boolean;
  readonly budget: number;
  readonly seed: number;
  /** Whether a line is wanted. */
  wants(kernel: string, shape: string): boolean;
}

export interface PeerEvents {
  progress?(what: string): void;
  /** One shape: ours first, then the peers that could. */
  compared?(ours: Result, peers: readonly PeerResult[]): void;
  omitted?(omission: Omission): void;
}

export interface PeerOutcome {
  readonly results: readonly Result[];
  readonly peers: readonly PeerResult[];
  readonly skipped: readonly Omission[];
  readonly refused: readonly Omission[];
}

/** Elements compared of each result. */
const COMPARED = 256;

interface Effort {
  readonly sampleMs: number;
  readonly samples: number;
  readonly limitMs: number;
}
const QUICK: Effort = { sampleMs: 30, samples: 5, limitMs: 2500 };
const FULL: Effort = { sampleMs: 100, samples: 11, limitMs: 30_000 };

/** Someone who computes: ours (null) or a peer by name. */
interface Contestant {
  readonly peer: string | null;
  readonly work: PeerWork;
  readonly maxError: number;
  readonly coldMs: number;
}

/** Runs every shared case, then the training steps. */
export async function runPeers(
  device: Device,
  peers: readonly NamedPeer[],
  ceilings: Ceilings,
  options: PeerOptions,
  events: PeerEvents = {},
): Promise<PeerOutcome> {
  const results: Result[] = [];
  const peerResults: PeerResult[] = [];
  const skipped: Omission[] = [];
  const refused: Omission[] = [];
  const omit = (list: Omission[], omission: Omission): void => {
    list.push(omission);
    events.omitted?.(omission);
  };
  const opened: { name: string; peer: Peer }[] = [];
  for (const { name, peer } of peers) {
    if ("reason" in peer) omit(skipped, { kernel: "*", variant: name, shape: "*", reason: peer.reason });
    else opened.push({ name, peer });
  }
  const effort = options.quick ? QUICK : FULL;
  const publish = async (
    line: { kernel: string; shape: string; tolerance: number; compared: number },
    work: { flops: number; bytes: number },
    contestants: readonly Contestant[],
  ): Promise<void> => {
    const timings = await timeInTurn(contestants, effort);
    const measured = contestants.flatMap(({ peer, maxError, coldMs }, i): Result[] => {
      const timing = timings[i]!;
      if ("reason" in timing) {
        omit(skipped, { ...line, variant: peer ?? "default", reason: timing.reason });
        return [];
      }
      const variant = peer ?? "default";
      return [{ ...line, variant, name: "", ...rates(ceilings, work, timing), coldMs, maxError }];
    });
    const [ours, ...others] = measured;
    if (!ours || ours.variant !== "default")
      throw new RangeError(`${line.kernel} ${line.shape}: ours was not timed`);
    const theirs = others.map((r) => ({ ...r, peer: r.variant }));
    results.push(ours);
    peerResults.push(...theirs);
    events.compared?.(ours, theirs);
  };

  for (const shared of SHARED) {
    const { kernel, shape, flops, tolerance } = shared.ours;
    if (!options.wants(kernel, shape) || (options.quick && !shared.quick)) continue;
    const seconds = estimateSeconds(ceilings, { flops, bytes: 0 });
    if (seconds > options.budget) {
      omit(skipped, { kernel, variant: "default", shape, reason: tooLong(flops, seconds, options.budget) });
      continue;
    }
    events.progress?.(`${kernel} ${shape}`);
    const random = randomSource(options.seed);
    const data = prepare(shared.ours, random);
    const alternative = shared.ours.alternatives(device.capabilities)[0]!;
    const contestants: Contestant[] = [];
    let ours;
    try {
      ours = await check(device, shared.ours, alternative, data, random, COMPARED);
      const { encode } = ours.launch;
      contestants.push({
        peer: null,
        maxError: ours.maxError,
        coldMs: ours.launch.coldMs,
        work: ownWork(device, encode),
      });
      for (const { name, peer } of opened) {
        const start = performance.now();
        let operation: PeerOperation | null = null;
        try {
          operation = await peer.operation(shared.kind, shared.spec, shared.data(data.inputs));
          if (!operation) {
            omit(skipped, { kernel, variant: name, shape, reason: "the library has no such operation" });
            continue;
          }
          await operation.run();
          await operation.drain();
          const coldMs = performance.now() - start;
          const maxError = compare(shared, data.inputs, await operation.read(), randomSource(options.seed));
          contestants.push({ peer: name, work: operation, maxError, coldMs });
        } catch (error) {
          operation?.dispose();
          const reason = String((error as Error).message ?? error);
          omit(error instanceof WrongResultError ? refused : skipped, {
            kernel,
            variant: name,
            shape,
            reason,
          });
        }
      }
      const line = { kernel, shape, tolerance, compared: COMPARED };
      await publish(line, alternative.kernel, contestants);
    } finally {
      for (const { work } of contestants) work.dispose();
      ours?.launch.destroy();
    }
  }

  for (const stack of BLOCK_STACKS) {
    const shape = blockStackShape(stack);
    const kernel = "block_stack_step";
    if (!options.wants(kernel, shape) || (options.quick && stack.name !== "tiny64")) continue;
    const flops = blockStackFlops(stack);
    const seconds = estimateSeconds(ceilings, { flops, bytes: 0 });
    if (seconds > options.budget) {
      omit(skipped, { kernel, variant: "default", shape, reason: tooLong(flops, seconds, options.budget) });
      continue;
    }
    events.progress?.(`${kernel} ${shape}`);
    const data = blockStackData(stack, options.seed);
    const contestants: Contestant[] = [];
    const start = performance.now();
    const own = await createBlockStack(device, stack, data);
    try {
      const maxError = await checkBlockStack(stack, data, own);
      const work = own.program.plan.dispatches.reduce(
        (sum, { kernel: k }) => ({ flops: sum.flops + k.flops, bytes: sum.bytes + k.bytes }),
        { flops: 0, bytes: 0 },
      );
      contestants.push({
        peer: null,
        maxError,
        coldMs: performance.now() - start,
        work: {
          run: () => own.program.run(),
          drain: () => device.idle(),
          dispose: () => own.destroy(),
        },
      });
      for (const { name, peer } of opened) {
        if (!peer.step) {
          omit(skipped, { kernel, variant: name, shape, reason: "the library trains nothing" });
          continue;
        }
        let step: PeerStep | null = null;
        try {
          const begin = performance.now();
          step = await peer.step(
            { ...stack, learningRate: LEARNING_RATE },
            { ...data, weights: Object.fromEntries(data.weights) },
          );
          const error = await checkPeerStep(stack, data, step);
          contestants.push({ peer: name, work: step, maxError: error, coldMs: performance.now() - begin });
        } catch (error) {
          step?.dispose();
          const reason = String((error as Error).message ?? error);
          omit(error instanceof WrongResultError ? refused : skipped, {
            kernel,
            variant: name,
            shape,
            reason,
          });
        }
      }
      await publish({ kernel, shape, tolerance: STACK_TOLERANCE, compared: 2 }, work, contestants);
    } finally {
      for (const { work } of contestants) work.dispose();
    }
  }
  return { results, peers: peerResults, skipped, refused };
}

const tooLong = (flops: number, seconds: number, budget: number): string =>
  `${(flops / 1e9).toPrecision(3)} GFLOP: about ${seconds.toPrecision(2)} s a run here for ours, budget ${budget} s`;

/** Ours as a peer is driven: a pass a run, all in flight until drained. */
function ownWork(device: Device, encode: (pass: GPUComputePassEncoder) => void): PeerWork {
  return {
    run() {
      const encoder = device.gpu.createCommandEncoder();
      const pass = encoder.beginComputePass();
      encode(pass);
      pass.end();
      device.gpu.queue.submit([encoder.finish()]);
    },
    drain: () => device.idle(),
    dispose: () => undefined,
  };
}

function compare(
  { ours, output }: SharedCase,
  inputs: Buffers,
  values: ArrayLike<number>,
  random: ReturnType<typeof randomSource>,
): number {
  const length = ours.outputs[output]!;
  if (values.length !== length) throw new WrongResultError(`${values.length} elements instead of ${length}.`);
  let maxError = 0;
  for (const i of [0, length - 1, ...random.integers(COMPARED - 2, 0, length)]) {
    const { value, scale } = ours.expected(inputs, output, i);
    const difference = Math.abs(values[i]! - value);
    const error = difference === 0 ? 0 : difference / scale;
    if (!(error <= ours.tolerance * PEER_TOLERANCE))
      throw new WrongResultError(
        `element ${i} is ${values[i]}; expected ${value} within ${ours.tolerance * PEER_TOLERANCE * scale}.`,
      );
    maxError = Math.max(maxError, error);
  }
  return maxError;
}

/** Peers may round more than ours do: they are asked for a right result, not for our accuracy. */
const PEER_TOLERANCE = 8;

async function checkPeerStep(stack: BlockStack, data: BlockStackData, step: PeerStep): Promise<number> {
  const reference = blockStackReference(stack, data);
  step.setLabels(reference.labels);
  await step.run();
  await step.drain();
  const error = reference.compare(await step.loss(), new Map(Object.entries(await step.weights())));
  step.setLabels(data.labels);
  step.setWeights();
  return error;
}

/** Rounds of every contestant in turn, forth and back, by the wall clock of a drained queue. */
async function timeInTurn(
  contestants: readonly Contestant[],
  effort: Effort,
): Promise<(Timing | { readonly reason: string })[]> {
  const sample = async (work: PeerWork, repeats: number): Promise<number> => {
    await work.drain();
    const start = performance.now();
    for (let i = 0; i < repeats; i++) await work.run();
    await work.drain();
    return (performance.now() - start) / repeats;
  };
  const states = contestants.map(({ work }) => ({ work, repeats: 0, times: [] as number[], reason: "" }));
  /** A peer that fails drops out; the others go on. */
  const attempt = async (state: (typeof states)[number], body: () => Promise<void>): Promise<void> => {
    if (state.reason) return;
    await body().catch((error: unknown) => {
      state.reason = `failed while it was timed: ${String((error as Error).message ?? error)}`;
    });
  };
  for (const state of states)
    await attempt(state, async () => {
      await sample(state.work, 1);
      const once = await sample(state.work, 1);
      state.repeats = Math.min(200, Math.max(1, Math.ceil(effort.sampleMs / once)));
    });
  const end = performance.now() + effort.limitMs * contestants.length;
  for (let round = 0; round < effort.samples; round++) {
    if (round >= 3 && performance.now() > end) break;
    for (const state of round % 2 === 0 ? states : [...states].reverse())
      await attempt(state, async () => {
        state.times.push(await sample(state.work, state.repeats));
      });
  }
  return states.map(({ times, repeats, reason }) => {
    if (reason) return { reason };
    const summary = summarize(times);
    return { ...summary, clock: "wall" as const, wall: summary.median, repeats };
  });
}
