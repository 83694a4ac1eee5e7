/** Other libraries on the same adapter, shapes and data: checked against the same reference, and interleaved with ours. */
import type { Device, Program } from "../../engine/index.js";
import {
  blockStackData,
  blockStackFlops,
  blockStackReference,
  createBlockStack,
  LEARNING_RATE,
  STACK_TOLERANCE,
  stepTolerance,
  checkBlockStack,
} from "./block_stack.js";
import type { Ceilings } from "./ceilings.js";
import { BLOCK_STACKS, blockStackShape, HRM_STEPS } from "./cases/steps.js";
import { createHrmStep, hrmFlops, HRM_TOLERANCE, HRM_TRAINING } from "./hrm_step.js";
import { checkPeerSteps, referenceSteps } from "./peer_hrm.js";
import { check, prepare, WrongResultError, type Buffers } from "./kernel_case.js";
import type { NamedPeer, Peer, PeerEvents, PeerOptions, PeerOutcome } from "./peer_types.js";
import { SHARED_CASES, type SharedCase } from "./peer_cases.js";
import { timeInTurn, within, type PeerWork } from "./peer_timing.js";
import { randomSource } from "./random.js";
import type { Omission, PeerResult, Result } from "./report.js";
import { estimateSeconds, rates, type Work } from "./roofline.js";

/** Elements compared of each result. */
const COMPARED = 256;

/** A contestant: ours (null) or a peer by name. */
interface Contestant {
  readonly peer: string | null;
  readonly work: PeerWork;
  readonly maxError: number;
  readonly coldMs: number;
}

/** A line of the comparison. */
interface Line {
  readonly kernel: string;
  readonly shape: string;
  readonly tolerance: number;
  readonly compared: number;
}

/** Work that was taken on and run once. */
interface TakenOn<Work extends PeerWork> {
  readonly work: Work;
  /** @returns the largest relative error of the first run. @throws WrongResultError */
  check(): Promise<number>;
}

/** A peer that opened. */
interface OpenPeer {
  readonly name: string;
  readonly peer: Peer;
}

/** Runs every shared case, then the training steps. */
export async function runPeers(
  device: Device,
  peers: readonly NamedPeer[],
  ceilings: Ceilings,
  options: PeerOptions,
  events: PeerEvents = {},
): Promise<PeerOutcome> {
  const comparison = new Comparison(device, ceilings, options, events);
  await comparison.run(peers);
  const { results, peers: theirs, skipped, refused } = comparison;
  return { results, peers: theirs, skipped, refused };
}

/** One run beside the peers, and what it found so far. */
class Comparison implements PeerOutcome {
  readonly results: Result[] = [];
  readonly peers: PeerResult[] = [];
  readonly skipped: Omission[] = [];
  readonly refused: Omission[] = [];
  readonly opened: OpenPeer[] = [];

  constructor(
    readonly device: Device,
    readonly ceilings: Ceilings,
    readonly options: PeerOptions,
    readonly events: PeerEvents,
  ) {}

  async run(peers: readonly NamedPeer[]): Promise<void> {
    for (const { name, peer } of peers) {
      if ("reason" in peer)
        this.#omit(this.skipped, { kernel: "*", variant: name, shape: "*", reason: peer.reason });
      else this.opened.push({ name, peer });
    }
    for (const shared of SHARED_CASES) await this.#case(shared);
    for (const stack of BLOCK_STACKS) await this.#stack(stack);
    const trained = this.opened.filter(({ peer }) => !!peer.hrmStep);
    if (trained.length === 0) return;
    // The peers' models have only the official positions.
    const steps = HRM_STEPS.filter(({ config }) => ["learned", "rope"].includes(config.pos_encodings));
    for (const step of steps) await this.#step(step, trained);
  }

