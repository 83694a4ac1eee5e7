/** What a row takes from one segment to the next, and what it does not. */
import { assert } from "chai";
import { compile, i32 } from "../../engine/index.js";
import {
  createCarry,
  createTrainingMemory,
  createWeights,
  destroyCarry,
  evaluationSegment,
  initialState,
  modelConfig,
  modelOf,
} from "../../hrm/index.js";
import { trainStep } from "../../hrm/training/step.js";
import { testDevice } from "../support/device.js";
import { random, randomIntegers } from "../support/random.js";
import { official, training } from "../support/tiny.js";

const { batch_size: B, seq_len: S, vocab_size: V } = official;
const batch = () => ({
  inputs: randomIntegers(B * S, 0, V),
  labels: randomIntegers(B * S, 0, V),
  identifiers: new Int32Array(B),
});
const specs = { inputs: i32(B, S), labels: i32(B, S), identifiers: i32(B) };

describe("latents from one segment to the next", () => {
  for (const arch of ["hrm", "trm", "l_only"] as const)
    for (const carry_latents of [true, false])
      it(`${arch}: ${carry_latents ? "are carried" : "begin at H_init and L_init without carry_latents"}`, async () => {
        const device = await testDevice();
        const config = modelConfig({ ...official, arch, carry_latents });
        const weights = createWeights(device, config, initialState(config, 5));
        const carry = createCarry(device, config);
        const program = await compile(device, specs, (given) => {
          const { segment, halting } = evaluationSegment(modelOf(config, weights), carry, given, 3);
          return { logits: segment.logits, steps: halting.steps };
        });
        const [first, other] = [batch(), batch()];
        await program.run(first);
        const before = [...(await program.read("logits"))];
        // The rows go on with the puzzles that they have, whatever the new batch holds.
        await program.run(other);
        const after = [...(await program.read("logits"))];
        assert.deepEqual([...(await program.read("steps"))], Array<number>(B).fill(2));
        if (carry_latents) assert.notDeepEqual(after, before);
        else assert.deepEqual(after, before);
        // After the last segment rows take new puzzles.
        await program.run(other);
        await program.run(other);
        assert.notDeepEqual([...(await program.read("logits"))], before);
        program.destroy();
        destroyCarry(carry);
        for (const v of weights.values()) v.destroy();
      });

  it("without them the Q target is that of the segment itself", async () => {
    const device = await testDevice();
    const config = modelConfig({ ...official, carry_latents: false });
    const state = new Map(initialState(config, 3));
    const q = state.get("inner.q_head.weight")!;
    state.set("inner.q_head.weight", { ...q, data: random(q.data.length) });
    const memory = createTrainingMemory(device, config, training, { seed: 3, state });
    const program = await compile(
      device,
      { ...specs, u: { shape: [B], dtype: "f32" }, randint: i32(B) },
      ({ u, randint, ...given }) => {
        const { segment, targetContinue, halting } = trainStep(memory, given, { u, randint });
        return { halt: segment.qHalt, goOn: segment.qContinue, target: targetContinue!, last: halting.last };
      },
    );
    await program.run({ ...batch(), u: new Float32Array(B).fill(1), randint: new Int32Array(B) });
    const [halt, goOn, target] = await Promise.all(
      (["halt", "goOn", "target"] as const).map((name) => program.read(name)),
    );
    for (let row = 0; row < B; row++)
      assert.closeTo(target![row]!, 1 / (1 + Math.exp(-Math.max(halt![row]!, goOn![row]!))), 1e-6);
    program.destroy();
    memory.destroy();
  });
});
