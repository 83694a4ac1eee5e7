/** `hrm search`: runs short trials of many options, and continues the best of them (successive halving over seeds). */
import { basename, extname, join } from "node:path";
import type { Device } from "../../../engine/index.js";
import { findPreset, presetNames, type Preset } from "../../training/presets.js";
import type { PuzzleSplits } from "../../puzzles/puzzle_set.js";
import { formatValue } from "../../format_value.js";
import { formatPercent, formatProportion, wilsonInterval } from "../../training/statistics.js";
import { VERSION } from "../../version.js";
import { ArgumentError, nearestName, parseArguments, type Command } from "../../terminal/arguments.js";
import { watchInterrupt, type Interruption } from "../runs/interrupt.js";
import { readJsonObject } from "../inputs/json_file.js";
import { splitsOf, withFiles } from "../inputs/puzzle_files.js";
import { formatDuration } from "../../format_duration.js";
import { progressLine } from "../output/render.js";
import { createRunFolder, openParent } from "../runs/folder.js";
import { writeFileSafely } from "../disk/output.js";
import { lockRun, type RunLock } from "../runs/lock.js";
import { describeFields, parseSweep, type Fields, type Sweep } from "../search/config.js";
import {
  appendTrial,
  dropTornLine,
  readSearchLog,
  SEARCH_FILE,
  SEARCH_LOG_FILE,
  type PlannedTrials,
  type TrialLine,
} from "../search/log.js";
import { flopsLeft, costSearch, stateOf, type CostedSearch } from "../search/trials.js";
import { finalRows, jsonRow, rungReport, rungTexts, tableOf } from "../search/report.js";
import { explainRanking } from "../search/table.js";
import { runTrial, trialFolder } from "../search/trial.js";
import { adapterOptions, jsonOption } from "../options/common.js";
import { invocation, printJson, say, show } from "../output/console.js";
import { openAnnounced } from "../runs/open_device.js";

const options = {
  config: {
    type: "string",
    help: "JSON file that says what to try: preset, base, options or trials, seeds, rungs, keep, measure",
    placeholder: "file",
  },
  out: {
    type: "string",
    help: "folder in which the search gets a folder of its own",
    placeholder: "dir",
    defaultText: "runs",
  },
  resume: {
    type: "string",
    help: "folder of a search: goes on where it stopped; takes only --adapter and --json beside it",
    placeholder: "dir",
  },
  ...adapterOptions,
  json: jsonOption,
} as const;

const command: Command<typeof options> = {
  name: "hrm search",
  summary:
    "Trains short trials of many options, scores them on validation puzzles, and lets the best go on: a recipe is found by many cheap runs.",
  options,
};

/** Runs `hrm search`. Returns exit code 1 if every option diverged to NaN or infinity, and 130 after Ctrl-C. */
export async function searchCommand(argv: readonly string[]): Promise<number> {
  const parsed = parseArguments(command, argv);
  if (parsed.kind === "help") {
    process.stdout.write(parsed.text);
    return 0;
  }
  const { config, out, resume, adapter, json } = parsed.values;
  if (resume !== undefined)
    for (const [name, value] of Object.entries({ config, out }))
      if (value !== undefined)
        throw new ArgumentError(
          `--${name}: got ${formatValue(value)} with --resume; expected only --adapter and --json, as the search goes on with its own plan.`,
        );
  if (resume === undefined && config === undefined)
    throw new ArgumentError(
      "--config: got nothing; expected a JSON file that says what to try, or --resume with the folder of a search.",
    );
  let [device, lock]: [Device?, RunLock?] = [];
  try {
    // Reads first, so that a folder without a search is not changed.
    const source = await readSource(resume, config);
    if (resume !== undefined) lock = await lockRun(resume);
    const search = await prepare(source);
    const found =
      resume === undefined
        ? { lines: [], torn: false, whole: 0 }
        : await readSearchLog(resume, plannedTrials(search.plan));
    device = await openAnnounced(adapter);
    announce(search.plan);
    let folder = resume;
    if (folder === undefined) {
      const parent = out ?? "runs";
      await openParent(parent);
      const name = `search-${basename(config!, extname(config!))}`;
      const made = await createRunFolder(parent, name);
      folder = made.folder;
      if (made.taken)
        say(
          `search    ${join(parent, name)} exists and stays as it is; this search goes to the next free name`,
        );
      lock = await lockRun(folder);
      await writeFileSafely(join(folder, SEARCH_FILE), `${JSON.stringify(source.fields, null, 2)}\n`);
      say(`search    ${folder}`);
    } else {
      if (found.torn) {
        await dropTornLine(folder, found.whole);
        say(
          `warning   the last line of ${join(folder, SEARCH_LOG_FILE)} was not finished; it is dropped, and its trial is run again`,
        );
      }
      say(`search    ${folder}, going on after ${found.lines.length} finished trials`);
      for (const other of new Set(found.lines.map((line) => `${line.adapter}, version ${line.version}`)))
        if (other !== `${device.adapter.name}, version ${VERSION}`)
          say(
            `warning   some trials ran on ${other}: scores of another adapter or version may differ by more than rounding`,
          );
    }
    return await runSearch({ ...search, device, folder, lines: [...found.lines], json });
  } finally {
    device?.destroy();
    await lock?.release();
  }
}

