import { assert } from "chai";
import { readChoices, StoreError, writeChoices } from "../../engine/browser/index.js";
import { uniform } from "../support/random.js";

/** The error that a promise rejects with; null if it resolves. */
const rejection = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => null,
    (error: unknown) => error,
  );

describe("measured choices in IndexedDB", () => {
  if (typeof indexedDB === "undefined")
    it("report that Node has no IndexedDB", async () => {
      for (const call of [() => readChoices("a"), () => writeChoices("a", {})]) {
        const error = await rejection(call());
        assert.instanceOf(error, StoreError);
        assert.match(error.message, /indexedDB is not defined.* You can go on/);
      }
    });
  else {
    it("come back as they were stored, for each device separately, with new choices beside old ones", async () => {
      const [a, b] = [`a ${uniform()}`, `b ${uniform()}`];
      assert.deepEqual(await readChoices(a), {});
      await writeChoices(a, { matmul_nt_1x2x3: "r8x8", matmul_nn_1x2x3: "r4x4" });
      await writeChoices(b, { matmul_nt_1x2x3: "t32x32x8_r4x4" });
      await Promise.all([
        writeChoices(a, { matmul_nn_1x2x3: "r16x8_4N" }),
        writeChoices(a, { matmul_tn_1x2x3: "r1x1" }),
      ]);
      assert.deepEqual(await readChoices(a), {
        matmul_nt_1x2x3: "r8x8",
        matmul_nn_1x2x3: "r16x8_4N",
        matmul_tn_1x2x3: "r1x1",
      });
      assert.deepEqual(await readChoices(b), { matmul_nt_1x2x3: "t32x32x8_r4x4" });
    });
    it("say that they cannot be stored, and keep earlier choices", async () => {
      const key = `c ${uniform()}`;
      await writeChoices(key, { matmul_nt_1x2x3: "r8x8" });
      const unkeepable = { matmul_nt_1x2x3: (() => "r4x4") as unknown as string };
      assert.instanceOf(await rejection(writeChoices(key, unkeepable)), StoreError);
      assert.deepEqual(await readChoices(key), { matmul_nt_1x2x3: "r8x8" });
    });
  }
});
