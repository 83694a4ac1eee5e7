/**
 * `npm run package`: judges the built package as it would be published, by publint (does package.json lead to files that
 * runtimes and bundlers accept?), by Are the Types Wrong (does every entry have types under each module resolution?), and by
 * the links of its documents (is their target in the package?). `npm run build` comes first.
 *
 * package.json names no `repository`: the project has no public address yet. Enter it there once it has one.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, posix } from "node:path";
import { fileURLToPath } from "node:url";
import { checkPackage, createPackageFromTarballData } from "@arethetypeswrong/core";
import { publint } from "publint";
import { formatMessage } from "publint/utils";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
/** The package is of ES modules with subpaths, for runtimes and TypeScript settings that know them. */
const ACCEPTED = {
  NoResolution: ({ resolutionKind }) => resolutionKind === "node10",
  CJSResolvesToESM: () => true,
};

/** Links of the documents among these files to files that are not among them. */
function deadLinks(paths) {
  const known = new Set(
    paths.flatMap((path) => path.split("/").map((_, i, parts) => parts.slice(0, i + 1).join("/"))),
  );
  return paths
    .filter((path) => path.endsWith(".md"))
    .flatMap((path) =>
      [...readFileSync(join(root, path), "utf8").matchAll(/\]\(([^)#\s]+)/g)]
        .map(([, target]) => target)
        .filter(
          (target) =>
            !/^[a-z]+:/.test(target) &&
            !known.has(posix.join(posix.dirname(path), target).replace(/\/$/, "")),
        )
        .map((target) => `${path} links to ${target}, which is not in the package`),
    );
}

const folder = mkdtempSync(join(tmpdir(), "hrm-package-"));
const problems = [];
try {
  const pack = ["pack", "--ignore-scripts", "--json", "--pack-destination", folder];
  const [{ filename, files }] = JSON.parse(execFileSync("npm", pack, { cwd: root, encoding: "utf8" }));
  const tarball = readFileSync(join(folder, filename));
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const { messages } = await publint({
    pack: { tarball: tarball.buffer.slice(tarball.byteOffset, tarball.byteOffset + tarball.length) },
    strict: true,
  });
  for (const message of messages)
    problems.push(`publint: ${formatMessage(message, manifest, { color: false })}`);
  problems.push(...deadLinks(files.map(({ path }) => path)));
  const { problems: found } = await checkPackage(createPackageFromTarballData(new Uint8Array(tarball)));
  for (const problem of found)
    if (!ACCEPTED[problem.kind]?.(problem)) problems.push(`types: ${JSON.stringify(problem)}`);
} finally {
  rmSync(folder, { recursive: true });
}
for (const problem of problems) console.error(problem);
if (problems.length === 0)
  console.log("ok    publint and Are the Types Wrong find nothing wrong with the package");
process.exit(problems.length > 0 ? 1 : 0);