interface Source {
  readonly fields: Fields;
  /** First words of error messages: the option or file. */
  readonly where: string;
}

async function readSource(resume: string | undefined, config: string | undefined): Promise<Source> {
  const [path, where, expected] =
    resume !== undefined
      ? [
          join(resume, SEARCH_FILE),
          `--resume "${resume}": ${SEARCH_FILE}`,
          "the folder of a search that hrm search made",
        ]
      : [
          config!,
          `--config ${config}`,
          'a JSON object such as {"preset": "sudoku4", "options": {"lr": [1e-3, 2e-3]}, "rungs": [100, 200]}',
        ];
  const bad = (reason: string): ArgumentError =>
    new ArgumentError(`${where}: ${reason}; expected ${expected}.`);
  return { fields: await readJsonObject(path, bad), where };
}

/** A search whose options were checked, with the puzzles of its seeds. */
interface Prepared {
  readonly plan: CostedSearch;
  readonly splits: (seed: number) => PuzzleSplits;
}

async function prepare({ fields, where }: Source): Promise<Prepared> {
  const sweep = parseSweep(fields, where);
  const preset = await presetOf(sweep, where);
  const made = new Map<number, PuzzleSplits>();
  const splits = (seed: number): PuzzleSplits => {
    const found = made.get(seed) ?? splitsOf(preset, seed);
    made.set(seed, found);
    return found;
  };
  const first = await located(where, () => Promise.resolve().then(() => splits(sweep.seeds[0]!)));
  const { count } = first.validation;
  if (sweep.puzzles !== null && sweep.puzzles > count)
    throw new ArgumentError(
      `${where}: puzzles: got ${sweep.puzzles}; expected at most ${count}, as many as there are to validate on.`,
    );
  return { plan: costSearch(sweep, { preset, splits: first, where }), splits };
}

async function presetOf({ preset: name, data, test }: Sweep, where: string): Promise<Preset> {
  const preset = findPreset(name);
  if (!preset) {
    const near = nearestName(name, presetNames);
    throw new ArgumentError(
      `${where}: preset: got ${formatValue(name)}; expected one of ${presetNames.join(", ")}.${near ? ` Did you mean ${near}?` : ""}`,
    );
  }
  return data === null ? preset : located(where, () => withFiles(preset, { data, test: test ?? undefined }));
}

/** Runs `work`, and puts `where` in front of the message of an ArgumentError. */
async function located<T>(where: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof ArgumentError)) throw error;
    throw new ArgumentError(`${where}: ${error.message}`);
  }
}

const plannedTrials = ({ sweep, options: planned }: CostedSearch): PlannedTrials => ({
  options: planned,
  seeds: sweep.seeds,
  steps: planned.map(({ steps }) => steps),
});

function announce(plan: CostedSearch): void {
  const { sweep, options: planned } = plan;
  const { seeds, rungs, keep, measure } = sweep;
  const changed = Object.keys(sweep.base).length > 0 ? `, with ${describeFields(sweep.base)}` : "";
  const begun = stateOf(plan, []);
  say(`preset    ${sweep.preset}${changed}`);
  say(
    `plan      ${planned.length} options x ${seeds.length} seeds; ${rungs.length} rungs (${rungTexts(plan).join(", ")}); the best ${formatPercent(keep)} by ${measure} go on; about ${tflopText(flopsLeft(plan, begun))} in all`,
  );
}

const tflopText = (flops: number): string => `${(flops / 1e12).toPrecision(3)} TFLOP`;

interface Search extends Prepared {
  readonly device: Device;
  readonly folder: string;
  /** Lines of finished trials; new lines are appended. */
  readonly lines: TrialLine[];
  readonly json: boolean;
}

