/** A run whose learning rate and exploration change between two steps. */
import { initialState } from "../../hrm/model/parameters.js";
import { assert } from "chai";
import {
  ConfigError,
  createTrainer,
  type HrmConfig,
  type StateDict,
  type TrainConfig,
} from "../../hrm/index.js";
import { testDevice } from "../support/device.js";
import { haltOnly, randomPuzzles, training } from "../support/tiny.js";

const [STEPS, CHANGED] = [6, 3];
const train: TrainConfig = { ...training, lr_warmup_steps: 2, lr_min_ratio: 0.1, total_steps: 40 };
const data = randomPuzzles(9, haltOnly, 5);

const bitsOf = (state: StateDict): number[] =>
  [...state.values()].flatMap(({ data: x }) => [...new Uint32Array(x.buffer, x.byteOffset, x.length)]);

/** A model that wants to halt after its first segment. */
function hasty(config: HrmConfig): StateDict {
  const state = initialState(config, 3);
  const bias = "inner.q_head.bias";
  return new Map(state).set(bias, { ...state.get(bias)!, data: Float32Array.of(5, -5) });
}

async function trainer(config: HrmConfig = haltOnly) {
  const device = await testDevice();
  return createTrainer({ device, config, train, data, seed: 3, state: hasty(config) });
}

/** The state after six steps; `change` is called after three. */
async function run(change: (on: Awaited<ReturnType<typeof trainer>>) => void): Promise<StateDict> {
  const made = await trainer();
  await made.run(CHANGED);
  change(made);
  await made.run(STEPS - CHANGED);
  const { state } = await made.save();
  made.destroy();
  return state;
}

describe("changes of a run under way", () => {
  it("a changed learning rate is what a run with that rate continues with, to the bit, and compiles nothing", async () => {
    const device = await testDevice();
    const before = await trainer();
    await before.run(CHANGED);
    const snapshot = await before.save();
    before.destroy();
    const lr = 1e-2;
    const other = await createTrainer({
      ...{ device, config: haltOnly, data, seed: 3 },
      train: { ...train, lr },
      resume: snapshot,
    });
    await other.run(STEPS - CHANGED);
    const expected = bitsOf((await other.save()).state);
    other.destroy();
    let compiled = NaN;
    const actual = await run((made) => {
      compiled = device.stats.pipelinesCreated;
      made.change({ lr });
    });
    assert.equal(device.stats.pipelinesCreated, compiled);
    assert.deepEqual(bitsOf(actual), expected);
    assert.notDeepEqual(bitsOf(await run(() => undefined)), expected);
  });

  it("the rows from which steps read their rates are those of the schedule in double precision", async () => {
    const made = await trainer();
    await made.run(CHANGED);
    made.change({ lr: 0.02 });
    await made.run(1);
    const rows = await made.memory.schedule.weights.read();
    for (let t = 3; t < 40; t++) {
      const progress = (t - 2) / 38;
      const expected = 0.02 * (0.1 + 0.9 * 0.5 * (1 + Math.cos(Math.PI * progress)));
      assert.closeTo(rows[4 * t]!, expected, 1e-8, `step ${t}`);
    }
    assert.deepEqual(
      [made.settings.train.lr, (await made.save()).train.lr, made.settings.config.halt_exploration_prob],
      [0.02, 0.02, haltOnly.halt_exploration_prob],
    );
    made.destroy();
  });

  it("a changed exploration is that of the next step, and a snapshot has it", async () => {
    const config = { ...haltOnly, halt_exploration_prob: 0 };
    const [changed, whole] = [await trainer(config), await trainer({ ...config, halt_exploration_prob: 1 })];
    changed.change({ halt_exploration_prob: 1 });
    for (const made of [changed, whole]) await made.run(STEPS);
    const [a, b] = [await changed.save(), await whole.save()];
    assert.deepEqual(bitsOf(a.state), bitsOf(b.state));
    assert.equal(a.config.halt_exploration_prob, 1);
    // Without exploration rows halt at other steps.
    const none = await trainer(config);
    await none.run(STEPS);
    assert.notDeepEqual(
      [...(await none.save()).state.get("carry.steps")!.data],
      [...b.state.get("carry.steps")!.data],
    );
    for (const made of [changed, whole, none]) made.destroy();
  });

  it("refuses what the configuration cannot have, and changes nothing", async () => {
    const made = await trainer();
    for (const wrong of [{ lr: 0 }, { lr: NaN }, { halt_exploration_prob: 2 }])
      assert.throws(() => made.change(wrong), ConfigError, /expected a number/);
    assert.deepEqual(made.settings.train, train);
    made.destroy();
  });
});
