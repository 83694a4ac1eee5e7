/** Staggered starts: at which segment the rows of the first batch begin, and with how many evaluation ends. */
import { assert } from "chai";
import { createEvaluator, createTrainer, modelConfig, type HrmConfig } from "../../hrm/index.js";
import { testDevice } from "../support/device.js";
import { haltOnly, randomPuzzles, training } from "../support/tiny.js";

const config: HrmConfig = modelConfig({
  ...{ ...haltOnly, batch_size: 8, halt_max_steps: 3, halt_exploration_prob: 1, H_cycles: 1 },
});

describe("staggered starts", () => {
  for (const microBatch of [8, 2])
    it(`begin at segment b mod halt_max_steps, once, in parts of ${microBatch} rows`, async () => {
      const device = await testDevice();
      const data = randomPuzzles(23, config, 5);
      const runs = [true, false].map((staggered_starts) =>
        createTrainer({
          ...{ device, config, data, seed: 4, microBatch },
          train: { ...training, staggered_starts },
        }),
      );
      const [staggered, together] = await Promise.all(runs);
      const stepsOf = async (trainer: typeof staggered): Promise<number[]> => {
        await trainer!.run(1);
        return [...(await trainer!.memory.carry.steps.read())];
      };
      assert.deepEqual(await stepsOf(staggered), [1, 2, 3, 1, 2, 3, 1, 2]);
      assert.deepEqual(await stepsOf(together), [1, 1, 1, 1, 1, 1, 1, 1]);
      // Rows that took their last segment start over at the first one.
      assert.deepEqual(
        [...(await staggered!.memory.carry.halted.read())].filter((_, b) => b % 3 === 2),
        [1, 1],
      );
      const second = await stepsOf(staggered);
      assert.deepEqual([second[2], second[5]], [1, 1]);
      const metrics = await staggered!.metrics();
      assert.equal(metrics[0]!.steps, 6, "two rows finished with three segments counted each");
      for (const trainer of [staggered, together]) trainer!.destroy();
    });

  it("has nothing to do with the segments of evaluation, which inference_segments sets", async () => {
    const device = await testDevice();
    const data = randomPuzzles(6, config, 5);
    const trainer = await createTrainer({ device, config, train: training, data, seed: 4 });
    for (const [inference_segments, expected] of [
      [0, 3],
      [5, 5],
    ] as const) {
      const evaluator = await createEvaluator({
        ...{ device, data, weights: trainer.memory.weights },
        config: { ...config, inference_segments },
      });
      assert.equal((await evaluator.run()).meanSteps, expected);
      evaluator.destroy();
    }
    trainer.destroy();
  });
});
