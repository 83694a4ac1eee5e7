/** The official PyTorch checkpoints, read here and run against the goldens; the same in Node and browsers. */
import { assert } from "chai";
import {
  readSafetensors,
  readTorch,
  writeSafetensors,
  writeTorch,
  type SafetensorsTensor,
} from "../../hrm/files/index.js";
import { ConfigError } from "../../hrm/index.js";
import { inferConfig, officialState, openCheckpoint } from "../../hrm/files/checkpoints/official.js";
import { createChecker } from "../../hrm/verify/check.js";
import { fixtureConfig, readJson, readTensors } from "../../hrm/verify/format.js";
import { replayEvaluation } from "../../hrm/verify/model_replay.js";
import { testDevice } from "../support/device.js";
import { readFixture } from "../support/platform.js";

const SAMPLES = ["fp32_cpu", "bf16_cuda_torch2", "nocompile"] as const;

/** A sample's bytes. If the fixtures are absent, it skips the test with a message. */
async function sample(test: Mocha.Context, name: string): Promise<Uint8Array> {
  const bytes = await readFixture(`checkpoints/${name}/step_12`);
  if (!bytes) {
    console.log("      skipped: no ../shared/fixtures/checkpoints");
    test.skip();
  }
  return bytes;
}

const fromSmall = (name: string): Promise<Uint8Array | null> => readFixture(`small/${name}`);

const bitsOf = ({ data }: Pick<SafetensorsTensor, "data">): number[] => [
  ...new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
];

describe("official checkpoints", () => {
  for (const name of SAMPLES) {
    it(`${name} holds the weights of the trajectory's twelfth step, bit for bit`, async function () {
      const state = officialState(readTorch(await sample(this, name)));
      const golden = await readTensors(fromSmall, "state_step12.safetensors");
      const expected = new Map(golden);
      if (name !== "fp32_cpu") {
        // The initial states are bf16 there.
        const read = (file: string): Promise<Uint8Array | null> => readFixture(`checkpoints/${file}`);
        const widened = await readTensors(read, "expected_bf16.safetensors");
        assert.equal(widened.size, 2);
        for (const [key, tensor] of widened) {
          const short = key.slice(key.indexOf("inner."));
          assert.isTrue(expected.has(short), key);
          expected.set(short, tensor);
        }
      }
      assert.sameMembers([...state.keys()], [...expected.keys()]);
      for (const [key, tensor] of expected) {
        assert.deepEqual([...state.get(key)!.shape], [...tensor.shape], key);
        assert.deepEqual(bitsOf(state.get(key)!), bitsOf(tensor), key);
      }
    });
  }

  it("the fp32 checkpoint reproduces the golden evaluation logits, with sizes read from shapes @slow", async function () {
    const bytes = await sample(this, "fp32_cpu");
    const { model } = fixtureConfig(await readJson(fromSmall, "config.json"));
    const { num_heads, H_cycles, L_cycles, halt_max_steps, seq_len, batch_size } = model;
    const given = { num_heads, H_cycles, L_cycles, halt_max_steps, seq_len, batch_size };
    const { checkpoint, assumed } = openCheckpoint(bytes, { config: given, task: "small" });
    assert.sameMembers([...assumed], ["rms_norm_eps", "pos_encodings", "rope_theta", "causal"]);
    for (const field of [
      ...(["hidden_size", "vocab_size", "H_layers", "L_layers", "expansion", "swiglu_multiple"] as const),
      ...(["puzzle_emb_ndim", "num_puzzle_identifiers", "pos_encodings"] as const),
    ])
      assert.equal(checkpoint.config[field], model[field], field);
    const check = createChecker("small");
    const golden = await readTensors(fromSmall, "eval.safetensors");
    // 5e-3 of the largest logit: the goldens' measured tolerance for weights after training.
    const device = await testDevice();
    await replayEvaluation(device, checkpoint.config, checkpoint.raw, golden, "step12", 5e-3, check);
    assert.include(
      check.rows.map((r) => r.quantity),
      "eval step12 logits",
    );
    assert.deepEqual(
      check.rows.filter((r) => !r.passed).map((r) => `${r.quantity}: ${r.error} > ${r.allowed}`),
      [],
    );
  });

  it("loses nothing on the way to safetensors and back", async function () {
    for (const name of SAMPLES) {
      const original = readTorch(await sample(this, name));
      const { tensors } = readSafetensors(writeSafetensors(original));
      const back = readTorch(writeTorch(tensors));
      assert.sameMembers([...back.keys()], [...original.keys()]);
      for (const [key, { dtype, shape, data }] of original) {
        assert.equal(back.get(key)!.dtype, dtype, key);
        assert.deepEqual([...back.get(key)!.shape], [...shape], key);
        assert.deepEqual(bitsOf(back.get(key)!), bitsOf({ data }), key);
      }
    }
  });

  it("names fields that contradict the weights, missing fields, and fields that it assumed", async function () {
    const bytes = await sample(this, "nocompile");
    const state = officialState(readTorch(bytes));
    assert.throws(
      () => inferConfig(state, { hidden_size: 512 }),
      ConfigError,
      /hidden_size: got 512; expected 64, as the weights have it/,
    );
    assert.throws(() => openCheckpoint(bytes, {}), /say which task they are for \(--preset\)/);
    const assumed = inferConfig(state).assumed;
    assert.includeMembers([...assumed], ["num_heads", "H_cycles", "L_cycles", "halt_max_steps", "seq_len"]);
    const lacking = new Map(state);
    lacking.delete("inner.q_head.bias");
    assert.throws(() => inferConfig(lacking), /is missing; expected \[2\].*tensor "inner\.q_head\.bias"/);
    assert.throws(() => officialState(new Map()), /it has no tensors/);
  });
});
