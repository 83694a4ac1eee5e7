/** The training step on the GPU: reproducible, replayable, averaged, and free of allocation and read-back. */
import { assert } from "chai";
import {
  compile,
  DeviceLostError,
  f32,
  i32,
  plan,
  type Device,
  type Plan,
  type TypedArray,
  type Variable,
} from "../../engine/index.js";
import {
  createTrainer,
  createTrainingMemory,
  emaDecay,
  initialState,
  METRICS,
  parameterSpecs,
  randomBatch,
  randomExploration,
  readWeights,
  trainStep,
  uploadPuzzles,
  destroyPuzzles,
  type HrmConfig,
  type Trainer,
  type TrainingMemory,
} from "../../hrm/index.js";
import { testDevice } from "../support/device.js";
import { openTestDevice } from "../support/platform.js";
import { assertSound } from "../support/plans.js";
import { assertClose } from "../support/random.js";
import { haltOnly, official, randomPuzzles, training } from "../support/tiny.js";

const CONFIGS: readonly (readonly [string, HrmConfig])[] = [
  ["official", official],
  ["halt-only", haltOnly],
];

async function trainerOf(device: Device, config: HrmConfig, seed: number): Promise<Trainer> {
  return createTrainer({ device, config, train: training, data: randomPuzzles(23, config, 5), seed });
}

function assertSameBits(a: Record<string, readonly number[]>, b: Record<string, readonly number[]>): void {
  const unlike = Object.keys(b).filter((name) => b[name]!.join() !== a[name]?.join());
  assert.deepEqual(unlike, [], "these differ");
}

/** Everything that training changes, as bits. */
async function bits(memory: TrainingMemory): Promise<Record<string, readonly number[]>> {
  const variables: [string, Variable][] = [
    ...memory.weights,
    ...[...(memory.ema ?? [])].map(([name, v]): [string, Variable] => [`ema ${name}`, v]),
    ...[...memory.adam].flatMap(([name, s]): [string, Variable][] => [
      [`m ${name}`, s.expAvg],
      [`v ${name}`, s.expAvgSq],
    ]),
    ...Object.entries(memory.carry as unknown as Record<string, Variable>),
    ["counter", memory.counter],
  ];
  const entries = variables.map(async ([name, v]) => {
    const data: TypedArray = await v.read();
    return [name, [...new Uint32Array(data.buffer, data.byteOffset, data.length)]] as const;
  });
  return Object.fromEntries(await Promise.all(entries));
}

function stepPlan(device: Device, config: HrmConfig): Plan {
  const memory = createTrainingMemory(device, config, training, { seed: 1 });
  try {
    const { batch_size: B, seq_len: S } = config;
    return plan(
      device,
      { inputs: i32(B, S), labels: i32(B, S), identifiers: i32(B), u: f32(B), randint: i32(B) },
      ({ u, randint, ...batch }) => ({ metrics: trainStep(memory, batch, { u, randint }).metrics }),
    );
  } finally {
    memory.destroy();
  }
}