async function runSearch(search: Search): Promise<number> {
  const { plan, device, folder, lines, json } = search;
  const { sweep } = plan;
  const interruption = watchInterrupt(() =>
    say(
      "\nstopping  after the steps under way and the trial's save; Ctrl-C again ends at once and saves nothing",
    ),
  );
  const started = performance.now();
  const pace = { flops: 0 };
  try {
    let state = stateOf(plan, lines);
    for (let told = state.rankings.length; state.missing.length > 0; told = state.rankings.length) {
      const line = await nextTrial(search, { interruption, pace, started });
      if (line === null) {
        say(`stopped   after ${lines.length} finished trials`);
        say(`          go on with: ${invocation()} search --resume ${folder}`);
        return interruption.exitCode;
      }
      await appendTrial(folder, line);
      lines.push(line);
      state = stateOf(plan, lines);
      // The table of the last rung is the final table below.
      if (state.rankings.length > told && state.missing.length > 0)
        for (const text of rungReport(plan, state.rankings, lines)) say(text);
    }
    const { rankings } = state;
    const rows = finalRows(plan, rankings, lines);
    const seconds = (performance.now() - started) / 1000;
    show(`\n${tableOf(plan, rows)}`, { json });
    for (const text of explainRanking(rankings.at(-1)!, sweep)) say(text);
    const best = rows[0]!.standing.diverged ? null : rows[0]!;
    if (best) {
      const { option, trials } = best.standing;
      say(`best      option ${option}: ${describeFields(best.fields)}`);
      say(
        `          its trials go on to the end of their plan with: ${invocation()} train --resume ${trialFolder(folder, option, trials[0]!.seed)}`,
      );
    }
    say(`search    ${lines.length} trials in ${join(folder, SEARCH_LOG_FILE)}`);
    if (json)
      printJson({
        ...{ preset: sweep.preset, measure: sweep.measure, best: best?.standing.option ?? null },
        options: rows.map((row) => jsonRow(row, sweep)),
        trials: lines.length,
        tflop: rows.reduce((sum, { tflop }) => sum + tflop * sweep.seeds.length, 0),
        ...{ seconds, adapter: device.adapter.name, log: join(folder, SEARCH_LOG_FILE) },
      });
    return best ? 0 : 1;
  } finally {
    interruption.dispose();
  }
}

interface Watched {
  readonly interruption: Interruption;
  /** Floating-point operations of training that this process has done. */
  readonly pace: { flops: number };
  /** Start of this process's work, in milliseconds of performance.now(). */
  readonly started: number;
}

/** Runs the next missing trial. Returns null if it was interrupted. */
async function nextTrial(
  { plan, splits, device, folder, lines }: Search,
  { interruption, pace, started }: Watched,
): Promise<TrialLine | null> {
  if (interruption.signal !== null) return null;
  const { sweep, options: planned } = plan;
  const state = stateOf(plan, lines);
  const { rung, missing } = state;
  const { option, seed } = missing[0]!;
  const { preset, fields, flops, steps } = planned[option]!;
  const until = steps[rung]!;
  const left = flopsLeft(plan, state);
  const name = `option ${option} (${describeFields(fields)}), seed ${seed}`;
  const begun = performance.now();
  const progress = progressLine({ stream: process.stderr });
  let [first, before]: [number?, number?] = [];
  try {
    const result = await runTrial({
      ...{ device, preset, splits: splits(seed), seed, data: sweep.data, test: sweep.test },
      ...{ folder: trialFolder(folder, option, seed), until, puzzles: sweep.puzzles, interruption },
      onSteps(step, training) {
        first ??= step;
        pace.flops += flops * (step - (before ?? step));
        before = step;
        if (training === null) return;
        const elapsed = (performance.now() - started) / 1000;
        const remaining = left - flops * (step - (rung > 0 ? steps[rung - 1]! : 0));
        progress.update(
          `rung ${rung + 1}/${sweep.rungs.length}, ${missing.length} ${missing.length === 1 ? "trial" : "trials"} left in it: ${name}: step ${step}/${until}  loss ${training.loss.toFixed(3)}  about ${formatDuration((elapsed / pace.flops) * remaining)} left in all`,
        );
      },
    });
    progress.end();
    if (result === null) return null;
    const seconds = (performance.now() - begun) / 1000;
    const shared = {
      ...{ option, seed, rung, fields, step: result.step, tflop: (result.step * flops) / 1e12, seconds },
      ...{ adapter: device.adapter.name, version: VERSION },
    };
    if (result.kind === "diverged") {
      say(
        `trial     rung ${rung + 1}, ${name}: left the finite numbers at step ${result.step}; a lower lr usually helps`,
      );
      return {
        ...{ ...shared, count: 0, exact: 0, exactAccuracy: null, exactInterval: null, cellAccuracy: 0 },
        ...{ loss: null, meanSteps: null, divergedAt: result.step },
      };
    }
    const { count, exact, exactAccuracy, cellAccuracy, meanSteps } = result.scores;
    const { low, high } = wilsonInterval(exact, count);
    say(
      `trial     rung ${rung + 1}, ${name}, step ${result.step}: exact ${formatProportion(exact, count)} of ${count}, cells ${formatPercent(cellAccuracy)}; ${formatDuration(seconds)}`,
    );
    return {
      ...{ ...shared, count, exact, exactAccuracy, exactInterval: [low, high], cellAccuracy },
      ...{ loss: result.loss, meanSteps, divergedAt: null },
    };
  } finally {
    progress.end();
  }
}
