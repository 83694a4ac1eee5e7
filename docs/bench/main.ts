/** The page: starts a worker, draws what it reports, and hands the report over as JSON. */
import type { Ceilings } from "../../bench/core/ceilings.js";
import type { Report, Result } from "../../bench/core/report.js";
import { ceilingRows, number, omissionRow, stepRows } from "../../bench/core/table.js";
import type { Message, Start } from "./protocol.js";
import { drawRoofline } from "./roofline.js";

const byId = <T extends Element = HTMLElement>(id: string): T => document.getElementById(id) as unknown as T;
const start = byId<HTMLButtonElement>("start");
const copy = byId<HTMLButtonElement>("copy");
const download = byId<HTMLButtonElement>("download");
const status = byId("status");

let worker: Worker | null = null;
let ceilings: Ceilings | null = null;
let results: Result[] = [];
let report: Report | null = null;

/** Phase on the root element: `idle`, `running`, `done`, `failed`. */
function enter(phase: string, text: string): void {
  document.documentElement.dataset["phase"] = phase;
  status.textContent = text;
  start.textContent = phase === "running" ? "Stop" : "Run";
  copy.disabled = download.disabled = report === null;
}

function cell(row: HTMLTableRowElement, text: string): void {
  row.insertCell().textContent = text;
}

function show(result: Result): void {
  results.push(result);
  const row = byId<HTMLTableSectionElement>("rows").insertRow();
  for (const text of [
    result.kernel,
    result.shape,
    String(result.n),
    number(result.ms),
    `${number(result.p10)} to ${number(result.p90)}`,
    number(result.gflops),
    number(result.gbps),
    `${Math.round(100 * result.ceilingFraction)}%`,
    result.maxError.toExponential(1),
  ])
    cell(row, text);
  if (result.step) {
    const split = byId<HTMLTableSectionElement>("rows").insertRow().insertCell();
    split.colSpan = 9;
    const text = document.createElement("pre");
    text.textContent = stepRows(result.step).join("\n");
    split.append(text);
  }
  if (ceilings) drawRoofline(byId<SVGSVGElement>("roofline"), ceilings, results);
}

function receive(message: Message): void {
  switch (message.type) {
    case "adapter":
      byId("adapter").textContent = message.adapter.name;
      byId("adapter").hidden = false;
      break;
    case "progress":
      enter("running", `${Math.round(100 * message.done)}%  ${message.what}`);
      break;
    case "ceilings":
      ceilings = message.ceilings;
      byId("ceilings").textContent = ceilingRows(ceilings).join("\n");
      drawRoofline(byId<SVGSVGElement>("roofline"), ceilings, results);
      break;
    case "result":
      show(message.result);
      break;
    case "omission": {
      const line = `${message.wrong ? "WRONG RESULT, not timed: " : ""}${omissionRow(message.omission).trim()}`;
      byId("omissions").append(Object.assign(document.createElement("li"), { textContent: line }));
      break;
    }
    case "report":
      report = message.report;
      end();
      enter("done", `${report.results.length} lines measured, ${report.skipped.length} skipped.`);
      break;
    case "failure":
      end();
      enter("failed", message.message);
      break;
  }
}

function end(): void {
  worker?.terminate();
  worker = null;
}

start.addEventListener("click", () => {
  if (worker) {
    end();
    enter("idle", "Stopped.");
    return;
  }
  [results, report, ceilings] = [[], null, null];
  for (const id of ["rows", "omissions", "roofline", "ceilings"]) byId(id).replaceChildren();
  worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  worker.onmessage = ({ data }: MessageEvent<Message>) => receive(data);
  worker.onerror = () => receive({ type: "failure", message: "The worker did not load; reload the page." });
  const message: Start = {
    quick: byId<HTMLInputElement>("quick").checked,
    filter: byId<HTMLInputElement>("filter").value,
    seed: Date.now() % 2 ** 31,
  };
  enter("running", "Opening the GPU");
  worker.postMessage(message);
});

copy.addEventListener("click", () => {
  navigator.clipboard.writeText(JSON.stringify(report)).then(
    () => (status.textContent = "The report is on the clipboard."),
    () => (status.textContent = "The browser refused the clipboard; use the download."),
  );
});

download.addEventListener("click", () => {
  const url = URL.createObjectURL(new Blob([JSON.stringify(report)], { type: "application/json" }));
  const link = Object.assign(document.createElement("a"), { href: url, download: "bench.json" });
  link.click();
  URL.revokeObjectURL(url);
});

enter(
  "idle",
  "Every kernel is checked against float64 before it is timed. Close other pages that use the GPU.",
);
