/** `hrm ablate`: trains variants of a preset for equally many operations with several seeds, and compares them. */
import { join } from "node:path";
import type { Device } from "../../../engine/index.js";
import { formatValue } from "../../format_value.js";
import { ArgumentError, parseArguments, type Command, type Values } from "../../terminal/arguments.js";
import {
  ablationMarkdown,
  ablationRows,
  ablationTable,
  explainAblation,
  type AblationRow,
} from "../ablation/report.js";
import { changedFields, chosenVariants, parseBudget, planAblation } from "../ablation/plan.js";
import type { Variant } from "../ablation/variants.js";
import { writeFileSafely } from "../disk/output.js";
import { readJsonObject } from "../inputs/json_file.js";
import { splitsOf, withFiles } from "../inputs/puzzle_files.js";
import { adapterOptions, jsonOption, requirePreset } from "../options/common.js";
import { configure, fieldOptions } from "../options/configure.js";
import { formatFlops, invocation, printJson, say, show } from "../output/console.js";
import { RUN_NUMBERS } from "../runs/config.js";
import { lockRun, type RunLock } from "../runs/lock.js";
import { openAnnounced } from "../runs/open_device.js";
import { describeFields } from "../search/config.js";
import { goOnIn, newSearchFolder } from "../search/folder.js";
import { readSearchLog, SEARCH_FILE, SEARCH_LOG_FILE } from "../search/log.js";
import { plannedTrials, prepare, type Source } from "../search/prepare.js";
import { runTrials, type Search } from "../search/run.js";

const options = {
  preset: { type: "string", help: "what is trained", placeholder: "name" },
  budget: {
    type: "string",
    help: "operations of each training, such as 500GFLOP or 10TFLOP",
    placeholder: "flop",
  },
  seeds: { type: "int", min: 1, max: 100, help: "trials of each variant", defaultText: "3" },
  seed: { ...RUN_NUMBERS.seed, help: "the first seed", defaultText: "0" },
  variants: {
    type: "string",
    help: "variants to compare, with commas between them (docs/ablation.md); the first of them is what others are compared with",
    placeholder: "names",
    defaultText: "all",
  },
  puzzles: { type: "int", min: 1, help: "validation puzzles that a trial scores", defaultText: "all" },
  data: { type: "string", help: "file, folder or address of puzzles", placeholder: "path" },
  config: { type: "string", help: "JSON file with config fields", placeholder: "file" },
  batch: { type: "int", min: 1, help: "puzzles in a batch", defaultText: "the preset's" },
  lr: { type: "float", help: "learning rate of every variant", defaultText: "the preset's" },
  out: {
    type: "string",
    help: "folder in which the ablation gets a folder of its own",
    placeholder: "dir",
    defaultText: "runs",
  },
  resume: {
    type: "string",
    help: "folder of an ablation: goes on where it stopped; takes only --adapter and --json beside it",
    placeholder: "dir",
  },
  ...adapterOptions,
  json: jsonOption,
  ...fieldOptions,
} as const;

const command: Command<typeof options> = {
  name: "hrm ablate",
  summary:
    "Trains variants of a preset, each without one part of HRM, for equally many operations with several seeds, and compares them.",
  options,
};

/** Name of the file in the ablation's folder that says which variants its options are. */
const ABLATION_FILE = "ablation.json";

/** An ablation before it has a folder. */
interface Ablation {
  readonly source: Source;
  readonly variants: readonly Variant[];
  /** Fields in which the preset was changed, in words. */
  readonly changed: string;
}

/** Runs `hrm ablate`. Returns exit code 130 after Ctrl-C, and 1 if every trial of a variant left the finite numbers. */
export async function ablateCommand(argv: readonly string[]): Promise<number> {
  const parsed = parseArguments(command, argv);
  if (parsed.kind === "help") {
    process.stdout.write(parsed.text);
    return 0;
  }
  const { adapter, json, resume, ...rest } = parsed.values;
  if (resume !== undefined)
    for (const [name, value] of Object.entries(rest))
      if (value !== undefined)
        throw new ArgumentError(
          `--${name}: got ${formatValue(value)} with --resume; expected only --adapter and --json, as the ablation goes on with its own plan.`,
        );
  let [device, lock]: [Device?, RunLock?] = [];
  try {
    const { source, variants, changed } =
      resume === undefined ? await newAblation(rest) : await readAblation(resume);
    if (resume !== undefined) lock = await lockRun(resume);
    const search = await prepare(source);
    const found =
      resume === undefined
        ? { lines: [], torn: false, whole: 0 }
        : await readSearchLog(resume, plannedTrials(search.plan));
    device = await openAnnounced(adapter);
    const { sweep, options: planned } = search.plan;
    say(`preset    ${sweep.preset}${changed && `, with ${changed}`}`);
    for (const [i, { name, summary }] of variants.entries()) {
      const { flops, steps } = planned[i]!;
      say(
        `variant   ${name}: ${summary}; ${steps[0]!} steps x ${formatFlops(flops)} = ${formatFlops(steps[0]! * flops)}`,
      );
    }
    let folder = resume;
    if (folder === undefined) {
      const files = { [SEARCH_FILE]: source.fields, [ABLATION_FILE]: { variants, changed } };
      const name = `ablation-${sweep.preset}`;
      ({ folder, lock } = await newSearchFolder(rest.out ?? "runs", name, { kind: "ablation", files }));
    } else await goOnIn(folder, found, { kind: "ablation", device });
    const nameOf = (option: number): string => variants[option]!.name;
    const running = { ...search, device, folder, lines: [...found.lines], nameOf };
    return await runAblation(running, variants, { changed, json });
  } finally {
    device?.destroy();
    await lock?.release();
  }
}

