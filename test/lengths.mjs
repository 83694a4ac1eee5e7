/**
 * The rules of length: a file of more than 400 lines says why in the comment at its head, and no function outside kernels/
 * and engine/ has more than 100 lines, but for those that are named here with a reason.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const FOLDERS = ["kernels", "engine", "hrm", "bench", "docs", "test"];
const MOST_LINES = { file: 400, function: 100 };
/** How the head of a long file begins its reason. */
const REASON = /longer than 400 lines because|its length is that of/;
/** Folders in which a function may be as long as the shader or the pass that it writes. */
const ANY_FUNCTION = ["kernels/", "engine/"];
/** Long functions by file and name, each with its reason. */
const EXCEPTIONS = {
  "bench/peers/jax.mjs open": "a table of operations, each a few lines, that share the library's state",
  "bench/peers/ort.mjs open": "a table of operations, each a few lines, that share the library's session",
  "bench/peers/tfjs.mjs open": "a table of operations, each a few lines, that share the library's backend",
  "test/page/playground.test.ts shows a model that was trained earlier think, scrubs its thought, and takes a visitor's puzzle":
    "the visit of one page, which takes seconds to open",
  "docs/playground/state/client.ts receive": "one case for each kind of report",
  "docs/playground/figures/state_space/canvas.tsx StateCanvas":
    "a component with the handlers of its one element",
  "docs/playground/figures/state_space/renderer.ts createRenderer":
    "pipelines, and the methods that draw with them",
};

/** Calls that group tests: a suite is as long as its tests are many. */
const SUITES = ["describe", "describe.skip", "describe.only"];

/** The name of a function, of what it is given to, or the title of a test. */
function nameOf(node) {
  const name = node.name ?? node.parent.name;
  if (name) return name.getText();
  const title = ts.isCallExpression(node.parent) ? node.parent.arguments[0] : undefined;
  return title && ts.isStringLiteralLike(title) ? title.text : "a function without a name";
}

/** The functions of a file with their names and numbers of lines, suites left out. */
function functionsOf(source) {
  const found = [];
  const line = (at) => source.getLineAndCharacterOfPosition(at).line;
  const isSuite = ({ parent }) => ts.isCallExpression(parent) && SUITES.includes(parent.expression.getText());
  const visit = (node) => {
    if (ts.isFunctionLike(node) && node.body && !isSuite(node)) {
      found.push({
        name: nameOf(node),
        lines: line(node.end) - line(node.getStart()) + 1,
        at: line(node.getStart()) + 1,
      });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/**
 * What is wrong with a file.
 * @param {string} file its path in the repository
 * @param {string} text
 * @param {Record<string, string>} exceptions reasons by `file name`
 * @returns {string[]}
 */
export function tooLong(file, text, exceptions = EXCEPTIONS) {
  const problems = [];
  const lines = text.trimEnd().split("\n").length;
  const head = /^(?:#!.*\n)?\/\*\*([^]*?)\*\//.exec(text)?.[1].replace(/\s+\*?\s*/g, " ") ?? "";
  if (lines > MOST_LINES.file && !REASON.test(head))
    problems.push(
      `${file} has ${lines} lines; expected at most ${MOST_LINES.file}, or a sentence with "longer than 400 lines because" in the comment at its head`,
    );
  if (ANY_FUNCTION.some((folder) => file.startsWith(folder))) return problems;
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  for (const { name, lines, at } of functionsOf(source))
    if (lines > MOST_LINES.function && !(`${file} ${name}` in exceptions))
      problems.push(
        `${file}:${at}: ${name} has ${lines} lines; expected at most ${MOST_LINES.function}: tell it as steps, or name it in test/lengths.mjs with a reason`,
      );
  return problems;
}

function main() {
  const files = FOLDERS.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => /\.(ts|tsx|mjs|js)$/.test(name) && !name.includes("node_modules/"))
      .map((name) => join(folder, name)),
  );
  const problems = files.flatMap((file) => tooLong(file, readFileSync(join(root, file), "utf8")));
  for (const key of Object.keys(EXCEPTIONS)) {
    const [file, name] = [key.slice(0, key.indexOf(" ")), key.slice(key.indexOf(" ") + 1)];
    if (
      tooLong(file, readFileSync(join(root, file), "utf8"), {}).every(
        (text) => !text.includes(`: ${name} has`),
      )
    )
      problems.push(`test/lengths.mjs names ${key}, which is not too long any more`);
  }
  for (const problem of problems) console.error(problem);
  console.log(
    problems.length === 0
      ? "lengths: every long file and function has a reason"
      : `lengths: ${problems.length} violations`,
  );
  return problems.length === 0 ? 0 : 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exit(main());