  #omit(list: Omission[], omission: Omission): void {
    list.push(omission);
    this.events.omitted?.(omission);
  }

  /** True if the line should run. A line that would take too long is reported as skipped. */
  #begins({ kernel, shape }: Line, flops: number): boolean {
    const seconds = estimateSeconds(this.ceilings, { flops, bytes: 0 });
    if (seconds > this.options.budget) {
      const reason = tooLong(flops, seconds, this.options.budget);
      this.#omit(this.skipped, { kernel, variant: "default", shape, reason });
      return false;
    }
    this.events.progress?.(`${kernel} ${shape}`);
    return true;
  }

  /** A peer's checked work, or null after the reason was reported. */
  async #takeOn<Work extends PeerWork>(
    { kernel, shape }: Line,
    name: string,
    open: () => Promise<TakenOn<Work> | null>,
  ): Promise<Contestant[]> {
    const start = performance.now();
    let taken: TakenOn<Work> | null = null;
    try {
      taken = await within(this.options.patience, open());
      if (!taken) {
        this.#omit(this.skipped, {
          kernel,
          variant: name,
          shape,
          reason: "the library has no such operation",
        });
        return [];
      }
      const { work } = taken;
      await within(this.options.patience, (async () => (await work.run(), work.drain()))());
      const coldMs = performance.now() - start;
      return [{ peer: name, work, maxError: await taken.check(), coldMs }];
    } catch (error) {
      taken?.work.dispose();
      const reason = String((error as Error).message ?? error);
      this.#omit(error instanceof WrongResultError ? this.refused : this.skipped, {
        kernel,
        variant: name,
        shape,
        reason,
      });
      return [];
    }
  }

  async #publish(
    line: Line,
    work: { flops: number; bytes: number },
    contestants: readonly Contestant[],
  ): Promise<void> {
    const timings = await timeInTurn(
      contestants.map((c) => c.work),
      this.options,
    );
    const measured = contestants.flatMap(({ peer, maxError, coldMs }, i): Result[] => {
      const timing = timings[i]!;
      const variant = peer ?? "default";
      if ("reason" in timing) {
        this.#omit(this.skipped, { ...line, variant, reason: timing.reason });
        return [];
      }
      return [{ ...line, variant, name: "", ...rates(this.ceilings, work, timing), coldMs, maxError }];
    });
    const [ours, ...others] = measured;
    if (!ours || ours.variant !== "default")
      throw new RangeError(`${line.kernel} ${line.shape}: ours was not timed`);
    const theirs = others.map((r) => ({ ...r, peer: r.variant }));
    this.results.push(ours);
    this.peers.push(...theirs);
    this.events.compared?.(ours, theirs);
  }

  /** Times an operation that we share with peers. */
  async #case(shared: (typeof SHARED_CASES)[number]): Promise<void> {
    const { kernel, shape, flops, tolerance } = shared.ours;
    const line: Line = { kernel, shape, tolerance, compared: COMPARED };
    if (
      !this.options.wants(kernel, shape) ||
      (this.options.quick && !shared.quick) ||
      !this.#begins(line, flops)
    )
      return;
    const random = randomSource(this.options.seed);
    const data = prepare(shared.ours, random);
    const alternative = shared.ours.alternatives(this.device.capabilities)[0]!;
    const ours = await check(this.device, shared.ours, alternative, data, random, COMPARED);
    const contestants: Contestant[] = [
      {
        peer: null,
        maxError: ours.maxError,
        coldMs: ours.launch.coldMs,
        work: ownWork(this.device, ours.launch.encode),
      },
    ];
    try {
      for (const { name, peer } of this.opened) {
        if (!peer.operation) continue;
        const taken = await this.#takeOn(line, name, async () => {
          const work = await peer.operation!(shared.kind, shared.spec, shared.data(data.inputs));
          return (
            work && {
              work,
              check: async () =>
                compare(shared, data.inputs, await work.read(), randomSource(this.options.seed), peer),
            }
          );
        });
        contestants.push(...taken);
      }
      await this.#publish(line, alternative.kernel, contestants);
    } finally {
      for (const { work } of contestants) work.dispose();
      ours.launch.destroy();
    }
  }

  /** Times a training step of a stack of blocks. */
  async #stack(stack: (typeof BLOCK_STACKS)[number]): Promise<void> {
    const line: Line = {
      kernel: "block_stack_step",
      shape: blockStackShape(stack),
      tolerance: stepTolerance(this.device, STACK_TOLERANCE),
      compared: 2,
    };
    if (!this.options.wants(line.kernel, line.shape) || (this.options.quick && stack.name !== "tiny64"))
      return;
    if (!this.#begins(line, blockStackFlops(stack))) return;
    const data = blockStackData(stack, this.options.seed);
    const reference = blockStackReference(stack, data);
    const contestants: Contestant[] = [];
    const start = performance.now();
    const own = await createBlockStack(this.device, stack, data);
    try {
      const maxError = await checkBlockStack(stack, data, own, line.tolerance);
      contestants.push({
        peer: null,
        maxError,
        coldMs: performance.now() - start,
        work: {
          run: () => own.program.run(),
          drain: () => this.device.idle(),
          dispose: () => undefined,
        },
      });
      for (const { name, peer } of this.opened) {
        if (!peer.step) {
          this.#omit(this.skipped, { ...line, variant: name, reason: "the library trains nothing" });
          continue;
        }
        const taken = await this.#takeOn(line, name, async () => {
          const step = await peer.step!(
            { ...stack, learningRate: LEARNING_RATE },
            { ...data, weights: Object.fromEntries(data.weights) },
          );
          step.setLabels(reference.labels);
          return {
            work: step,
            async check() {
              const updated = new Map(Object.entries(await step.weights()));
              const error = reference.compare(await step.loss(), updated, peer.stepTolerance);
              step.setLabels(data.labels);
              step.setWeights();
              return error;
            },
          };
        });
        contestants.push(...taken);
      }
      await this.#publish(line, planned(own.program), contestants);
    } finally {
      for (const { work } of contestants) work.dispose();
      own.destroy();
    }
  }

  /** Times a training step of the whole model. */
  async #step(
    { shape, config, puzzles }: (typeof HRM_STEPS)[number],
    trained: readonly OpenPeer[],
  ): Promise<void> {
    const line: Line = {
      kernel: "training_step",
      shape,
      tolerance: stepTolerance(this.device, HRM_TOLERANCE),
      compared: 1,
    };
    if (!this.options.wants(line.kernel, shape) || (this.options.quick && !shape.startsWith("tiny64")))
      return;
    if (!this.#begins(line, hrmFlops(config))) return;
    const contestants: Contestant[] = [];
    const start = performance.now();
    const { trainer, state } = await createHrmStep(this.device, config, { puzzles, seed: this.options.seed });
    try {
      const { program } = trainer;
      const { error, reference } = await referenceSteps(trainer, state, config, line.tolerance);
      contestants.push({
        peer: null,
        maxError: error,
        coldMs: performance.now() - start,
        work: { run: () => program.run(), drain: () => this.device.idle(), dispose: () => undefined },
      });
      for (const { name, peer } of trained) {
        const taken = await this.#takeOn(line, name, async () => {
          const step = await peer.hrmStep!({ config, train: HRM_TRAINING }, { state, ...reference });
          return {
            work: step,
            check: () => checkPeerSteps(step, reference, Math.max(peer.stepTolerance ?? 0, line.tolerance)),
          };
        });
        contestants.push(...taken);
      }
      await this.#publish(line, planned(program), contestants);
    } finally {
      for (const { work } of contestants) work.dispose();
      trainer.destroy();
    }
  }
}

