/** What cannot be is refused by arithmetic, before memory is taken for it. */
import { assert } from "chai";
import { LimitError } from "../../engine/index.js";
import { defaultTraits, targetOf } from "../../engine/planning.js";
import { requireHostMemory } from "../../hrm/cli/runs/host_memory.js";
import { ConfigError, createSession, modelConfig, trainConfig, type HrmConfig } from "../../hrm/index.js";
import {
  chooseMicroBatch,
  microBatches,
  trainingNeeds,
  type EstimateOptions,
} from "../../hrm/training/memory_estimate.js";
import { findPreset } from "../../hrm/training/presets.js";
import { createSchedule, scheduleTables } from "../../hrm/training/schedule.js";
import { stubDevice } from "../support/stub_device.js";
import { rejection } from "../support/rejection.js";
import { randomPuzzles } from "../support/tiny.js";

const preset = findPreset("sudoku4")!;

const target = targetOf(defaultTraits);

function planned(fields: Partial<HrmConfig>, train = preset.train): EstimateOptions {
  const config = modelConfig({ ...preset.model, ...fields });
  const data = randomPuzzles(4, preset.model, 1);
  return { target, config, train, data, validation: data, symmetry: null };
}

describe("sizes beyond a device", () => {
  const shapes: readonly (readonly [title: string, fields: Partial<HrmConfig>])[] = [
    ["hidden_size 65536", { hidden_size: 65_536 }],
    ["hidden_size 2^26", { hidden_size: 2 ** 26 }],
    ["expansion 1e7", { expansion: 1e7 }],
    ["swiglu_multiple 2^31 - 1", { swiglu_multiple: 2 ** 31 - 1 }],
    ["a puzzle embedding of 1e9 rows", { puzzle_emb_ndim: 32, num_puzzle_identifiers: 1e9 }],
    ["a puzzle embedding of width 1e9", { puzzle_emb_ndim: 1e9 }],
    ["1024 x 1024 cycles", { H_cycles: 1024, L_cycles: 1024 }],
    ["batch 1e9", { batch_size: 1e9 }],
    ["batch 2^31 - 1, a prime", { batch_size: 2 ** 31 - 1 }],
  ];
  for (const [title, fields] of shapes)
    it(`${title} is refused by the plan and by a session`, async () => {
      const error = await rejection(Promise.resolve().then(() => chooseMicroBatch(planned(fields))));
      assert.instanceOf(error, LimitError);
      assert.match(error.message, /Choose/);
      const device = stubDevice();
      const model = modelConfig({ ...preset.model, ...fields });
      const refused = await rejection(createSession({ device, preset: { ...preset, model }, seed: 0 }));
      assert.instanceOf(refused, LimitError);
      assert.equal(device.stats.bytesLive, 0);
    });

  it("a puzzle embedding that no binding holds is refused with its bytes and what to do", async () => {
    const fields = { puzzle_emb_ndim: 512, num_puzzle_identifiers: 960_001 };
    const { message } = await rejection(Promise.resolve().then(() => chooseMicroBatch(planned(fields))));
    assert.match(message, /puzzle_emb.*needs 1966082048 bytes;.*fewer puzzle identifiers/);
  });

  it("fields of more than 32 bits, and thousands of layers, are no configuration", () => {
    for (const fields of [{ hidden_size: 1e12 }, { batch_size: 1e10 }, { H_layers: 1e9 }, { L_cycles: 1e6 }])
      assert.throws(() => modelConfig(fields), ConfigError, /expected a positive integer/);
    assert.throws(
      () => trainConfig({ total_steps: 1e12 }),
      ConfigError,
      /a positive integer up to 2147483647/,
    );
  });

  it("micro-batches are the divisors of the batch, found without a list of its rows", () => {
    assert.deepEqual(microBatches(12), [12, 6, 4, 3, 2, 1]);
    assert.deepEqual(microBatches(16), [16, 8, 4, 2, 1]);
    assert.deepEqual(microBatches(1), [1]);
    assert.lengthOf(microBatches(1e9), 100);
    assert.deepEqual(microBatches(2 ** 31 - 1), [2 ** 31 - 1, 1]);
  });

  it("a plan counts what the host holds", () => {
    const small = trainingNeeds(planned({}), 16);
    const large = trainingNeeds(planned({ hidden_size: 512, num_heads: 8 }), 16);
    // Weights, two moments and the average of the weights, each of 4 bytes, in the snapshot and in its file.
    for (const { host, peak, held } of [small, large]) assert.isAtLeast(host, 2 * (peak - held));
    assert.isAbove(large.host, 10 * small.host);
    requireHostMemory({ host: 6e9, peak: 9e9 }, false, 8e9);
    assert.throws(
      () => requireHostMemory({ host: 6e9, peak: 9e9 }, true, 8e9),
      LimitError,
      /15\.0+ GB.*8\.0+ GB/,
    );
  });

  it("schedules of 1e8 steps take a window", () => {
    const device = stubDevice();
    const train = trainConfig({ total_steps: 1e8 });
    const schedule = createSchedule(device, train);
    assert.deepEqual(schedule.weights.shape, [4096, 4]);
    assert.isBelow(device.stats.bytesLive, 1e6);
    assert.equal(schedule.prepare(1), 4095);
    assert.equal(schedule.prepare(4095), 1);
    assert.equal(schedule.prepare(4096), 4096);
    assert.equal(schedule.prepare(1e8), 4096 - (1e8 % 4096));
    const needs = trainingNeeds(planned({}, { ...preset.train, total_steps: 1e8 }), 16);
    assert.isBelow(needs.held, 20e6);
  });

  it("windows hold the rows of the whole table, to the bit", () => {
    for (const train of [
      trainConfig({
        total_steps: 23,
        ema_decay: 0.9,
        lr_warmup_steps: 3,
        lr_min_ratio: 0.1,
        puzzle_emb_lr: 3,
      }),
      trainConfig({ total_steps: 40, lr_schedule: "linear", lr_warmup_steps: 0 }),
    ]) {
      const whole = scheduleTables(train);
      for (let t = 1; t <= train.total_steps; t++) {
        const part = scheduleTables(train, t - (t % 7), 7);
        for (const table of ["weights", "puzzle"] as const)
          assert.deepEqual(
            part[table].data.subarray(4 * (t % 7), 4 * (t % 7) + 4),
            whole[table].data.subarray(4 * t, 4 * t + 4),
          );
      }
    }
  });
});
