/** A run's folder on disk: made once, never overwritten, each file whole or absent. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { EngineError } from "../../engine/errors.js";
import { ArgumentError } from "./arguments.js";
import { writeAtomically } from "./checkpoint_store.js";
import { makeFolder } from "./make_folder.js";

/** A file that could not be written: which, and why. */
export class OutputError extends EngineError {
  override readonly name = "OutputError";
  constructor(path: string, cause: unknown) {
    super(
      "output",
      `Cannot write "${path}": ${reasonOf(cause)}. What was saved before is untouched; free the disk or give another folder with --out.`,
      { cause },
    );
  }
}

const REASONS: Readonly<Record<string, string>> = {
  EACCES: "no permission",
  EPERM: "not permitted",
  EROFS: "the file system is read-only",
  ENOSPC: "the disk is full",
  EDQUOT: "the disk quota is used up",
  ENOENT: "there is no such file or folder",
  ENOTDIR: "a part of the path is a file",
  EISDIR: "it is a folder",
  EEXIST: "something else has that name",
  ENAMETOOLONG: "the name is too long",
};

/** A file system error in words. */
export function reasonOf(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code ?? "";
  return REASONS[code] ? `${REASONS[code]}, ${code}` : String((error as Error).message ?? error);
}

/**
 * Makes a folder that did not exist: `parent/name`, or with the next free number. Two processes never get the
 * same one. @throws ArgumentError where `parent` takes no folder
 */
export async function createRunFolder(
  parent: string,
  name: string,
): Promise<{ folder: string; taken: boolean }> {
  const cannot = (error: unknown): ArgumentError =>
    new ArgumentError(
      `--out: cannot make a folder in "${parent}" (${reasonOf(error)}); expected a folder that can be written.`,
    );
  try {
    await makeFolder(parent);
  } catch (error) {
    throw cannot(error);
  }
  for (let i = 1; ; i++) {
    const folder = join(parent, i === 1 ? name : `${name}-${i}`);
    try {
      await mkdir(folder);
      return { folder, taken: i > 1 };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw cannot(error);
    }
  }
}

/** Replaces a file in one step. @throws OutputError */
export async function writeFileSafely(path: string, content: Uint8Array | string): Promise<void> {
  try {
    await writeAtomically(path, typeof content === "string" ? new TextEncoder().encode(content) : content);
  } catch (error) {
    throw new OutputError(path, error);
  }
}
