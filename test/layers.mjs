/**
 * The layer rule: kernels <- engine <- hrm, imports point downwards only; nothing published imports test, bench or
 * docs, nor a package; Node's modules are for engine/node and hrm/cli alone.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
/** What each folder may import besides itself. */
const ALLOWED = { kernels: [], engine: ["kernels"], hrm: ["kernels", "engine"] };
/** Folders that run under Node only. */
const NODE_ONLY = ["engine/node/", "hrm/cli/"];
/** Packages that code for Node may import, and those that are bundled into the command line. */
const PACKAGES = ["webgpu"];
const BUNDLED = ["yaml"];

const problems = [];
for (const [layer, below] of Object.entries(ALLOWED)) {
  for (const name of readdirSync(join(root, layer), { recursive: true, encoding: "utf8" })) {
    if (!name.endsWith(".ts")) continue;
    const file = join(layer, name);
    const text = readFileSync(join(root, file), "utf8");
    const node = NODE_ONLY.some((folder) => file.startsWith(folder));
    for (const [, target] of text.matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)) {
      if (target.startsWith(".")) {
        const path = relative(root, normalize(join(root, dirname(file), target)));
        const top = path.split("/")[0];
        if (top !== layer && !below.includes(top))
          problems.push(`${file} imports ${path}: ${layer} may import ${[layer, ...below].join(", ")}`);
        if (!node && NODE_ONLY.some((folder) => path.startsWith(folder)))
          problems.push(`${file} imports ${path}, which is for Node only`);
      } else if (!node) problems.push(`${file} imports ${target}: published code has no dependencies`);
      else if (file.startsWith("hrm/cli/") && BUNDLED.includes(target)) continue;
      else if (!target.startsWith("node:") && !PACKAGES.includes(target))
        problems.push(`${file} imports ${target}; expected node:* or ${PACKAGES.join(", ")}`);
    }
    if (layer !== "hrm" && /\bhrm\b/i.test(text.replaceAll("hrm-webgpu", "")))
      problems.push(`${file} speaks of HRM: ${layer} must not`);
  }
}
for (const problem of problems) console.error(problem);
console.log(
  problems.length === 0 ? "layers: kernels <- engine <- hrm holds" : `layers: ${problems.length} violations`,
);
process.exit(problems.length === 0 ? 0 : 1);
