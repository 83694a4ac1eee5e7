/** The package as others meet it: what importing it touches, what it exports, and whether its types hold. */
import { assert } from "chai";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { transform } from "esbuild";

const run = promisify(execFile);

interface PackageJson {
  readonly exports: Readonly<Record<string, string | { readonly types: string; readonly default: string }>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly bin: Readonly<Record<string, string>>;
}
const { exports, dependencies, bin } = JSON.parse(await readFile("package.json", "utf8")) as PackageJson;
const entries = Object.entries(exports).flatMap(([name, target]) =>
  typeof target === "string" ? [] : [{ name, ...target }],
);
/** The one entry that is for Node alone. */
const portable = entries.filter((e) => e.name !== "./node");

/** Names of the ECMAScript standard's global object. */
const STANDARD = new Set([
  ...["globalThis", "Infinity", "NaN", "undefined", "eval", "isFinite", "isNaN", "parseFloat", "parseInt"],
  ...["decodeURI", "decodeURIComponent", "encodeURI", "encodeURIComponent", "escape", "unescape"],
  ...[
    "AggregateError",
    "Array",
    "ArrayBuffer",
    "BigInt",
    "BigInt64Array",
    "BigUint64Array",
    "Boolean",
    "DataView",
  ],
  ...[
    "Date",
    "Error",
    "EvalError",
    "FinalizationRegistry",
    "Float32Array",
    "Float64Array",
    "Function",
    "Int8Array",
  ],
  ...[
    "Int16Array",
    "Int32Array",
    "Map",
    "Number",
    "Object",
    "Promise",
    "Proxy",
    "RangeError",
    "ReferenceError",
  ],
  ...["RegExp", "Set", "SharedArrayBuffer", "String", "Symbol", "SyntaxError", "TypeError", "Uint8Array"],
  ...["Uint8ClampedArray", "Uint16Array", "Uint32Array", "URIError", "WeakMap", "WeakRef", "WeakSet"],
  ...["Atomics", "JSON", "Math", "Reflect", "Intl", "Iterator", "WebAssembly", "SuppressedError"],
]);
const DOM = [
  "window",
  "self",
  "document",
  "location",
  "localStorage",
  "navigator",
  "HTMLElement",
  "GPUBufferUsage",
  "GPUMapMode",
  "GPUShaderStage",
];

/** Runs in a fresh process: traps every global that is not ECMAScript's, imports, and prints which were touched. */
const TRAP = `
const [url, standard, dom] = JSON.parse(process.argv[1]);
const write = process.stdout.write.bind(process.stdout);
const touched = new Set();
// Reading a global may load parts of Node that read others: read all of them before the first trap is set.
const values = [...Object.getOwnPropertyNames(globalThis), ...dom]
  .filter((name) => !standard.includes(name))
  .map((name) => [name, globalThis[name]]);
for (const [name, value] of values)
  Object.defineProperty(globalThis, name, { configurable: true, get() { touched.add(name); return value; } });
const module = await import(url);
write(JSON.stringify({ touched: [...touched], names: Object.keys(module) }));
`;

/** What a built file imports, statically or not, with everything below it. */
async function importsOf(file: string, seen = new Map<string, string[]>()): Promise<Map<string, string[]>> {
  if (seen.has(file)) return seen;
  const code = await readFile(file, "utf8");
  const specifiers = [
    ...code.matchAll(
      /(?:^|[;}\s])(?:import|export)\s*(?:[\w${},*\s]+from\s*)?"([^"]+)"|import\("([^"]+)"\)/gm,
    ),
  ].map((m) => m[1] ?? m[2]!);
  seen.set(file, specifiers);
  for (const s of specifiers) if (s.startsWith(".")) await importsOf(resolve(dirname(file), s), seen);
  return seen;
}

