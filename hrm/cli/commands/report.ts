/** `hrm report`: one or more runs as one HTML file, with curves, solved examples and the paper's figures. */
import { basename, resolve } from "node:path";
import type { Device } from "../../../engine/index.js";
import { computeFigures } from "../../report/figures.js";
import { reportPage, type Curve, type ReportRun } from "../../report/page.js";
import { ArgumentError, parseArguments, type Command } from "../../terminal/arguments.js";
import { fileExists } from "../disk/file_exists.js";
import { codeOf, nodeFileSystem, readWhole } from "../disk/file_system.js";
import { reasonOf, writeFileSafely } from "../disk/output.js";
import { splitsOf } from "../inputs/puzzle_files.js";
import { adapterOptions, jsonOption } from "../options/common.js";
import { printJson, say, show } from "../output/console.js";
import { watchInterrupt, type Interruption } from "../runs/interrupt.js";
import { METRICS_FILE, metricsOf, type MetricsLine } from "../runs/log.js";
import { openAnnounced } from "../runs/open_device.js";
import { openRunFolder, weightsOf, type OpenedRun } from "../runs/run_folder.js";

const options = {
  out: { type: "string", default: "report.html", help: "file to write", placeholder: "file" },
  overwrite: { type: "bool", default: false, help: "replace the file if it is there" },
  weights: {
    type: "choice",
    choices: ["ema", "raw"],
    help: "moving average or raw weights of the best look",
    defaultText: "the moving average if there is one",
  },
  limit: { type: "int", min: 1, default: 256, help: "test puzzles for the accuracy against segments" },
  examples: { type: "int", min: 1, max: 16, default: 3, help: "puzzles that are shown segment by segment" },
  followed: { type: "int", min: 2, max: 256, default: 32, help: "puzzles whose states are followed" },
  ...adapterOptions,
  json: jsonOption,
} as const;

const command: Command<typeof options> = {
  name: "hrm report",
  summary:
    "Writes runs as one HTML file that needs no network: curves with the fields in which the runs differ, solved examples, and the paper's figures from the best weights of each run.",
  options,
  positionals: [{ name: "run", help: "folders of runs that hrm train made", required: true, variadic: true }],
};

/** Runs `hrm report`. Returns 130 after Ctrl-C; the file then has the runs that were complete, if any. */
export async function reportCommand(argv: readonly string[]): Promise<number> {
  const parsed = parseArguments(command, argv);
  if (parsed.kind === "help") {
    process.stdout.write(parsed.text);
    return 0;
  }
  const { values, positionals: folders } = parsed;
  const { out, json } = values;
  if (!values.overwrite && (await fileExists(out)))
    throw new ArgumentError(`--out: ${out} exists; give another name, or --overwrite.`);
  const opened: OpenedRun[] = [];
  for (const folder of folders) {
    const run = await openRunFolder(folder);
    weightsOf(run, values.weights);
    opened.push(run);
  }
  const device = await openAnnounced(values.adapter);
  const interruption = watchInterrupt(() =>
    say("\nstopping  after the figure under way; Ctrl-C again ends at once"),
  );
  try {
    const runs: ReportRun[] = [];
    const names = distinctNames(folders);
    for (const [i, run] of opened.entries()) {
      const done = await interruption.unlessStopped(() =>
        reportRun(run, { name: names[i]!, device, interruption, values }),
      );
      if (done === null) break;
      runs.push(done);
    }
    if (runs.length > 0) {
      await writeFileSafely(out, reportPage(runs, `Report of ${runs.map(({ name }) => name).join(", ")}`));
      show(`${out}: ${runs.length} of ${opened.length} ${opened.length === 1 ? "run" : "runs"}`, { json });
    } else say("report    nothing is written: no run was complete");
    if (json) printJson({ report: runs.length > 0 ? out : null, runs: runs.map(({ name }) => name) });
    return interruption.signal === null ? 0 : interruption.exitCode;
  } finally {
    interruption.dispose();
    device.destroy();
  }
}

/** Last parts of the paths, or the whole paths if two are alike. */
function distinctNames(folders: readonly string[]): string[] {
  const names = folders.map((folder) => basename(resolve(folder)));
  return new Set(names).size === names.length ? names : [...folders];
}

/** Thrown to give up the figures of a run. */
class Stopped extends Error {}

interface ReportOptions {
  readonly name: string;
  readonly device: Device;
  readonly interruption: Interruption;
  readonly values: {
    readonly weights: "ema" | "raw" | undefined;
    readonly limit: number;
    readonly examples: number;
    readonly followed: number;
  };
}

/** Computes what a report tells of a run; null if it was stopped. */
async function reportRun(
  opened: OpenedRun,
  { name, device, interruption, values }: ReportOptions,
): Promise<ReportRun | null> {
  const { folder, run, preset, checkpoint, path } = opened;
  const { state, which } = weightsOf(opened, values.weights);
  const { test } = splitsOf(preset, run.seed);
  const { weights: _weights, ...amounts } = values;
  const figures = await computeFigures({
    ...{ device, config: checkpoint.config, state, data: test, seed: run.seed, ...amounts },
    onProgress(what) {
      if (interruption.signal !== null) throw new Stopped();
      say(`report    ${name}: ${what}`);
    },
  }).catch((error: unknown) => {
    if (error instanceof Stopped) return null;
    throw error;
  });
  if (figures === null) return null;
  const lines = await historyOf(folder);
  const { model, train, ...rest } = run;
  return {
    ...{ name, task: preset.task, fields: { ...rest, ...model, ...train }, curves: curvesOf(lines), figures },
    about: `${path}, step ${checkpoint.step}, ${which === "ema" ? "the moving average" : "the raw weights"}; figures computed on ${device.adapter.name}.`,
    test: looksOf(lines, "test").at(-1) ?? null,
  };
}

/** The lines of a run's history that are understood. @throws ArgumentError if the file cannot be read */
async function historyOf(folder: string): Promise<MetricsLine[]> {
  const path = `${folder}/${METRICS_FILE}`;
  try {
    return metricsOf(await readWhole(nodeFileSystem, path));
  } catch (error) {
    if (codeOf(error) === "ENOENT") return [];
    throw new ArgumentError(`<run> "${folder}": ${METRICS_FILE} cannot be read (${reasonOf(error)}).`);
  }
}

type LookLine = Extract<MetricsLine, { kind: "validation" | "test" }>;

const looksOf = (lines: readonly MetricsLine[], kind: LookLine["kind"]): LookLine[] =>
  lines.filter((line): line is LookLine => line.kind === kind);

function curvesOf(lines: readonly MetricsLine[]): ReportRun["curves"] {
  const curve = (points: readonly (readonly [number, number])[]): Curve => ({
    step: points.map(([step]) => step),
    value: points.map(([, value]) => value),
  });
  const training = lines.filter((line) => line.kind === "train");
  const looks = looksOf(lines, "validation");
  return {
    loss: curve(training.map(({ step, loss }) => [step, loss])),
    exact: curve(looks.map(({ step, exactAccuracy }) => [step, exactAccuracy])),
    cells: curve(looks.map(({ step, cellAccuracy }) => [step, cellAccuracy])),
  };
}
