import { assert } from "chai";
import { emaDecay, learningRate, scheduleTables, trainConfig } from "../../hrm/index.js";

describe("schedules", () => {
  const cosine = trainConfig({ lr: 2, lr_warmup_steps: 4, total_steps: 14, lr_min_ratio: 0.1 });
  const linear = trainConfig({
    lr: 2,
    lr_warmup_steps: 4,
    total_steps: 20,
    lr_schedule: "linear",
    lr_decay_start: 0.8,
    lr_min_ratio: 0.2,
  });

  it("warm up linearly", () => {
    for (const config of [cosine, linear])
      assert.deepEqual(
        [0, 1, 2, 3, 4].map((t) => learningRate(config, 2, t)),
        [0, 0.5, 1, 1.5, 2],
      );
  });

  it("fall along a cosine to their fraction", () => {
    assert.closeTo(learningRate(cosine, 2, 9), 2 * (0.1 + 0.45), 1e-12);
    assert.closeTo(learningRate(cosine, 2, 14), 0.2, 1e-12);
    for (let t = 5; t <= 14; t++) assert.isBelow(learningRate(cosine, 2, t), learningRate(cosine, 2, t - 1));
  });

  it("stay constant at the official ratio of 1", () => {
    const official = trainConfig({ total_steps: 5000 });
    for (const t of [2000, 3000, 5000]) assert.equal(learningRate(official, 1e-4, t), 1e-4);
  });

  it("stay constant, then fall linearly, and no further than the end", () => {
    assert.equal(learningRate(linear, 2, 16), 2);
    assert.closeTo(learningRate(linear, 2, 18), 2 * 0.6, 1e-12);
    assert.closeTo(learningRate(linear, 2, 20), 0.4, 1e-12);
    assert.closeTo(learningRate(linear, 2, 25), 0.4, 1e-12);
  });

  it("begin their decay after the warm-up at the earliest", () => {
    const config = { ...linear, lr_warmup_steps: 18 };
    assert.closeTo(learningRate(config, 2, 17), (2 * 17) / 18, 1e-12);
    assert.equal(learningRate(config, 2, 18), 2);
    assert.closeTo(learningRate(config, 2, 20), 0.4, 1e-12);
  });

  it("average with min(d, (1 + t) / (10 + t))", () => {
    const config = trainConfig({ ema_decay: 0.99 });
    assert.equal(emaDecay(config, 1), 2 / 11);
    assert.equal(emaDecay(config, 90), 91 / 100);
    assert.equal(emaDecay(config, 1e6), 0.99);
  });

  it("are tables of one row a step, with Adam's bias corrections", () => {
    const config = trainConfig({ ...cosine, ema_decay: 0.5, puzzle_emb_lr: 3 });
    const { weights, puzzle } = scheduleTables(config);
    assert.deepEqual(weights.shape, [15, 4]);
    for (let t = 1; t <= 14; t++) {
      const row = [
        learningRate(config, 2, t),
        1 / (1 - 0.9 ** t),
        1 / Math.sqrt(1 - 0.95 ** t),
        emaDecay(config, t),
      ];
      assert.deepEqual([...weights.data.subarray(4 * t, 4 * t + 4)], row.map(Math.fround));
      assert.equal(puzzle.data[4 * t], Math.fround(learningRate(config, 3, t)));
    }
  });
});
