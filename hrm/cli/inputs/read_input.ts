/** Reads inputs of the command line: paths, `file:` URLs and web addresses. */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { SourceError, urlSource } from "../../files/sources/sources.js";
import { reasonOf } from "../disk/output.js";

/** True for a web address. */
export const isAddress = (path: string): boolean => /^https?:\/\//i.test(path);

/** The path of a `file:` URL; any other text unchanged. */
export function pathOf(given: string): string {
  try {
    return /^file:\/\//i.test(given) ? fileURLToPath(given) : given;
  } catch {
    return given; // not a valid file URL, so the file will be reported as missing
  }
}

/** Reads all bytes of a file. `failed` makes an error from a reason. */
export async function readInput(given: string, failed: (reason: string) => Error): Promise<Uint8Array> {
  const source = isAddress(given) ? urlSource(given) : null;
  if (source?.kind === "folder") throw failed("it is the address of a folder");
  try {
    return source ? await source.read() : new Uint8Array(await readFile(pathOf(given)));
  } catch (error) {
    throw failed(error instanceof SourceError ? error.message : reasonOf(error));
  }
}
