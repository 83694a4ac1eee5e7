/** The Python process of bench/peers/torch_peer.py: keeps tensors, answers one line of JSON with another. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { TorchFiles, TorchGreeting, TorchProcess } from "./core/torch_peer.js";

/**
 * Starts the script with the interpreter of the environment variable PYTHON, or python3.
 * @param options `files`: numbers go through files, which is many times faster than base64 but needs a shared disk
 */
export function startTorch(script: string, { files }: { files: boolean }): TorchProcess {
  const python = process.env["PYTHON"] || "python3";
  const folder = files ? temporaryFolder() : null;
  const child = spawn(python, [script, ...(folder ? [folder] : [])], { stdio: ["pipe", "pipe", "pipe"] });
  const waiting: { resolve: (line: unknown) => void; reject: (error: Error) => void }[] = [];
  let errors = "";
  child.stderr.on("data", (text: Buffer) => {
    errors = (errors + text.toString()).slice(-2000);
  });
  const fail = (why: string): void => {
    for (const { reject } of waiting.splice(0)) reject(new Error(why));
  };
  child.on("error", (error) => fail(`${python}: ${error.message}`));
  child.on("close", (code) => fail(errors.trim().split("\n").at(-1) || `${python} ended with code ${code}`));
  child.stdin.on("error", () => undefined);
  createInterface({ input: child.stdout }).on("line", (line) => {
    const answer = JSON.parse(line) as { error?: string };
    const { resolve, reject } = waiting.shift()!;
    if (answer.error === undefined) resolve(answer);
    else reject(new Error(answer.error));
  });
  const answer = <T>(): Promise<T> =>
    new Promise((resolve, reject) => {
      if (child.exitCode !== null) reject(new Error("the process has ended"));
      else waiting.push({ resolve: resolve as (line: unknown) => void, reject });
    });
  return {
    greeting: answer<TorchGreeting>(),
    ...(folder && { files: filesIn(folder) }),
    ask<T = unknown>(request: Record<string, unknown>): Promise<T> {
      child.stdin.write(`${JSON.stringify(request)}\n`);
      return answer<T>();
    },
  };
}

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "bench-torch-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function filesIn(folder: string): TorchFiles {
  let written = 0;
  return {
    async write(bytes) {
      const path = join(folder, `question${written++}`);
      await writeFile(path, bytes);
      return path;
    },
    async take(path) {
      const bytes = await readFile(path);
      await rm(path);
      return bytes;
    },
  };
}
