/** The built command line as a process of its own; Node only. */
import { spawn, type ChildProcess } from "node:child_process";
import { resolve } from "node:path";
import { assert } from "chai";

const CLI = resolve("dist/cli.js");

/** A command that ended. */
export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command under way. */
export interface Started {
  readonly child: ChildProcess;
  readonly done: Promise<Finished>;
  /** Resolves when stderr has matched. */
  said(pattern: RegExp): Promise<void>;
}

/** Starts the command line in a folder. */
export function start(cwd: string, ...args: string[]): Started {
  const child = spawn(process.execPath, [CLI, ...args], { cwd, stdio: ["ignore", "pipe", "pipe"] });
  let [stdout, stderr] = ["", ""];
  const waiting: { pattern: RegExp; resolve: () => void }[] = [];
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
    for (const { pattern, resolve } of waiting) if (pattern.test(stderr)) resolve();
  });
  const done = new Promise<Finished>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout, stderr }));
  });
  const said = (pattern: RegExp): Promise<void> => {
    const ended = done.then(({ stderr: all }) => {
      if (!pattern.test(all)) throw new Error(`the process ended without saying ${pattern}:\n${all}`);
    });
    return Promise.race([ended, new Promise<void>((resolve) => waiting.push({ pattern, resolve }))]);
  };
  return { child, done, said };
}

/** Runs the command line in a folder to its end. */
export const run = (cwd: string, ...args: string[]): Promise<Finished> => start(cwd, ...args).done;

/** The JSON that is all of stdout: one line. */
export function json({ stdout, stderr }: Finished): Record<string, unknown> {
  const lines = stdout.trimEnd().split("\n");
  assert.equal(lines.length, 1, `stdout:\n${stdout}\nstderr:\n${stderr}`);
  return JSON.parse(lines[0]!) as Record<string, unknown>;
}
