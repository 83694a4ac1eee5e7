import { assert } from "chai";
import { hostRandom } from "../../hrm/puzzles/index.js";
import { readUndamaged, tensorFormats } from "../fuzz/tensor_formats.js";
import { testSeed } from "../support/platform.js";

const INPUTS = 300;

describe("damaged files of tensors", () => {
  it("are read while they are whole", () => {
    readUndamaged();
  });
  for (const { name, attempt } of tensorFormats) {
    it(`${name}: ${INPUTS} damaged files are refused with a FileFormatError, or read whole`, async () => {
      let refused = 0;
      for (let i = 0; i < INPUTS; i++) {
        if ((await attempt(hostRandom(testSeed, `fuzz ${name} ${i}`))) === "refused") refused++;
      }
      // Nearly all damage shows.
      assert.isAbove(refused, INPUTS / 2);
    });
  }
});
