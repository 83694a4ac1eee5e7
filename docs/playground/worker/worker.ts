/** The module worker: it owns the device, the run and the model of a file, and does what protocol.ts says. */
import { AdapterError, openDevice, type Device, type Target } from "../../../engine/index.js";
import { owning, type Scope } from "../../../engine/ownership.js";
import {
  decodeCheckpoint,
  encodeCheckpoint,
  runCheckpoint,
} from "../../../hrm/files/checkpoints/checkpoint.js";
import { FileFormatError } from "../../../hrm/files/file_format_error.js";
import { ConfigError, inferenceSegments } from "../../../hrm/model/config.js";
import { countParameters } from "../../../hrm/model/parameters.js";
import type { Preset } from "../../../hrm/training/presets.js";
import { learningRate } from "../../../hrm/training/schedule.js";
import { createSession, type Session, type SessionEvent } from "../../../hrm/training/session.js";
import type { Trainer } from "../../../hrm/training/trainer.js";
import { ACCEPTED, type Command, type Look, type Phase, type PuzzleFile, type Report } from "../protocol.js";
import { EXAMPLE } from "../puzzles/mirror_example.js";
import { configuredPreset, resumedPreset, type OwnPuzzles, type RunConfig } from "../run_config.js";
import { answerLook, freeSubject } from "./looks.js";
import { firstPuzzles, type Subject } from "./subject.js";
import { compiling } from "./compiling.js";
import { describe, RunFailure } from "./failures.js";
import { rateMeter, type RateMeter } from "./rate_meter.js";

/** Steps between two reports: few enough to look alive and to pause soon, many enough not to wait for read-backs. */
const STEPS_PER_EVENT = { software: 5, hardware: 20 } as const;

/** Milliseconds between two checkpoints that the page keeps while it trains. */
const KEEP_EVERY = 10_000;

/** Held-out puzzles that the page is given to choose from. */
const PUZZLES_FOR_PAGE = 256;

/** A run in the making: its session, and what shows it. */
export interface Run {
  readonly config: RunConfig;
  readonly preset: Preset;
  readonly session: Session;
  readonly subject: Subject;
  readonly events: AsyncGenerator<SessionEvent, void, undefined>;
  readonly rate: RateMeter;
  keptAt: number;
}

const scope = globalThis as unknown as {
  postMessage(message: Report, transfer?: Transferable[]): void;
  onmessage: ((event: MessageEvent<Command | Look>) => void) | null;
};

let phase: Phase = "preparing";
let device: Device | null = null;
let run: Run | null = null;
/** The model of a file. */
let file: Subject | null = null;

function report(message: Report, transfer: Transferable[] = []): void {
  scope.postMessage(message, transfer);
}

function enter(next: Phase): void {
  phase = next;
  report({ type: "phase", phase });
}

/** Commands not yet taken, and the lane that waits for one. */
const inbox: Command[] = [];
let wake: (() => void) | null = null;
/** Looks not yet answered, the newest of each kind, and the one that is being answered. */
const wanted = new Map<string, Look>();
let looking: Promise<void> | null = null;

scope.onmessage = ({ data }) => {
  if (isLook(data)) {
    wanted.set(`${data.type} ${"source" in data ? data.source : ""}`, data);
    look();
    return;
  }
  inbox.push(data);
  wake?.();
};

const isLook = (message: Command | Look): message is Look =>
  [
    "think",
    "twin",
    "attention",
    "census",
    "states",
    "make",
    "puzzles",
    "estimate",
    "programs",
    "profile",
  ].includes(message.type);

/** The first lane: commands first, then the run's next event; it sleeps if there is neither. */
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

/** The second lane: answers looks one after the other. */
function look(): void {
  looking ??= (async () => {
    for (let next = takeLook(); next; next = takeLook()) {
      try {
        const seen = await see(next);
        if (seen) report(seen);
      } catch (error) {
        fail(error);
      }
    }
    looking = null;
  })();
}

/** What a look sees; null if it is at a model that is not there. */
async function see(next: Look): Promise<Report | null> {
  if ("source" in next) {
    const subject = next.source === "run" ? run?.subject : file;
    return subject ? answerLook(next, subject) : null;
  }
  // What few visitors ask for is loaded for them alone.
  const { lookAround } = await import("./look_around.js");
  return lookAround(next, await theDevice(), run);
}

