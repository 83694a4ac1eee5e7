/** Micro-batches: the step that they add up to, what they need, and that a run with them repeats. */
import { assert } from "chai";
import {
  ConfigError,
  createTrainer,
  METRICS,
  type HrmConfig,
  type StateDict,
  type Trainer,
  type TrainerOptions,
} from "../../hrm/index.js";
import { testDevice } from "../support/device.js";
import { stubDevice } from "../support/stub_device.js";
import { EPS, assertExact } from "../support/kernels.js";
import { assertSound } from "../support/plans.js";
import { assertClose } from "../support/random.js";
import { haltOnly, official, randomPuzzles, training } from "../support/tiny.js";

const CONFIGS: readonly (readonly [string, HrmConfig])[] = [
  ["official", { ...official, batch_size: 8 }],
  ["halt-only", { ...haltOnly, batch_size: 8 }],
];

async function trainerOf(config: HrmConfig, options: Partial<TrainerOptions> = {}): Promise<Trainer> {
  const device = await testDevice();
  const data = randomPuzzles(23, config, 5);
  return createTrainer({ device, config, train: training, data, seed: 4, ...options });
}

const values = (state: StateDict, name: string): Float32Array => state.get(name)!.data as Float32Array;

describe("micro-batches @slow", () => {
  for (const [name, config] of CONFIGS) {
    it(`add up to the step of the whole batch (${name})`, async () => {
      // Each step from a state that both share: rounding would otherwise grow from step to step.
      const whole = await trainerOf(config);
      let halted = 0;
      for (const step of [1, 2, 3, 4, 9]) {
        await whole.run(step - 1 - whole.step);
        const before = await whole.save();
        await whole.run(1);
        const after = await whole.save();
        const [expected] = (await whole.metrics()).slice(-1);
        halted += expected!.count;
        for (const microBatch of [4, 2]) {
          const label = `step ${step} in parts of ${microBatch}`;
          const parts = await trainerOf(config, { resume: before, microBatch });
          assert.match(parts.differences.join(), /micro-batch was the whole batch and is \d/);
          await parts.run(1);
          const { state } = await parts.save();
          const [metrics] = (await parts.metrics()).slice(-1);
          for (const [key, { data, dtype }] of after.state)
            if (dtype !== "f32") assertExact(values(state, key), data, `${label}: ${key}`);
          // A row sums in the same order whatever rows are beside it, except for how a compiler contracts products.
          for (const key of ["carry.z_H", "carry.z_L"])
            assertClose(values(state, key), values(after.state, key), 100 * EPS, `${label}: ${key}`);
          for (const metric of METRICS) {
            const exact = metric === "count" || metric === "steps" || metric.startsWith("exact");
            const allowed = exact ? 0 : 32 * EPS * Math.max(1, expected![metric]);
            assert.closeTo(metrics![metric], expected![metric], allowed, `${label}: ${metric}`);
          }
          const norm = expected!.gradientNorm;
          assert.closeTo(metrics!.gradientNorm, norm, 1e-5 * norm, `${label}: gradient norm`);
          assert.equal(metrics!.firstNonFinite, 0);
          const { lr, beta1 } = training;
          for (const key of [...state.keys()].filter((k) => k.startsWith("exp_avg."))) {
            const [m, exact] = [values(state, key), values(after.state, key)];
            // Sums over 8 rows of 7 cells, in terms some 10 times as large as the sum; and the moment's own rounding.
            const gradient = exact.map((e, i) => (e - beta1 * values(before.state, key)[i]!) / (1 - beta1));
            const allowed = 600 * EPS * Math.max(...gradient.map(Math.abs));
            assertClose(m, exact, allowed, `${label}: ${key}`);
            const weight = key.slice("exp_avg.".length);
            // atan2(m, sqrt v) moves by at most the relative errors of m and sqrt v; it changes sign where m is close to 0.
            assertClose(
              values(state, weight),
              values(after.state, weight),
              (i) => {
                const turn = Math.min(Math.PI, (2 * allowed) / Math.abs(exact[i]!) || Math.PI);
                return lr * 10 * turn + 8 * EPS;
              },
              `${label}: ${weight}`,
            );
          }
          parts.destroy();
        }
      }
      assert.isAbove(halted, 8, "rows halted and were refilled");
      whole.destroy();
    });

    it(`go on to the bit after a stop, in the parts that the run began with (${name})`, async () => {
      const whole = await trainerOf(config, { microBatch: 2 });
      await whole.run(11);
      const expected = await whole.save();
      const first = await trainerOf(config, { microBatch: 2 });
      await first.run(5);
      const saved = await first.save();
      assert.deepEqual([saved.kernels, saved.microBatch, saved.precision], [{}, 2, null]);
      const second = await trainerOf(config, { resume: saved });
      assert.deepEqual([...second.differences], []);
      await second.run(6);
      const { state } = await second.save();
      for (const [key, { data }] of expected.state) assert.deepEqual(state.get(key)!.data, data, key);
      for (const t of [whole, first, second]) t.destroy();
    });

    it(`allocate, compile and read nothing while they run, one submission per step (${name})`, async () => {
      const device = await testDevice();
      const start = device.stats.bytesLive;
      const trainer = await trainerOf(config, { microBatch: 1 });
      await trainer.run(1);
      const before = { ...device.stats };
      await trainer.run(6);
      const dispatches = trainer.sequence.reduce((n, [p, times]) => n + times * p.plan.dispatches.length, 0);
      assert.deepEqual(device.stats, {
        ...before,
        submits: before.submits + 6,
        dispatches: before.dispatches + 6 * dispatches,
      });
      for (const [{ plan }] of trainer.sequence) assertSound(plan);
      trainer.destroy();
      assert.equal(device.stats.bytesLive, start, "bytes left behind");
    });
  }

  it("need less memory the smaller they are, and add to their sums in place", async () => {
    const config = { ...official, batch_size: 8, seq_len: 24 };
    // Plans as the test device makes them, without its pipelines.
    const device = stubDevice((await testDevice()).gpu);
    const needs: number[] = [];
    for (const microBatch of [8, 4, 2, 1]) {
      const trainer = await trainerOf(config, { microBatch, device });
      needs.push(trainer.sequence.reduce((n, [{ plan }]) => n + plan.bytes.intermediates, 0));
      const copies = trainer.program.plan.dispatches.filter((d) =>
        d.label.startsWith("assign micro_batches"),
      );
      assert.deepEqual(copies, []);
      trainer.destroy();
    }
    for (let i = 1; i < needs.length; i++) assert.isBelow(needs[i]!, 0.75 * needs[i - 1]!, needs.join());
  });

  it("must divide the batch", async () => {
    const device = await testDevice();
    const { bytesLive } = device.stats;
    for (const microBatch of [3, 0, -2, 1.5, 16, NaN]) {
      const error = await trainerOf(CONFIGS[0]![1], { microBatch }).then(
        () => null,
        (e: unknown) => e,
      );
      assert.instanceOf(error, ConfigError, String(microBatch));
      assert.match((error as Error).message, /micro_batch: got .*; expected a divisor of batch_size \(8\)/);
    }
    assert.equal(device.stats.bytesLive, bytesLive);
  });
});
