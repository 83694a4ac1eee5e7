/** The programs in the guides, run as a reader would: copied into a file beside an installed package. */
import { assert } from "chai";
import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { transform } from "esbuild";

const run = promisify(execFile);
const folder = resolve("build/docs_code");
const FILES = [
  "docs/errors.md",
  "docs/operations.md",
  ...readdirSync("docs/guides").map((name) => `docs/guides/${name}`),
];

/** What a program prints, if its readers are told. */
const PRINTS: Record<string, RegExp> = {
  "docs/errors.md 1": /^adapter No WebGPU here/,
  "docs/operations.md 1": /0\.09003\d*,\s*0\.2447\d*,\s*0\.6652\d*,\s*0\.3333/,
  "docs/guides/classifier.md 1": /^loss 0\.0\d+, right 64 of 64/,
  "docs/guides/custom-operation.md 1": /gradient checked: right/,
  "docs/guides/node.md 1": /Float32Array\(2\) \[ 2, 4 \]/,
  "docs/guides/share-a-device.md 1": /^1$/m,
  "docs/guides/tensors.md 1": /Float32Array\(4\) \[ 4, 5, 0, 0 \] 2\.25/,
};

describe("programs in the docs @slow", function () {
  this.timeout(300_000);

  before(async () => {
    await rm(folder, { recursive: true, force: true });
    await mkdir(join(folder, "node_modules"), { recursive: true });
    await symlink(resolve("."), join(folder, "node_modules/hrm-webgpu"));
  });

  for (const file of FILES)
    [...readFileSync(file, "utf8").matchAll(/^```ts\n([^]*?)^```/gm)].forEach(([, block], i) => {
      const name = `${file} ${i + 1}`;
      it(name, async () => {
        const { code } = await transform(block!, { loader: "ts", format: "esm", target: "es2022" });
        const script = join(folder, `${name.replace(/[^\w]+/g, "_")}.mjs`);
        await writeFile(script, code);
        const { stdout } = await run(process.execPath, [script], { cwd: folder });
        assert.match(stdout, PRINTS[name] ?? /^$/, name);
      });
    });
});
