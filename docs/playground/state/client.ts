/**
 * The page's end of the protocol: sends what the visitor wants, and turns reports into state. It is
 * longer than 400 lines because every message of the protocol has its few lines here.
 */
import { SHIPPED } from "../models/shipped.js";
import type { Command, Look, PuzzleFile, PuzzleFileInfo, Report } from "../protocol.js";
import { EXAMPLE } from "../puzzles/mirror_example.js";
import { formatPlace, sameRun, type RunConfig } from "../run_config.js";
import {
  addChange,
  addTraining,
  curves,
  curvesChanged,
  emptyCurves,
  curvesUntil,
  type Curves,
} from "./curves.js";
import { claim, forget, keepCheckpoint, keptCheckpoint, nameRun, type KeptRun } from "./kept_runs.js";
import {
  adapter,
  attention,
  census,
  compiling,
  draft,
  estimate,
  failure,
  figuresWanted,
  lost,
  making,
  models,
  notice,
  participations,
  pending,
  phase,
  profile,
  profiling,
  programs,
  puzzle,
  run,
  settings,
  sizes,
  states,
  step,
  stepsPerSecond,
  test,
  unsupported,
  validation,
  watched,
} from "./page_state.js";
import { download } from "./download.js";
import { fileOfRun, nameOfPuzzles, receivePuzzles, takePuzzleFile } from "./own_puzzles.js";
import { bytesOfShown, connectFiles, fileAnswered, noteOf } from "./files.js";
import {
  askForCensus,
  connectLooks,
  receiveNew,
  receiveThought,
  think,
  thinkAgain,
  watch,
} from "./thinking.js";

let worker: Worker | null = null;
/** Seconds of training in this run before the last start. */
let trainedSeconds = 0;
let startedAt = 0;
/** The run to prepare after the first thought; null once that is done. */
let afterFirstThought: RunConfig | null = null;
/** Runs that were asked for and that the worker has not begun to prepare; reports until then belong to the run before. */
const asked: Asked[] = [];
/** The curves of a run that goes on, until the worker says from which step. */
let resumed: Curves | null = null;
/** The puzzle that the address asks for, from 0, until it is shown. */
let wantedPuzzle: number | null = null;

/** A run to prepare. */
interface Asked {
  readonly run: RunConfig;
  /** The kept run that goes on; its curves alone if it comes from a file; absent for a run from its beginning. */
  readonly from?: { readonly kept: Pick<KeptRun, "id" | "name"> | null; readonly curves: Curves };
}

function send(message: Command | Look, transfer: Transferable[] = []): void {
  worker?.postMessage(message, transfer);
}

/** A fresh worker, which also helps if the old one is beyond help. */
export function restart(): void {
  worker?.terminate();
  asked.length = 0;
  worker = new Worker("worker.js", { type: "module", name: "hrm" });
  worker.addEventListener("message", ({ data }: MessageEvent<Report>) => receive(data));
  worker.addEventListener("error", (event) => {
    event.preventDefault();
    failure.value = { code: "other", message: event.message || "The worker script did not load." };
    phase.value = "failed";
  });
  connectLooks(send);
  connectFiles(send);
  failure.value = null;
  models.value = { run: null, file: null };
  census.value = null;
  states.value = null;
  attention.value = null;
  phase.value = "preparing";
}

/**
 * Opens the model that comes with the page, so that there is something to see before anything is trained, and prepares a
 * run once the first thought is there: until then nothing else is compiled.
 * @param index the held-out puzzle to show, from 0; null for one that suits the model
 */
export async function openShipped(index: number | null, then: RunConfig): Promise<void> {
  wantedPuzzle = index;
  afterFirstThought = then;
  const answer = await fetch(SHIPPED.file).catch(() => null);
  if (answer?.ok) {
    const bytes = new Uint8Array(await answer.arrayBuffer());
    return send({ type: "open", name: SHIPPED.file, bytes, own: false }, [bytes.buffer]);
  }
  notice.value = `The small trained model did not load (${SHIPPED.file}); you can train one all the same.`;
  prepareAfterThought();
}

function prepareAfterThought(): void {
  if (!afterFirstThought) return;
  const { data } = afterFirstThought;
  // A run on a file begins once the file was found.
  const isStartWanted = pending.value === "start" && (data === "" || data === EXAMPLE);
  prepare(afterFirstThought);
  afterFirstThought = null;
  // A start that was pressed before there was anything to start is kept.
  if (isStartWanted) toggle();
}

/** Goes on with the run of the visitor's file that is shown, as a new run of this browser. */
export async function goOn(): Promise<void> {
  const next = models.value.file?.run;
  const bytes = await bytesOfShown().catch(() => null);
  if (!next || !bytes) {
    notice.value = "The file cannot be read any more. Open it again.";
    return;
  }
  prepare(next, { kept: null, curves: emptyCurves() }, bytes);
}

