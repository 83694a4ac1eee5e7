import { assert } from "chai";
import { existsSync, readFileSync } from "node:fs";
import { FAULTS } from "../mutate/faults.mjs";

describe("the table of planted faults", () => {
  it("names texts that stand once in their file, and tests that exist", () => {
    assert.isAbove(FAULTS.length, 50);
    for (const { name, file, find, replace, test } of FAULTS) {
      assert.equal(readFileSync(file, "utf8").split(find).length - 1, 1, `${name}: "${find}" in ${file}`);
      assert.notEqual(find, replace, name);
      assert.isTrue(existsSync(test), `${name}: ${test}`);
    }
  });
});
