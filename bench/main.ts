/** `npm run bench`: the suite under Node. */
import { readFile } from "node:fs/promises";
import { mixedPrecisionTarget } from "../engine/mixed_precision.js";
import { Device } from "../engine/index.js";
import { openNodeDevice } from "../engine/node/index.js";
import { runInBrowser } from "./browser/driver.js";
import { ArgumentError, parseArguments } from "../hrm/terminal/arguments.js";
import { reportAdapter } from "./core/adapter.js";
import { kernelCases } from "./core/cases/index.js";
import { trainingSteps } from "./core/cases/steps.js";
import { comparisonRows } from "./core/compare.js";
import {
  parseReport,
  REPORT_VERSION,
  ReportError,
  type Omission,
  type PeerResult,
  type Report,
  type ReportAdapter,
  type ReportEnvironment,
  type Result,
} from "./core/report.js";
import { measureCeilings, type Ceilings } from "./core/ceilings.js";
import { runPeers } from "./core/peer.js";
import { FULL_EFFORT, QUICK_EFFORT } from "./core/sampling.js";
import { createStopwatch } from "../engine/stopwatch.js";
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
  const forNode = own || values.adapter !== undefined || values.precision !== "f32" || values.unchecked;
  if (values.browser && forNode)
    throw new ArgumentError(
      "--browser: got --kernel, --adapter, --precision or --unchecked beside it; expected --browser without them, because the page runs the suite on the browser's adapter.",
    );
  const options: RunOptions = {
    filter: values.filter ?? "",
    quick: values.quick,
    variants: values.variants || own !== null,
    budget: values.budget ?? (values.quick ? BUDGET.quick : BUDGET.full),
    patience: values.patience,
    seed: values.seed ?? Date.now() % 2 ** 31,
    cases,
    steps,
    table: !values.csv,
  };
  const report = values.browser
    ? await runWithBrowser(argv, options, values.peers)
    : await runHere(values, argv, options);
  if (values.csv) print(csv(report));
  if (before) print(`\n${comparisonRows(before, report).join("\n")}`);
  if (values.json) print(JSON.stringify(report));
  // A wrong result of a peer does not fail the run.
  const wrong = report.refused.some(({ variant }) => !values.peers || variant === "default");
  // Peers' devices and workers would keep the process alive.
  if (values.peers) await new Promise((written) => process.stdout.write("", written));
  if (values.peers) process.exit(wrong ? 1 : 0);
  return wrong ? 1 : 0;
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

interface DeviceValues {
  readonly adapter?: string | undefined;
  readonly precision: "f32" | "mixed";
  readonly unchecked: boolean;
  readonly peers: boolean;
}

/** Runs the suite in this process. */
async function runHere(
  { adapter: name, precision, unchecked, peers }: DeviceValues,
  flags: readonly string[],
  options: RunOptions,
): Promise<Report> {
  const opened = await openNodeDevice({
    ...(name !== undefined && { adapter: name }),
    // Dawn offers experimental features only if unsafe features are allowed.
    robustness: precision === "f32" && !unchecked,
  });
  let device = opened;
  try {
    if (precision === "mixed") device = await inMixedPrecision(opened);
    const environment = await nodeEnvironment(flags, options.seed);
    const adapter = reportAdapter(device);
    const { show, ...printing } = printer(options);
    show(heading(adapter, environment));
    if (!peers) {
      const outcome = await runSuite(device, options, printing);
      showOmissions(outcome, show);
      return { version: REPORT_VERSION, adapter, environment, ...outcome, peers: [] };
    }
    const stopwatch = createStopwatch(device);
    const ceilings = await measureCeilings(device, stopwatch, options.quick ? QUICK_EFFORT : FULL_EFFORT);
    stopwatch.destroy();
    printing.peerCeilings(ceilings);
    const outcome = await runPeers(
      device,
      await openPeers(device),
      ceilings,
      {
        ...options,
        wants: (kernel, shape) => filtered([{ kernel, shape }], options.filter).length > 0,
      },
      { progress: (what) => showProgress(what, 0), compared: printing.compared },
    );
    showOmissions(outcome, show);
    return { version: REPORT_VERSION, adapter, environment, ceilings, ...outcome };
  } finally {
    device.destroy();
  }
}

