/** Measured choices of kernels between processes: a JSON file for each device in the user's cache folder. */
import { createHash } from "node:crypto";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { KernelChoices } from "../../kernels/capabilities.js";
import { cacheFolder } from "./cache_folder.js";

async function fileOf(key: string): Promise<string> {
  const name = createHash("sha256").update(key).digest("hex").slice(0, 16);
  return join(await cacheFolder(), "kernel-choices", `${name}.json`);
}

/**
 * The choices kept under a key (`choicesKey` of `hrm-webgpu/engine/autotune`); empty if there is no file. `warning` says
 * why a file was not used.
 */
export async function readChoices(key: string): Promise<{ choices: KernelChoices; warning: string | null }> {
  let file = "";
  try {
    file = await fileOf(key);
    const kept = JSON.parse(await readFile(file, "utf8")) as { key?: unknown; choices?: unknown } | null;
    if (kept?.key !== key || !isChoices(kept.choices)) throw new Error("it holds something else");
    return { choices: kept.choices, warning: null };
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
    const warning = missing ? null : `${file} is not used: ${(error as Error).message}`;
    return { choices: {}, warning };
  }
}

function isChoices(value: unknown): value is KernelChoices {
  return (
    typeof value === "object" && value !== null && Object.values(value).every((v) => typeof v === "string")
  );
}

/**
 * Adds choices to those stored under a key. The file is replaced in one step: another process that reads it sees the old
 * file or the new one.
 * @throws Error if no folder can be written to
 */
export async function writeChoices(key: string, choices: KernelChoices): Promise<string> {
  const file = await fileOf(key);
  const { choices: before } = await readChoices(key);
  const partial = `${file}.${process.pid}-${Date.now()}.partial`;
  await mkdir(dirname(file), { recursive: true });
  try {
    await writeFile(partial, `${JSON.stringify({ key, choices: { ...before, ...choices } }, null, 2)}\n`);
    await rename(partial, file);
  } finally {
    await rm(partial, { force: true });
  }
  return file;
}
