/** `keep_best_answer`: the answer is that of the segment with the highest q_halt, in the evaluator and in both solvers. */
import { assert } from "chai";
import { encodeCheckpoint } from "../../hrm/files/checkpoints/checkpoint.js";
import {
  createEvaluator,
  createSolver,
  createWeights,
  initialState,
  modelConfig,
  type HrmConfig,
} from "../../hrm/index.js";
import type { BatchAnswers } from "../../hrm/training/evaluation.js";
import { load } from "../../hrm/solve.js";
import { hostTensor } from "../../engine/index.js";
import { testDevice } from "../support/device.js";
import { random } from "../support/random.js";
import { official, randomPuzzles } from "../support/tiny.js";

const [PUZZLES, SEGMENTS] = [7, 5];
const last = modelConfig({ ...official, puzzle_emb_ndim: 0, batch_size: 3, inference_segments: SEGMENTS });
const best: HrmConfig = { ...last, keep_best_answer: true };

/** Random weights whose q_halt differs from segment to segment. Official initial weights answer -5 to every puzzle. */
function stateOf(config: HrmConfig) {
  const state = new Map(initialState(config, 9));
  state.set("inner.q_head.weight", hostTensor(random(2 * config.hidden_size), [2, config.hidden_size]));
  return state;
}

/** The place of the highest of the first `length` numbers; the first place if several are equal. */
const argmax = (values: readonly number[], length: number): number =>
  values.slice(0, length).reduce((top, value, i) => (value > values[top]! ? i : top), 0);

describe("keep_best_answer", () => {
  it("answers with the segment of the highest q_halt so far, and reports each segment's own q_halt", async () => {
    const device = await testDevice();
    const state = stateOf(last);
    const weights = createWeights(device, last, state);
    const { inputs, length } = randomPuzzles(PUZZLES, last, 5);
    const puzzles = Array.from({ length: PUZZLES }, (_, p) => inputs.slice(p * length, (p + 1) * length));
    const [plain, keeping] = [
      await createSolver({ device, config: last, weights }),
      await createSolver({ device, config: best, weights }),
    ];
    const file = encodeCheckpoint({ config: best, task: "a task", step: 1, seed: 1, raw: state, ema: null });
    const model = await load(file, { device });
    // The right answer to a puzzle is what the model said after its best segment, so that the evaluator must find all.
    const labels = new Int32Array(inputs.length);
    let early = 0;
    for (const [p, puzzle] of puzzles.entries()) {
      const each = await plain.solve(puzzle);
      const q = each.map((s) => s.qHalt);
      const kept = await keeping.solve(puzzle);
      kept.forEach((segment, i) => {
        assert.deepEqual(segment.prediction, each[argmax(q, i + 1)]!.prediction, `puzzle ${p}, segment ${i}`);
        assert.equal(segment.qHalt, q[i]);
      });
      const chosen = each[argmax(q, SEGMENTS)]!;
      if (argmax(q, SEGMENTS) < SEGMENTS - 1) early++;
      labels.set(chosen.prediction, p * length);
      const answer = await model.solve(puzzle);
      assert.deepEqual(answer.cells, chosen.prediction, `puzzle ${p}`);
      assert.closeTo(answer.qHalt, chosen.qHalt, 1e-5 * Math.max(1, Math.abs(chosen.qHalt)));
      assert.equal(answer.segments, SEGMENTS);
    }
    assert.isAbove(early, 0, "some puzzles have their best segment before the last");

    const data = { count: PUZZLES, length, inputs, labels, identifiers: new Int32Array(PUZZLES) };
    const batches: BatchAnswers[] = [];
    const onAnswers = (batch: BatchAnswers): void => void batches.push(batch);
    const evaluator = await createEvaluator({ device, config: best, weights, data, onAnswers });
    const scores = await evaluator.run();
    assert.deepEqual([scores.count, scores.exact], [PUZZLES, PUZZLES]);
    assert.deepEqual(
      batches.flatMap((b) => [...b.tokens]),
      [...labels],
    );
    for (const { puzzles: n, segments, right } of batches)
      for (let p = 0; p < n; p++) assert.equal(right[(p + 1) * segments - 1], 1);
    for (const made of [plain, keeping, evaluator, model]) made.destroy();
    for (const v of weights.values()) v.destroy();
  });
});
