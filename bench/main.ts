/** `npm run bench`: the suite under Node. */
import { readFile } from "node:fs/promises";
import { openNodeDevice } from "../engine/node/index.js";
import type { Device } from "../engine/index.js";
import { ArgumentError, parseArguments } from "../hrm/cli/arguments.js";
import { reportAdapter } from "./core/adapter.js";
import { kernelCases } from "./core/cases/index.js";
import { trainingSteps } from "./core/cases/steps.js";
import { comparisonRows } from "./core/compare.js";
import { parseReport, REPORT_VERSION, ReportError, type Report } from "./core/report.js";
import { measureCeilings, type Ceilings } from "./core/ceilings.js";
import { runPeers } from "./core/peer.js";
import { FULL_EFFORT, QUICK_EFFORT } from "./core/sampling.js";
import { createStopwatch } from "./core/stopwatch.js";
import { BUDGET, filtered, runSuite, type SuiteOptions } from "./core/suite.js";
import {
  ceilingRows,
  csv,
  omissionRow,
  peerRow,
  stepRows,
  TABLE_NOTE,
  tableHead,
  tableRow,
} from "./core/table.js";
import { nodeEnvironment } from "./environment.js";
import { command } from "./options.js";
import { openPeers } from "./peers.js";
import { loadKernelCases } from "./user_kernel.js";

const print = (text: string): void => void process.stdout.write(`${text}\n`);
const say = (text: string): void => void process.stderr.write(`${text}\n`);

async function main(argv: readonly string[]): Promise<number> {
  const parsed = parseArguments(command, argv);
  if (parsed.kind === "help") {
    process.stdout.write(parsed.text);
    return 0;
  }
  const { values } = parsed;
  const before = values.compare === undefined ? null : await loadReport(values.compare);
  const own = values.kernel === undefined ? null : await loadKernelCases(values.kernel);
  const suite = {
    cases: own ?? kernelCases.filter((c) => c.quick || !values.quick),
    steps: own ? [] : trainingSteps.filter((s) => s.quick || !values.quick),
  };
  const cases = filtered(suite.cases, values.filter ?? "");
  const steps = filtered(suite.steps, values.filter ?? "");
  if (cases.length + steps.length === 0)
    throw new ArgumentError(
      `--filter: got "${values.filter}", which no line of the suite matches; --list prints them.`,
    );
  if (values.list) {
    for (const { kernel, shape } of [...cases, ...steps]) print(`${kernel} ${shape}`);
    return 0;
  }
  const device = await openNodeDevice(values.adapter === undefined ? {} : { adapter: values.adapter });
  try {
    const report = await (values.peers ? runWithPeers : run)(device, argv, {
      filter: values.filter ?? "",
      quick: values.quick,
      variants: values.variants || own !== null,
      budget: values.budget ?? (values.quick ? BUDGET.quick : BUDGET.full),
      seed: values.seed ?? Date.now() % 2 ** 31,
      cases,
      steps,
      table: !values.csv,
    });
    if (values.csv) print(csv(report));
    if (before) print(`\n${comparisonRows(before, report).join("\n")}`);
    if (values.json) print(JSON.stringify(report));
    // A peer's wrong result is the peer's.
    const wrong = report.refused.some(({ variant }) => !values.peers || variant === "default");
    // Peers' devices and workers would keep the process alive.
    if (values.peers) await new Promise((written) => process.stdout.write("", written));
    if (values.peers) process.exit(wrong ? 1 : 0);
    return wrong ? 1 : 0;
  } finally {
    device.destroy();
  }
}

async function loadReport(path: string): Promise<Report> {
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw new ArgumentError(`--compare: cannot read "${path}" (${error.code}); expected a file from --json.`);
  });
  try {
    return parseReport(text);
  } catch (error) {
    if (!(error instanceof ReportError)) throw error;
    throw new ArgumentError(`--compare: ${path}: ${error.message}`);
  }
}

async function run(device: Device, flags: readonly string[], options: RunOptions): Promise<Report> {
  const { adapter, environment, show } = await begin(device, flags, options);
  const outcome = await runSuite(device, options, {
    progress: showProgress,
    ceilings: (ceilings) => {
      show(`${ceilingText(ceilings)}\n\n${TABLE_NOTE}\n\n${tableHead()}`);
    },
    result: (result) => show([tableRow(result), ...(result.step ? stepRows(result.step) : [])].join("\n")),
    refused: (omission) => say(`WRONG RESULT, not timed: ${omissionRow(omission)}`),
  });
  showOmissions(outcome, show);
  return { version: REPORT_VERSION, adapter, environment, ...outcome, peers: [] };
}

/** Ceilings, then ours and the peers in turn on the shapes that all of them know. */
async function runWithPeers(device: Device, flags: readonly string[], options: RunOptions): Promise<Report> {
  const { adapter, environment, show } = await begin(device, flags, options);
  const stopwatch = createStopwatch(device);
  const ceilings = await measureCeilings(device, stopwatch, options.quick ? QUICK_EFFORT : FULL_EFFORT);
  stopwatch.destroy();
  show(
    `${ceilingText(ceilings)}\n\nmedian wall time of one run on a drained queue; x: theirs over ours, 95% interval\n`,
  );
  const outcome = await runPeers(
    device,
    await openPeers(device),
    ceilings,
    {
      ...options,
      wants: (kernel, shape) => filtered([{ kernel, shape }], options.filter).length > 0,
    },
    {
      progress: (what) => showProgress(what, 0),
      compared: (ours, peers) => show(peerRow(ours, peers)),
    },
  );
  showOmissions(outcome, show);
  return { version: REPORT_VERSION, adapter, environment, ceilings, ...outcome };
}

type RunOptions = SuiteOptions & { readonly table: boolean; readonly filter: string };
type Show = (text: string) => void;

const ceilingText = (ceilings: Ceilings): string =>
  `ceilings of this adapter\n${ceilingRows(ceilings).join("\n")}`;

function showProgress(what: string, done: number): void {
  if (process.stderr.isTTY)
    process.stderr.write(`\r\x1b[K${done > 0 ? `${Math.round(100 * done)}% ` : ""}${what}\r`);
}

/** Says what is about to run on what. */
async function begin(device: Device, flags: readonly string[], { table, seed }: RunOptions) {
  const adapter = reportAdapter(device);
  const environment = await nodeEnvironment(flags, seed);
  const show: Show = (text) => (table ? print(text) : undefined);
  show(`adapter      ${adapter.name}${adapter.driver ? `, driver ${adapter.driver}` : ""}`);
  show(`environment  ${environment.runtime}, ${environment.webgpu}, ${environment.system}`);
  show(
    `             ${environment.date}, commit ${environment.commit || "unknown"}, seed ${environment.seed}\n`,
  );
  return { adapter, environment, show };
}

function showOmissions({ skipped, refused }: Pick<Report, "skipped" | "refused">, show: Show): void {
  if (refused.length > 0)
    show(`\nrefused, since the result was wrong:\n${refused.map(omissionRow).join("\n")}`);
  if (skipped.length > 0) show(`\nskipped:\n${skipped.map(omissionRow).join("\n")}`);
}

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    const known = error instanceof Error && !["Error", "TypeError", "ReferenceError"].includes(error.name);
    say(known ? `${error.name}: ${error.message}` : String((error as Error).stack ?? error));
    // A device that the error left open would keep the process alive.
    process.exit(error instanceof ArgumentError ? 2 : 1);
  },
);
