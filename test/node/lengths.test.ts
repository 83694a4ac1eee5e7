import { assert } from "chai";
// @ts-expect-error a module of JavaScript, which `npm run layers` runs without a build
import { tooLong } from "../lengths.mjs";

const problemsOf = tooLong as (file: string, text: string, exceptions?: object) => string[];
const many = (count: number): string => "count++;\n".repeat(count);

describe("the rules of length", () => {
  it("ask a file of more than 400 lines for a reason in the comment at its head", () => {
    assert.deepEqual(problemsOf("hrm/a.ts", many(400)), []);
    assert.match(problemsOf("hrm/a.ts", many(401)).join(), /^hrm\/a\.ts has 401 lines; expected at most 400/);
    const reason = "/** A table. The file is longer than 400\n * lines because it is one table. */\n";
    assert.deepEqual(problemsOf("hrm/a.ts", reason + many(500)), []);
    assert.lengthOf(problemsOf("hrm/a.ts", `/** A table. */\n${reason}${many(500)}`), 1);
  });

  it("ask functions of more than 100 lines to become steps, except in kernels and in the engine", () => {
    const long = `class C {\n  method() {\n${many(99)}}\n}\n`;
    assert.match(
      problemsOf("hrm/a.ts", long).join(),
      /^hrm\/a\.ts:2: method has 101 lines; expected at most 100/,
    );
    assert.deepEqual(problemsOf("kernels/a.ts", long), []);
    assert.deepEqual(problemsOf("hrm/a.ts", long, { "hrm/a.ts method": "a reason" }), []);
    const test = `describe("a", () => {\n${many(200)}it("adds", () => {\n${many(100)}});\n});\n`;
    assert.match(problemsOf("test/a.ts", test).join(), /^test\/a\.ts:202: adds has 102 lines[^]*reason$/);
  });
});
