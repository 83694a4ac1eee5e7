/** `hrm search`: runs short trials of many options, and continues the best of them (successive halving over seeds). */
import { basename, extname, join } from "node:path";
import type { Device } from "../../../engine/index.js";
import { formatValue } from "../../format_value.js";
import { formatPercent } from "../../training/statistics.js";
import { ArgumentError, parseArguments, type Command } from "../../terminal/arguments.js";
import { readJsonObject } from "../inputs/json_file.js";
import { adapterOptions, jsonOption } from "../options/common.js";
import { formatFlops, invocation, printJson, say, show } from "../output/console.js";
import { lockRun, type RunLock } from "../runs/lock.js";
import { openAnnounced } from "../runs/open_device.js";
import { describeFields } from "../search/config.js";
import { goOnIn, newSearchFolder } from "../search/folder.js";
import { readSearchLog, SEARCH_FILE, SEARCH_LOG_FILE } from "../search/log.js";
import { plannedTrials, prepare, type Source } from "../search/prepare.js";
import { finalRows, jsonRow, rungReport, rungTexts, tableOf } from "../search/report.js";
import { optionName, runTrials, type Search } from "../search/run.js";
import { explainRanking } from "../search/table.js";
import { trialFolder } from "../search/trial.js";
import { flopsLeft, stateOf, type CostedSearch } from "../search/trials.js";

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
      const name = `search-${basename(config!, extname(config!))}`;
      const files = { [SEARCH_FILE]: source.fields };
      ({ folder, lock } = await newSearchFolder(out ?? "runs", name, { kind: "search", files }));
    } else await goOnIn(folder, found, { kind: "search", device });
    const nameOf = optionName(search.plan);
    return await runSearch({ ...search, device, folder, lines: [...found.lines], nameOf }, json);
  } finally {
    device?.destroy();
    await lock?.release();
  }
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

function announce(plan: CostedSearch): void {
  const { sweep, options: planned } = plan;
  const { seeds, rungs, keep, measure } = sweep;
  const changed = Object.keys(sweep.base).length > 0 ? `, with ${describeFields(sweep.base)}` : "";
  const begun = stateOf(plan, []);
  say(`preset    ${sweep.preset}${changed}`);
  say(
    `plan      ${planned.length} options x ${seeds.length} seeds; ${rungs.length} rungs (${rungTexts(plan).join(", ")}); the best ${formatPercent(keep)} by ${measure} go on; about ${formatFlops(flopsLeft(plan, begun))} in all`,
  );
}

async function runSearch(search: Search, json: boolean): Promise<number> {
  const { plan, device, folder, lines } = search;
  const { sweep } = plan;
  const started = performance.now();
  // The table of the last rung is the final table below.
  const stopped = await runTrials(search, ({ rankings }) => {
    for (const text of rungReport(plan, rankings, lines)) say(text);
  });
  if (stopped !== null) {
    say(`          go on with: ${invocation()} search --resume ${folder}`);
    return stopped;
  }
  const { rankings } = stateOf(plan, lines);
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
}
