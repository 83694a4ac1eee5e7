import { assert } from "chai";
import { decodeCheckpoint, encodeCheckpoint, runCheckpoint } from "../../hrm/files/checkpoints/checkpoint.js";
import {
  createSession,
  createTrainer,
  modelConfig,
  trainConfig,
  ResumeError,
  type HrmConfig,
  type PuzzleSet,
  type SessionEvent,
  type SessionSnapshot,
  type StateDict,
  type TrainConfig,
  type Trainer,
  type TrainingSnapshot,
} from "../../hrm/index.js";
import { findPreset } from "../../hrm/training/presets.js";
import { withChoices, zeros } from "../../engine/index.js";
import { alternativesOf } from "../../kernels/index.js";
import { testDevice } from "../support/device.js";
import { randomIntegers, uniform } from "../support/random.js";

const TINY = {
  batch_size: 3,
  seq_len: 4,
  vocab_size: 5,
  hidden_size: 8,
  num_heads: 2,
  H_layers: 1,
  L_layers: 1,
};
const SHORT = { total_steps: 40, lr: 3e-3, lr_warmup_steps: 5 };

/** Full ACT with a puzzle embedding; halt-only with learned positions and EMA; TRM. */
const CONFIGURATIONS: Record<string, { config: HrmConfig; train: TrainConfig }> = {
  "full ACT, puzzle embedding, rotary positions": {
    config: modelConfig({
      ...TINY,
      ...{ puzzle_emb_ndim: 12, num_puzzle_identifiers: 6, swiglu_multiple: 8, halt_max_steps: 4 },
      halt_exploration_prob: 0.5,
    }),
    train: trainConfig({ ...SHORT, lr_min_ratio: 0.1 }),
  },
  "halt-only ACT, EMA, learned positions": {
    config: modelConfig({
      ...TINY,
      ...{ pos_encodings: "learned", halt_only: true, swiglu_multiple: 8, halt_max_steps: 3 },
      ...{ halt_exploration_prob: 1, H_cycles: 1, loss_type: "softmax_cross_entropy" },
    }),
    train: trainConfig({ ...SHORT, ema_decay: 0.9, lr_schedule: "linear", lr_min_ratio: 0.2 }),
  },
  "TRM with one latent, an MLP along the sequence, its own EMA": {
    config: modelConfig({
      ...TINY,
      ...{ arch: "trm_singlez", mlp_t: true, pos_encodings: "none", L_cycles: 1, swiglu_multiple: 8 },
      ...{ puzzle_emb_ndim: 8, puzzle_emb_len: 2, num_puzzle_identifiers: 6 },
      ...{ halt_only: true, halt_max_steps: 3, halt_exploration_prob: 1 },
    }),
    train: trainConfig({ ...SHORT, ema_decay: 0.9, ema_warmup: false }),
  },
  "one level alone, no carried latents, full ACT": {
    config: modelConfig({
      ...{ ...TINY, arch: "l_only", carry_latents: false, swiglu_multiple: 8, halt_max_steps: 3 },
      halt_exploration_prob: 0.5,
    }),
    train: trainConfig({ ...SHORT }),
  },
  "staggered starts, positions by box, gradient of the whole segment": {
    config: modelConfig({
      ...{ ...TINY, seq_len: 16, hidden_size: 24, swiglu_multiple: 8, halt_max_steps: 4, halt_only: true },
      ...{ grid_rows: 4, grid_columns: 4, box_rows: 2, box_columns: 2, pos_encodings: "rope2d_boxes" },
      ...{ halt_exploration_prob: 1, bp_steps: 6 },
    }),
    train: trainConfig({ ...SHORT, ema_decay: 0.9, staggered_starts: true }),
  },
};

function puzzles({ seq_len: length, vocab_size, num_puzzle_identifiers }: HrmConfig): PuzzleSet {
  const count = 7;
  return {
    count,
    length,
    inputs: randomIntegers(count * length, 0, vocab_size),
    labels: randomIntegers(count * length, 0, vocab_size),
    identifiers: randomIntegers(count, 0, num_puzzle_identifiers),
  };
}