describe("training", () => {
  for (const [name, config] of CONFIGS) {
    it(`repeats bit for bit over 200 steps from the same seed, and not from another (${name}) @slow`, async () => {
      const device = await testDevice();
      const results: Record<string, readonly number[]>[] = [];
      for (const [seed, steps] of [
        [1, 200],
        [1, 200],
        [2, 10],
      ] as const) {
        const trainer = await trainerOf(device, { ...config, H_cycles: 1 }, seed);
        await trainer.run(steps);
        results.push(await bits(trainer.memory));
        trainer.destroy();
      }
      assertSameBits(results[1]!, results[0]!);
      assert.notDeepEqual(results[2]!["inner.lm_head.weight"], results[0]!["inner.lm_head.weight"]);
      assert.deepEqual(results[0]!["counter"], [1, 200]);
      for (const { name: weight } of parameterSpecs(config)) {
        const values = new Float32Array(Uint32Array.from(results[0]![weight]!).buffer);
        assert.isTrue(values.every(Number.isFinite), `${weight} is finite`);
      }
    });

    it(`comes to the same bits when the GPU's draws are recorded and injected (${name})${name === "official" ? " @slow" : ""}`, async () => {
      const device = await testDevice();
      const trainer = await trainerOf(device, config, 3);
      const puzzles = uploadPuzzles(device, randomPuzzles(23, config, 5), "recorded");
      const { counter } = trainer.memory;
      const recorder = await compile(device, {}, () => ({
        ...randomBatch(puzzles, counter, config),
        ...randomExploration(counter, config),
      }));
      const injected = createTrainingMemory(device, config, training, { seed: 3 });
      const { batch_size: B, seq_len: S } = config;
      const replay = await compile(
        device,
        { inputs: i32(B, S), labels: i32(B, S), identifiers: i32(B), u: f32(B), randint: i32(B) },
        ({ u, randint, ...batch }) => ({ metrics: trainStep(injected, batch, { u, randint }).metrics }),
      );
      const seen = new Set<string>();
      for (let step = 0; step < 25; step++) {
        await recorder.run();
        const names = ["inputs", "labels", "identifiers", "u", "randint"] as const;
        const values = await Promise.all(names.map((n) => recorder.read(n)));
        seen.add(values.map((v) => v.join()).join(";"));
        await trainer.run(1);
        await replay.run(Object.fromEntries(names.map((n, i) => [n, values[i]!])));
        const [metrics] = await trainer.metrics();
        assert.deepEqual(
          METRICS.map((m) => metrics![m]),
          [...(await replay.read("metrics"))],
          `metrics of step ${step + 1}`,
        );
      }
      assert.equal(seen.size, 25, "every step draws anew");
      assert.deepEqual(await bits(injected), await bits(trainer.memory));
      for (const p of [recorder, replay]) p.destroy();
      injected.destroy();
      destroyPuzzles(puzzles);
      trainer.destroy();
    });

    it(`allocates, compiles and reads nothing while it runs (${name})`, async () => {
      const device = await testDevice();
      const start = device.stats.bytesLive;
      const trainer = await trainerOf(device, config, 1);
      await trainer.run(4);
      const before = { ...device.stats };
      await trainer.run(40);
      const { buffersCreated, bytesLive, pipelinesCreated, readbacks, submits, dispatches } = device.stats;
      assert.deepEqual(
        { buffersCreated, bytesLive, pipelinesCreated, readbacks },
        {
          buffersCreated: before.buffersCreated,
          bytesLive: before.bytesLive,
          pipelinesCreated: before.pipelinesCreated,
          readbacks: before.readbacks,
        },
      );
      assert.equal(submits - before.submits, 11, "one step, then four a submission");
      assert.equal(dispatches - before.dispatches, 40 * trainer.program.plan.dispatches.length);
      await trainer.metrics();
      assert.equal(device.stats.readbacks - before.readbacks, 1);
      trainer.destroy();
      assert.equal(device.stats.bytesLive, start, "bytes left behind");
    });

    it(`has a sound memory plan (${name})`, async () => {
      const device = await testDevice();
      const trainer = await trainerOf(device, config, 1);
      assertSound(trainer.program.plan);
      for (const { kernel, label } of trainer.program.plan.dispatches)
        assert.isAtMost(kernel.bindings.length, device.capabilities.maxStorageBuffersPerShaderStage, label);
      trainer.destroy();
    });

    it(`needs the same memory for 2 x 2 and 8 x 8 cycles (${name}) @slow`, async () => {
      const device = await testDevice();
      const small = stepPlan(device, { ...config, H_cycles: 2, L_cycles: 2 });
      const large = stepPlan(device, { ...config, H_cycles: 8, L_cycles: 8 });
      assert.isAbove(large.dispatches.length, 5 * small.dispatches.length);
      assert.deepEqual(large.bytes, small.bytes);
      assertSound(large);
    });
  }

  it("does not depend on how many steps' learning rates are on the GPU at a time", async () => {
    const device = await testDevice();
    const data = randomPuzzles(23, haltOnly, 5);
    const results = [];
    for (const scheduleWindow of [undefined, 4]) {
      const options = { device, config: haltOnly, train: training, data, seed: 3, scheduleWindow };
      const trainer = await createTrainer(options);
      await trainer.run(11);
      results.push(await bits(trainer.memory));
      trainer.destroy();
    }
    assertSameBits(results[1]!, results[0]!);
  });

  it("averages every trained weight: from the initial weights, with a decay that warms up", async () => {
    const device = await testDevice();
    const trainer = await trainerOf(device, official, 4);
    const { weights, ema } = trainer.memory;
    const trained = parameterSpecs(official).filter((p) => p.update !== "fixed");
    for (const { name } of trained)
      assert.notEqual(ema!.get(name), weights.get(name), `${name} has an average`);
    const expected = new Map(
      [...initialState(official, 4)].map(([name, { data }]) => [name, Float64Array.from(data)] as const),
    );
    for (const [name, v] of ema!) assert.deepEqual([...(await v.read())], [...expected.get(name)!], name);
    for (let t = 1; t <= 12; t++) {
      await trainer.run(1);
      const decay = Math.min(0.9, (1 + t) / (10 + t));
      assert.equal(emaDecay(training, t), decay);
      for (const { name } of trained) {
        const w = await weights.get(name)!.read();
        const average = expected.get(name)!.map((e, i) => e + (w[i]! - e) * (1 - decay));
        expected.set(name, average);
        // Three rounded operations a step on values below 6.
        assertClose(await ema!.get(name)!.read(), average, 2e-6 * t, `${name} after ${t}`);
      }
    }
    const moved = await weights.get("inner.puzzle_emb.weights")!.read();
    assert.isTrue(
      moved.some((x) => x !== 0),
      "the puzzle embedding learned",
    );
    trainer.destroy();
  });

  it("halt-only learns no q_continue and runs no second forward", async () => {
    const device = await testDevice();
    const config = { ...official, halt_only: true };
    const trainer = await trainerOf(device, config, 4);
    await trainer.run(20);
    for (const metrics of await trainer.metrics()) assert.equal(metrics.q_continue_loss, 0);
    const moments = await trainer.memory.adam.get("inner.q_head.weight")!.expAvg.read();
    const D = config.hidden_size;
    assert.deepEqual([...moments.slice(D)], Array<number>(D).fill(0));
    assert.isTrue(moments.slice(0, D).some((m) => m !== 0));
    const forwards = (p: Plan): number => p.dispatches.filter((d) => d.label.startsWith("attention(")).length;
    assert.equal(2 * forwards(trainer.program.plan), forwards(stepPlan(device, official)));
    trainer.destroy();
  });

  it("stops at the end of its plan", async () => {
    const device = await testDevice();
    const trainer = await createTrainer({
      device,
      config: haltOnly,
      train: { ...training, total_steps: 6 },
      data: randomPuzzles(5, haltOnly, 1),
      seed: 1,
    });
    assert.equal(await trainer.run(4), 4);
    assert.equal(await trainer.run(4), 2);
    assert.equal(await trainer.run(4), 0);
    assert.deepEqual(
      (await trainer.metrics()).map((m) => m.step),
      [1, 2, 3, 4, 5, 6],
    );
    trainer.destroy();
  });

  it("survives the loss of its device: a typed error, and a new device goes on from the saved weights", async () => {
    const first = await openTestDevice();
    const trainer = await trainerOf(first, haltOnly, 1);
    await trainer.run(3);
    const state = await readWeights(trainer.memory.weights);
    first.gpu.destroy();
    assert.instanceOf(await first.lost, DeviceLostError);
    for (const call of [() => trainer.run(1), () => trainer.metrics()]) {
      const error = await call().then(
        () => null,
        (e: unknown) => e,
      );
      assert.instanceOf(error, DeviceLostError);
    }
    trainer.destroy();
    const device = await testDevice();
    const next = await createTrainer({
      device,
      config: haltOnly,
      train: training,
      data: randomPuzzles(23, haltOnly, 5),
      seed: 1,
      state,
    });
    assert.deepEqual(
      [...(await readWeights(next.memory.weights)).values()].map((t) => [...t.data]),
      [...state.values()].map((t) => [...t.data]),
    );
    assert.equal(await next.run(3), 3);
    next.destroy();
  });
});
