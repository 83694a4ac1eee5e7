/** Kernel cases and custom operations from the user's file. */
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build, type Plugin } from "esbuild";
import { ArgumentError } from "../hrm/terminal/arguments.js";
import type { KernelCase } from "./core/kernel_case.js";
import { isOperationCase, kernelCaseOf } from "./core/operation_case.js";

/** The repository, from build/bench/main.js. */
const root = join(dirname(fileURLToPath(import.meta.url)), "../..");

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

const REQUIRED_OF_OPERATIONS = { operation: "object", inputs: "object", reference: "function" } as const;

/** Leads imports of the package to the sources here, so that a file works as it stands in a user's project. */
const packageFromSources: Plugin = {
  name: "package from sources",
  setup(bundler) {
    bundler.onResolve({ filter: /^hrm-webgpu(\/|$)/ }, async ({ path }) => {
      const { exports } = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as {
        readonly exports: Readonly<Record<string, { readonly types?: string }>>;
      };
      const types = exports[path.replace("hrm-webgpu", ".")]?.types;
      if (!types) return { errors: [{ text: `hrm-webgpu has no entry ${path}` }] };
      return { path: join(root, types.replace("/dist", "").replace(".d.ts", ".ts")) };
    });
  },
};

/**
 * Bundles a TypeScript or JavaScript module and takes the cases that it exports by default: one or an array, each a kernel
 * case or a custom operation with its reference.
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
      plugins: [packageFromSources],
      external: ["webgpu"],
      logLevel: "silent",
    }).catch((error: Error) => {
      throw new ArgumentError(`--kernel: ${file} does not compile: ${error.message}`);
    });
    const loaded = (await import(pathToFileURL(outfile).href)) as { default?: unknown };
    const cases: unknown[] = Array.isArray(loaded.default) ? loaded.default : [loaded.default];
    return cases.map((one) => {
      if (isOperationCase(one)) {
        requireFields(file, one, REQUIRED_OF_OPERATIONS, "custom operation");
        return kernelCaseOf(one);
      }
      requireFields(file, one, REQUIRED, "case");
      return one as KernelCase;
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** @throws ArgumentError that names the first field that is missing or of another type */
function requireFields(
  file: string,
  one: unknown,
  required: Readonly<Record<string, string>>,
  what: string,
): void {
  for (const [field, type] of Object.entries(required)) {
    const got = typeof (one as Record<string, unknown> | undefined)?.[field];
    if (got !== type)
      throw new ArgumentError(
        `--kernel: ${file} exports ${one === undefined ? "nothing by default" : `a ${what} whose "${field}" is ${got}`}; ` +
          `expected one or an array of kernel cases (bench/examples) or custom operations (docs/guides/custom-operation.md), here with a ${type} "${field}".`,
      );
  }
}