/** Begins a run, or goes on with one from its checkpoint. */
export function prepare(next: RunConfig, from?: Asked["from"], bytes?: Uint8Array<ArrayBuffer>): void {
  pending.value = null;
  const ask = (puzzles?: PuzzleFile): void => {
    asked.push({ run: next, ...(from && { from }) });
    send({ type: "prepare", run: next, ...(bytes && { resume: bytes }), ...(puzzles && { puzzles }) });
  };
  if (next.data === "" || next.data === EXAMPLE) return ask();
  void fileOfRun(next).then((file) => {
    if (file) return ask(file);
    notice.value = `This run trains on ${nameOfPuzzles(next.data)}, a file that is not in this browser. Choose it under Options.`;
    // An address alone brings no file: the page prepares the preset's own puzzles.
    if (!from) prepare({ ...next, data: "" });
  });
}

/** Reads a file of puzzles; `then` hears of it unless it cannot be used. */
export const takePuzzles = (file: File, then: (info: PuzzleFileInfo) => void): Promise<void> =>
  takePuzzleFile(file, send, then);

/** Goes on with a kept run. */
export async function resume(kept: KeptRun): Promise<void> {
  if (!(await claim(kept.id))) {
    notice.value = `${kept.name} goes on in another tab. Pause it and start another run there, or close that tab, before this tab can take it.`;
    return;
  }
  const bytes = await keptCheckpoint(kept.id);
  if (!bytes) {
    notice.value = `The checkpoint of ${kept.name} is gone from this browser.`;
    return;
  }
  if (phase.value === "failed") {
    restart();
    void openShipped(null, kept.run);
  }
  afterFirstThought = null;
  prepare(kept.run, { kept, curves: kept.curves }, bytes);
}

/** Deletes a kept run. */
export async function deleteRun({ id, name }: KeptRun): Promise<void> {
  if (!(await forget(id)))
    notice.value = `${name} goes on in another tab, so that it cannot be deleted here.`;
}

/** Start or pause, whichever the phase allows. */
export function toggle(): void {
  const wish = phase.value === "training" ? "pause" : "start";
  pending.value = wish;
  send({ type: wish });
}

/** Changes what the next steps of the run read. */
export function changeSettings(next: { readonly lr: number; readonly exploration: number }): void {
  send({ type: "change", ...next });
}

export function save(purpose: "download" | "keep"): void {
  send({ type: "save", purpose });
}

/** Asks for what the figures show, for the model that is watched. */
export function wantFigures(): void {
  figuresWanted.value = true;
  askForCensus();
  const info = models.value[watched.value];
  if (info && info.held.count > 0) send({ type: "states", source: watched.value });
  think();
}

/** Asks what a run would need. */
export const wantEstimate = (next: RunConfig): void => send({ type: "estimate", run: next });

/** Asks for the programs of the run. */
export const wantPrograms = (): void => send({ type: "programs" });

/** Asks how long the kernels of the run take. */
export function wantProfile(): void {
  profiling.value = true;
  send({ type: "profile" });
}

/** The place in the address: the run, and the puzzle if it is one of the held-out ones; the history stays short. */
export function writeAddress(): void {
  const index = puzzle.value?.index ?? null;
  history.replaceState(null, "", formatPlace({ run: run.value, puzzle: index === null ? null : index + 1 }));
}

/** The worker begins to prepare a run: what was shown of the run before goes. */
function beginRun(): void {
  const next = asked.shift();
  if (next) {
    run.value = next.run;
    draft.value = next.run;
    resumed = next.from?.curves ?? null;
    nameRun(next.from?.kept ?? null);
    writeAddress();
  }
  step.value = 0;
  trainedSeconds = 0;
  stepsPerSecond.value = NaN;
  settings.value = null;
  curves.current = emptyCurves();
  curvesChanged.value++;
  validation.value = null;
  test.value = null;
  sizes.value = null;
  failure.value = null;
  programs.value = null;
  profile.value = null;
  profiling.value = false;
  if (states.value?.source === "run") states.value = null;
  models.value = { ...models.value, run: null };
  if (watched.value === "run" && models.value.file) watch("file");
}

/** Seconds of training in this run so far. */
const seconds = (): number => trainedSeconds + (performance.now() - startedAt) / 1000;

