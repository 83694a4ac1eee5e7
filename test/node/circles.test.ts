import { assert } from "chai";
// @ts-expect-error a module of JavaScript, which the check of layers runs without a build
import { circlesOf } from "../support/circles.mjs";

const found = circlesOf as (imports: ReadonlyMap<string, readonly string[]>) => string[][];

describe("circles of imports", () => {
  it("are found once each, with the files along them", () => {
    const imports = new Map([
      ["a", ["b", "c", "package"]],
      ["b", ["d"]],
      ["c", ["d"]],
      ["d", ["b"]],
      ["e", ["e"]],
    ]);
    assert.deepEqual(found(imports), [
      ["b", "d", "b"],
      ["e", "e"],
    ]);
  });

  it("are not reported if files only share what they import", () => {
    const imports = new Map([
      ["a", ["b", "c"]],
      ["b", ["d"]],
      ["c", ["d"]],
      ["d", []],
    ]);
    assert.deepEqual(found(imports), []);
  });
});
