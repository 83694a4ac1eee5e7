/** The types that users meet, as the compiler judges them: files under test/types name the lines that must not compile. */
import { assert } from "chai";
import { readdirSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import ts from "typescript";

const read = (path: string): string | undefined => ts.sys.readFile(path);
const { options } = ts.parseJsonConfigFileContent(
  ts.readConfigFile("tsconfig.json", read).config,
  ts.sys,
  resolve("."),
);

/** What the compiler says of a file, whose text may be replaced. */
function diagnose(file: string, text?: string): string[] {
  const host = ts.createCompilerHost(options);
  const original = host.readFile.bind(host);
  host.readFile = (path) => (text !== undefined && resolve(path) === resolve(file) ? text : original(path));
  const program = ts.createProgram([file], { ...options, noEmit: true }, host);
  return program
    .getSemanticDiagnostics(program.getSourceFile(file))
    .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n"));
}

describe("types @slow", function () {
  this.timeout(120_000);
  for (const name of readdirSync("test/types")) {
    const file = `test/types/${name}`;

    it(`${name}: every line that must not compile does not, and all others do`, () => {
      assert.deepEqual(diagnose(file), []);
    });

    it(`${name}: a line that must not compile is refused without its comment`, () => {
      const text = readFileSync(file, "utf8");
      const expected = [...text.matchAll(/^ *\/\/ @ts-expect-error/gm)].length;
      assert.isAbove(expected, 0);
      assert.equal(diagnose(file, text.replaceAll("// @ts-expect-error", "// expected:")).length, expected);
    });
  }
});
