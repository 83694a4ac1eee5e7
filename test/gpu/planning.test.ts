import { assert } from "chai";
import { LimitError } from "../../engine/index.js";
import { derive } from "../../hrm/model/config.js";
import { createEvaluator, createTrainer } from "../../hrm/index.js";
import {
  chooseMicroBatch,
  defaultTraits,
  targetOf,
  microBatches,
  trainingNeeds,
} from "../../hrm/training/memory_estimate.js";
import { testDevice } from "../support/device.js";
import { official, randomPuzzles, training } from "../support/tiny.js";

const config = { ...official, batch_size: 4 };
const data = randomPuzzles(12, config, 1);
const validation = randomPuzzles(6, config, 2);
const run = { config, train: training, data, validation };

describe("planning @slow", () => {
  for (const microBatch of microBatches(config.batch_size)) {
    it(`predicts the bytes that training in micro-batches of ${microBatch} holds`, async () => {
      const device = await testDevice();
      const needs = trainingNeeds({ ...run, target: device.target }, microBatch);
      const before = device.stats.bytesLive;
      const trainer = await createTrainer({ device, ...run, seed: 1, microBatch });
      const weights = trainer.memory.ema ?? trainer.memory.weights;
      const evaluator = await createEvaluator({
        device,
        config: { ...config, batch_size: microBatch },
        weights,
        data: validation,
      });
      assert.equal(device.stats.bytesLive - before, needs.held, "compiled");
      await trainer.run(2);
      await evaluator.run();
      await trainer.metrics();
      assert.equal(device.stats.bytesLive - before, needs.held, "after two steps and a look");
      assert.equal(needs.variables + needs.programs, needs.held);
      evaluator.destroy();
      trainer.destroy();
      assert.equal(device.stats.bytesLive, before);
    });
  }

  it("chooses the largest micro-batch within a budget", () => {
    const target = targetOf(defaultTraits);
    const whole = chooseMicroBatch({ ...run, target });
    assert.equal(whole.microBatch, 4);
    const half = trainingNeeds({ ...run, target }, 2);
    assert.isBelow(half.peak, whole.peak);
    assert.equal(chooseMicroBatch({ ...run, target }, whole.peak).microBatch, 4);
    assert.equal(chooseMicroBatch({ ...run, target }, whole.peak - 1).microBatch, 2);
  });

  it("refuses a model that never fits, and says what the smallest micro-batch needs", () => {
    const target = targetOf(defaultTraits);
    assert.throws(
      () => chooseMicroBatch({ ...run, target }, 1000),
      LimitError,
      /not even a single row: \d+ bytes, .*budget of 1000/,
    );
  });

  it("stays within the limits of the device", () => {
    const long = { ...config, seq_len: 96 };
    const { innerSize, totalLength } = derive(long);
    // The gates and values of SwiGLU are the largest tensor. One binding holds two rows of it, but not three.
    const gateUp = 4 * 2 * innerSize * totalLength;
    const limits = { ...defaultTraits.limits, maxStorageBufferBindingSize: 2 * gateUp } as GPUSupportedLimits;
    const chosen = chooseMicroBatch({
      ...{ config: long, train: training },
      ...{ data: randomPuzzles(12, long, 1), validation: randomPuzzles(6, long, 2) },
      target: targetOf({ ...defaultTraits, limits }),
    });
    assert.equal(chosen.microBatch, 2);
  });

  it("splits batches that would keep a software adapter busy for seconds", () => {
    const wide = { ...config, batch_size: 8, hidden_size: 512, seq_len: 96 };
    const puzzles = { data: randomPuzzles(12, wide, 1), validation: randomPuzzles(6, wide, 2) };
    const planned = { config: wide, train: training, ...puzzles };
    const adapterInfo = { description: "SwiftShader" } as GPUAdapterInfo;
    const software = targetOf({ ...defaultTraits, adapterInfo });
    const chosen = chooseMicroBatch({ ...planned, target: software });
    assert.isAtMost(chosen.longestDispatch, 1e9);
    const next = trainingNeeds({ ...planned, target: software }, 2 * chosen.microBatch);
    assert.isAbove(next.longestDispatch, 1e9);
    assert.equal(chooseMicroBatch({ ...planned, target: targetOf(defaultTraits) }).microBatch, 8);
  });
});
