import { assert } from "chai";
import { hostRandom } from "../../hrm/tasks/index.js";
import { puzzleFormats } from "../fuzz/puzzle_formats.js";
import { testSeed } from "../support/platform.js";

const INPUTS = 300;

describe("damaged puzzle files", () => {
  for (const { name, attempt } of puzzleFormats) {
    it(`${name}: ${INPUTS} damaged files are refused with a FileFormatError, or read whole`, async () => {
      let refused = 0;
      for (let i = 0; i < INPUTS; i++) {
        if ((await attempt(hostRandom(testSeed, `fuzz ${name} ${i}`))) === "refused") refused++;
      }
      // Nearly all damage shows; all of it would mean that the undamaged file is refused too.
      assert.isAbove(refused, INPUTS / 4);
      assert.isBelow(refused, INPUTS);
    });
  }
});
