/** Files that commands write. Each file is complete or absent, and a failure has a message in words. */
import { EngineError } from "../../../engine/errors.js";
import { codeOf, nodeFileSystem, type FileSystem } from "./file_system.js";
import { writeAtomically } from "./write_atomically.js";

/** A file could not be written. Says which file and why. */
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
  ELOOP: "links lead in a circle",
  EIO: "the disk failed",
};

/** A file system error in words. */
export function reasonOf(error: unknown): string {
  const code = codeOf(error);
  return REASONS[code] ? `${REASONS[code]}, ${code}` : String((error as Error).message ?? error);
}

/** Replaces a file in one step. @throws OutputError */
export async function writeFileSafely(
  path: string,
  content: Uint8Array | string,
  fs: FileSystem = nodeFileSystem,
): Promise<void> {
  try {
    await writeAtomically(
      path,
      typeof content === "string" ? new TextEncoder().encode(content) : content,
      fs,
    );
  } catch (error) {
    throw new OutputError(path, error);
  }
}
