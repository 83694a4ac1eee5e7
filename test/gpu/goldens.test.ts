/** The golden fixtures of the official code, every folder of them that is there. */
import { assert } from "chai";
import { replayFixture } from "../../hrm/verify/replay.js";
import { testDevice } from "../support/device.js";
import { listFixtures, readFixture } from "../support/platform.js";

const folders = await listFixtures();

describe("goldens @slow", () => {
  if (folders.length === 0) {
    it("has no fixtures to replay: ../shared/fixtures and ../shared/fixtures-trm are absent", function () {
      this.skip();
    });
  }
  for (const folder of folders) {
    it(`replays ${folder}`, async () => {
      const device = await testDevice();
      const before = device.stats.bytesLive;
      const rows = await replayFixture(device, folder, (name) => readFixture(`${folder}/${name}`));
      assert.isAbove(rows.length, 0, "nothing was compared");
      const failed = rows.filter((r) => !r.passed);
      assert.deepEqual(
        failed.map((r) => `${r.quantity}: error ${r.error}, allowed ${r.allowed}`),
        [],
      );
      assert.equal(device.stats.bytesLive, before, "bytes left behind");
    });
  }
});
