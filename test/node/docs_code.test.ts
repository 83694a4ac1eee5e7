/**
 * Every block of code in the README and the docs: whole programs are run as a reader would, in a file beside an installed
 * package; other TypeScript is type-checked with the names that its text speaks of; JSON is parsed; of command lines the
 * commands, their options and the files are looked up.
 */
import { assert } from "chai";
import { execFile } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { promisify } from "node:util";
import { transform } from "esbuild";
import ts from "typescript";

const run = promisify(execFile);
const folder = resolve("build/docs_code");
const documents = (of: string): string[] =>
  readdirSync(of)
    .filter((name) => name.endsWith(".md"))
    .map((name) => join(of, name));
const FILES = ["README.md", ...["docs", "docs/guides", "docs/lab", "docs/examples"].flatMap(documents)];
const { exports, scripts } = JSON.parse(readFileSync("package.json", "utf8")) as {
  readonly exports: Readonly<Record<string, string | { readonly types: string }>>;
  readonly scripts: Readonly<Record<string, string>>;
};

interface Block {
  /** File, language and number in the file: `docs/errors.md ts 1`. */
  readonly name: string;
  readonly document: string;
  /** The name in the comment `// gated.ts` at its top: other blocks of the document import it. Null without one. */
  readonly file: string | null;
  readonly language: string;
  readonly text: string;
}

/** The blocks of code, by language. A block without a language is a transcript or a drawing. */
const blocks: Block[] = FILES.flatMap((file) => {
  const counts = new Map<string, number>();
  return [...readFileSync(file, "utf8").matchAll(/^```(\w*)\n([^]*?)^```/gm)].map(([, language, text]) => {
    const count = (counts.get(language!) ?? 0) + 1;
    counts.set(language!, count);
    const named = /^\/\/ (\w+)\.ts\n/.exec(text!)?.[1] ?? null;
    const name = `${file} ${language} ${count}`;
    return { name, document: file, file: named, language: language!, text: text! };
  });
});

