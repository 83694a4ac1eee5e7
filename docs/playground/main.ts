/** The page: shows what the worker reports and asks it for what the visitor wants. */
import { formatDuration } from "../../hrm/format_duration.js";
import { departures } from "../../hrm/training/departures.js";
import { findPreset, SUDOKU4_NOTE } from "../../hrm/training/presets.js";
import { formatPercent, formatProportion } from "../../hrm/training/statistics.js";
import { createBoard, type Board } from "./board.js";
import { createChart } from "./chart.js";
import { ACCEPTED, type Command, type Failure, type Phase, type Report } from "./protocol.js";
import {
  acceptsField,
  configuredPreset,
  formatPlace,
  isProducts,
  playgroundPresets,
  presetRun,
  readPlace,
  type RunConfig,
} from "./run_config.js";
import { webgpuHelp } from "./webgpu_help.js";

function element<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`index.html has no ${type.name} #${id}`);
  return found;
}
const area = (id: string): HTMLElement => element(id, HTMLElement);
const button = (id: string): HTMLButtonElement => element(id, HTMLButtonElement);

const toggle = button("toggle");
const fields = {
  preset: element("preset", HTMLSelectElement),
  lr: element("lr", HTMLSelectElement),
  batch: element("batch", HTMLSelectElement),
  seed: element("seed", HTMLInputElement),
  products: element("products", HTMLSelectElement),
};
const LEARNING_RATES = [0.0005, 0.001, 0.002, 0.004, 0.006, 0.01];
const BATCH_SIZES = [8, 16, 32, 64];

let { run, puzzle, problems } = readPlace(location.hash);
let phase: Phase = "preparing";
/** What was asked for and not yet done, so that the button answers at once. */
let pending: "start" | "pause" | null = null;
let lastStep = 0;
let validationPuzzles = 1;
/** The run ended because validation reached its target. */
let reached = false;
let worker: Worker | null = null;
/** The GPU went away since the page was loaded. */
let lost = false;

const lossChart = createChart(area("loss-chart"), {
  curves: [
    { name: "batches", className: "raw" },
    { name: "smoothed", className: "loss" },
  ],
  range: { low: 0 },
  format: (value) => value.toPrecision(3),
  formatTick: String,
  label: "Training loss over steps",
});
const accuracyChart = createChart(area("accuracy-chart"), {
  curves: [
    { name: "cells", className: "cells", marks: true },
    { name: "exact", className: "exact", marks: true },
  ],
  range: { low: 0, high: 1 },
  format: formatPercent,
  formatTick: (value) => `${100 * value}%`,
  label: "Accuracy on validation puzzles over steps",
});
/** Share of the past in the smoothed loss curve. */
const SMOOTHING = 0.85;
let smoothLoss = NaN;

let board = boardOf(run);

/** An empty board for the task and model of a run. */
function boardOf({ preset }: RunConfig): Board {
  const { task, model } = findPreset(preset)!;
  return createBoard(area("board"), task, model.L_cycles);
}

/** The run's place in the address; the history stays short. */
function writeAddress(): void {
  history.replaceState(null, "", formatPlace({ run, puzzle }));
}

/** A number with its thousands set apart. */
const count = (value: number): string => value.toLocaleString("en");

function send(command: Command): void {
  worker?.postMessage(command);
}

/** A run from its initial weights: at first, after a change, and on reset. */
function prepare(): void {
  writeAddress();
  showConfig();
  pending = null;
  send({ type: "show", puzzle });
  send({ type: "prepare", run });
}

