/** The watch over training: the gradient's norm of every step, and the first step that is no finite number. */
import { assert } from "chai";
import { compile } from "../../engine/index.js";
import { findNonFinite } from "../../hrm/diagnose.js";
import {
  createTrainer,
  createTrainingMemory,
  randomBatch,
  randomExploration,
  trainStep,
  uploadPuzzles,
  destroyPuzzles,
} from "../../hrm/index.js";
import { PUZZLE_LOCAL } from "../../hrm/step.js";
import { testDevice } from "../support/device.js";
import { assertClose } from "../support/random.js";
import { official, randomPuzzles, training } from "../support/tiny.js";

const config = { ...official, batch_size: 4 };
const data = randomPuzzles(23, config, 5);

describe("the watch over training @slow", () => {
  it("measures the gradient's norm in every step", async () => {
    const device = await testDevice();
    const trainer = await createTrainer({ device, config, train: training, data, seed: 6 });
    await trainer.run(5);
    const norms = (await trainer.metrics()).map((m) => m.gradientNorm);
    trainer.destroy();
    const memory = createTrainingMemory(device, config, training, { seed: 6 });
    const puzzles = uploadPuzzles(device, data, "train");
    const program = await compile(device, {}, () => {
      const { counter } = memory;
      const { gradients } = trainStep(
        memory,
        randomBatch(puzzles, counter, config),
        randomExploration(counter, config),
      );
      return Object.fromEntries(gradients);
    });
    const expected: number[] = [];
    for (let step = 0; step < 5; step++) {
      await program.run();
      let squares = 0;
      for (const name of Object.keys(program.plan.outputs))
        if (name !== PUZZLE_LOCAL) for (const g of await program.read(name)) squares += g * g;
      expected.push(Math.sqrt(squares));
    }
    // Sums of some hundred squares; and the other program may contract products otherwise.
    assertClose(norms, expected, (i) => 2e-5 * expected[i]!, "norms");
    program.destroy();
    memory.destroy();
    destroyPuzzles(puzzles);
  });

  for (const microBatch of [4, 2])
    it(`remembers the first step with a NaN, whenever the host asks, in parts of ${microBatch}`, async () => {
      const device = await testDevice();
      const trainer = await createTrainer({ device, config, train: training, data, seed: 6, microBatch });
      await trainer.run(3);
      const weight = trainer.memory.weights.get("inner.lm_head.weight")!;
      weight.write((await weight.read()).fill(NaN, 0, 1));
      await trainer.run(4);
      const rows = await trainer.metrics();
      assert.deepEqual(
        rows.map((r) => r.firstNonFinite),
        [0, 0, 0, 4, 4, 4, 4],
      );
      assert.deepEqual(
        rows.map((r) => Number.isFinite(r.gradientNorm)),
        [true, true, true, false, false, false, false],
      );
      // Long after the step's own row is gone.
      await trainer.run(130);
      const later = await trainer.metrics();
      assert.equal(later.length, 128);
      assert.equal(later.at(-1)!.firstNonFinite, 4);
      trainer.destroy();
    });

  for (const microBatch of [4, 2])
    it(`finds the tensor in which it began, in parts of ${microBatch}`, async () => {
      const device = await testDevice();
      // An update that is still finite ruins the step after it.
      const train = { ...training, lr: 1e30, lr_warmup_steps: 0 };
      const trainer = await createTrainer({ device, config, train, data, seed: 6, microBatch });
      const snapshot = await trainer.save();
      await trainer.run(8);
      const { firstNonFinite } = (await trainer.metrics()).at(-1)!;
      trainer.destroy();
      assert.isAbove(firstNonFinite, 0);
      const live = device.stats.bytesLive;
      const found = await findNonFinite({ device, snapshot, data, lastStep: firstNonFinite });
      assert.equal(found!.step, firstNonFinite);
      assert.match(found!.tensor, /^(input_embeddings|[LH]\.\d|logits|loss|grad\.)/);
      assert.isNull(await findNonFinite({ device, snapshot, data, lastStep: firstNonFinite - 1 }));
      assert.equal(device.stats.bytesLive, live, "bytes left behind");
    });
});
