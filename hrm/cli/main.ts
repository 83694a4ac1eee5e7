/** The command `hrm`: results to stdout, everything else to stderr; exit code 2 for a wrong command line. */
import { EngineError } from "../../engine/index.js";
import { ConfigError } from "../model/config.js";
import { printable } from "../format_value.js";
import { ArgumentError, nearestName } from "../terminal/arguments.js";
import { ablateCommand } from "./commands/ablate.js";
import { convertCommand } from "./commands/convert.js";
import { evalCommand } from "./commands/eval.js";
import { exportCommand } from "./commands/export.js";
import { generateCommand } from "./commands/generate.js";
import { importCommand } from "./commands/import.js";
import { infoCommand } from "./commands/info.js";
import { planCommand } from "./commands/plan.js";
import { reportCommand } from "./commands/report.js";
import { runsCommand } from "./commands/runs.js";
import { searchCommand } from "./commands/search.js";
import { solveCommand } from "./commands/solve.js";
import { submitCommand } from "./commands/submit.js";
import { trainCommand } from "./commands/train.js";
import { verifyCommand } from "./commands/verify.js";

/** Runs a command with the arguments after its name; resolves to the exit code. */
export type CommandRunner = (argv: readonly string[]) => Promise<number>;

const COMMANDS: Readonly<Record<string, { run: CommandRunner; summary: string }>> = {
  train: { run: trainCommand, summary: "train a model until it solves held-out puzzles" },
  search: { run: searchCommand, summary: "find a recipe: short trials of many options, the best go on" },
  runs: { run: runsCommand, summary: "list run folders: state, best look, what to do next" },
  ablate: { run: ablateCommand, summary: "compare models without one part of HRM at equal operations" },
  report: {
    run: reportCommand,
    summary: "write runs as one HTML file: curves, solved examples, the paper's figures",
  },
  eval: { run: evalCommand, summary: "score a checkpoint on held-out puzzles" },
  solve: { run: solveCommand, summary: "solve one puzzle, segment by segment" },
  submit: { run: submitCommand, summary: "answer ARC tests, and write what ARC Prize takes" },
  verify: { run: verifyCommand, summary: "replay golden fixtures of the official code" },
  info: { run: infoCommand, summary: "list adapters, and which one would be used" },
  plan: { run: planCommand, summary: "say what memory training needs, and which micro-batch fits" },
  convert: { run: convertCommand, summary: "convert PyTorch files to safetensors and back" },
  export: { run: exportCommand, summary: "write a run for the official PyTorch code" },
  import: { run: importCommand, summary: "read a model of the official PyTorch code with its configuration" },
  generate: { run: generateCommand, summary: "make puzzles: Sudoku, mazes and ARC tasks" },
};

function usage(): string {
  const rows = Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(8)} ${summary}`);
  return `Usage: hrm <command> [options]\n\n${rows.join("\n")}\n\nhrm <command> --help lists a command's options.\n`;
}

async function main(argv: readonly string[]): Promise<number> {
  const [name, ...rest] = argv;
  if (name === "--help" || name === "-h" || name === "help") {
    process.stdout.write(usage());
    return 0;
  }
  if (name === undefined) {
    process.stderr.write(usage());
    return 2;
  }
  if (!Object.hasOwn(COMMANDS, name)) {
    const near = nearestName(name, Object.keys(COMMANDS));
    throw new ArgumentError(
      `hrm: got the command ${JSON.stringify(name)}; expected one of ${Object.keys(COMMANDS).join(", ")}.${near ? ` Did you mean ${near}?` : ""}`,
    );
  }
  return COMMANDS[name]!.run(rest);
}

/** The error for the user. Our own errors explain themselves; any other error is a bug and shows its stack. */
function explain(error: unknown): string {
  if (error instanceof EngineError || error instanceof ConfigError) return `${error.name}: ${error.message}`;
  return `This is a defect of hrm-webgpu; please report it with the command that you ran.\n${String((error as Error)?.stack ?? error)}`;
}

// The reader of a pipe may close it early (`hrm info | head -1`), which must not affect the work or its exit code.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
  });
}

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    process.stderr.write(`${printable(explain(error))}\n`);
    process.exitCode = error instanceof ArgumentError || error instanceof ConfigError ? 2 : 1;
    // The error may have left a device open, which would keep the process alive.
    process.exit();
  },
);
