/**
 * The rules of imports: kernels <- engine <- hrm, pointing downwards only; no circles, in any folder; nothing imports
 * test/ but tests, nor a command line from elsewhere; nothing published imports bench or docs, nor a package; Node's
 * modules are for engine/node, hrm/terminal and hrm/cli alone.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { circlesOf } from "./support/circles.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
/** What each published folder may import besides itself. */
const ALLOWED = {
  kernels: [],
  engine: ["kernels"],
  hrm: ["kernels", "engine"],
};
/** Folders in which no import may lead in a circle. */
const FOLDERS = [...Object.keys(ALLOWED), "bench", "docs", "test"];
/** Folders that run under Node only. */
const NODE_ONLY = ["engine/node/", "hrm/terminal/", "hrm/cli/"];
/** Packages that code for Node may import, and those that are bundled into the command line. */
const PACKAGES = ["webgpu"];
const BUNDLED = ["yaml"];
/** Command lines: programs, which only themselves and their tests import. */
const COMMAND_LINES = ["hrm/cli/", "bench/main.ts", "bench/options.ts"];

const problems = [];

/** The modules that each file imports, type imports included: paths inside the repository, or package names. */
const imports = new Map();
for (const folder of FOLDERS)
  for (const name of readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })) {
    if (!/\.(ts|mjs)$/.test(name)) continue;
    const file = join(folder, name);
    const text = readFileSync(join(root, file), "utf8");
    const targets = [...text.matchAll(/(?:from|import)\s*\(?\s*"([^"\n]+)"/g)].map(([, target]) =>
      target.startsWith(".")
        ? relative(root, normalize(join(root, dirname(file), target))).replace(/\.js$/, ".ts")
        : target,
    );
    imports.set(file, targets);
    if (folder in ALLOWED && folder !== "hrm" && /\bhrm\b/i.test(text.replaceAll("hrm-webgpu", "")))
      problems.push(`${file} speaks of HRM: ${folder} must not`);
  }

const isLocal = (target) => FOLDERS.includes(target.split("/")[0]) && /\.\w+$/.test(target);
for (const [file, targets] of imports) {
  const layer = file.split("/")[0];
  const node = NODE_ONLY.some((folder) => file.startsWith(folder));
  for (const target of targets) {
    if (isLocal(target)) {
      if (target.startsWith("test/") && layer !== "test")
        problems.push(`${file} imports ${target}: only tests import tests`);
      const program = COMMAND_LINES.find((path) => target.startsWith(path));
      const same = program && file.split("/")[0] === program.split("/")[0];
      if (program && layer !== "test" && !(same && (layer === "bench" || file.startsWith(program))))
        problems.push(`${file} imports ${target}, which is part of a command line`);
    }
    if (!(layer in ALLOWED)) continue;
    if (isLocal(target)) {
      const top = target.split("/")[0];
      if (top !== layer && !ALLOWED[layer].includes(top))
        problems.push(
          `${file} imports ${target}: ${layer} may import ${[layer, ...ALLOWED[layer]].join(", ")}`,
        );
      if (!node && NODE_ONLY.some((folder) => target.startsWith(folder)))
        problems.push(`${file} imports ${target}, which is for Node only`);
    } else if (!node) problems.push(`${file} imports ${target}: published code has no dependencies`);
    else if (file.startsWith("hrm/cli/") && BUNDLED.includes(target)) continue;
    else if (!target.startsWith("node:") && !PACKAGES.includes(target))
      problems.push(`${file} imports ${target}; expected node:* or ${PACKAGES.join(", ")}`);
  }
}
for (const circle of circlesOf(imports)) problems.push(`imports in a circle: ${circle.join(" -> ")}`);

for (const problem of problems) console.error(problem);
console.log(
  problems.length === 0
    ? "layers: kernels <- engine <- hrm holds, without circles"
    : `layers: ${problems.length} violations`,
);
process.exit(problems.length === 0 ? 0 : 1);
