/** The command `hrm`: results to stdout, everything else to stderr; exit code 2 for a wrong command line. */
import { ArgumentError, nearestName } from "./arguments.js";
import { ConfigError } from "../config.js";
import { evalCommand } from "./commands/eval.js";
import { infoCommand } from "./commands/info.js";
import { solveCommand } from "./commands/solve.js";
import { trainCommand } from "./commands/train.js";
import { verifyCommand } from "./commands/verify.js";

/** Runs a command on what follows its name; resolves to the exit code. */
export type CommandRunner = (argv: readonly string[]) => Promise<number>;

const COMMANDS: Readonly<Record<string, { run: CommandRunner; summary: string }>> = {
  train: { run: trainCommand, summary: "train a model to a solved puzzle" },
  eval: { run: evalCommand, summary: "score a checkpoint on held-out puzzles" },
  solve: { run: solveCommand, summary: "solve one puzzle, segment by segment" },
  verify: { run: verifyCommand, summary: "replay golden fixtures of the official code" },
  info: { run: infoCommand, summary: "list adapters, and which one would be used" },
};

function usage(): string {
  const rows = Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(8)} ${summary}`);
  return `Usage: hrm <command> [options]\n\n${rows.join("\n")}\n\nhrm <command> --help lists a command's options.\n`;
}

async function main(argv: readonly string[]): Promise<number> {
  const [name, ...rest] = argv;
  if (name === undefined || name === "--help" || name === "-h" || name === "help") {
    process.stdout.write(usage());
    return name === undefined ? 2 : 0;
  }
  const command = COMMANDS[name];
  if (!command) {
    const near = nearestName(name, Object.keys(COMMANDS));
    throw new ArgumentError(
      `hrm: got command "${name}"; expected ${Object.keys(COMMANDS).join(", ")}.${near ? ` Did you mean ${near}?` : ""}`,
    );
  }
  return command.run(rest);
}

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    const known = error instanceof Error && error.name !== "Error" && error.name !== "TypeError";
    process.stderr.write(
      `${known ? `${error.name}: ${error.message}` : String((error as Error).stack ?? error)}\n`,
    );
    process.exitCode = error instanceof ArgumentError || error instanceof ConfigError ? 2 : 1;
    // A device that the error left open would keep the process alive.
    process.exit();
  },
);