describe("entry points", () => {
  it("depend on no package", () => {
    assert.deepEqual(dependencies, {});
  });

  for (const { name, default: file } of portable) {
    it(`${name} touches neither Node nor DOM globals when imported`, async () => {
      const argument = JSON.stringify([pathToFileURL(resolve(file)).href, [...STANDARD], DOM]);
      const { stdout } = await run(process.execPath, ["--input-type=module", "-e", TRAP, argument]);
      const { touched, names } = JSON.parse(stdout) as { touched: string[]; names: string[] };
      assert.deepEqual(touched, []);
      assert.isNotEmpty(names);
    });

    it(`${name} imports nothing but its own files`, async () => {
      for (const [from, specifiers] of await importsOf(resolve(file)))
        for (const s of specifiers) assert.match(s, /^\.\.?\//, `${relative(".", from)} imports ${s}`);
    });
  }

  it("the traps and the scan see what they look for", async () => {
    await mkdir("build/entries", { recursive: true });
    const file = resolve("build/entries/guilty.mjs");
    await writeFile(file, 'import "node:fs"; export const a = typeof navigator, b = document;\n');
    const argument = JSON.stringify([pathToFileURL(file).href, [...STANDARD], DOM]);
    const { stdout } = await run(process.execPath, ["--input-type=module", "-e", TRAP, argument]);
    assert.sameMembers((JSON.parse(stdout) as { touched: string[] }).touched, ["navigator", "document"]);
    assert.deepEqual((await importsOf(file)).get(file), ["node:fs"]);
  });
});

const CONSUMER = `
import { assign, compile, f32, grad, matmul, mean, scale, square, sub, truncatedNormal, variable } from "hrm-webgpu/engine";
import { openNodeDevice } from "hrm-webgpu/node";

const device = await openNodeDevice({ adapter: "software" });
const w = variable(device, truncatedNormal([4, 2], 0.5), "w");
const step = await compile(device, { x: f32(8, 4), y: f32(8, 2) }, ({ x, y }) => {
  const loss = mean(square(sub(matmul(x, w), y)));
  assign(w, sub(w, scale(grad(loss, w), 0.1)));
  return { loss };
});
const x = Float32Array.from({ length: 32 }, (_, i) => Math.sin(i));
const y = Float32Array.from({ length: 16 }, (_, i) => Math.cos(i));
for (let i = 0; i < 100; i++) await step.run({ x, y });
console.log((await step.read("loss"))[0]!);
device.destroy();
`;
const EVERY_ENTRY = `
import * as root from "hrm-webgpu";
import { matmul, type Kernel } from "hrm-webgpu/kernels";
import { createTrainer, modelConfig, trainConfig, type Trainer } from "hrm-webgpu/hrm";
import { sudokuTask } from "hrm-webgpu/hrm/tasks";
import { readSafetensors } from "hrm-webgpu/hrm/files";
import { type Device, UsageError } from "hrm-webgpu/engine";

export const kernel: Kernel = matmul({ layout: "nn", M: 2, N: 2, K: 2 }, root.baselineCapabilities);
export async function trainer(device: Device): Promise<Trainer> {
  const config = modelConfig({ seq_len: 16, vocab_size: sudokuTask(4).vocabSize });
  const data = { count: 1, length: 16, inputs: new Int32Array(16), labels: new Int32Array(16), identifiers: new Int32Array(1) };
  return createTrainer({ device, config, train: trainConfig({ lr: 1e-3 }), data, seed: 1 });
}
export const error: Error = new UsageError("typed");
export const tensors: ReadonlyMap<string, unknown> = readSafetensors(new Uint8Array()).tensors;
// @ts-expect-error a dtype that is none
export const wrong: root.Dtype = "f64";
`;

describe("the built package @slow", function () {
  this.timeout(300_000);
  const folder = resolve("build/entries/consumer");
  const tsc = resolve("node_modules/typescript/bin/tsc");

  before(async () => {
    await run(process.execPath, [tsc, "-p", "tsconfig.build.json"]);
    await run(process.execPath, ["esbuild.config.mjs", "declarations"]);
    await rm(folder, { recursive: true, force: true });
    await mkdir(join(folder, "node_modules"), { recursive: true });
    await symlink(resolve("."), join(folder, "node_modules/hrm-webgpu"));
    await writeFile(join(folder, "package.json"), JSON.stringify({ name: "consumer", type: "module" }));
    await writeFile(join(folder, "engine.ts"), CONSUMER);
    await writeFile(join(folder, "everything.ts"), EVERY_ENTRY);
  });

  it("has every file that package.json names", async () => {
    const files = [...entries.flatMap((e) => [e.types, e.default]), ...Object.values(bin)];
    for (const file of files) assert.isTrue((await stat(file)).isFile(), file);
  });

  it("has types and files under every module resolution, and documents without dead links", async () => {
    const { stdout } = await run(process.execPath, ["test/package.mjs"]).catch((error: { stderr: string }) =>
      assert.fail(error.stderr),
    );
    assert.match(stdout, /^ok/);
  });

  it("names what is missing if there are no types of WebGPU", async () => {
    // Away from this repository's node_modules, which have the types.
    const away = await mkdtemp(join(tmpdir(), "hrm-untyped-"));
    const library = join(away, "node_modules/hrm-webgpu");
    await mkdir(library, { recursive: true });
    for (const name of ["package.json", "dist"]) await symlink(resolve(name), join(library, name));
    await writeFile(
      join(away, "untyped.mts"),
      'import type { Device } from "hrm-webgpu/engine";\nexport const queue = (d: Device) => d.gpu.queue;\n',
    );
    const options = ["--strict", "--skipLibCheck", "--noEmit", "--module", "nodenext", "--target", "es2022"];
    const { stdout } = await run(process.execPath, [tsc, ...options, "--preserveSymlinks", "untyped.mts"], {
      cwd: away,
    }).catch((error: { stdout: string }) => error);
    assert.match(stdout, /npm install --save-dev @webgpu\/types/);
    await rm(away, { recursive: true });
  });

  for (const module of ["nodenext", "bundler"] as const) {
    it(`type-checks in a strict project with module resolution ${module}`, async () => {
      await writeFile(
        join(folder, "tsconfig.json"),
        JSON.stringify({
          compilerOptions: {
            strict: true,
            target: "es2022",
            lib: ["es2022", "dom"],
            module: module === "nodenext" ? "nodenext" : "esnext",
            moduleResolution: module,
            typeRoots: [resolve("node_modules/@types"), resolve("node_modules/@webgpu")],
            types: ["types"],
            exactOptionalPropertyTypes: true,
            noUncheckedIndexedAccess: true,
            noEmit: true,
          },
          include: ["*.ts"],
        }),
      );
      await run(process.execPath, [tsc, "-p", folder]).catch((error: { stdout: string }) =>
        assert.fail(error.stdout),
      );
    });
  }

  it("runs the README's example of the engine alone", async () => {
    const { code } = await transform(CONSUMER, { loader: "ts", format: "esm" });
    await writeFile(join(folder, "engine.mjs"), code);
    const { stdout } = await run(process.execPath, ["engine.mjs"], { cwd: folder });
    // The best w leaves 0.43 of the mean square of y; 100 steps come within a tenth of it.
    const loss = Number(stdout);
    assert.isAbove(loss, 0);
    assert.isBelow(loss, 0.6);
  });
});