type NewOptions = Omit<Values<typeof options>, "adapter" | "json" | "resume">;

async function newAblation(values: NewOptions): Promise<Ablation> {
  const { preset: name, budget, seeds: count = 3, seed: first = 0, data } = values;
  if (name === undefined)
    throw new ArgumentError("--preset: got nothing; expected what to train, or --resume with a folder.");
  if (budget === undefined)
    throw new ArgumentError(
      "--budget: got nothing; expected the operations of each training, such as 10TFLOP.",
    );
  const flops = parseBudget(budget);
  const usual = requirePreset(name);
  const own = data === undefined ? usual : await withFiles(usual, { data });
  const preset = await configure(own, values);
  const { variants, left } = chosenVariants(preset, values.variants);
  for (const text of left) say(`left out  ${text}`);
  const base = changedFields(preset, own);
  const splits = splitsOf(preset, first);
  const seeds = Array.from({ length: count }, (_, i) => first + i);
  const chosen = { budget: flops, seeds, puzzles: values.puzzles, data };
  const { fields } = planAblation({ preset, base, splits }, variants, chosen);
  const changed = Object.keys(base).length > 0 ? describeFields(base) : "";
  return { source: { fields, where: "hrm ablate" }, variants, changed };
}

async function readAblation(folder: string): Promise<Ablation> {
  const read = (file: string): Promise<Record<string, unknown>> =>
    readJsonObject(
      join(folder, file),
      (reason) =>
        new ArgumentError(
          `--resume "${folder}": ${file}: ${reason}; expected the folder of an ablation that hrm ablate made.`,
        ),
    );
  const { variants, changed } = await read(ABLATION_FILE);
  const fields = await read(SEARCH_FILE);
  const isVariant = (one: unknown): one is Variant =>
    typeof (one as Variant | null)?.name === "string" && typeof (one as Variant).summary === "string";
  const trials = fields["trials"];
  if (
    !Array.isArray(variants) ||
    !variants.every(isVariant) ||
    !Array.isArray(trials) ||
    trials.length !== variants.length
  )
    throw new ArgumentError(
      `--resume "${folder}": ${ABLATION_FILE}: got other variants than the trials of ${SEARCH_FILE}; expected the files that hrm ablate wrote.`,
    );
  const where = `--resume "${folder}": ${SEARCH_FILE}`;
  return { source: { fields, where }, variants, changed: typeof changed === "string" ? changed : "" };
}

async function runAblation(
  search: Search,
  variants: readonly Variant[],
  { changed, json }: { changed: string; json: boolean },
): Promise<number> {
  const { plan, device, folder, lines } = search;
  const { sweep } = plan;
  const started = performance.now();
  const stopped = await runTrials(search);
  const rows = ablationRows(plan, variants, lines);
  const notes = explainAblation(rows, sweep);
  show(`\n${ablationTable(rows, sweep.seeds)}`, { json });
  for (const text of notes) say(text);
  const [markdown, file] = [join(folder, "ablation.md"), join(folder, "table.json")];
  const title = `Ablation of ${sweep.preset}${changed && `, with ${changed}`}`;
  const adapters = [...new Set(lines.map(({ adapter }) => adapter))];
  const all = [...notes, `Adapter: ${adapters.join(", ") || device.adapter.name}.`];
  await writeFileSafely(markdown, ablationMarkdown(rows, { seeds: sweep.seeds, title, notes: all }));
  const report = reportOf(search, rows, { seconds: (performance.now() - started) / 1000, adapters });
  await writeFileSafely(file, `${JSON.stringify(report, null, 2)}\n`);
  say(`wrote     ${markdown}, ${file} and, with a line for each trial, ${join(folder, SEARCH_LOG_FILE)}`);
  if (stopped !== null) say(`          go on with: ${invocation()} ablate --resume ${folder}`);
  else if (json) printJson(report);
  return stopped ?? (rows.some(({ exact }) => exact === null) ? 1 : 0);
}

const reportOf = (
  { plan: { sweep }, folder, lines }: Search,
  variants: readonly AblationRow[],
  { seconds, adapters }: { seconds: number; adapters: readonly string[] },
): object => ({
  ...{ preset: sweep.preset, seeds: sweep.seeds, variants, trials: lines.length, seconds },
  ...{ adapters, log: join(folder, SEARCH_LOG_FILE) },
});
