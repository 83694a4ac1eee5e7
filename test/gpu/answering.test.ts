/** Answers with early halting and refilled batches, against those of every puzzle by itself for all segments. */
import { assert } from "chai";
import { compile, hostTensor, i32, variable, type Variable } from "../../engine/index.js";
import { putRows } from "../../engine/ops/put_rows.js";
import { randomNormal } from "../../engine/ops/normal.js";
import {
  createEvaluator,
  createWeights,
  initialState,
  type HrmConfig,
  type Weights,
} from "../../hrm/index.js";
import { countBefore, createAnswerer, type AnswererOptions } from "../../hrm/training/answering.js";
import { scoresOf, type Answers } from "../../hrm/training/answers.js";
import { createCensus, firstHalts } from "../../hrm/thinking/census.js";
import { randomBitsReference } from "../../kernels/random.js";
import { testDevice } from "../support/device.js";
import { random, randomIntegers } from "../support/random.js";
import { haltOnly, official, randomPuzzles } from "../support/tiny.js";

/** Random weights whose q values differ from puzzle to puzzle and from segment to segment. */
async function weightsOf(config: HrmConfig): Promise<Weights> {
  const state = new Map(initialState(config, 3));
  state.set(
    "inner.q_head.weight",
    hostTensor(random(2 * config.hidden_size, -2, 2), [2, config.hidden_size]),
  );
  state.set("inner.q_head.bias", hostTensor(new Float32Array(2), [2]));
  return createWeights(await testDevice(), config, state);
}

const destroy = (weights: Weights): void => {
  for (const v of weights.values()) v.destroy();
};

async function answersOf(options: Omit<AnswererOptions, "device">): Promise<Answers> {
  const answerer = await createAnswerer({ device: await testDevice(), ...options });
  try {
    return await answerer.answer();
  } finally {
    answerer.destroy();
  }
}

describe("counting and placing rows", () => {
  it("counts the flags before each row", async () => {
    const flags = randomIntegers(37, 0, 2);
    const program = await compile(await testDevice(), { flags: i32(37) }, ({ flags }) => ({
      before: countBefore(flags),
    }));
    const { before } = await program.call({ flags });
    let count = 0;
    assert.deepEqual(
      [...before],
      Array.from(flags, (flag) => (count += flag) - flag),
    );
    program.destroy();
  });

  for (const size of [3, 4])
    it(`writes rows of ${size} at their indices, and nothing outside the table`, async () => {
      const device = await testDevice();
      const table = variable(device, hostTensor(new Int32Array(5 * size).fill(9), [5, size]), "table");
      const rows = randomIntegers(4 * size, 0, 9);
      const program = await compile(device, { at: i32(4), rows: i32(4, size) }, ({ at, rows }) => {
        putRows(table, at, rows);
        return {};
      });
      await program.run({ at: Int32Array.of(3, -1, 5, 0), rows });
      const expected = new Int32Array(5 * size).fill(9);
      expected.set(rows.subarray(0, size), 3 * size);
      expected.set(rows.subarray(3 * size), 0);
      assert.deepEqual([...(await table.read())], [...expected]);
      program.destroy();
      table.destroy();
    });
});

describe("noise", () => {
  it("of a row follows from its own key alone", async () => {
    const keys = Uint32Array.of(5, 1, 7, 2, 5, 1);
    const device = await testDevice();
    const key: Variable = variable(device, hostTensor(keys, [3, 2]), "keys");
    const program = await compile(device, {}, () => ({ x: randomNormal(key, [3, 5], 4) }));
    const x = [...(await program.call({})).x];
    const word = (row: number, stream: number): Uint32Array =>
      randomBitsReference({ count: 5, stream }, [keys[2 * row]!, keys[2 * row + 1]!]);
    for (let i = 0; i < 15; i++) {
      const [u, v] = [8, 9].map((stream) => word(Math.floor(i / 5), stream)[i % 5]! >>> 8) as [
        number,
        number,
      ];
      const exact = Math.sqrt(-2 * Math.log((u + 0.5) * 2 ** -24)) * Math.cos(2 * Math.PI * v * 2 ** -24);
      assert.closeTo(x[i]!, exact, 1e-4);
    }
    assert.deepEqual(x.slice(10), x.slice(0, 5));
    assert.notDeepEqual(x.slice(5, 10), x.slice(0, 5));
    program.destroy();
    key.destroy();
  });
});

