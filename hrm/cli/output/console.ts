/** What commands print: results to stdout, everything else to stderr. */
import { printable } from "../../format_value.js";

/** Writes a line to stderr, where everything but results goes; foreign text in it gives the terminal no commands. */
export function say(line: string): void {
  process.stderr.write(`${printable(line, { color: true })}\n`);
}

/** Writes a result for people: to stdout, or to stderr where stdout is kept for JSON. */
export function show(text: string, { json }: { readonly json: boolean }): void {
  (json ? process.stderr : process.stdout).write(`${printable(text, { color: true })}\n`);
}

/** How this command line is typed here. */
export const invocation = (): string => (process.env["npm_lifecycle_event"] ? "npm run hrm --" : "hrm");

/** Writes the one line of JSON. */
export function printJson(report: object): void {
  process.stdout.write(`${JSON.stringify(report)}\n`);
}

/** Bytes of the unit in which people give and get memory. */
export const GB = 1e9;

/** Two digits after the point; `0.00 GB` is said in MB. */
export const formatGB = (bytes: number): string =>
  bytes < 1e7 ? `${(bytes / 1e6).toFixed(2)} MB` : `${(bytes / GB).toFixed(2)} GB`;
