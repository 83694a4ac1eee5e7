/** The module worker: it owns the device and the run, and does one thing at a time, in the order of protocol.ts. */
import { AdapterError, EngineError, openDevice, type Device } from "../../engine/index.js";
import { owning, type Scope } from "../../engine/ownership.js";
import { encodeCheckpoint, runCheckpoint } from "../../hrm/files/checkpoints/checkpoint.js";
import { ConfigError } from "../../hrm/model/config.js";
import { createSolver, type Solver } from "../../hrm/training/evaluation.js";
import { countParameters } from "../../hrm/model/parameters.js";
import type { Preset } from "../../hrm/training/presets.js";
import { createSession, type Session, type SessionEvent } from "../../hrm/training/session.js";
import { ACCEPTED, type Command, type Failure, type Phase, type Report } from "./protocol.js";
import { chooseProducts } from "./products.js";
import { configuredPreset, type RunConfig } from "./run_config.js";

/** Steps between two reports: few enough to look alive and to pause soon, many enough not to wait for read-backs. */
const STEPS_PER_EVENT = { software: 5, hardware: 20 } as const;

/** Pictures of the solution take at most this share of the time, and come no faster than every so many ms. */
const SOLVING_SHARE = 0.05;
const SOLVING_INTERVAL = 250;

/** Milliseconds over which steps per second are counted. */
const RATE_WINDOW = 5000;

/** A run in the making: its session, and what shows it. */
interface Run {
  readonly config: RunConfig;
  readonly preset: Preset;
  readonly session: Session;
  readonly solver: Solver;
  readonly events: AsyncGenerator<SessionEvent, void, undefined>;
  readonly rate: RateMeter;
  nextSolution: number;
}

/** A failure with the advice that fits it. */
class RunFailure extends Error {
  constructor(
    readonly failureCode: Failure["code"],
    message: string,
  ) {
    super(message);
  }
}

const scope = globalThis as unknown as {
  postMessage(message: Report, transfer?: Transferable[]): void;
  onmessage: ((event: MessageEvent<Command>) => void) | null;
};

let phase: Phase = "preparing";
let device: Device | null = null;
let run: Run | null = null;
/** The validation puzzle shown; it outlives a reset. */
let puzzle = 0;

function report(message: Report, transfer: Transferable[] = []): void {
  scope.postMessage(message, transfer);
}

function enter(next: Phase): void {
  phase = next;
  report({ type: "phase", phase });
}

/** Commands not yet taken, and the loop that waits for one. */
const inbox: Command[] = [];
let wake: (() => void) | null = null;

scope.onmessage = ({ data }) => {
  inbox.push(data);
  wake?.();
};

/** The worker's life: commands first, then the run's next event; it sleeps where there is neither. */
async function live(): Promise<never> {
  for (;;) {
    const command = inbox.shift();
    try {
      if (command) await obey(command);
      else if (phase === "training") await advance(run!);
      else await new Promise<void>((resolve) => (wake = resolve));
    } catch (error) {
      fail(error);
    }
    wake = null;
  }
}

async function obey(command: Command): Promise<void> {
  if (command.type === "show") puzzle = command.puzzle;
  if (!ACCEPTED[phase].includes(command.type)) return;
  switch (command.type) {
    case "prepare":
      enter("preparing");
      release();
      run = await prepare(command.run);
      await showSolution(run);
      return enter("ready");
    case "start":
      run!.rate.resume(run!.session.trainer.step);
      return enter("training");
    case "pause":
      return enter("paused");
    case "show":
      return showSolution(run!);
    case "save":
      return save(run!);
  }
}

/** Opens the device where there is none, then compiles the run. */
async function prepare(config: RunConfig): Promise<Run> {
  if (!device) {
    device = await openDevice();
    // Whatever is under way fails too; asleep, nobody else would tell.
    void device.lost.then(fail);
  }
  const { name, software } = device.adapter;
  report({ type: "adapter", name, software, products: "" });
  const preset = configuredPreset(config);
  try {
    const products = await chooseProducts(device, config, preset);
    report({ type: "adapter", name, software, products });
  } catch (error) {
    // It is the run that cannot be, not the device.
    if (error instanceof AdapterError) throw new RunFailure("config", error.message);
    throw error;
  }
  const opened = device;
  return owning((scope) => prepareRun(scope, opened, config, preset));
}