describe("answers with early halting", () => {
  for (const [name, config] of [
    ["full ACT", { ...official, batch_size: 4, inference_segments: 6 }],
    ["the best answer kept", { ...haltOnly, batch_size: 4, inference_segments: 6, keep_best_answer: true }],
  ] as const)
    it(`are those of all segments at the segment where each puzzle stops, for fewer segments: ${name}`, async () => {
      const device = await testDevice();
      const data = randomPuzzles(23, config, 5);
      const weights = await weightsOf(config);
      const segments = 6;
      const options = { config, weights, data };
      const answerer = await createAnswerer({ device, ...options });
      const whole = await answerer.answer();
      assert.deepEqual(
        [...whole.ran],
        Array.from(data.labels.slice(0, 23), () => segments),
      );
      assert.equal(whole.computed, 6 * segments * 4);

      // Without halting the answers are those of the evaluator, which knows nothing of refilling.
      const census = await createCensus({ device, ...options });
      const seen = await census.take();
      assert.deepEqual([...whole.qHalt], [...seen.qHalt]);
      assert.deepEqual([...whole.right], [...seen.right]);
      census.destroy();
      const evaluator = await createEvaluator({ device, ...options });
      const [scores, own] = [await evaluator.run(), scoresOf(data, whole)];
      for (const key of Object.keys(scores) as (keyof typeof scores)[])
        assert.closeTo(own[key], scores[key], 1e-6, key);
      evaluator.destroy();

      // A threshold in the middle of the q values, so that some puzzles stop at once and others never.
      const margins = whole.qHalt.map((q, at) => q - (config.halt_only ? 0 : whole.qContinue[at]!));
      const haltAbove = [...margins].sort((a, b) => a - b)[Math.floor(0.8 * margins.length)]!;
      const early = await answerer.answer({ haltAbove });
      const stops = Int32Array.from({ length: 23 }, (_, row) => {
        for (let s = 0; s < segments; s++) if (margins[row * segments + s]! > haltAbove) return s + 1;
        return segments;
      });
      assert.deepEqual([...early.ran], [...stops]);
      assert.isAbove(new Set(stops).size, 2);
      assert.deepEqual([...firstHalts({ ...whole, haltOnly: config.halt_only, haltAbove })], [...stops]);
      const byLength: Int32Array[] = [];
      for (let n = 1; n <= segments; n++) byLength[n] = (await answerer.answer({ segments: n })).tokens;
      for (let row = 0; row < 23; row++) {
        const own = (of: Answers, s: number) => {
          const at = row * segments + Math.min(s, stops[row]! - 1);
          return [of.qHalt[at], of.qContinue[at], of.right[at]];
        };
        for (let s = 0; s < segments; s++) {
          const at = row * segments + s;
          assert.deepEqual(
            [early.qHalt[at], early.qContinue[at], early.right[at]],
            own(whole, s),
            `${row} ${s}`,
          );
        }
        const S = data.length;
        const shorter = byLength[stops[row]!]!;
        assert.deepEqual(
          [...early.tokens.subarray(row * S, (row + 1) * S)],
          [...shorter.subarray(row * S, (row + 1) * S)],
        );
      }
      // The batch stays full: what is computed beyond the puzzles' own segments is the end, when no puzzle waits.
      const needed = stops.reduce((sum, n) => sum + n, 0);
      assert.isAtLeast(early.computed, needed);
      assert.isBelow(early.computed, needed + 4 * (segments + 2));
      assert.isBelow(early.computed, whole.computed);
      answerer.destroy();
      destroy(weights);
    });

  it("of a try do not depend on its place in the batches, and the first try has no noise", async () => {
    const config = { ...haltOnly, batch_size: 4, inference_segments: 3 };
    const data = randomPuzzles(5, config, 5);
    const weights = await weightsOf(config);
    const noise = { tries: 3, deviation: 0.3, seed: 7 };
    const [plain, tried, wider] = await Promise.all([
      answersOf({ config, weights, data }),
      answersOf({ config, weights, data, noise }),
      answersOf({ config: { ...config, batch_size: 7 }, weights, data, noise }),
    ]);
    const last = (of: Answers, row: number): number => of.qHalt[row * 3 + 2]!;
    for (let row = 0; row < 5; row++) {
      assert.equal(last(tried, 3 * row), last(plain, row));
      assert.notEqual(last(tried, 3 * row + 1), last(plain, row));
      assert.notEqual(last(tried, 3 * row + 1), last(tried, 3 * row + 2));
    }
    for (let row = 0; row < 15; row++) assert.closeTo(last(wider, row), last(tried, row), 1e-4);
    destroy(weights);
  });

  it("are given up between segments with those that stopped", async () => {
    const config = { ...haltOnly, batch_size: 4, inference_segments: 3 };
    const data = randomPuzzles(40, config, 5);
    const weights = await weightsOf(config);
    const answerer = await createAnswerer({ device: await testDevice(), config, weights, data });
    let stopped = 0;
    const given = await answerer.answer({
      onProgress: (finished) => (stopped = finished),
      givenUp: () => stopped >= 8,
    });
    const done = given.ran.filter((n) => n > 0).length;
    assert.isAtLeast(done, 8);
    assert.isBelow(done, 40);
    const all = await answerer.answer();
    assert.isTrue(all.ran.every((n) => n === 3));
    assert.deepEqual([...given.tokens.subarray(0, done * 6)], [...all.tokens.subarray(0, done * 6)]);
    answerer.destroy();
    destroy(weights);
  });
});
