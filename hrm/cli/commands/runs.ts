/** `hrm runs`: lists run folders with their state, their best look, and what to do next. */
import { basename } from "node:path";
import { formatProportion } from "../../training/statistics.js";
import { parseArguments, type Command } from "../../terminal/arguments.js";
import { jsonOption } from "../options/common.js";
import { invocation, printJson, say, show } from "../output/console.js";
import { textTable } from "../output/text_table.js";
import { overviewOf, type Look, type RunOverview } from "../runs/overview.js";

const options = { json: jsonOption } as const;

const command: Command<typeof options> = {
  name: "hrm runs",
  summary:
    "Lists the runs in a folder: their state, their best look at the validation set, and the command that goes on. Changes nothing.",
  options,
  positionals: [{ name: "folder", help: "folder of runs, or of one run (default: runs)" }],
};

/** Runs `hrm runs`. */
export async function runsCommand(argv: readonly string[]): Promise<number> {
  const parsed = parseArguments(command, argv);
  if (parsed.kind === "help") {
    process.stdout.write(parsed.text);
    return 0;
  }
  const { json } = parsed.values;
  const folder = parsed.positionals[0] ?? "runs";
  const { runs, searches, others } = await overviewOf(folder);
  if (runs.length > 0) show(runsTable(runs), { json });
  else say(`runs      ${folder} holds no run`);
  for (const run of runs) for (const problem of run.problems) say(`warning   ${run.folder}: ${problem}`);
  if (runs.some(({ next }) => next !== null)) show("", { json });
  for (const run of runs) show(`${basename(run.folder)}: ${advice(run)}`, { json });
  for (const search of searches)
    show(`${basename(search)}: a search; ${invocation()} search --resume ${shellWord(search)} goes on`, {
      json,
    });
  if (others.length > 0)
    say(`runs      ${others.length} ${others.length === 1 ? "folder holds" : "folders hold"} no run`);
  if (json) printJson({ folder, runs, searches, others });
  return 0;
}

const lookText = (look: Look | null): string[] =>
  look === null
    ? ["-", "-"]
    : [
        String(look.step),
        `${formatProportion(Math.round(look.exactAccuracy * look.count), look.count)} of ${look.count}`,
      ];

/** The table of runs, one line each. */
export function runsTable(runs: readonly RunOverview[]): string {
  return textTable(
    ["run", "state", "step", "best at", "validation exact [95%]", "test exact [95%]"],
    runs.map((run) => {
      const step = `${run.step ?? "-"}${run.totalSteps === null ? "" : `/${run.totalSteps}`}`;
      return [basename(run.folder), run.state, step, ...lookText(run.best), lookText(run.test)[1]!];
    }),
  );
}

const ENDS = {
  target: "reached its target",
  last_step: "came to its last step",
  patience: "ended for lack of a better look",
} as const;

/** What to do next with a run, in a sentence. */
export function advice({ state, ended, next, process: holder }: RunOverview): string {
  const line = next && `${invocation()} ${next.map(shellWord).join(" ")}`;
  switch (state) {
    case "training":
      return holder === null || holder === "unknown"
        ? "its lock cannot be read; make it readable, or remove it if no process trains the run"
        : `process ${holder.pid} trains it since ${holder.since}`;
    case "stopped":
      return `go on with: ${line}`;
    case "untested":
      return `${ended ? ENDS[ended] : "ended"}; look at the test set with: ${line}`;
    case "finished":
      return `${ended ? ENDS[ended] : "ended"}; look closer with: ${line}`;
    case "broken":
      return "cannot go on as it is; the warning says why";
  }
}

/** A word for a POSIX shell, quoted if it has to be. */
const shellWord = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