/** The device, whose programs are in mixed precision unless they are told otherwise. */
async function inMixedPrecision(opened: Device): Promise<Device> {
  const target = await mixedPrecisionTarget(opened);
  return new Device(opened.gpu, { borrowed: false }, opened.adapterInfo, target);
}

/** Runs the suite in a headless browser. */
async function runWithBrowser(
  flags: readonly string[],
  options: RunOptions,
  peers: boolean,
): Promise<Report> {
  const { show, ...printing } = printer(options);
  const here = await nodeEnvironment(flags, options.seed);
  const environment = { ...here, webgpu: "the browser's own", runtime: "Chromium, headless" };
  let adapter: ReportAdapter | null = null;
  const { filter, quick, variants, budget, patience, seed } = options;
  const { browser, outcome } = await runInBrowser(
    { filter, quick, variants, budget, patience, seed, peers },
    (message) => {
      if (message.type === "adapter") show(heading((adapter = message.adapter), environment));
      if (message.type === "progress") printing.progress(message.what, message.done);
      if (message.type === "ceilings") (peers ? printing.peerCeilings : printing.ceilings)(message.ceilings);
      if (message.type === "result") printing.result(message.result);
      if (message.type === "compared") printing.compared(message.ours, message.peers);
      if (message.type === "refused") printing.refused(message.omission);
    },
  );
  showOmissions(outcome, show);
  return {
    version: REPORT_VERSION,
    adapter: adapter!,
    environment: { ...environment, runtime: `${browser}, headless` },
    ...outcome,
  };
}

/** Functions that print the events of a run, and its closing lines. */
function printer({ table }: RunOptions) {
  const show: Show = (text) => (table ? print(text) : undefined);
  return {
    show,
    progress: showProgress,
    ceilings: (ceilings: Ceilings) => show(`${ceilingText(ceilings)}\n\n${TABLE_NOTE}\n\n${tableHead()}`),
    peerCeilings: (ceilings: Ceilings) =>
      show(
        `${ceilingText(ceilings)}\n\nmedian wall time of one run on a drained queue; x: theirs over ours, 95% interval\n`,
      ),
    result: (result: Result) =>
      show([tableRow(result), ...(result.step ? stepRows(result.step) : [])].join("\n")),
    compared: (ours: Result, peers: readonly PeerResult[]) => show(peerRow(ours, peers)),
    refused: (omission: Omission) => say(`WRONG RESULT, not timed: ${omissionRow(omission)}`),
  };
}

type RunOptions = SuiteOptions & {
  readonly table: boolean;
  readonly filter: string;
  readonly patience: number;
};
type Show = (text: string) => void;

const ceilingText = (ceilings: Ceilings): string =>
  `ceilings of this adapter\n${ceilingRows(ceilings).join("\n")}`;

function showProgress(what: string, done: number): void {
  if (process.stderr.isTTY)
    process.stderr.write(`\r\x1b[K${done > 0 ? `${Math.round(100 * done)}% ` : ""}${what}\r`);
}

/** The heading: adapter, environment and what is about to run. */
const heading = (adapter: ReportAdapter, environment: ReportEnvironment): string =>
  [
    `adapter      ${adapter.name}${adapter.driver ? `, driver ${adapter.driver}` : ""}`,
    `environment  ${environment.runtime}, ${environment.webgpu}, ${environment.system}`,
    `             ${environment.date}, commit ${environment.commit || "unknown"}, seed ${environment.seed}\n`,
  ].join("\n");

function showOmissions({ skipped, refused }: Pick<Report, "skipped" | "refused">, show: Show): void {
  if (refused.length > 0)
    show(`\nrefused, because the result was wrong:\n${refused.map(omissionRow).join("\n")}`);
  if (skipped.length > 0) show(`\nskipped:\n${skipped.map(omissionRow).join("\n")}`);
}

// Node ends a process silently if its promises wait for nothing. The exit code is 1 unless everything was done.
process.exitCode = 1;
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
