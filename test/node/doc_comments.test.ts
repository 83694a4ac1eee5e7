/** Every public symbol has a doc comment, and so does every member of a public class, interface or object type. */
import { assert } from "chai";
import { readFileSync } from "node:fs";
import { relative, resolve } from "node:path";
import ts from "typescript";

/** What the entries export, with its members, as `file: name` or `file: name.member` for those without a doc comment. */
function undocumented(entries: readonly string[], text?: Readonly<Record<string, string>>): string[] {
  const { config } = ts.readConfigFile("tsconfig.build.json", (path) => readFileSync(path, "utf8")) as {
    config: object;
  };
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, resolve("."));
  const host = ts.createCompilerHost(options);
  const original = host.getSourceFile.bind(host);
  host.getSourceFile = (path, target) => {
    const given = text?.[relative(".", path)];
    return given === undefined ? original(path, target) : ts.createSourceFile(path, given, target);
  };
  const program = ts.createProgram(entries, { ...options, noEmit: true }, host);
  const checker = program.getTypeChecker();
  const missing = new Set<string>();

  const isOurs = (node: ts.Node): boolean =>
    !node.getSourceFile().isDeclarationFile && !node.getSourceFile().fileName.includes("node_modules");
  const isDocumented = (symbol: ts.Symbol): boolean =>
    symbol.getDocumentationComment(checker).length > 0 || symbol.getJsDocTags(checker).length > 0;
  const isInternal = (symbol: ts.Symbol): boolean =>
    symbol.getJsDocTags(checker).some(({ name }) => name === "internal");
  const note = (symbol: ts.Symbol, name: string): void => {
    const node = symbol.declarations?.[0];
    if (!node || !isOurs(node) || isDocumented(symbol)) return;
    missing.add(`${relative(".", node.getSourceFile().fileName)}: ${name}`);
  };

  const seen = new Set<ts.Symbol>();
  const visit = (symbol: ts.Symbol, name: string): void => {
    if (symbol.flags & ts.SymbolFlags.Alias) symbol = checker.getAliasedSymbol(symbol);
    if (seen.has(symbol) || isInternal(symbol)) return;
    seen.add(symbol);
    note(symbol, name);
    for (const node of symbol.declarations ?? []) {
      if (!isOurs(node)) continue;
      if (ts.isClassDeclaration(node) || ts.isInterfaceDeclaration(node)) membersOf(node.members, name);
      if (ts.isTypeAliasDeclaration(node) && ts.isTypeLiteralNode(node.type))
        membersOf(node.type.members, name);
    }
  };
  /** Public members by name; a constructor's public parameters are members. */
  const membersOf = (members: ts.NodeArray<ts.ClassElement | ts.TypeElement>, owner: string): void => {
    for (const member of members) {
      if (ts.isConstructorDeclaration(member))
        for (const parameter of member.parameters)
          if (ts.isParameterPropertyDeclaration(parameter, member)) membersNamed(parameter, owner);
      membersNamed(member, owner);
    }
  };
  const membersNamed = (
    member: ts.ClassElement | ts.TypeElement | ts.ParameterDeclaration,
    owner: string,
  ) => {
    const hidden = ts.ModifierFlags.Private | ts.ModifierFlags.Protected;
    if (!member.name || ts.isPrivateIdentifier(member.name)) return;
    if (ts.getCombinedModifierFlags(member) & hidden) return;
    // What a class inherits is documented there.
    if (ts.getCombinedModifierFlags(member) & ts.ModifierFlags.Override) return;
    const symbol = checker.getSymbolAtLocation(member.name);
    if (symbol && !isInternal(symbol)) note(symbol, `${owner}.${member.name.getText()}`);
  };

  for (const entry of entries) {
    const module = checker.getSymbolAtLocation(program.getSourceFile(entry)!);
    for (const symbol of module ? checker.getExportsOfModule(module) : []) visit(symbol, symbol.name);
  }
  return [...missing].sort();
}

describe("doc comments @slow", function () {
  this.timeout(120_000);

  it("are on every public export and every public member", () => {
    const { exports } = JSON.parse(readFileSync("package.json", "utf8")) as { exports: object };
    const entries = Object.values(exports).flatMap((target: string | { readonly types: string }) =>
      typeof target === "string" ? [] : [target.types.replace(/^\.\/dist\/(.*)\.d\.ts$/, "$1.ts")],
    );
    const missing = undocumented(entries);
    assert.isEmpty(missing, missing.join("\n"));
  });

  it("are missed on exports, fields, methods and public parameters of a constructor", () => {
    const text = `
      export const bare = 1;
      /** Documented. */
      export class C {
        constructor(readonly p: number, private readonly q: number) {}
        method(): number { return this.q; }
        #hidden = 0;
      }
      /** Documented. */
      export interface I {
        field: number;
        /** Documented. */
        other: number;
      }`;
    assert.deepEqual(undocumented(["test/doc_comments_of.ts"], { "test/doc_comments_of.ts": text }), [
      "test/doc_comments_of.ts: C.method",
      "test/doc_comments_of.ts: C.p",
      "test/doc_comments_of.ts: I.field",
      "test/doc_comments_of.ts: bare",
    ]);
  });
});
