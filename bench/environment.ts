/** The environment of a run, as far as Node can tell. */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { availableParallelism, cpus, release, type } from "node:os";
import { promisify } from "node:util";
import type { ReportEnvironment } from "./core/report.js";

async function git(...args: string[]): Promise<string> {
  return promisify(execFile)("git", args).then(
    ({ stdout }) => stdout.trim(),
    () => "",
  );
}

async function dawnVersion(): Promise<string> {
  try {
    const path = createRequire(import.meta.url).resolve("webgpu/package.json");
    const { version } = JSON.parse(await readFile(path, "utf8")) as { version: string };
    return `webgpu ${version} (Dawn)`;
  } catch {
    return "webgpu (Dawn), version unknown";
  }
}

export async function nodeEnvironment(flags: readonly string[], seed: number): Promise<ReportEnvironment> {
  const commit = await git("rev-parse", "--short=12", "HEAD");
  const changed = commit !== "" && (await git("status", "--porcelain")) !== "";
  return {
    date: new Date().toISOString(),
    commit: commit + (changed ? "+" : ""),
    runtime: `Node ${process.versions.node}`,
    webgpu: await dawnVersion(),
    system: `${type()} ${release()} ${process.arch}, ${cpus()[0]?.model.trim() ?? "unknown processor"}`,
    processors: availableParallelism(),
    flags,
    seed,
  };
}
