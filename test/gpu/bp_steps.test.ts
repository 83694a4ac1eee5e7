/** How far the gradient goes back: against finite differences of the loss in float64, in memory, and in micro-batches. */
import { assert } from "chai";
import { loss64, type Weights64 } from "../../bench/core/hrm_step.js";
import {
  broadcastTo,
  compile,
  crossEntropy,
  f32,
  grad,
  i32,
  mean,
  plan,
  reshape,
  type Tensor,
} from "../../engine/index.js";
import {
  createTrainer,
  createTrainingMemory,
  createWeights,
  embed,
  initialState,
  modelConfig,
  modelOf,
  parameterSpecs,
  segment,
  type HrmConfig,
  type StateDict,
} from "../../hrm/index.js";
import { trainStep } from "../../hrm/training/step.js";
import { hasOneLatent } from "../../hrm/model/config.js";
import { sizesOf } from "../../hrm/model/task_fields.js";
import { sudokuTask } from "../../hrm/puzzles/tasks/sudoku.js";
import { testDevice } from "../support/device.js";
import { stubDevice } from "../support/stub_device.js";
import { assertClose, randomIntegers } from "../support/random.js";
import { official, randomPuzzles, training } from "../support/tiny.js";

const small: HrmConfig = modelConfig({
  ...{ ...sizesOf(sudokuTask(4)), batch_size: 1, hidden_size: 16, num_heads: 1, swiglu_multiple: 16 },
  ...{ H_layers: 1, L_layers: 2, H_cycles: 2, L_cycles: 2, pos_encodings: "rope2d" },
});

/** d (mean cross entropy of the first segment) / d weights, on the device. */
async function gradientsOf(
  config: HrmConfig,
  state: StateDict,
  inputs: Int32Array,
  labels: Int32Array,
): Promise<ReadonlyMap<string, Float32Array>> {
  const device = await testDevice();
  const weights = createWeights(device, config, state);
  const names = parameterSpecs(config).flatMap(({ name, update }) => (update === "adam" ? [name] : []));
  const S = config.seq_len;
  const program = await compile(device, { inputs: i32(1, S), labels: i32(1, S) }, (puzzle) => {
    const model = modelOf(config, weights);
    const initial = (name: string): Tensor =>
      broadcastTo(reshape(weights.get(`inner.${name}`)!.tensor, [1, 1, config.hidden_size]), [
        1,
        S,
        config.hidden_size,
      ]);
    const zL = initial("L_init");
    const start = { zH: hasOneLatent(config) ? zL : initial("H_init"), zL };
    const { logits } = segment(model, start, embed(model, puzzle.inputs, null));
    const { loss } = crossEntropy(logits, puzzle.labels, { kind: "stablemax" });
    const all = grad(
      mean(loss),
      names.map((name) => weights.get(name)!),
    );
    return Object.fromEntries(names.map((name, i) => [name, all[i]!]));
  });
  await program.run({ inputs, labels });
  const gradients = new Map<string, Float32Array>();
  for (const name of names) gradients.set(name, (await program.read(name)) as Float32Array);
  program.destroy();
  for (const v of weights.values()) v.destroy();
  return gradients;
}

/** Step of the central differences in float64, whose error is of the order of its square. */
const H = 1e-4;

const CASES: readonly (readonly [HrmConfig["arch"], number])[] = [
  ...[1, 2, 3, 4, 6].map((steps) => ["hrm", steps] as const),
  ["l_only", 3],
  ["transformer", 1],
];

describe("bp_steps", () => {
  for (const [arch, bp_steps] of CASES)
    it(`${bp_steps} of ${arch}: the gradient is the finite difference of the last ${bp_steps} updates`, async () => {
      const config = { ...small, arch, bp_steps };
      const state = initialState(config, 11);
      const inputs = randomIntegers(config.seq_len, 1, config.vocab_size);
      const labels = randomIntegers(config.seq_len, 1, config.vocab_size);
      const gradients = await gradientsOf(config, state, inputs, labels);
      const lossAt = (name: string, direction: Float64Array, h: number): number => {
        const { data } = state.get(name)!;
        const moved = Float64Array.from(data, (value, i) => value + h * direction[i]!);
        const late: Weights64 = new Map<string, { data: ArrayLike<number> }>(state).set(name, {
          data: moved,
        });
        return loss64(config, late, [...inputs], [...labels], state);
      };
      for (const [name, gradient] of gradients) {
        if (name.includes("q_head")) continue;
        // The steepest direction and one at random.
        const norm = Math.hypot(...gradient);
        const steepest = Float64Array.from(gradient, (g) => (norm > 0 ? g / norm : 1));
        const signs = randomIntegers(gradient.length, 0, 2);
        const random = Float64Array.from(signs, (s) => (2 * s - 1) / Math.sqrt(gradient.length));
        for (const direction of [steepest, random]) {
          const difference = (lossAt(name, direction, H) - lossAt(name, direction, -H)) / (2 * H);
          const claimed = direction.reduce((sum, d, i) => sum + d * gradient[i]!, 0);
          assertClose([claimed], [difference], 1e-6 + 1e-4 * norm, name);
        }
        // The last update of one level is of its only network, and adds x.
        const reached = bp_steps > 1 || arch !== "hrm" || !/L_level|embed_tokens/.test(name);
        assert.equal(norm > 0, reached, `${name} ${reached ? "has a" : "has no"} gradient`);
      }
    });

  it("keeps the activations of as many updates, whatever the cycles", async () => {
    const device = stubDevice((await testDevice()).gpu);
    const bytes = (given: Partial<HrmConfig>): number => {
      const config = modelConfig({ ...official, seq_len: 40, hidden_size: 32, ...given });
      const memory = createTrainingMemory(device, config, training, { seed: 1 });
      const { batch_size: B, seq_len: S } = config;
      const batch = { inputs: i32(B, S), labels: i32(B, S), identifiers: i32(B), u: f32(B), randint: i32(B) };
      const made = plan(device.target, batch, ({ u, randint, ...puzzles }) => ({
        metrics: trainStep(memory, puzzles, { u, randint }).metrics,
      }));
      memory.destroy();
      return made.bytes.intermediates;
    };
    const [two, three, six] = [2, 3, 6].map((bp_steps) => bytes({ bp_steps }));
    // An update of one layer is as large as another.
    const one = three! - two!;
    assert.isAbove(one, 0.2 * two!);
    assert.closeTo(six! - three!, 3 * one, 0.5 * one);
    assert.equal(bytes({ bp_steps: 2, H_cycles: 6 }), two);
    assert.closeTo(bytes({ bp_steps: 6, H_cycles: 6 }), six!, 0.05 * six!);
  });

  it("trains with every number of updates, also in micro-batches, to nearly the same gradient @slow", async () => {
    const device = await testDevice();
    for (const bp_steps of [1, 3, 6]) {
      const config = modelConfig({ ...official, batch_size: 4, bp_steps });
      const data = randomPuzzles(9, config, 2);
      const norms: number[] = [];
      for (const microBatch of [4, 2]) {
        const trainer = await createTrainer({ device, config, train: training, data, seed: 3, microBatch });
        await trainer.run(1);
        norms.push((await trainer.metrics())[0]!.gradientNorm);
        trainer.destroy();
      }
      assert.isAbove(norms[0]!, 0);
      assert.closeTo(norms[1]!, norms[0]!, 1e-4 * norms[0]!, `bp_steps ${bp_steps}`);
    }
  });
});