function takeLook(): Look | undefined {
  const [entry] = wanted;
  if (entry) wanted.delete(entry[0]);
  return entry?.[1];
}

async function obey(command: Command): Promise<void> {
  if (!ACCEPTED[phase].includes(command.type)) return;
  switch (command.type) {
    case "prepare":
      enter("preparing");
      await release();
      run = await prepare(command);
      return enter(run.session.ended ? "finished" : "ready");
    case "start":
      run!.rate.resume(run!.session.trainer.step);
      return enter("training");
    case "pause":
      await save(run!, "keep");
      return enter("paused");
    case "change":
      return change(run!, command);
    case "save":
      return save(run!, command.purpose);
    case "open":
      return open(command);
  }
}

/** The device, opened at the first need and after it was lost. */
async function theDevice(): Promise<Device> {
  if (device) return device;
  device = await openDevice();
  const { name, software } = device.adapter;
  report({ type: "adapter", name, software, products: "" });
  return device;
}

/** Compiles a run's session, from its beginning or from a checkpoint. */
async function prepare({
  run: config,
  resume: bytes,
  puzzles: given,
}: Extract<Command, { type: "prepare" }>): Promise<Run> {
  const opened = await theDevice();
  const checkpoint = bytes && decodeCheckpoint(bytes);
  const resume = checkpoint?.run;
  if (checkpoint && !resume)
    throw new RunFailure("file", "This checkpoint holds weights alone; a run cannot go on from it.");
  const puzzles = config.data === "" ? null : await ownPuzzles(config, given);
  const preset = resume ? resumedPreset(config, resume, puzzles) : configuredPreset(config, puzzles);
  let target = opened.target;
  try {
    let products = "";
    // What measures kernels is loaded by those who want it measured.
    if (config.products !== "f32")
      ({ target, products } = await (await import("./products.js")).chooseProducts(opened, config, preset));
    const { name, software } = opened.adapter;
    report({ type: "adapter", name, software, products });
  } catch (error) {
    if (error instanceof AdapterError) throw new RunFailure("config", error.message);
    throw error;
  }
  return compiling(opened, report, "the trainer", () =>
    owning((scope) => prepareRun(scope, opened, { config, target, preset, resume })),
  );
}

/** The puzzles of a run that has a file of them. */
async function ownPuzzles(config: RunConfig, given: PuzzleFile | undefined): Promise<OwnPuzzles> {
  // What reads the files of visitors is loaded for them alone.
  const { exampleFile, puzzlesOfRun } = await import("./own_puzzles.js");
  const puzzles = config.data === EXAMPLE ? exampleFile() : given;
  if (!puzzles) throw new RunFailure("file", `The file of this run, ${config.data}, was not given.`);
  return puzzlesOfRun(config, puzzles);
}

async function prepareRun(
  scope: Scope,
  device: Device,
  {
    config,
    target,
    preset,
    resume,
  }: {
    readonly config: RunConfig;
    readonly target: Target;
    readonly preset: Preset;
    readonly resume: ReturnType<typeof decodeCheckpoint>["run"];
  },
): Promise<Run> {
  const stepsPerEvent = STEPS_PER_EVENT[device.adapter.software ? "software" : "hardware"];
  const session = scope.own(
    await createSession({
      device,
      target,
      preset,
      seed: config.seed,
      ...{ stepsPerEvent, compileValidationLater: true },
      ...(resume && { resume }),
    }),
  );
  const { train, validation, test } = session.splits;
  report({
    type: "run",
    step: session.trainer.step,
    trainPuzzles: train.count,
    validationPuzzles: validation.count,
    testPuzzles: test.count,
    differences: session.trainer.differences,
    lr: preset.train.lr,
    exploration: preset.model.halt_exploration_prob,
  });
  const held = firstPuzzles(validation, PUZZLES_FOR_PAGE);
  report({
    type: "model",
    model: {
      source: "run",
      task: preset.task.name,
      name: "",
      parameters: countParameters(preset.model),
      step: session.trainer.step,
      segments: inferenceSegments(preset.model),
      haltOnly: preset.model.halt_only,
      notes: [],
      held: { count: held.count, inputs: held.inputs, labels: held.labels, unseen: true },
      ...{ run: config, stuck: null },
    },
  });
  const subject: Subject = {
    device,
    target: session.trainer.target,
    config: preset.model,
    weights: session.weights,
    held,
    seed: config.seed,
    step: () => session.trainer.step,
    made: {},
  };
  return {
    ...{ config, preset, session, subject },
    events: session.events(),
    rate: rateMeter(),
    keptAt: performance.now(),
  };
}

