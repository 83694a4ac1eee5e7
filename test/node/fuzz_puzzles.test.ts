import { assert } from "chai";
import { hostRandom } from "../../hrm/puzzles/index.js";
import { puzzleFormats, readUndamaged } from "../fuzz/puzzle_formats.js";
import { testSeed } from "../support/platform.js";

const INPUTS = 300;

describe("damaged puzzle files", () => {
  it("are read whole before they are damaged", readUndamaged);

  for (const { name, attempt } of puzzleFormats) {
    it(`${name}: ${INPUTS} damaged files are refused with a FileFormatError, or read whole`, async () => {
      let refused = 0;
      for (let i = 0; i < INPUTS; i++) {
        if ((await attempt(hostRandom(testSeed, `fuzz ${name} ${i}`))) === "refused") refused++;
      }
      // Nearly all damage shows.
      assert.isAbove(refused, INPUTS / 4);
    });
  }
});