/** Operations and bytes of all kernels of a program. */
const planned = ({ plan }: Program): Work =>
  plan.dispatches.reduce(
    (sum, { kernel: k }) => ({ flops: sum.flops + k.flops, bytes: sum.bytes + k.bytes }),
    { flops: 0, bytes: 0 },
  );

const tooLong = (flops: number, seconds: number, budget: number): string =>
  `${(flops / 1e9).toPrecision(3)} GFLOP: about ${seconds.toPrecision(2)} s a run here for ours, budget ${budget} s`;

/** Dispatches per submission: the default of TensorFlow.js, which we use too. */
const SUBMITTED_TOGETHER = 15;

/** Our work, driven like a peer: passes are in flight until drained. */
function ownWork(device: Device, encode: (pass: GPUComputePassEncoder) => void): PeerWork {
  let open: { encoder: GPUCommandEncoder; pass: GPUComputePassEncoder; runs: number } | null = null;
  const submit = (): void => {
    if (!open) return;
    open.pass.end();
    device.gpu.queue.submit([open.encoder.finish()]);
    open = null;
  };
  return {
    run() {
      if (!open) {
        const encoder = device.gpu.createCommandEncoder();
        open = { encoder, pass: encoder.beginComputePass(), runs: 0 };
      }
      encode(open.pass);
      if (++open.runs === SUBMITTED_TOGETHER) submit();
    },
    drain() {
      submit();
      return device.idle();
    },
    dispose: () => undefined,
  };
}

function compare(
  { ours, output, spec }: SharedCase,
  inputs: Buffers,
  values: ArrayLike<number>,
  random: ReturnType<typeof randomSource>,
  { rounding = 0 }: Peer,
): number {
  const length = ours.outputs[output]!;
  if (values.length !== length) throw new WrongResultError(`${values.length} elements instead of ${length}.`);
  const tolerance = ours.tolerance * PEER_TOLERANCE + roundedTolerance(rounding, Number(spec["K"]));
  let maxError = 0;
  for (const i of [0, length - 1, ...random.integers(COMPARED - 2, 0, length)]) {
    const { value, scale } = ours.expected(inputs, output, i);
    const difference = Math.abs(values[i]! - value);
    const error = difference === 0 ? 0 : difference / scale;
    const allowed = tolerance * scale + rounding * Math.abs(value);
    if (!(difference <= allowed))
      throw new WrongResultError(`element ${i} is ${values[i]}; expected ${value} within ${allowed}.`);
    maxError = Math.max(maxError, error);
  }
  return maxError;
}

/** Peers may round more than we do. They need a correct result, but not our accuracy. */
const PEER_TOLERANCE = 8;

/**
 * Tolerance of a sum of `terms` products of two rounded operands. Errors of one sign would reach twice the rounding; errors
 * of random signs average out. The rounding of the sum itself is not counted here.
 */
const roundedTolerance = (rounding: number, terms: number): number =>
  rounding === 0 ? 0 : 2 * rounding * Math.min(1, 8 / Math.sqrt(terms));
