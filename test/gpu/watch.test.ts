/** The watch over training: the gradient's norm of every step, and the first step with a number that is not finite. */
import { assert } from "chai";
import { compile, constant, hostTensor, read } from "../../engine/index.js";
import { divergedBefore, findNonFinite } from "../../hrm/training/diagnosis.js";
import {
  createEvaluator,
  createSolver,
  createTrainer,
  createWeights,
  initialState,
  createTrainingMemory,
  IGNORE_LABEL,
  METRICS,
  randomBatch,
  randomExploration,
  trainStep,
  uploadPuzzles,
  destroyPuzzles,
} from "../../hrm/index.js";
import { countNonFinite, PUZZLE_LOCAL } from "../../hrm/training/step.js";
import { StateError, type StateDict } from "../../hrm/model/parameters.js";
import type { TrainingSnapshot } from "../../hrm/training/snapshot.js";
import { testDevice } from "../support/device.js";
import { assertClose } from "../support/random.js";
import { official, randomPuzzles, training } from "../support/tiny.js";

const config = { ...official, batch_size: 4 };
const data = randomPuzzles(23, config, 5);

describe("numbers that are not finite", () => {
  const weights = initialState(config, 4);
  const lost = (name: string, value: number): StateDict => {
    const { shape, data } = weights.get(name)!;
    return new Map([...weights, [name, hostTensor(Float32Array.from(data).fill(value, 0, 1), shape)]]);
  };

  for (const value of [NaN, Infinity])
    it(`${value} among weights is refused when they are loaded, by the tensor's name`, async () => {
      const device = await testDevice();
      const live = device.stats.bytesLive;
      assert.throws(
        () => createWeights(device, config, lost("inner.lm_head.weight", value)),
        StateError,
        /inner\.lm_head\.weight has 1 of \d+ numbers that are a NaN or an infinity/,
      );
      assert.equal(device.stats.bytesLive, live);
    });

  it("in logits are counted by the evaluator and said by the solver @slow", async () => {
    const device = await testDevice();
    const loaded = createWeights(device, config, weights);
    const evaluator = await createEvaluator({ device, config, weights: loaded, data });
    const solver = await createSolver({ device, config, weights: loaded });
    const inputs = data.inputs.slice(0, data.length);
    assert.equal((await evaluator.run()).nonFinite, 0);
    assert.equal((await solver.solve(inputs)).at(-1)!.nonFinite, 0);
    const head = loaded.get("inner.lm_head.weight")!;
    head.write((await head.read()).fill(Infinity, 0, 1));
    const { nonFinite, count } = await evaluator.run();
    assert.equal(nonFinite, count);
    assert.isAbove((await solver.solve(inputs)).at(-1)!.nonFinite, 0);
    evaluator.destroy();
    solver.destroy();
    for (const v of loaded.values()) v.destroy();
  });

  it("in the state that a diagnosis begins with are its answer", async () => {
    const device = await testDevice();
    const state = lost("inner.lm_head.weight", NaN);
    const snapshot = { config, train: training, seed: 6, step: 3, state } as unknown as TrainingSnapshot;
    assert.deepEqual(await findNonFinite({ device, snapshot, data, lastStep: 4 }), {
      step: 3,
      tensor: "inner.lm_head.weight",
    });
    assert.match(divergedBefore(snapshot).message, /not finite at step 3, first in inner\.lm_head\.weight/);
  });
});

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

  it("counts NaN and infinities of either sign, and nothing else", async () => {
    const device = await testDevice();
    const x = constant([1, Infinity, -3.4e38, -Infinity, NaN, 0, 1e-40, -Infinity]);
    assert.deepEqual([...(await read(device, countNonFinite(x, constant([Infinity]), constant([1]))))], [5]);
  });

  for (const microBatch of [4, 2]) {
    it(`notices a norm that is infinite while every loss is finite, in parts of ${microBatch}`, async () => {
      const device = await testDevice();
      // Stablemax has gradients that do not grow with the weights.
      const softmax = { ...config, loss_type: "softmax_cross_entropy" } as const;
      const trainer = await createTrainer({
        device,
        config: softmax,
        train: training,
        data,
        seed: 6,
        microBatch,
      });
      await trainer.run(1);
      const weight = trainer.memory.weights.get("inner.lm_head.weight")!;
      weight.write((await weight.read()).map((v) => 1e25 * v));
      await trainer.run(1);
      const row = (await trainer.metrics()).at(-1)!;
      assert.equal(row.gradientNorm, Infinity);
      assert.isTrue(METRICS.every((name) => Number.isFinite(row[name])));
      assert.equal(row.firstNonFinite, 2);
      trainer.destroy();
    });

    it(`notices infinite logits that no loss and no gradient shows, in parts of ${microBatch}`, async () => {
      const device = await testDevice();
      // Cells without a label have loss 0, whatever their logits are.
      const unlabelled = { ...data, labels: data.labels.map(() => IGNORE_LABEL) };
      const trainer = await createTrainer({
        device,
        config,
        train: training,
        data: unlabelled,
        seed: 6,
        microBatch,
      });
      await trainer.run(1);
      const weight = trainer.memory.weights.get("inner.lm_head.weight")!;
      weight.write((await weight.read()).fill(0).fill(3.4e38, 0, 1));
      await trainer.run(2);
      const rows = await trainer.metrics();
      for (const row of rows) assert.isTrue(Number.isFinite(row.gradientNorm) && row.lm_loss === 0);
      assert.deepEqual(
        rows.map((row) => row.firstNonFinite),
        [0, 2, 2],
      );
      trainer.destroy();
    });
  }

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
