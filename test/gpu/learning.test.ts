/** A tiny task is learned from scratch, and what the evaluator counts is what the solver answers. */
import { assert } from "chai";
import type { Device } from "../../engine/index.js";
import {
  createEvaluator,
  createSolver,
  createTrainer,
  IGNORE_LABEL,
  modelConfig,
  trainConfig,
  type HrmConfig,
  type PuzzleSet,
  type Scores,
  type Weights,
} from "../../hrm/index.js";
import { testDevice } from "../support/device.js";
import { assertClose } from "../support/random.js";
import { official, randomPuzzles, rowCompletion, training } from "../support/tiny.js";

const config = modelConfig({
  batch_size: 16,
  seq_len: 8,
  vocab_size: 5,
  H_cycles: 1,
  L_cycles: 2,
  H_layers: 1,
  L_layers: 1,
  hidden_size: 16,
  num_heads: 2,
  pos_encodings: "learned",
  swiglu_multiple: 16,
  halt_max_steps: 2,
  halt_exploration_prob: 1,
  halt_only: true,
});

/** Scores counted from the solver's answers, one puzzle at a time. */
async function count(
  device: Device,
  given: HrmConfig,
  weights: Weights,
  set: PuzzleSet,
  segments: number,
): Promise<Scores> {
  const solver = await createSolver({ device, config: given, weights });
  const { length } = set;
  let [counted, exact, cells, q] = [0, 0, 0, 0];
  let [blanks, blanksRight] = [0, 0];
  for (let p = 0; p < set.count; p++) {
    const answers = await solver.solve(set.inputs.slice(p * length, (p + 1) * length), {
      identifier: set.identifiers[p]!,
      segments,
    });
    assert.equal(answers.length, segments);
    const { prediction, qHalt } = answers.at(-1)!;
    const labels = [...set.labels.subarray(p * length, (p + 1) * length)];
    const valid = labels.filter((l) => l !== IGNORE_LABEL).length;
    const right = labels.filter((l, i) => l === prediction[i]).length;
    if (valid === 0) continue;
    labels.forEach((label, i) => {
      if (label === IGNORE_LABEL || label === set.inputs[p * length + i]) return;
      blanks++;
      blanksRight += Number(label === prediction[i]);
    });
    counted++;
    exact += Number(right === valid);
    cells += right / valid;
    q += Number(qHalt >= 0 === (right === valid));
  }
  solver.destroy();
  return {
    count: counted,
    exact,
    exactAccuracy: exact / counted,
    cellAccuracy: cells / counted,
    blankAccuracy: blanksRight / blanks,
    qHaltAccuracy: q / counted,
    meanSteps: segments,
    nonFinite: 0,
  };
}

function assertSameScores(actual: Scores, expected: Scores): void {
  assert.deepEqual([actual.count, actual.exact], [expected.count, expected.exact]);
  assert.equal(actual.blankAccuracy, expected.blankAccuracy);
  for (const key of ["exactAccuracy", "cellAccuracy", "qHaltAccuracy", "meanSteps"] as const)
    // Rounded quotients summed in f32 over a few dozen puzzles.
    assertClose([actual[key]], [expected[key]], 1e-5, key);
}

describe("learning", () => {
  it("completes rows of unseen permutations after 350 steps @slow", async () => {
    const device = await testDevice();
    const train = trainConfig({
      lr: 8e-3,
      lr_warmup_steps: 10,
      total_steps: 350,
      lr_schedule: "linear",
      lr_min_ratio: 0.2,
      ema_decay: 0.98,
    });
    const { train: data, test } = rowCompletion(1);
    const trainer = await createTrainer({ device, config, train, data, seed: 1 });
    const evaluator = await createEvaluator({
      device,
      config: { ...config, batch_size: 32 },
      weights: trainer.memory.ema!,
      data: test,
    });
    const before = await evaluator.run();
    await trainer.run(350);
    const after = await evaluator.run();
    assert.equal(after.count, 128);
    // Guessing the 4 hidden cells is right in at most one of 24.
    assert.isBelow(before.exactAccuracy, 0.1);
    assert.isAbove(after.exactAccuracy, 0.9);
    const metrics = await trainer.metrics();
    assert.isBelow(metrics.at(-1)!.lm_loss / config.batch_size, 0.3);
    const part = { ...test, count: 40 };
    const some: PuzzleSet = {
      ...part,
      inputs: test.inputs.slice(0, 40 * test.length),
      labels: test.labels.slice(0, 40 * test.length),
      identifiers: test.identifiers.slice(0, 40),
    };
    assertSameScores(
      await evaluator.run(40),
      await count(device, config, trainer.memory.ema!, some, config.halt_max_steps),
    );
    evaluator.destroy();
    trainer.destroy();
  });
});

describe("evaluation", () => {
  it("counts the solver's answers, with ignored labels, odd batches and other numbers of segments too @slow", async () => {
    const device = await testDevice();
    const set = randomPuzzles(13, official, 3);
    const before = device.stats.bytesLive;
    const trainer = await createTrainer({ device, config: official, train: training, data: set, seed: 2 });
    await trainer.run(60);
    const { weights } = trainer.memory;
    for (const segments of [official.halt_max_steps, 1, 5]) {
      const evaluator = await createEvaluator({ device, config: official, weights, data: set, segments });
      const expected = await count(device, official, weights, set, segments);
      assert.equal(expected.count, 12, "a puzzle without labels does not count");
      const scores = await evaluator.run();
      assertSameScores(scores, expected);
      assert.deepEqual(await evaluator.run(), scores, "a second look sees the same");
      assert.isAbove(scores.cellAccuracy, 0);
      evaluator.destroy();
    }
    trainer.destroy();
    assert.equal(device.stats.bytesLive, before);
  });

  it("scores only the first puzzles if there is a limit, and submits all before it reads @slow", async () => {
    const device = await testDevice();
    const set = randomPuzzles(13, official, 3);
    const trainer = await createTrainer({ device, config: official, train: training, data: set, seed: 2 });
    const evaluator = await createEvaluator({
      device,
      config: official,
      weights: trainer.memory.weights,
      data: set,
    });
    const before = { ...device.stats };
    const scores = await evaluator.run(7);
    // Metrics and counts of blank cells. Each batch of the 7 puzzles is one submission.
    assert.equal(device.stats.readbacks - before.readbacks, 2);
    assert.equal(device.stats.submits - before.submits, 2 + Math.ceil(7 / official.batch_size));
    assert.equal(scores.count, 7);
    assert.equal((await evaluator.run(1000)).count, 12);
    assert.equal(scores.meanSteps, official.halt_max_steps);
    evaluator.destroy();
    trainer.destroy();
  });
});