/** One event of the run: some steps, a look at the validation set, or the end. */
async function advance(current: Run): Promise<void> {
  const { session, events, rate } = current;
  const { value: event } = await events.next();
  if (!event) return;
  if (event.kind === "steps") {
    const { step, totalSteps, training, metrics } = event;
    if (!Number.isFinite(training.loss)) {
      throw new RunFailure(
        "diverged",
        `The loss is no longer a number after ${step} steps: training has diverged.`,
      );
    }
    const batch = current.preset.model.batch_size;
    report({
      ...{ type: "progress", step, totalSteps, ...training, batch, metrics },
      lr: rateAt(session.trainer),
      stepsPerSecond: rate.at(step),
    });
    if (performance.now() - current.keptAt >= KEEP_EVERY) await save(current, "keep");
    return;
  }
  if (event.kind === "validation") {
    report({ type: "validation", step: event.step, scores: event.scores });
    return;
  }
  enter("testing");
  const scores = await session.test();
  report({ type: "test", step: event.step, reached: event.reached, scores });
  await save(current, "keep");
  enter("finished");
}

/** The learning rate of the step submitted last. */
const rateAt = ({ settings: { train }, step }: Trainer): number => learningRate(train, train.lr, step);

/** Changes what the next steps read. A value that cannot be is refused, and the run goes on. */
function change({ session }: Run, { lr, exploration }: Extract<Command, { type: "change" }>): void {
  const { trainer } = session;
  try {
    trainer.change({ lr, halt_exploration_prob: exploration });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    report({ type: "refused", failure: { code: "config", message: error.message } });
    return;
  }
  report({ type: "changed", step: trainer.step, lr, exploration });
}

async function save(current: Run, purpose: "download" | "keep"): Promise<void> {
  const { config, preset, session } = current;
  const snapshot = await session.save();
  current.keptAt = performance.now();
  const vocabulary = preset.task.vocabulary();
  const own = config.data !== "" && { task: preset.task.name, data: config.data };
  const origin = { task: preset.name, ...own, ...(vocabulary && { vocabulary }) };
  const bytes = encodeCheckpoint(runCheckpoint(snapshot, origin));
  const name = `${preset.name}-seed${config.seed}-step${snapshot.step}.safetensors`;
  report({ type: "checkpoint", purpose, name, step: snapshot.step, bytes }, [bytes.buffer]);
}

/** Opens a file; one that cannot be opened is refused, and the run goes on. */
async function open(command: Extract<Command, { type: "open" }>): Promise<void> {
  const { name } = command;
  let opened;
  try {
    const { openFile } = await import("./file_model.js");
    opened = await openFile(await theDevice(), command);
  } catch (error) {
    if (!(error instanceof FileFormatError || error instanceof ConfigError)) throw error;
    report({ type: "refused", failure: { code: "file", message: `${name}: ${error.message}` } });
    return;
  }
  if ("presets" in opened) return report({ type: "which", name, presets: opened.presets });
  const old = file;
  file = null;
  await looking;
  if (old) freeSubject(old, true);
  file = opened.subject;
  report({ type: "model", model: opened.model });
}

/** Frees the run, once nobody looks at it. */
async function release(): Promise<void> {
  const old = run;
  if (!old) return;
  run = null;
  await looking;
  freeSubject(old.subject, false);
  old.session.destroy();
}

/** Reports an error and leaves the worker ready to prepare again, with a fresh device if this one is gone. */
function fail(error: unknown): void {
  if (phase === "failed") return;
  const failure = describe(error);
  report({ type: "failure", failure });
  if (failure.code === "device-lost") {
    device?.destroy();
    device = null;
    run = null;
    file = null;
  }
  enter("failed");
}

void live();