function showConfig(): void {
  const preset = configuredPreset(run);
  const { status: known, task } = preset;
  const options = (select: HTMLSelectElement, values: readonly (string | number)[]): void =>
    select.replaceChildren(...values.map((value) => new Option(String(value), String(value))));
  const withOwn = (values: readonly number[], own: number): number[] =>
    [...new Set([...values, own])].sort((a, b) => a - b);
  options(fields.preset, playgroundPresets);
  options(fields.lr, withOwn(LEARNING_RATES, run.lr));
  options(fields.batch, withOwn(BATCH_SIZES, run.batch));
  for (const name of ["preset", "lr", "batch", "seed", "products"] as const)
    fields[name].value = String(run[name]);
  area("steps").textContent = `of ${count(run.steps)}`;
  showSummary(null);
  const notes = [
    ...(known.kind === "unproven" ? [`This preset is unproven: ${known.tried}.`] : []),
    `Departs from the official recipe: ${departures(preset, preset.recipe).join("; ")}.`,
    `${task.name === "sudoku4" ? `${SUDOKU4_NOTE} ` : ""}Training stops at ${formatPercent(run.target)} exact on validation, or after ${count(run.steps)} steps.`,
  ];
  area("notes").replaceChildren(
    ...notes.map((note) => {
      const paragraph = document.createElement("p");
      paragraph.textContent = note;
      return paragraph;
    }),
  );
}

/** What the page is about; the worker counts the parameters. */
function showSummary(parameters: number | null): void {
  const model = parameters === null ? "A tiny model" : `A model of ${count(parameters)} parameters`;
  const { task } = findPreset(run.preset)!;
  area("summary").textContent =
    `${model} learns ${task.rows}×${task.columns} Sudoku on your GPU, in this page.`;
}

/** Everything that belongs to a run, back to nothing. */
function clearRun(): void {
  lastStep = 0;
  smoothLoss = NaN;
  for (const chart of [lossChart, accuracyChart]) {
    chart.clear();
    chart.setExtent(run.steps);
  }
  accuracyChart.setGoal({ value: run.target, name: `target ${formatPercent(run.target)}` });
  for (const name of ["loss", "cells", "exact", "act", "rate", "left"])
    area(`stat-${name}`).textContent = "–";
  area("stat-test").textContent = "untouched";
  area("test-title").textContent = "Test set, looked at once";
  area("stat-test").parentElement!.classList.remove("reached");
  showStep(0);
  hideAlert();
}

function showStep(step: number): void {
  lastStep = step;
  document.documentElement.dataset["step"] = String(step);
  element("step", HTMLOutputElement).value = count(step);
  const bar = area("progress").firstElementChild as HTMLElement;
  bar.style.transform = `scaleX(${step / run.steps})`;
}

function enter(next: Phase): void {
  phase = next;
  if (phase === "preparing") clearRun();
  if (phase !== "preparing" && phase !== "ready") pending = null;
  update();
}

/** Buttons and status from the phase and what is pending. */
function update(): void {
  document.documentElement.dataset["phase"] = phase;
  const accepts = (type: Command["type"]): boolean => worker !== null && ACCEPTED[phase].includes(type);
  const running = phase === "training";
  area("toggle-label").textContent = running ? "Pause" : lastStep > 0 ? "Go on" : "Start";
  toggle.title = area("toggle-label").textContent;
  // While the run is being prepared a start is kept by the worker until its turn comes.
  toggle.disabled = pending !== null || !(accepts("start") || accepts("pause") || phase === "preparing");
  button("reset").disabled = worker === null;
  button("save").disabled = !accepts("save");
  button("another").disabled = !accepts("show");
  area("status").textContent = status();
}

function status(): string {
  if (pending === "pause") return "Pausing after the steps under way…";
  switch (phase) {
    case "preparing":
      if (run.products === "measured") return "Measuring and compiling kernels, for about ten seconds…";
      return pending === "start" ? "Starts as soon as the kernels are compiled…" : "Compiling kernels…";
    case "ready":
      return "Ready. Press start to train.";
    case "training":
      return "Training.";
    case "paused":
      return `Paused at step ${count(lastStep)}.`;
    case "testing":
      return "Looking at the test set, once.";
    case "finished":
      return reached ? "Target reached." : "Ended short of the target.";
    case "failed":
      return "Stopped by an error.";
  }
}

