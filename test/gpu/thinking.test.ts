/** The boards, halting and residuals of a thought, and the census of a puzzle set, against float64 and other programs. */
import { assert } from "chai";
import { compile, hostTensor, i32, type Tensor } from "../../engine/index.js";
import {
  createCarry,
  createSolver,
  createWeights,
  destroyCarry,
  evaluationSegment,
  initialState,
  modelConfig,
  modelOf,
  type HrmConfig,
  type StateDict,
} from "../../hrm/index.js";
import { createCensus } from "../../hrm/thinking/census.js";
import { decodeLogits } from "../../hrm/thinking/decode.js";
import { createThinker } from "../../hrm/thinking/thoughts.js";
import { testDevice } from "../support/device.js";
import { random, randomIntegers } from "../support/random.js";

const [S, V, D] = [5, 6, 8];
const configOf = (change: Partial<HrmConfig> = {}): HrmConfig =>
  modelConfig({
    ...{ batch_size: 3, seq_len: S, vocab_size: V, hidden_size: D, num_heads: 2, swiglu_multiple: 8 },
    ...{ H_layers: 1, L_layers: 1, halt_max_steps: 4, H_cycles: 2, L_cycles: 2, ...change },
  });

/** Random weights. The q head, which is zero at the start of training, is random too. */
function randomState(config: HrmConfig): StateDict {
  const state = new Map(initialState(config, 5));
  state.set("inner.q_head.weight", hostTensor(random(2 * D), [2, D]));
  state.set("inner.q_head.bias", hostTensor(random(2), [2]));
  return state;
}

/** x . w, in double precision. */
function dot(x: ArrayLike<number>, from: number, w: ArrayLike<number>, row: number): number {
  let total = 0;
  for (let d = 0; d < D; d++) total += x[from + d]! * w[row * D + d]!;
  return total;
}

/** Rounding of a sum of D products of size 1 in f32, with room for the order of the sum. */
const SUM_ERROR = D * 2 ** -22;

describe("thoughts @slow", () => {
  for (const loss_type of ["stablemax_cross_entropy", "softmax_cross_entropy"] as const)
    it(`decode the board after every update as float64 does, ${loss_type}`, async () => {
      const device = await testDevice();
      const before = device.stats.bytesLive;
      const config = configOf({ loss_type });
      const state = randomState(config);
      const weights = createWeights(device, config, state);
      const thinker = await createThinker({ device, config, weights, segments: 3 });
      const inputs = randomIntegers(S, 1, V);
      const readbacks = device.stats.readbacks;
      const thought = await thinker.think(inputs);
      assert.equal(device.stats.readbacks, readbacks + 1, "one read-back");
      assert.deepEqual(thought.levels, ["L", "L", "H", "L", "L", "H"]);
      assert.equal(thought.nonFinite, 0);

      // The states behind it, by a program that keeps them all.
      const one = { ...config, batch_size: 1 };
      const carry = createCarry(device, one);
      const spec = { inputs: i32(1, S), labels: i32(1, S), identifiers: i32(1) };
      const program = await compile(device, spec, (batch) => {
        const { start, segment } = evaluationSegment(modelOf(one, weights), carry, batch, 100);
        const { L, H } = segment.trace;
        return Object.fromEntries(
          [start.zL, ...L]
            .map((t, i): [string, Tensor] => [`L${i}`, t])
            .concat([start.zH, ...H].map((t, i): [string, Tensor] => [`H${i}`, t])),
        );
      });
      const heads = ["inner.lm_head.weight", "inner.q_head.weight", "inner.q_head.bias"] as const;
      const [lm, qWeight, qBias] = heads.map((name) => state.get(name)!.data);
      for (let segment = 0; segment < 3; segment++) {
        const states = await program.call({
          inputs,
          labels: new Int32Array(S),
          identifiers: new Int32Array(1),
        });
        for (const [u, level, index] of [
          [0, "L", 1],
          [1, "L", 2],
          [2, "H", 1],
          [3, "L", 3],
          [4, "L", 4],
          [5, "H", 2],
        ] as const) {
          const update = segment * 6 + u;
          const [from, to] = [states[`${level}${index - 1}`]!, states[`${level}${index}`]!];
          const moved = meanMove(from, to);
          // Sums of 8 and 5 numbers in f32, and a square root.
          assert.closeTo(thought.residuals[update]!, moved, 1e-5 * moved, `residual ${update}`);
          if (level === "L") continue;
          const logits = Float64Array.from({ length: S * V }, (_, i) =>
            dot(to, Math.floor(i / V) * D, lm!, i % V),
          );
          const expected = float64Decode(logits, loss_type);
          for (let s = 0; s < S; s++) {
            assert.equal(thought.tokens[update * S + s], expected.tokens[s], `token ${update}, ${s}`);
            assert.closeTo(thought.confidence[update * S + s]!, expected.confidence[s]!, 4 * SUM_ERROR);
          }
          // The largest states are of size 3 or so.
          assert.closeTo(thought.qHalt[update]!, dot(to, 0, qWeight!, 0) + qBias![0]!, 16 * SUM_ERROR);
          assert.closeTo(thought.qContinue[update]!, dot(to, 0, qWeight!, 1) + qBias![1]!, 16 * SUM_ERROR);
        }
        // The last update of L before H shows what H then makes of it; so does the second in each cycle.
        for (const [l, h] of [
          [1, 2],
          [4, 5],
        ] as const) {
          const [a, b] = [segment * 6 + l, segment * 6 + h];
          assert.deepEqual(
            thought.tokens.subarray(a * S, (a + 1) * S),
            thought.tokens.subarray(b * S, (b + 1) * S),
          );
          assert.closeTo(thought.qHalt[a]!, thought.qHalt[b]!, 1e-5);
        }
      }
      // After the first update of L: what a model of one cycle of one update makes of it.
      const short = { ...one, H_cycles: 1, L_cycles: 1 };
      const shorter = await createThinker({ device, config: short, weights, segments: 1 });
      const first = await shorter.think(inputs);
      assert.deepEqual(thought.tokens.subarray(0, S), first.tokens.subarray(S, 2 * S));
      assert.closeTo(thought.qHalt[0]!, first.qHalt[1]!, 1e-5);

      // The end of each segment is what the solver says.
      const solver = await createSolver({ device, config, weights });
      const solved = await solver.solve(inputs, { segments: 3 });
      solved.forEach(({ prediction, qHalt }, segment) => {
        const end = 6 * segment + 5;
        assert.deepEqual([...thought.tokens.subarray(end * S, (end + 1) * S)], [...prediction]);
        assert.closeTo(thought.qHalt[end]!, qHalt, 1e-5);
      });
      // A shorter thought begins alike.
      const part = await thinker.think(inputs, { segments: 1 });
      assert.deepEqual(part.tokens, thought.tokens.slice(0, 6 * S));
      for (const made of [thinker, shorter, solver, program]) made.destroy();
      destroyCarry(carry);
      for (const v of weights.values()) v.destroy();
      assert.equal(device.stats.bytesLive, before, "bytes left behind");
    });

  it("say how many logits are no numbers", () => {
    const logits = Float32Array.of(0, 1, NaN, 2, Infinity, 0);
    assert.equal(decodeLogits(logits, 3, "softmax_cross_entropy").nonFinite, 2);
  });
});

