/** What the command line reads: paths, `file:` URLs and addresses. */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { SourceError, urlSource } from "../../files/sources/sources.js";
import { reasonOf } from "../disk/output.js";

/** True for an address of the web. */
export const isAddress = (path: string): boolean => /^https?:\/\//i.test(path);

/** The path that a `file:` URL stands for; anything else as it is. */
export function pathOf(given: string): string {
  try {
    return /^file:\/\//i.test(given) ? fileURLToPath(given) : given;
  } catch {
    return given; // names no file here, and so will be said to be missing
  }
}

/** All bytes of a file. `failed` makes the error of a reason. */
export async function readInput(given: string, failed: (reason: string) => Error): Promise<Uint8Array> {
  const source = isAddress(given) ? urlSource(given) : null;
  if (source?.kind === "folder") throw failed("it is the address of a folder");
  try {
    return source ? await source.read() : new Uint8Array(await readFile(pathOf(given)));
  } catch (error) {
    throw failed(error instanceof SourceError ? error.message : reasonOf(error));
  }
}