interface Alert {
  readonly title: string;
  readonly steps: readonly string[];
  /** What the engine said, for a report. */
  readonly detail?: string;
  readonly action?: { readonly label: string; readonly run: () => void };
}

function showAlert({ title, steps, detail, action }: Alert): void {
  const heading = document.createElement("h2");
  heading.textContent = title;
  const list = document.createElement(steps.length > 1 ? "ol" : "ul");
  list.append(
    ...steps.map((step) => {
      const item = document.createElement("li");
      item.append(...withCode(step));
      return item;
    }),
  );
  const alert = area("alert");
  alert.replaceChildren(heading, list);
  if (detail !== undefined) {
    const paragraph = document.createElement("p");
    paragraph.textContent = detail;
    alert.append(paragraph);
  }
  if (action) {
    const act = document.createElement("button");
    act.type = "button";
    act.textContent = action.label;
    act.addEventListener("click", action.run);
    alert.append(act);
  }
  alert.hidden = false;
}

/** Text with what stands in backticks as code. */
function withCode(text: string): Node[] {
  return text.split("`").map((part, i) => {
    if (i % 2 === 0) return document.createTextNode(part);
    const code = document.createElement("code");
    code.textContent = part;
    return code;
  });
}

function hideAlert(): void {
  area("alert").hidden = true;
}

/** Says what in the address could not be used. */
function showProblems(): void {
  const place = area("address");
  place.hidden = problems.length === 0;
  place.textContent = `The address asks for what cannot be; the preset's value is used. ${problems.join(" ")}`;
}

function showHelp(webgpu: boolean): void {
  document.documentElement.classList.add("unsupported");
  const { userAgent, maxTouchPoints } = navigator;
  showAlert(webgpuHelp({ userAgent, maxTouchPoints, secureContext: isSecureContext, webgpu, lost }));
}

function showFailure({ code, message }: Failure): void {
  const action = { label: "Start over", run: restart };
  switch (code) {
    case "adapter":
      return showHelp("gpu" in navigator && navigator.gpu !== undefined);
    case "device-lost":
      lost = true;
      return showAlert({
        title: "The GPU went away",
        steps: [
          "Another program, a driver update or a power change can take it. What was trained since the last download is lost.",
          "Start over opens it again. If this repeats, close other pages that use the GPU, or restart the browser.",
        ],
        detail: message,
        action,
      });
    case "config":
      return showAlert({
        title: "This configuration cannot be",
        steps: ["Change it above, or start over."],
        detail: message,
        action,
      });
    case "diverged":
      return showAlert({
        title: "Training diverged",
        steps: ["Choose a lower learning rate or another seed."],
        detail: message,
        action,
      });
    case "other":
      return showAlert({
        title: "Something went wrong",
        steps: ["Start over begins the run again. If this repeats, reload the page or update the browser."],
        detail: message,
        action,
      });
  }
}