function assertSameBits(actual: StateDict, expected: StateDict): void {
  assert.sameMembers([...actual.keys()], [...expected.keys()]);
  for (const [name, { data }] of expected) {
    const bits = (x: typeof data): number[] => [...new Uint32Array(x.buffer, x.byteOffset, x.length)];
    assert.deepEqual(bits(actual.get(name)!.data), bits(data), name);
  }
}

/** The snapshot as it comes back from a file. */
function throughFile(snapshot: TrainingSnapshot): SessionSnapshot {
  const run = { ...snapshot, validatedAt: 0, looksSinceBest: 0, best: null, ended: null };
  const decoded = decodeCheckpoint(encodeCheckpoint(runCheckpoint(run, { task: "random" })));
  assert.equal(decoded.step, snapshot.step);
  return decoded.run!;
}

describe("resume @slow", () => {
  for (const [name, { config, train }] of Object.entries(CONFIGURATIONS)) {
    it(`goes on to the bit: ${name}`, async () => {
      const device = await testDevice();
      const options = { device, config, train, data: puzzles(config), seed: Math.floor(uniform() * 2 ** 32) };
      const steps = 23;
      const whole = await createTrainer(options);
      await whole.run(steps);
      const expected = await whole.save();
      const expectedMetrics = await whole.metrics();
      whole.destroy();
      assert.equal(expected.state.get("counter")!.data[1], steps);
      assert.isTrue(
        ["exp_avg.inner.lm_head.weight", "carry.z_L"].every((v) =>
          expected.state.get(v)!.data.some((x) => x !== 0),
        ),
        "the state is not trivial",
      );
      // Stops before the first step, in the middle of a submission's four steps, and twice in one run.
      for (const stops of [[0], [1], [10], [2, 17], [22]]) {
        let snapshot: SessionSnapshot | undefined;
        let metrics: unknown[] = [];
        for (const until of [...stops, steps]) {
          const trainer = await createTrainer({ ...options, ...(snapshot && { resume: snapshot }) });
          assert.deepEqual([...trainer.differences], []);
          await trainer.run(until - trainer.step);
          if (until !== stops[0]) metrics = [...metrics, ...(await trainer.metrics())];
          snapshot = throughFile(await trainer.save());
          trainer.destroy();
        }
        assertSameBits(snapshot!.state, expected.state);
        assert.deepEqual(metrics, expectedMetrics, `metrics after stops at ${stops.join()}`);
      }
    });
  }

  it("saves a consistent state, even while steps are being submitted", async () => {
    const device = await testDevice();
    const { config, train } = CONFIGURATIONS["halt-only ACT, EMA, learned positions"]!;
    const trainer = await createTrainer({ device, config, train, data: puzzles(config), seed: 5 });
    await trainer.run(3);
    const saving = trainer.save();
    await trainer.run(9);
    const early = await saving;
    assert.equal(early.step, 3);
    assert.equal(early.state.get("counter")!.data[1], 3);
    trainer.destroy();
  });

  it("says why it will not be bit-identical", async () => {
    const device = await testDevice();
    const { config, train } = CONFIGURATIONS["halt-only ACT, EMA, learned positions"]!;
    const data = puzzles(config);
    const first = await createTrainer({ device, config, train, data, seed: 1 });
    const saved = await first.save();
    first.destroy();
    const elsewhere = {
      ...saved,
      origin: { ...saved.origin, adapter: "GeForce 256", version: "0.0.1" },
      kernels: { matmul: "t64x64" },
    };
    const labels = data.labels.slice();
    labels[0]! ^= 1;
    const second = await createTrainer({
      ...{ device, config, seed: 1, resume: elsewhere },
      train: { ...train, lr: 1e-3 },
      data: { ...data, labels },
    });
    const text = second.differences.join("\n");
    for (const part of [
      /the adapter was GeForce 256 and is /,
      /version of hrm-webgpu was 0\.0\.1/,
      /train\.lr was 0\.003 and is 0\.001/,
      /the training set was 7x4:/,
      /the variant of kernel matmul was t64x64 and is not chosen/,
    ])
      assert.match(text, part);
    second.destroy();
  });

  it("repeats the kernel choices that a run recorded, if it ran on this device", async () => {
    const device = await testDevice();
    const { config, train } = CONFIGURATIONS["halt-only ACT, EMA, learned positions"]!;
    const options = { device, config, train, data: puzzles(config), seed: 7 };
    const kernelsOf = ({ program }: Trainer) =>
      program.plan.dispatches.flatMap(({ kernel }) =>
        (alternativesOf(kernel, device.capabilities)?.variants.length ?? 0) > 1 ? [kernel] : [],
      );
    const namesOf = (trainer: Trainer) => kernelsOf(trainer).map(({ name }) => name);
    const plain = await createTrainer(options);
    const byDefault = kernelsOf(plain);
    assert.isNotEmpty(byDefault);
    assert.isFalse(byDefault.some(({ choice }) => choice));
    assert.deepEqual((await plain.save()).kernels, {});
    plain.destroy();
    // As if the second-best by the model had been measured to be the best, for every kernel of the step.
    const choices: Record<string, string> = {};
    for (const kernel of byDefault) {
      const { key, variants } = alternativesOf(kernel, device.capabilities)!;
      choices[key] = variants[1]!;
    }
    const target = withChoices(device.target, { ...choices, matmul_nt_1x2x3: "of another model" });
    const whole = await createTrainer({ ...options, target });
    await whole.run(12);
    const expected = await whole.save();
    const chosen = kernelsOf(whole);
    assert.isTrue(chosen.every(({ choice }) => choice));
    assert.isTrue(chosen.every(({ name }, i) => name !== byDefault[i]!.name));
    assert.include(whole.program.explain(), `${chosen[0]!.name} (chosen by measurement)`);
    whole.destroy();
    assert.deepEqual(expected.kernels, choices);

    const first = await createTrainer({ ...options, target });
    await first.run(5);
    const snapshot = throughFile(await first.save());
    first.destroy();
    const resumed = await createTrainer({ ...options, resume: snapshot });
    assert.deepEqual([...resumed.differences], []);
    assert.deepEqual(
      namesOf(resumed),
      chosen.map(({ name }) => name),
    );
    await resumed.run(7);
    const actual = await resumed.save();
    assert.deepEqual(actual.kernels, choices);
    assertSameBits(actual.state, expected.state);
    resumed.destroy();

    // On another device, and for files from before choices were recorded: the defaults.
    const origin = { ...snapshot.origin, adapter: "GeForce 256" };
    for (const other of [
      { ...snapshot, origin },
      { ...snapshot, kernels: {} },
    ]) {
      const trainer = await createTrainer({ ...options, resume: other });
      assert.deepEqual(
        namesOf(trainer),
        byDefault.map(({ name }) => name),
      );
      assert.lengthOf(trainer.differences, other.origin === origin ? 1 + Object.keys(choices).length : 0);
      assert.deepEqual((await trainer.save()).kernels, {});
      trainer.destroy();
    }
  });

  it("refuses another model, and a state that lacks a tensor, leaving no buffer behind", async () => {
    const device = await testDevice();
    const { config, train } = CONFIGURATIONS["halt-only ACT, EMA, learned positions"]!;
    const data = puzzles(config);
    const first = await createTrainer({ device, config, train, data, seed: 1 });
    const saved = await first.save();
    first.destroy();
    const live = device.stats.buffersLive;
    const refused = async (
      change: Partial<Parameters<typeof createTrainer>[0]>,
      message: RegExp,
    ): Promise<void> => {
      const error = await createTrainer({
        device,
        config,
        train,
        data,
        seed: 1,
        resume: saved,
        ...change,
      }).then(
        () => null,
        (e: unknown) => e,
      );
      assert.instanceOf(error, ResumeError);
      assert.match(error.message, message);
      assert.equal(device.stats.buffersLive, live);
    };
    await refused(
      { config: { ...config, H_cycles: 2 } },
      /config\.H_cycles is 1 in the snapshot; expected 2/,
    );
    const state = new Map(saved.state);
    state.delete("carry.z_L");
    await refused(
      { resume: { ...saved, state } },
      /carry\.z_L is missing in the snapshot; expected f32\[3, 4, 8\]/,
    );
  });

  /** Twelve steps of a model that learns nothing in them, with a look at 8 puzzles after every fourth. */
  const preset = findPreset("sudoku4")!;
  const short = {
    ...preset,
    // Several looks' worth of puzzles to validate on, which the end scores as a whole.
    splits: (seed: number) => {
      const splits = preset.splits(seed);
      const { inputs, labels, identifiers, length } = splits.validation;
      const count = 34;
      const [cells, of] = [count * length, identifiers.slice(0, count)];
      const validation = { count, length, inputs: inputs.slice(0, cells), labels: labels.slice(0, cells) };
      return { ...splits, validation: { ...validation, identifiers: of } };
    },
    model: { ...preset.model, batch_size: 4, hidden_size: 8, num_heads: 2, L_cycles: 1 },
    train: { ...preset.train, total_steps: 12 },
    ...{ evalEvery: 4, evalLimit: 8, stopAt: 1 },
  };

  it("the whole validation set decides between the last weights and a best look that was luck", async () => {
    const device = await testDevice();
    const options = { device, preset: short, seed: 3 };
    const session = await createSession({ ...options, stopAfter: 8 });
    for await (const event of session.events()) assert.notEqual(event.kind, "end");
    const saved = await session.save();
    session.destroy();
    const weights = new Map([...saved.best!.weights].map(([name, { shape }]) => [name, zeros(shape)]));
    const best = { step: 4, exactAccuracy: 1, cellAccuracy: 1, weights };
    const resumed = await createSession({ ...options, resume: { ...saved, best } });
    const looks: SessionEvent[] = [];
    for await (const event of resumed.events()) if (event.kind === "validation") looks.push(event);
    const [look] = looks;
    assert.lengthOf(looks, 1);
    assert(look?.kind === "validation" && look.best, "the last weights beat zeros");
    assert.equal(look.scores.count, resumed.splits.validation.count);
    assert.equal(resumed.best!.step, 12);
    resumed.destroy();
  });

  it("a session that is destroyed while validation is compiled leaves nothing behind", async () => {
    const device = await testDevice();
    const before = device.stats.bytesLive;
    const session = await createSession({ device, preset: short, seed: 3, compileValidationLater: true });
    session.destroy();
    // Waits until it was compiled, and freed.
    await session.validate(1).catch(() => undefined);
    assert.equal(device.stats.bytesLive, before);
  });

  it("a session looks at the validation set when that was due, and keeps the best look", async () => {
    const device = await testDevice();
    const options = { device, preset: short, seed: 3, stepsPerEvent: 2 };
    const whole = await createSession(options);
    const events: unknown[] = [];
    for await (const event of whole.events()) events.push(event);
    const expected = await whole.save();
    whole.destroy();
    assert.equal(events.length, 6 + 3 + 1);
    assert.isNotNull(expected.best);
    assert.equal(expected.ended, "last_step");

    // Stop after each event, so that every event is the last of one session.
    const again: unknown[] = [];
    let resume: SessionSnapshot | undefined;
    for (let i = 0; i < events.length; i++) {
      // When validation is compiled changes nothing else.
      const compileValidationLater = i % 2 === 1;
      const session = await createSession({ ...options, compileValidationLater, ...(resume && { resume }) });
      for await (const event of session.events()) {
        again.push(event);
        break;
      }
      const saved = await session.save();
      resume = decodeCheckpoint(encodeCheckpoint(runCheckpoint(saved, { task: preset.name }))).run!;
      session.destroy();
    }
    assert.deepEqual(again, events);
    assertSameBits(resume!.state, expected.state);
    assert.deepEqual({ ...resume!.best, weights: 0 }, { ...expected.best, weights: 0 });
    assertSameBits(resume!.best!.weights, expected.best.weights);
  });
});