/** Compiles the session and what shows it. */
async function prepareRun(scope: Scope, device: Device, config: RunConfig, preset: Preset): Promise<Run> {
  const stepsPerEvent = STEPS_PER_EVENT[device.adapter.software ? "software" : "hardware"];
  const session = scope.own(await createSession({ device, preset, seed: config.seed, stepsPerEvent }));
  const { train, validation, test } = session.splits;
  report({
    type: "run",
    parameters: countParameters(preset.model),
    trainPuzzles: train.count,
    validationPuzzles: validation.count,
    testPuzzles: test.count,
  });
  const solver = await createSolver({ device, config: preset.model, weights: session.weights });
  return {
    config,
    preset,
    session,
    solver,
    events: session.events(),
    rate: rateMeter(),
    nextSolution: 0,
  };
}

/** One event of the run: some steps, a look at the validation set, or the end. */
async function advance(current: Run): Promise<void> {
  const { session, events, rate } = current;
  const { value: event } = await events.next();
  if (!event) return;
  if (event.kind === "steps") {
    const { step, totalSteps, training } = event;
    if (!Number.isFinite(training.loss)) {
      throw new RunFailure(
        "diverged",
        `The loss is no longer a number after ${step} steps: training has diverged.`,
      );
    }
    report({ type: "progress", step, totalSteps, ...training, stepsPerSecond: rate.at(step) });
    if (performance.now() >= current.nextSolution) await showSolution(current);
    return;
  }
  if (event.kind === "validation") {
    report({ type: "validation", step: event.step, scores: event.scores });
    return;
  }
  enter("testing");
  const scores = await session.test();
  report({ type: "test", step: event.step, reached: event.reached, scores });
  await showSolution(current);
  enter("finished");
}

async function showSolution(current: Run): Promise<void> {
  const { session, solver } = current;
  const { validation } = session.splits;
  const index = puzzle % validation.count;
  const { length } = validation;
  const inputs = validation.inputs.slice(index * length, (index + 1) * length);
  const started = performance.now();
  const segments = await solver.solve(inputs, { identifier: validation.identifiers[index]! });
  report({ type: "solution", step: session.trainer.step, puzzle: index, inputs, segments });
  const now = performance.now();
  current.nextSolution = now + Math.max(SOLVING_INTERVAL, (now - started) / SOLVING_SHARE);
}

async function save({ config, preset, session }: Run): Promise<void> {
  const snapshot = await session.save();
  const vocabulary = preset.task.vocabulary();
  const origin = { task: preset.name, ...(vocabulary && { vocabulary }) };
  const bytes = encodeCheckpoint(runCheckpoint(snapshot, origin));
  const name = `${preset.name}-seed${config.seed}-step${snapshot.step}.safetensors`;
  report({ type: "checkpoint", name, bytes }, [bytes.buffer]);
}

/** Frees the run. */
function release(): void {
  run?.solver.destroy();
  run?.session.destroy();
  run = null;
}

/** Reports an error and leaves the worker ready to prepare again, with a fresh device where this one is gone. */
function fail(error: unknown): void {
  if (phase === "failed") return;
  const failure = describe(error);
  report({ type: "failure", failure });
  if (failure.code === "device-lost") {
    device?.destroy();
    device = null;
    run = null;
  }
  enter("failed");
}

function describe(error: unknown): Failure {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof RunFailure) return { code: error.failureCode, message };
  if (error instanceof ConfigError) return { code: "config", message };
  if (error instanceof EngineError && (error.code === "adapter" || error.code === "device-lost"))
    return { code: error.code, message };
  return { code: "other", message };
}

/** Counts steps per second of training, pauses left out. */
interface RateMeter {
  /** Forgets the time since the last report. */
  resume(step: number): void;
  /** Steps per second up to this step. */
  at(step: number): number;
}

function rateMeter(): RateMeter {
  let marks: { readonly time: number; readonly step: number }[] = [];
  return {
    resume(step) {
      marks = [{ time: performance.now(), step }];
    },
    at(step) {
      const now = performance.now();
      marks.push({ time: now, step });
      while (marks.length > 2 && now - marks[1]!.time > RATE_WINDOW) marks.shift();
      const first = marks[0]!;
      return (1000 * (step - first.step)) / (now - first.time);
    },
  };
}

void live();
