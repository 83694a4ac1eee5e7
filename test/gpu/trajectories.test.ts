/** States over all updates as the page draws them, against double precision from tensors that were read back. */
import { assert } from "chai";
import { compile, i32, type Tensor } from "../../engine/index.js";
import {
  createCarry,
  createWeights,
  destroyCarry,
  evaluationSegment,
  initialState,
  modelOf,
  type HrmConfig,
} from "../../hrm/index.js";
import { createRecorder } from "../../hrm/thinking/trajectories.js";
import { takePuzzles } from "../../hrm/puzzles/puzzle_set.js";
import { testDevice } from "../support/device.js";
import { official, randomPuzzles } from "../support/tiny.js";

const SEGMENTS = 2;

for (const arch of ["hrm", "trm_singlez"] as const)
  describe(`state trajectories of ${arch}`, () => {
    it("are means over cells after every update, and tell right answers", async () => {
      const device = await testDevice();
      const before = device.stats.bytesLive;
      const config: HrmConfig = { ...official, arch, batch_size: 3 };
      const weights = createWeights(device, config, initialState(config, 5));
      const data = takePuzzles(randomPuzzles(9, config, 2), [0, 4, 7]);
      const [B, S, D] = [3, config.seq_len, config.hidden_size];
      // The states behind it, by a program that keeps them all.
      const carry = createCarry(device, config);
      const program = await compile(
        device,
        { inputs: i32(B, S), labels: i32(B, S), identifiers: i32(B) },
        (batch) => {
          const { start, segment, predictions } = evaluationSegment(
            modelOf(config, weights),
            carry,
            batch,
            100,
          );
          const { L, H } = segment.trace;
          const named = (name: string, list: readonly Tensor[]): [string, Tensor][] =>
            list.map((t, i) => [`${name}${i}`, t]);
          return Object.fromEntries([
            ...named("L", L),
            ...named("H", H),
            ["start", start.zH],
            ["predictions", predictions],
          ]);
        },
      );
      const inputs = { inputs: data.inputs, labels: data.labels, identifiers: data.identifiers };
      const first = await program.call(inputs);
      // The first puzzle's labels are what the model answers in the end, so that one answer is right.
      const last = await program.call(inputs);
      const labels = data.labels.slice();
      labels.set((last["predictions"] as Int32Array).subarray(0, S));
      labels[S] = ((last["predictions"] as Int32Array)[S]! + 1) % config.vocab_size;
      const recorder = await createRecorder({
        device,
        config,
        weights,
        data: { ...data, labels },
        segments: SEGMENTS,
      });
      const readbacks = device.stats.readbacks;
      const { zL, zH, right, updates, levels } = await recorder.record();
      assert.equal(device.stats.readbacks, readbacks + 1, "one read-back");
      assert.equal(updates, SEGMENTS * levels.length);
      assert.deepEqual([right[0], right[1]], [1, 0]);
      const again = await recorder.record();
      assert.deepEqual([...again.zH], [...zH], "the same puzzles again");

      const cells = first["L0"]!.length / (B * D);
      const meanOf = (state: ArrayLike<number>): number[] =>
        Array.from({ length: B * D }, (_, i) => {
          const [b, d] = [Math.floor(i / D), i % D];
          let sum = 0;
          for (let s = 0; s < cells; s++) sum += state[(b * cells + s) * D + d]!;
          return sum / cells;
        });
      let [ofL, ofH] = [[] as number[], meanOf(first["start"]!)];
      for (let update = 0; update < updates; update++) {
        const states = update < levels.length ? first : last;
        const u = update % levels.length;
        const cycle = Math.floor(u / 3);
        if (levels[u] === "L") ofL = meanOf(states[`L${cycle * 2 + (u % 3)}`]!);
        else ofH = meanOf(states[`H${cycle}`]!);
        if (arch === "trm_singlez") ofL = ofH = levels[u] === "L" ? ofL : ofH;
        const near = (actual: Float32Array, expected: readonly number[], name: string): void =>
          expected.forEach((x, i) =>
            assert.closeTo(
              actual[update * B * D + i]!,
              x,
              1e-6 * (1 + Math.abs(x)),
              `${name} ${update}, ${i}`,
            ),
          );
        near(zL, ofL, "z_L");
        near(zH, ofH, "z_H");
      }
      recorder.destroy();
      program.destroy();
      destroyCarry(carry);
      for (const v of weights.values()) v.destroy();
      assert.equal(device.stats.bytesLive, before, "nothing is left");
    });
  });