function receive(report: Report): void {
  switch (report.type) {
    case "phase": {
      const before = phase.value;
      if (report.phase === "preparing") beginRun();
      if (before === "training") trainedSeconds += (performance.now() - startedAt) / 1000;
      if (report.phase === "training") {
        startedAt = performance.now();
        // What is trained is what is watched.
        if (watched.value !== "run") watch("run");
      }
      if (report.phase !== "preparing" && report.phase !== "ready") pending.value = null;
      if (report.phase !== "preparing") compiling.value = null;
      phase.value = report.phase;
      // The census waits until the trainer is compiled. A start that waits will show the trained model in its place.
      if (report.phase !== "preparing" && watched.value === "file" && pending.value !== "start")
        askForCensus();
      if (report.phase === "finished" && figuresWanted.value) wantFigures();
      return;
    }
    case "adapter":
      adapter.value = { name: report.name, software: report.software, products: report.products };
      return;
    case "compiling":
      compiling.value = { what: report.what, done: report.done, total: report.total };
      return;
    case "model": {
      const { model } = report;
      models.value = { ...models.value, [model.source]: model };
      if (model.source === "file") {
        census.value = null;
        if (states.value?.source === "file") states.value = null;
        if (phase.value !== "training") watch("file", wantedPuzzle);
        wantedPuzzle = null;
        if (model.name !== SHIPPED.file) {
          fileAnswered("shown");
          notice.value = noteOf(model.name, model.notes);
        }
      } else if (watched.value === "run" || !models.value.file) watch("run", wantedPuzzle);
      return;
    }
    case "run":
      settings.value = { lr: report.lr, exploration: report.exploration };
      step.value = report.step;
      sizes.value = {
        train: report.trainPuzzles,
        validation: report.validationPuzzles,
        test: report.testPuzzles,
      };
      if (resumed) {
        curves.current = curvesUntil(resumed, report.step);
        trainedSeconds = curves.current.training.seconds.at(-1) ?? 0;
        curvesChanged.value++;
        notice.value =
          report.differences.length === 0
            ? `The run goes on at step ${report.step}, to the bit as if it had not stopped.`
            : `The run goes on at step ${report.step}, but not bit-identically: ${report.differences.join("; ")}.`;
        resumed = null;
      }
      return;
    case "progress":
      step.value = report.step;
      stepsPerSecond.value = report.stepsPerSecond;
      addTraining(curves.current, report.metrics, report.batch, { seconds: seconds(), lr: report.lr });
      curvesChanged.value++;
      thinkAgain();
      return;
    case "changed": {
      const { step: at, lr, exploration } = report;
      settings.value = { lr, exploration };
      addChange(curves.current, { step: at, lr, exploration });
      curvesChanged.value++;
      return;
    }
    case "validation": {
      const { step, scores } = report;
      validation.value = { step, scores };
      curves.current.looks.step.push(step);
      curves.current.looks.seconds.push(seconds());
      curves.current.looks.exact.push(scores.exactAccuracy);
      curves.current.looks.cells.push(scores.cellAccuracy);
      curvesChanged.value++;
      return;
    }
    case "thought": {
      const { source, step, inputs, thought, twin } = report;
      receiveThought(twin, { source, step, inputs, thought });
      return prepareAfterThought();
    }
    case "attention":
      attention.value = report;
      return;
    case "census":
      if (report.source === watched.value || report.source === "file")
        census.value = { source: report.source, step: report.step, census: report.census };
      return;
    case "states": {
      const { source, step: at, states: seen } = report;
      if (source !== watched.value) return;
      const { L, H } = seen.trained;
      const before = states.value?.source === source ? participations.value.filter((p) => p.step < at) : [];
      participations.value = [...before, { step: at, L: L.participation, H: H.participation }];
      states.value = { source, step: at, states: seen };
      return;
    }
    case "estimate":
      estimate.value = report.estimate;
      return;
    case "programs":
      programs.value = report.programs;
      return;
    case "profile":
      profiling.value = false;
      profile.value = report.profile;
      return;
    case "test":
      test.value = { reached: report.reached, scores: report.scores };
      return;
    case "checkpoint":
      if (report.purpose === "download") download(report.name, report.bytes, "application/octet-stream");
      else void keepCheckpoint(run.value, report.step, curves.current, report.bytes);
      return;
    case "puzzles":
      return receivePuzzles(report);
    case "made":
      return receiveNew(report);
    case "which":
      return fileAnswered(report);
    case "refused":
      if (report.failure.code === "file") fileAnswered("refused");
      notice.value =
        report.failure.code === "file"
          ? `This file cannot be opened: ${report.failure.message}`
          : `This cannot be done: ${report.failure.message}`;
      profiling.value = false;
      making.value = false;
      return prepareAfterThought();
    case "failure":
      if (report.failure.code === "adapter") unsupported.value = true;
      if (report.failure.code === "device-lost") lost.value = true;
      failure.value = report.failure;
      // What the lost device computed stays on the page; what it could still compute is gone.
      return;
  }
}

/** Whether options wait to be applied. */
export const isChanged = (): boolean => !sameRun(draft.value, run.value);