function receive(report: Report): void {
  switch (report.type) {
    case "phase":
      return enter(report.phase);
    case "adapter": {
      const chip = area("adapter");
      chip.textContent = [`Adapter: ${report.name}`, report.products].filter(Boolean).join("; ");
      chip.classList.toggle("software", report.software);
      chip.hidden = false;
      const notice = area("notice");
      notice.hidden = !report.software;
      notice.textContent =
        "This is a software adapter: shaders run on the CPU, so training takes minutes instead of seconds. It learns all the same.";
      return;
    }
    case "run":
      validationPuzzles = report.validationPuzzles;
      showSummary(report.parameters);
      return;
    case "progress": {
      const { step, totalSteps, loss, actSteps, stepsPerSecond } = report;
      showStep(step);
      smoothLoss = Number.isNaN(smoothLoss) ? loss : SMOOTHING * smoothLoss + (1 - SMOOTHING) * loss;
      lossChart.add("batches", step, loss);
      lossChart.add("smoothed", step, smoothLoss);
      area("stat-loss").textContent = loss.toPrecision(3);
      if (!Number.isNaN(actSteps)) area("stat-act").textContent = actSteps.toFixed(2);
      area("stat-rate").textContent =
        stepsPerSecond < 10 ? stepsPerSecond.toFixed(1) : stepsPerSecond.toFixed(0);
      area("stat-left").textContent =
        step < totalSteps ? `≤ ${formatDuration((totalSteps - step) / stepsPerSecond)}` : "–";
      return;
    }
    case "validation": {
      const { step, scores } = report;
      accuracyChart.add("cells", step, scores.cellAccuracy);
      accuracyChart.add("exact", step, scores.exactAccuracy);
      area("stat-cells").textContent = formatPercent(scores.cellAccuracy);
      area("stat-exact").textContent = formatPercent(scores.exactAccuracy);
      return;
    }
    case "solution":
      board.draw(report);
      area("puzzle-note").textContent =
        `validation puzzle ${report.puzzle + 1}, answered with the weights after step ${count(report.step)}`;
      return;
    case "test": {
      const { scores } = report;
      ({ reached } = report);
      area("stat-left").textContent = "–";
      area("stat-test").textContent = formatProportion(scores.exact, scores.count);
      area("test-title").textContent = `Test exact of ${count(scores.count)} [95% interval]`;
      area("stat-test").parentElement!.classList.toggle("reached", reached);
      return;
    }
    case "checkpoint":
      return download(report.name, report.bytes);
    case "failure":
      return showFailure(report.failure);
  }
}

function download(name: string, bytes: Uint8Array<ArrayBuffer>): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes], { type: "application/octet-stream" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** A fresh worker, which also helps where the old one is beyond help. */
function restart(): void {
  worker?.terminate();
  worker = new Worker("worker.js", { type: "module", name: "hrm" });
  worker.addEventListener("message", ({ data }: MessageEvent<Report>) => receive(data));
  worker.addEventListener("error", (event) => {
    event.preventDefault();
    showFailure({ code: "other", message: event.message || "The worker script did not load." });
    enter("failed");
  });
  enter("preparing");
  prepare();
}

toggle.addEventListener("click", () => {
  pending = phase === "training" ? "pause" : "start";
  send({ type: pending });
  update();
});
button("reset").addEventListener("click", prepare);
button("save").addEventListener("click", () => send({ type: "save" }));
button("another").addEventListener("click", () => {
  puzzle = (puzzle + 1) % validationPuzzles;
  writeAddress();
  send({ type: "show", puzzle });
});

function configure(next: RunConfig): void {
  if (next.preset !== run.preset) board = boardOf(next);
  run = next;
  prepare();
}
fields.preset.addEventListener("change", () =>
  configure({ ...presetRun(fields.preset.value), seed: run.seed }),
);
for (const name of ["lr", "batch", "seed"] as const) {
  fields[name].addEventListener("change", () => {
    const value = Number(fields[name].value);
    if (acceptsField(name, value)) configure({ ...run, [name]: value });
    else fields[name].value = String(run[name]);
  });
}
fields.products.addEventListener("change", () => {
  const { value } = fields.products;
  if (isProducts(value)) configure({ ...run, products: value });
});
window.addEventListener("hashchange", () => {
  const place = readPlace(location.hash);
  puzzle = place.puzzle;
  problems = place.problems;
  showProblems();
  configure(place.run);
});

/** Counts frames: it stands still where something blocks the page. */
function heartbeat(beats: number): void {
  document.documentElement.dataset["heartbeat"] = String(beats);
  requestAnimationFrame(() => heartbeat(beats + 1));
}

heartbeat(0);
showConfig();
showProblems();
if (!("gpu" in navigator) || !navigator.gpu) showHelp(false);
else restart();