/** Programs, with what they print if their readers are told. */
const PROGRAMS: Record<string, RegExp> = {
  "README.md ts 1":
    /^step 5, loss [^]*% of the validation puzzles solved\n[\d.]+% of the test puzzles solved\n$/,
  "README.md ts 3": /^Float32Array\(1\) \[ 0\.\d+ \] .*dispatches/,
  "docs/data.md js 1": /^\{"vocabSize":6\}\n\{"input":\[\[/,
  "docs/errors.md ts 1": /^adapter No WebGPU here/,
  "docs/operations.md ts 1": /0\.09003\d*,\s*0\.2447\d*,\s*0\.6652\d*,\s*0\.3333/,
  "docs/guides/classifier.md ts 1": /^loss 0\.0\d+, right 64 of 64/,
  "docs/guides/custom-operation.md ts 2": /gradient checked: right/,
  "docs/guides/model.md ts 1": /^100% of the next symbols are right/,
  "docs/guides/node.md ts 1": /Float32Array\(2\) \[ 2, 4 \]/,
  "docs/guides/share-a-device.md ts 1": /^1$/m,
  "docs/guides/tensors.md ts 1": /Float32Array\(4\) \[ 4, 5, 0, 0 \] 2\.25/,
};

/** What a program is given to end sooner: the run of the README looks once, at few puzzles, and then ends. */
const SHORTER: Record<string, readonly [string, string]> = {
  "README.md ts 1": [
    'findPreset("sudoku4")!',
    `{
      ...findPreset("sudoku4")!,
      ...{ stopAt: 0, evalEvery: 10, splits: (seed) => sudoku4Splits({ seed, train: 512, validation: 32, test: 32 }) },
    }`,
  ],
};

/** What surrounds a block that is no program: `{}` stands for the block. */
const SURROUNDINGS: Record<string, string> = {
  "docs/benchmarking.md ts 1":
    'import { compile, f32, square, type Device } from "hrm-webgpu/engine";\ndeclare const device: Device;\n' +
    "const inputs = { x: f32(2) };\nconst body = ({ x }: { x: Parameters<typeof square>[0] }) => ({ y: square(x) });\n{}",
  "docs/checkpoints.md ts 1":
    'import type { Device } from "hrm-webgpu";\ndeclare const device: Device;\ndeclare const file: File;\ndeclare const puzzle: string;\n{}',
  "docs/cli.md ts 1":
    'import { createTrainer, type TrainerOptions } from "hrm-webgpu/hrm";\nimport { openNodeDevice } from "hrm-webgpu/node";\n' +
    'declare const run: Omit<TrainerOptions, "device" | "target">;\n{}',
  "docs/writing-a-kernel.md ts 1":
    'import type { Capabilities } from "hrm-webgpu/engine";\nimport type { Kernel } from "hrm-webgpu/kernels";\n{}',
  "docs/writing-a-kernel.md ts 2":
    'import { swiglu } from "hrm-webgpu/kernels";\nimport type { Capabilities, Kernel } from "hrm-webgpu/engine";\n' +
    "declare function family<S extends object>(name: string, make: (spec: S, c: Capabilities) => Kernel, sizes: (keyof S)[], " +
    "count: (spec: S) => number, specs: S[]): unknown;\nexport const families = [\n{}];",
  "docs/writing-a-kernel.md ts 3":
    'import { swiglu } from "hrm-webgpu/kernels";\nimport { assertClose, random } from "../../../test/support/random.js";\n' +
    'import { runPoisoned } from "../../../test/support/kernels.js";\n' +
    "declare const rows: number, inner: number, software: boolean;\ndeclare const y: Float64Array, allowed: Float64Array;\n{}",
};

/** Where a block lies without its suffix: every document has a folder. */
const placeOf = ({ name, document, file }: Block): string =>
  join(folder, document.replace(/\W+/g, "_"), file ?? name.replace(/\W+/g, "_"));

/** What the compiler says of blocks, by name: all in one program, in which the package's names lead to its sources. */
function diagnose(checked: readonly Block[]): Map<string, string[]> {
  const { config } = ts.readConfigFile("tsconfig.json", (path) => readFileSync(path, "utf8")) as {
    config: object;
  };
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, resolve("."));
  const paths = Object.entries(exports).flatMap(([name, target]) =>
    typeof target === "string"
      ? []
      : [[name.replace(/^\./, "hrm-webgpu"), [target.types.replace("/dist", "").replace(".d.ts", ".ts")]]],
  );
  const texts = new Map(
    checked.map((block) => [
      `${placeOf(block)}.ts`,
      { name: block.name, text: `${surrounded(block.name, block.text)}\nexport {};\n` },
    ]),
  );
  const host = ts.createCompilerHost(options);
  const [fileExists, readFile] = [host.fileExists.bind(host), host.readFile.bind(host)];
  host.fileExists = (path) => texts.has(resolve(path)) || fileExists(path);
  host.readFile = (path) => texts.get(resolve(path))?.text ?? readFile(path);
  const program = ts.createProgram(
    [...texts.keys()],
    {
      ...options,
      paths: Object.fromEntries(paths) as ts.MapLike<string[]>,
      baseUrl: resolve("."),
      noUnusedLocals: false,
    },
    host,
  );
  return new Map(
    [...texts].map(([path, { name }]) => {
      const file = program.getSourceFile(path)!;
      const found = [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)];
      return [name, found.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n"))];
    }),
  );
}

async function compiled(text: string): Promise<string> {
  return (await transform(text, { loader: "ts", format: "esm", target: "es2022" })).code;
}

/** A block that compiles by itself. A function without a body is a declaration. */
function surrounded(name: string, text: string): string {
  const whole = text.replace(/^export function (.*\): \w+;)$/gm, "export declare function $1");
  return (SURROUNDINGS[name] ?? "{}").replace("{}", () => whole);
}

/** The command lines of a block: those after `$` in transcripts, every line in `sh`. */
const commandsOf = ({ language, text }: Block): string[] =>
  text
    .split("\n")
    .flatMap((line) => (language === "sh" ? [line] : line.startsWith("$ ") ? [line.slice(2)] : []))
    .map((line) => line.replace(/(^| )#.*| +\/\/.*/, "").trim())
    .flatMap((line) => line.split(/ && /))
    .filter(Boolean);

const helps = new Map<string, Promise<string>>();
/** What `hrm COMMAND --help` prints; rejects for an unknown command. */
function help(command: string): Promise<string> {
  const known =
    helps.get(command) ?? run(process.execPath, ["dist/cli.js", command, "--help"]).then((r) => r.stdout);
  helps.set(command, known);
  return known;
}

/** What is wrong with a command line; null if nothing is. */
async function problemOf(line: string): Promise<string | null> {
  const words = line.match(/"[^"]*"|\S+/g) ?? [];
  const [program, ...rest] = words;
  const hrm = async ([command = "", ...options]: readonly string[]): Promise<string | null> => {
    const text = await help(command).catch(() => null);
    if (text === null) return `hrm has no command ${command}`;
    // The help names a switch without the "no-" that turns it off.
    const named = (o: string): boolean =>
      [o, o.replace(/^--no-/, "--")].some((name) => text.includes(`${name.replace(/=.*/, "")} `));
    const unknown = options.filter((o) => o.startsWith("--") && !named(o));
    return unknown.length > 0 ? `hrm ${command} has no option ${unknown.join(", ")}` : null;
  };
  if (program === "hrm") return hrm(rest);
  if (program === "node") return existsSync(rest[0]!) ? null : `no file ${rest[0]}`;
  if (program !== "npm") return `nothing is known of ${program}`;
  const prefix = rest.indexOf("--prefix");
  if (prefix >= 0 && !existsSync(rest[prefix + 1]!)) return `no folder ${rest[prefix + 1]}`;
  if (["ci", "test", "install", "start"].includes(rest[0]!)) return null;
  const [, script = "", ...options] = rest;
  if (!Object.hasOwn(scripts, script)) return `no script ${script}`;
  const given = options.filter((word) => word !== "--");
  if (script === "hrm") return hrm(given);
  return ["train", "verify"].includes(script) ? hrm([script, ...given]) : null;
}

describe("code in the docs @slow", function () {
  this.timeout(300_000);

  before(async () => {
    await rm(folder, { recursive: true, force: true });
    await mkdir(join(folder, "node_modules"), { recursive: true });
    await symlink(resolve("."), join(folder, "node_modules/hrm-webgpu"));
  });

  for (const block of blocks.filter(({ name }) => name in PROGRAMS)) {
    const { name, text } = block;
    it(`runs: ${name}`, async () => {
      await mkdir(dirname(placeOf(block)), { recursive: true });
      const modules = blocks.filter((other) => other.document === block.document && other.file);
      for (const other of modules)
        if (other !== block) await writeFile(`${placeOf(other)}.js`, await compiled(other.text));
      const [from, to] = SHORTER[name] ?? ["", ""];
      assert.include(text, from);
      const shorter = text.replace(from, () => to);
      const imports = shorter === text ? "" : 'import { sudoku4Splits } from "hrm-webgpu/hrm/tasks";\n';
      const script = `${placeOf(block)}.js`;
      await writeFile(script, await compiled(imports + shorter));
      const { stdout } = await run(process.execPath, [script, "3", "1"], { cwd: folder });
      assert.match(stdout, PROGRAMS[name]!, name);
    });
  }

  it("compiles: every block of TypeScript", () => {
    const found = diagnose(blocks.filter(({ language }) => language === "ts"));
    for (const [name, messages] of found) assert.deepEqual(messages, [], name);
    const wrong = {
      ...{ name: "wrong", document: "wrong", file: null, language: "ts" },
      text: 'import { nothing } from "hrm-webgpu";',
    };
    assert.match(diagnose([wrong]).get("wrong")!.join(), /no exported member 'nothing'/);
  });

  it("parses: every block of JSON, whole or line by line", () => {
    for (const { name, text } of blocks.filter(({ language }) => language === "json")) {
      const parts = text.startsWith("{\n") ? [text] : text.trim().split("\n");
      for (const part of parts) assert.doesNotThrow(() => void JSON.parse(part), name);
    }
  });

  it("exists: every command, option and file of the command lines", async () => {
    for (const block of blocks)
      for (const line of commandsOf(block)) assert.isNull(await problemOf(line), `${block.name}: ${line}`);
    assert.equal(await problemOf("hrm train --nothing"), "hrm train has no option --nothing");
    assert.equal(await problemOf("npm run nothing"), "no script nothing");
  });

  it("is in a language that these tests read, and every named program exists", () => {
    assert.includeMembers(
      ["", "sh", "ts", "js", "json", "python"],
      [...new Set(blocks.map(({ language }) => language))],
    );
    assert.includeMembers(
      blocks.map(({ name }) => name),
      [...Object.keys(PROGRAMS), ...Object.keys(SURROUNDINGS), ...Object.keys(SHORTER)],
    );
    for (const { name } of blocks.filter(({ language }) => language === "js"))
      assert.property(PROGRAMS, name);
  });
});
