/** What the baselines compute: updates of one level that are all alike, and a transformer without a state. */
import { assert } from "chai";
import { compile, constant, type Tensor } from "../../engine/index.js";
import { derive, initialState, modelConfig, segment, type HrmConfig, type Model } from "../../hrm/index.js";
import { rotaryTables } from "../../hrm/model/model.js";
import { testDevice } from "../support/device.js";
import { random } from "../support/random.js";
import { official } from "../support/tiny.js";

/** Random initial weights, and an injected input with two states that a segment may start from. */
function setUp(fields: Partial<HrmConfig>) {
  const config = modelConfig({ ...official, puzzle_emb_ndim: 0, H_cycles: 1, L_cycles: 1, ...fields });
  const state = initialState(config, 7);
  const weights = new Map(
    [...state].map(([name, { data, shape }]) => [name, constant(data as Float32Array, shape)]),
  );
  const shape = [config.batch_size, derive(config).totalLength, config.hidden_size];
  const z = (): Tensor => constant(random(shape.reduce((a, b) => a * b, 1)), shape);
  const model = (own: Partial<HrmConfig>): Model => ({
    config: { ...config, ...own },
    parameters: (name) => weights.get(name)!,
    rotary: rotaryTables(config),
  });
  return { model, x: z(), states: [z(), z()] as const };
}

async function logitsOf(trace: () => Record<"a" | "b", Tensor>): Promise<[number[], number[]]> {
  const program = await compile(await testDevice(), {}, trace);
  await program.run({});
  const both: [number[], number[]] = [[...(await program.read("a"))], [...(await program.read("b"))]];
  program.destroy();
  return both;
}

describe("baselines on the device", () => {
  it("of one level compute the same, however their updates are divided into cycles", async () => {
    const [a, b] = await logitsOf(() => {
      const { model, x, states } = setUp({ arch: "l_only" });
      const z = { zH: states[0], zL: states[0] };
      return {
        a: segment(model({ H_cycles: 1, L_cycles: 3 }), z, x).logits,
        b: segment(model({ H_cycles: 2, L_cycles: 1 }), z, x).logits,
      };
    });
    assert.deepEqual(a, b);
    assert.isAbove(new Set(a).size, 10);
  });

  it("that are a transformer compute the same from every state", async () => {
    const [a, b] = await logitsOf(() => {
      const { model, x, states } = setUp({ arch: "transformer", halt_max_steps: 1 });
      const [one, other] = states.map((z) => segment(model({}), { zH: z, zL: z }, x).logits);
      return { a: one!, b: other! };
    });
    assert.deepEqual(a, b);
    assert.isAbove(new Set(a).size, 10);
  });
});
