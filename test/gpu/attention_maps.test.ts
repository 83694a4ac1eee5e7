/** Where cells attend, against float64 from the inputs of the updates, which are read back, and the weights. */
import { assert } from "chai";
import { compile, i32 } from "../../engine/index.js";
import {
  createCarry,
  createWeights,
  destroyCarry,
  evaluationSegment,
  initialState,
  modelConfig,
  modelOf,
  type HrmConfig,
  type StateDict,
} from "../../hrm/index.js";
import { createAttentionRecorder } from "../../hrm/thinking/attention_maps.js";
import { attentionOf } from "../../hrm/thinking/attention_weights.js";
import { testDevice } from "../support/device.js";
import { randomIntegers } from "../support/random.js";

const [S, V, D, HEADS, SEGMENTS] = [5, 6, 8, 2, 2];

type Rows = readonly (readonly number[])[];

/** Rows times the transpose of a weight [out, in]. */
const linear = (x: Rows, state: StateDict, name: string): number[][] => {
  const { shape, data } = state.get(name)!;
  return x.map((row) =>
    Array.from({ length: shape[0]! }, (_, o) =>
      row.reduce((sum, value, i) => sum + value * data[o * shape[1]! + i]!, 0),
    ),
  );
};

const rms = (x: Rows, eps: number): number[][] =>
  x.map((row) => {
    const size = Math.sqrt(row.reduce((sum, v) => sum + v * v, 0) / row.length + eps);
    return row.map((v) => v / size);
  });

const plus = (a: Rows, b: Rows): number[][] => a.map((row, i) => row.map((v, d) => v + b[i]![d]!));

/** The weights [head][i][j] of attention, and its output, from packed qkv rows [L][3 D]. */
function attend(qkv: Rows, config: HrmConfig): { weights: number[][][]; output: number[][] } {
  const d = D / HEADS;
  const rotated = (row: readonly number[], position: number): number[] =>
    config.pos_encodings !== "rope"
      ? [...row]
      : row.map((v, i) => {
          const angle = position * config.rope_frequency * config.rope_theta ** (-(i % (d / 2)) / (d / 2));
          return v * Math.cos(angle) + (i < d / 2 ? -row[i + d / 2]! : row[i - d / 2]!) * Math.sin(angle);
        });
  const output = qkv.map(() => [] as number[]);
  const weights = Array.from({ length: HEADS }, (_, head) => {
    const part = (third: number): number[][] =>
      qkv.map((row) => row.slice(third * D + head * d, third * D + (head + 1) * d));
    const [q, k, v] = [part(0).map(rotated), part(1).map(rotated), part(2)];
    return q.map((query, i) => {
      const scores = k.map((key, j) =>
        config.causal && j > i
          ? 0
          : Math.exp(query.reduce((sum, x, at) => sum + x * key[at]!, 0) / Math.sqrt(d)),
      );
      const total = scores.reduce((a, b) => a + b, 0);
      const p = scores.map((score) => score / total);
      for (let at = 0; at < d; at++) output[i]!.push(p.reduce((sum, w, j) => sum + w * v[j]![at]!, 0));
      return p;
    });
  });
  return { weights, output };
}

/** The weights of the last layer's attention for an input [L][D] of a network of two layers. */
function lastWeights(input: Rows, network: string, state: StateDict, config: HrmConfig): number[][][] {
  const [first, last] = [0, 1].map((i) => `inner.${network}.layers.${i}`);
  const qkv = linear(input, state, `${first!}.self_attn.qkv_proj.weight`);
  const attended = linear(attend(qkv, config).output, state, `${first!}.self_attn.o_proj.weight`);
  const mixed = rms(plus(input, attended), config.rms_norm_eps);
  const activated = linear(mixed, state, `${first!}.mlp.gate_up_proj.weight`).map((row) => {
    const inner = row.length / 2;
    return row.slice(0, inner).map((gate, i) => (gate / (1 + Math.exp(-gate))) * row[inner + i]!);
  });
  const h = rms(plus(mixed, linear(activated, state, `${first!}.mlp.down_proj.weight`)), config.rms_norm_eps);
  return attend(linear(h, state, `${last!}.self_attn.qkv_proj.weight`), config).weights;
}

describe("attention maps @slow", () => {
  for (const change of [
    { pos_encodings: "rope", puzzle_emb_ndim: D, H_cycles: 1 },
    { pos_encodings: "learned", causal: true, L_cycles: 1 },
  ] as const satisfies readonly Partial<HrmConfig>[])
    it(`are the softmax of the last layer's queries and keys, ${change.pos_encodings}`, async () => {
      const device = await testDevice();
      const before = device.stats.bytesLive;
      const config = modelConfig({
        ...{ batch_size: 1, seq_len: S, vocab_size: V, hidden_size: D, num_heads: HEADS, swiglu_multiple: 8 },
        ...{ H_layers: 2, L_layers: 2, halt_max_steps: SEGMENTS, H_cycles: 2, L_cycles: 2, ...change },
      });
      const state = initialState(config, 5);
      const weights = createWeights(device, config, state);
      const inputs = randomIntegers(S, 1, V);
      const recorder = await createAttentionRecorder({ device, config, weights });
      const maps = await recorder.record(inputs);
      const updates = config.H_cycles * (config.L_cycles + 1);
      assert.lengthOf(maps.levels, updates);

      const carry = createCarry(device, config);
      const spec = { inputs: i32(1, S), labels: i32(1, S), identifiers: i32(1) };
      const program = await compile(device, spec, (batch) => {
        const { segment } = evaluationSegment(modelOf(config, weights), carry, batch, 100);
        return Object.fromEntries(segment.trace.inputs.map(({ input }, u) => [`input${u}`, input]));
      });
      const L = maps.positions;
      assert.equal(L, S + (change.pos_encodings === "rope" ? 1 : 0));
      for (let segment = 0; segment < SEGMENTS; segment++) {
        const read = await program.call({
          inputs,
          labels: new Int32Array(S),
          identifiers: new Int32Array(1),
        });
        for (let u = 0; u < updates; u++) {
          const data = read[`input${u}`]!;
          const rows = Array.from({ length: L }, (_, i) => [...data.subarray(i * D, (i + 1) * D)]);
          const expected = lastWeights(rows, `${maps.levels[u]!}_level`, state, config);
          for (let cell = 0; cell < S; cell++) {
            const found = attentionOf(maps, segment * updates + u, cell);
            for (let head = 0; head < HEADS; head++)
              for (let j = 0; j < L; j++)
                // Sums of 8 products and two norms in f32, on states of size 3 or so.
                assert.closeTo(
                  found[head * L + j]!,
                  expected[head]![maps.prefix + cell]![j]!,
                  1e-5,
                  `segment ${segment}, update ${u}, cell ${cell}, head ${head}, position ${j}`,
                );
          }
        }
      }
      for (const made of [recorder, program]) made.destroy();
      destroyCarry(carry);
      for (const variable of weights.values()) variable.destroy();
      assert.equal(device.stats.bytesLive, before, "bytes left behind");
    });
});