/** Mean over the positions of how far a state moved. */
function meanMove(from: ArrayLike<number>, to: ArrayLike<number>): number {
  let moved = 0;
  for (let s = 0; s < S; s++) {
    let squares = 0;
    for (let d = 0; d < D; d++) squares += (to[s * D + d]! - from[s * D + d]!) ** 2;
    moved += Math.sqrt(squares) / S;
  }
  return moved;
}

/** Argmax and its probability, by the definitions of the two losses. */
function float64Decode(
  logits: Float64Array,
  loss: HrmConfig["loss_type"],
): { tokens: number[]; confidence: number[] } {
  const tokens: number[] = [];
  const confidence: number[] = [];
  for (let s = 0; s < S; s++) {
    const row = [...logits.subarray(s * V, (s + 1) * V)];
    const weights = row.map((x) =>
      loss === "softmax_cross_entropy" ? Math.exp(x) : x >= 0 ? x + 1 : 1 / (1 - x),
    );
    tokens.push(row.indexOf(Math.max(...row)));
    confidence.push(Math.max(...weights) / weights.reduce((a, b) => a + b));
  }
  return { tokens, confidence };
}

describe("the census @slow", () => {
  it("has what the solver says of each puzzle after each segment, beyond the trained limit too", async () => {
    const device = await testDevice();
    const before = device.stats.bytesLive;
    const config = configOf();
    const weights = createWeights(device, config, randomState(config));
    const count = 7;
    const solver = await createSolver({ device, config, weights });
    const inputs = randomIntegers(count * S, 1, V);
    const labels = randomIntegers(count * S, 1, V);
    const answers = [];
    for (let i = 0; i < count; i++)
      answers.push(await solver.solve(inputs.slice(i * S, (i + 1) * S), { segments: 6 }));
    // Some puzzles are right after their segment of the same number; a cell without a label counts for nothing.
    for (const i of [1, 4, 6]) labels.set(answers[i]![i % 6]!.prediction, i * S);
    labels[4 * S] = -100;
    const data = { count, length: S, inputs, labels, identifiers: new Int32Array(count) };
    const census = await createCensus({ device, config, weights, data, segments: 6 });
    for (const limit of [count, 4, count]) {
      const { puzzles, segments, qHalt, qContinue, right } = await census.take(limit);
      assert.deepEqual([puzzles, segments], [limit, 6]);
      for (let i = 0; i < limit; i++)
        answers[i]!.forEach((answer, s) => {
          const at = i * 6 + s;
          const wrong = answer.prediction.some((token, c) => {
            const label = labels[i * S + c]!;
            return label >= 0 && label !== token;
          });
          assert.equal(right[at], wrong ? 0 : 1, `puzzle ${i}, segment ${s}`);
          assert.closeTo(qHalt[at]!, answer.qHalt, 1e-4);
          assert.closeTo(qContinue[at]!, answer.qContinue, 1e-4);
        });
      if (limit === count)
        assert.isAtLeast(
          right.reduce((a, b) => a + b, 0),
          3,
        );
    }
    census.destroy();
    solver.destroy();
    for (const v of weights.values()) v.destroy();
    assert.equal(device.stats.bytesLive, before, "bytes left behind");
  });
});
