/** What commands print: results to stdout, everything else to stderr. */
import { printable } from "../../format_value.js";

/** Writes a line to stderr, which gets everything except results. Control sequences in the text are escaped. */
export function say(line: string): void {
  process.stderr.write(`${printable(line, { color: true })}\n`);
}

/** Writes a readable result to stdout, or to stderr if stdout is reserved for JSON. */
export function show(text: string, { json }: { readonly json: boolean }): void {
  (json ? process.stderr : process.stdout).write(`${printable(text, { color: true })}\n`);
}

/** The command as the user types it here. */
export const invocation = (): string => (process.env["npm_lifecycle_event"] ? "npm run hrm --" : "hrm");

/** Writes the report as one line of JSON to stdout. */
export function printJson(report: object): void {
  process.stdout.write(`${JSON.stringify(report)}\n`);
}

/** Floating-point operations with three digits, as `14.1 TFLOP`. */
export function formatFlops(flops: number): string {
  const [unit, size] =
    flops >= 1e12
      ? (["TFLOP", 1e12] as const)
      : flops >= 1e9
        ? (["GFLOP", 1e9] as const)
        : (["MFLOP", 1e6] as const);
  return `${Number((flops / size).toPrecision(3))} ${unit}`;
}

/** Bytes in a GB, the unit of memory in options and output. */
export const GB = 1e9;

/** Memory with two digits after the point, in GB, or in MB below 10 MB. */
export const formatGB = (bytes: number): string =>
  bytes < 1e7 ? `${(bytes / 1e6).toFixed(2)} MB` : `${(bytes / GB).toFixed(2)} GB`;
