/** Kernel cases from the user's file. */
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import { ArgumentError } from "../hrm/terminal/arguments.js";
import type { KernelCase } from "./core/kernel_case.js";

const REQUIRED = {
  kernel: "string",
  shape: "string",
  flops: "number",
  alternatives: "function",
  inputs: "function",
  outputs: "object",
  expected: "function",
  tolerance: "number",
} as const satisfies Partial<Record<keyof KernelCase, string>>;

/**
 * Bundles a TypeScript or JavaScript module and takes the cases that it exports by default: one or an array.
 * @throws ArgumentError that names what is missing
 */
export async function loadKernelCases(file: string): Promise<KernelCase[]> {
  const path = resolve(file);
  if (!(await stat(path).catch(() => null))?.isFile())
    throw new ArgumentError(`--kernel: got "${file}"; expected a TypeScript or JavaScript file.`);
  const folder = await mkdtemp(join(tmpdir(), "bench-kernel-"));
  try {
    const outfile = join(folder, "kernel.mjs");
    await build({
      entryPoints: [path],
      bundle: true,
      platform: "node",
      format: "esm",
      target: "es2022",
      outfile,
      logLevel: "silent",
    }).catch((error: Error) => {
      throw new ArgumentError(`--kernel: ${file} does not compile: ${error.message}`);
    });
    const loaded = (await import(pathToFileURL(outfile).href)) as { default?: unknown };
    const cases: unknown[] = Array.isArray(loaded.default) ? loaded.default : [loaded.default];
    for (const one of cases) {
      for (const [field, type] of Object.entries(REQUIRED)) {
        const got = typeof (one as Record<string, unknown> | undefined)?.[field];
        if (got !== type)
          throw new ArgumentError(
            `--kernel: ${file} exports ${one === undefined ? "nothing by default" : `a case whose "${field}" is ${got}`}; ` +
              `expected one KernelCase or an array of them, each with a ${type} "${field}". See bench/examples.`,
          );
      }
    }
    return cases as KernelCase[];
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
