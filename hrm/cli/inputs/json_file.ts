/** Reads configuration files: one JSON object, by strict rules and with a limit on its size. */
import { nodeFileSystem, readWhole } from "../disk/file_system.js";
import { readFile } from "node:fs/promises";
import { reasonOf } from "../disk/output.js";
import { JsonError, parseStrictJson } from "./strict_json.js";
import { formatValue } from "../../format_value.js";

/** The most bytes of a configuration, which usually has a few hundred. */
const MOST_BYTES = 1e6;

/** The fields of a JSON file. `bad` makes an error from a reason. `parse` may read another language; it throws JsonError. */
export async function readJsonObject(
  path: string,
  bad: (reason: string) => Error,
  parse: (text: string) => unknown = parseStrictJson,
): Promise<Record<string, unknown>> {
  let bytes: Uint8Array;
  try {
    const { kind, size } = await nodeFileSystem.status(path);
    if (kind === "file" && size > MOST_BYTES) throw bad(`has ${size} bytes, more than any configuration`);
    // Pipes, such as /dev/stdin, are read once and have no size.
    bytes = kind === "file" ? await readWhole(nodeFileSystem, path) : new Uint8Array(await readFile(path));
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === undefined
      ? error
      : bad(`cannot be read (${reasonOf(error)})`);
  }
  const text = new TextDecoder().decode(bytes);
  if (text.trim() === "") throw bad("is empty");
  let fields: unknown;
  try {
    fields = parse(text);
  } catch (error) {
    throw error instanceof JsonError ? bad(error.message) : error;
  }
  if (typeof fields !== "object" || fields === null || Array.isArray(fields))
    throw bad(`holds ${Array.isArray(fields) ? "an array" : formatValue(fields)}`);
  return fields as Record<string, unknown>;
}
