/** Files of a run on a disk that fails, and on one whose power is cut between any two calls. */
import { assert } from "chai";
import { encodeCheckpoint, type Checkpoint } from "../../hrm/files/checkpoints/checkpoint.js";
import { newestCheckpoint, storeCheckpoint, type StoreOptions } from "../../hrm/cli/runs/checkpoint_store.js";
import { writeFileSafely } from "../../hrm/cli/disk/output.js";
import { modelConfig } from "../../hrm/model/config.js";
import { initialState } from "../../hrm/model/parameters.js";
import { LOSSES, TestFileSystem } from "../support/power_cut.js";

const config = modelConfig({
  ...{
    hidden_size: 2,
    num_heads: 1,
    H_layers: 1,
    L_layers: 1,
    seq_len: 1,
    vocab_size: 2,
    swiglu_multiple: 2,
  },
});
const checkpoint = (step: number): Checkpoint => ({
  ...{ config, task: "sudoku4", step, seed: 7, raw: initialState(config, step), ema: null },
});
const bytesOf = new Map([1, 2, 3, 4].map((step) => [step, encodeCheckpoint(checkpoint(step))]));
const FOLDER = "/runs/a/checkpoints";

/** Saves steps 1 to 4, and says after each that it is saved. */
async function saveFour(fs: TestFileSystem, keep: number, saved: (step: number) => void): Promise<void> {
  const options: StoreOptions = { keep, usable: new Map<string, boolean>(), fs };
  for (const [step, bytes] of bytesOf) {
    await storeCheckpoint(FOLDER, step, bytes, options);
    saved(step);
  }
}

/** The step that a resume would go on from; 0 if there is no checkpoint. */
const newestStep = (fs: TestFileSystem): Promise<number> =>
  newestCheckpoint(FOLDER, { fs }).then(
    ({ checkpoint: { step } }) => step,
    () => 0,
  );

describe("files of a run on a disk that fails", () => {
  it("finds the checkpoint that was said to be saved, wherever the power is cut", async () => {
    for (const keep of [1, 3]) {
      const fs = TestFileSystem.of({ "/home/x": "" });
      const disks: { disk: TestFileSystem; saved: number; at: string }[] = [];
      let saved = 0;
      const cut = (): void => {
        const at = `${fs.calls.length} ${fs.calls.at(-1)}`;
        for (const loss of LOSSES)
          disks.push({ disk: fs.afterPowerCut(loss), saved, at: `${at}, losing ${loss}` });
      };
      fs.afterCall = cut;
      await saveFour(fs, keep, (step) => {
        saved = step;
        cut();
      });
      assert.isAbove(disks.length, 100);
      for (const { disk, saved: expected, at } of disks) {
        const found = await newestStep(disk);
        assert.isTrue(found === expected || found === expected + 1, `found ${found} of ${expected} at ${at}`);
      }
    }
  });

  it("finds the checkpoint that was said to be saved, whichever call fails", async () => {
    const whole = TestFileSystem.of({});
    await saveFour(whole, 2, () => undefined);
    for (const forGood of [false, true])
      for (let call = 0; call < whole.calls.length; call++) {
        const fs = TestFileSystem.of({});
        fs.failAt = { call, code: "EIO", forGood };
        let saved = 0;
        const failed = await saveFour(fs, 2, (step) => (saved = step)).then(
          () => null,
          (error: unknown) => error as NodeJS.ErrnoException,
        );
        // What may fail without harm: giving the file its owner, and reading what is there already.
        if (failed) assert.equal(failed.code, "EIO", whole.calls[call]);
        else assert.match(whole.calls[call]!, /^(setOwner|setMode|open r|read|status) /);
        fs.failAt = null;
        assert.isAtLeast(await newestStep(fs), saved, `${whole.calls[call]}`);
        for (const loss of LOSSES) assert.isAtLeast(await newestStep(fs.afterPowerCut(loss)), saved);
      }
  });

  it("replaces a file by a whole one or not at all, wherever the power is cut and whichever call fails", async () => {
    const path = "/runs/a/config.json";
    const texts = ["the old text, of some length", "and a new one"];
    const start = (): TestFileSystem => TestFileSystem.of({ [path]: texts[0]! });
    const textOf = (fs: TestFileSystem): string => new TextDecoder().decode(fs.contentOf(path));
    const fs = start();
    fs.afterCall = () => {
      for (const loss of LOSSES) assert.include(texts, textOf(fs.afterPowerCut(loss)), fs.calls.at(-1));
    };
    await writeFileSafely(path, texts[1]!, fs);
    for (const loss of LOSSES) assert.equal(textOf(fs.afterPowerCut(loss)), texts[1], loss);
    assert.deepEqual(fs.files(), [path]);
    for (let call = 0; call < fs.calls.length; call++) {
      const failing = start();
      failing.failAt = { call, code: "ENOSPC" };
      const written = await writeFileSafely(path, texts[1]!, failing).then(
        () => true,
        () => false,
      );
      assert.include(texts, textOf(failing), fs.calls[call]);
      if (written) assert.equal(textOf(failing), texts[1]);
      assert.deepEqual(failing.files(), [path], "something was left behind");
    }
  });
});
